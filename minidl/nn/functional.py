"""Every operation of a network as a function: `import minidl.nn.functional as F`."""

from minidl.ops.conv import conv2d
from minidl.ops.indexing import one_hot
from minidl.ops.pool import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from minidl.ops.shapes import pad

__all__ = ["adaptive_avg_pool2d", "avg_pool2d", "conv2d", "max_pool2d", "one_hot", "pad"]
