"""Every operation of a network as a function: `import minidl.nn.functional as F`."""

from minidl.ops.activation import (
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    prelu,
    relu,
    relu6,
    softshrink,
    threshold,
)
from minidl.ops.adaptive_pool import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_max_pool1d, adaptive_max_pool2d
from minidl.ops.attention import scaled_dot_product_attention
from minidl.ops.conv import conv2d
from minidl.ops.conv1d import conv1d
from minidl.ops.conv_transpose import conv_transpose1d, conv_transpose2d
from minidl.ops.distances import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    huber_loss,
    l1_loss,
    mse_loss,
    smooth_l1_loss,
)
from minidl.ops.dropout import dropout, dropout2d
from minidl.ops.embedding import embedding
from minidl.ops.group_norm import group_norm, instance_norm, rms_norm
from minidl.ops.heads import split_heads
from minidl.ops.indexing import one_hot
from minidl.ops.interpolate import interpolate
from minidl.ops.linear import linear
from minidl.ops.loss import cross_entropy, kl_div, nll_loss
from minidl.ops.math import tanh
from minidl.ops.norm import batch_norm, layer_norm
from minidl.ops.pool import avg_pool2d, max_pool2d
from minidl.ops.pool1d import avg_pool1d, max_pool1d
from minidl.ops.positions import rotary_embedding, sinusoidal_positions
from minidl.ops.recurrent import gru, lstm, rnn_relu, rnn_tanh
from minidl.ops.shapes import pad
from minidl.ops.similarity import (
    cosine_embedding_loss,
    cosine_similarity,
    margin_ranking_loss,
    normalize,
    pairwise_distance,
    triplet_margin_loss,
)
from minidl.ops.smooth import (
    celu,
    elu,
    gelu,
    glu,
    logsigmoid,
    mish,
    selu,
    sigmoid,
    silu,
    softplus,
    softsign,
    tanhshrink,
)
from minidl.ops.softmax import log_softmax, softmax, softmin
from minidl.ops.unfold import fold, pixel_shuffle, pixel_unshuffle, unfold

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "dropout",
    "dropout2d",
    "elu",
    "embedding",
    "fold",
    "gelu",
    "glu",
    "group_norm",
    "gru",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "lstm",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool2d",
    "mish",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "pixel_shuffle",
    "pixel_unshuffle",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "rnn_relu",
    "rnn_tanh",
    "rotary_embedding",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "silu",
    "sinusoidal_positions",
    "smooth_l1_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "split_heads",
    "tanh",
    "tanhshrink",
    "threshold",
    "triplet_margin_loss",
    "unfold",
]
