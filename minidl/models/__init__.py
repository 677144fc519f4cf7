"""Models that read like the figures of their papers."""

from minidl.models.lenet import LeNet
from minidl.models.resnet import ResNet, ResNet20

__all__ = ["LeNet", "ResNet", "ResNet20"]
