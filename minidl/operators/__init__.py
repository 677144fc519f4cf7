"""What a Tensor can do, as NumPy's operators and PyTorch's methods; each is a line or two that name its primitive.

Each group of methods is a base class of Tensor: arithmetic, comparison,
reductions, shapes, indexing, changes in place, NumPy's ufuncs.
"""

from minidl.operators.arithmetic import Arithmetic
from minidl.operators.comparison import Comparison
from minidl.operators.indexing import Indexing
from minidl.operators.inplace import InPlace
from minidl.operators.reductions import Reductions
from minidl.operators.shapes import Shapes
from minidl.operators.ufuncs import Ufuncs

__all__ = ["Arithmetic", "Comparison", "InPlace", "Indexing", "Reductions", "Shapes", "Ufuncs"]
