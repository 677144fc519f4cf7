"""Looking inside: what a model computes on its way, as arrays and as pictures."""

from minidl.study.attention import attention_maps, nearest
from minidl.study.comparison import parity
from minidl.study.heatmap import heat_map
from minidl.study.plots import gate_map, learning_curve
from minidl.study.recurrent import gates, gradient_norms

__all__ = [
    "attention_maps",
    "gate_map",
    "gates",
    "gradient_norms",
    "heat_map",
    "learning_curve",
    "nearest",
    "parity",
]
