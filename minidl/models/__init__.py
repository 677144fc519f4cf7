"""Models that read like the figures of their papers."""

from minidl.models.lenet import LeNet

__all__ = ["LeNet"]
