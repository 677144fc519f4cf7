"""Models that read like the figures of their papers."""

from minidl.models.charlm import CharLM
from minidl.models.lenet import LeNet
from minidl.models.resnet import ResNet, ResNet20
from minidl.models.speaker import SpeakerNet

__all__ = ["CharLM", "LeNet", "ResNet", "ResNet20", "SpeakerNet"]
