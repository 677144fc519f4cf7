"""Looking inside: what a model computes on its way, as arrays and as pictures."""

from minidl.study.plots import gate_map, learning_curve
from minidl.study.recurrent import gates, gradient_norms

__all__ = ["gate_map", "gates", "gradient_norms", "learning_curve"]
