"""What a Tensor can do, as NumPy's operators and PyTorch's methods; each is a line or two that name its primitive.

Four groups of methods, each a base class of Tensor: arithmetic, reductions, shapes, indexing.
"""

from minidl.operators.arithmetic import Arithmetic
from minidl.operators.indexing import Indexing
from minidl.operators.reductions import Reductions
from minidl.operators.shapes import Shapes

__all__ = ["Arithmetic", "Indexing", "Reductions", "Shapes"]
