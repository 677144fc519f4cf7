"""What a Tensor can do, as NumPy's operators and PyTorch's methods; each is a line or two that name its primitive.

Each group of methods is a base class of Tensor: arithmetic, reductions, shapes, indexing, NumPy's ufuncs.
"""

from minidl.operators.arithmetic import Arithmetic
from minidl.operators.indexing import Indexing
from minidl.operators.reductions import Reductions
from minidl.operators.shapes import Shapes
from minidl.operators.ufuncs import Ufuncs

__all__ = ["Arithmetic", "Indexing", "Reductions", "Shapes", "Ufuncs"]
