"""Linear layers."""

from __future__ import annotations

from minidl.ops.linear import Linear
from wrong_backwards.bank import right, wrong


@wrong("linear", Linear)
def bias_gradient_without_the_batch_sum(self, g):
    gx, gw, gb = right(Linear)(self, g)
    return gx, gw, None if gb is None else g.reshape(-1, len(self.inputs[1]))[-1:].sum(0)


@wrong("linear", Linear)
def weight_gradient_of_the_last_sample_only(self, g):
    gx, gw, gb = right(Linear)(self, g)
    x = self.inputs[0]
    rows, gs = x.reshape(-1, x.shape[-1])[-1:], g.reshape(-1, len(gw))[-1:]
    return gx, gs.T @ rows, gb


@wrong("linear", Linear)
def weight_gradient_divided_by_the_batch(self, g):
    gx, gw, gb = right(Linear)(self, g)
    return gx, gw / max(g.size // len(gw), 1), gb
