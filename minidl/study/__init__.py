"""Looking inside: what a model computes on its way, as arrays and as pictures."""

from minidl.study.plots import gate_map, learning_curve
from minidl.study.recurrent import gates, gradient_norms

__all__ = ["gate_map", "gates", "gradient_norms", "learning_curve"]
"""Looking inside: attention, embeddings, layers beside stored ones."""

from minidl.study.attention import attention_maps, nearest
from minidl.study.comparison import parity
from minidl.study.heatmap import heat_map

__all__ = ["attention_maps", "heat_map", "nearest", "parity"]
