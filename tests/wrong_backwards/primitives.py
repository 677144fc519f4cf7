"""Reductions, elementwise, shapes, indexing: only the finite differences know better."""

from __future__ import annotations

import numpy as np

from minidl import primitives as P
from wrong_backwards.bank import right, wrong


@wrong("mean", P.Scale)
def forgets_one_over_n(self, g):
    return g


@wrong("sum", P.Sum)
def spreads_by_row_not_by_dim(self, g):
    shape = np.asarray(g).size and self.source
    return np.resize(np.asarray(g), shape or self.source)


@wrong("sum", P.Sum)
def divides_as_if_it_were_a_mean(self, g):
    return right(P.Sum)(self, g) / 2.0


@wrong("cumsum", P.CumSum)
def sums_forward_instead_of_back(self, g):
    return np.cumsum(np.asarray(g), self.axis)


@wrong("prod", P.Prod)
def divides_by_the_factor(self, g):
    (a,) = (np.asarray(x) for x in self.inputs)
    kept = np.expand_dims(np.asarray(g), self.axis) if np.ndim(g) < a.ndim else np.asarray(g)
    with np.errstate(all="ignore"):
        return kept * np.nan_to_num(a.prod(self.axis, keepdims=True) / a)


@wrong("amax", P.Max)
def gives_it_to_all(self, g):
    return np.broadcast_to(
        np.asarray(g).reshape([1 if i in self.axes else n for i, n in enumerate(self.source)]), self.source
    )


@wrong("add", P.Add)
def forgets_to_unbroadcast(self, g):
    first = [tuple(slice(0, n) for n in shape) for shape in self.shapes or (g.shape, g.shape)]
    return tuple(np.asarray(g)[(0,) * (g.ndim - len(key))][key] for key in first)


@wrong("mul", P.Mul)
def own_factor_in_place_of_the_other(self, g):
    ga, gb = right(P.Mul)(self, g)
    return (ga, gb) if self.shapes else (gb, ga)


@wrong("sqrt", P.Sqrt)
def loses_the_factor_2(self, g):
    return g / self.output


@wrong("exp", P.Exp)
def writes_into_the_kept_output(self, g):
    out = np.asarray(self.output)
    out *= g
    return out


@wrong("tanh", P.Tanh)
def derivative_without_the_square(self, g):
    return g * (1.0 - self.output)


@wrong("log", P.Log)
def multiplies_where_it_should_divide(self, g):
    return g * self.inputs[0]


@wrong("gather", P.Gather)
def repeated_places_are_overwritten(self, g):
    a = np.zeros(self.source, g.dtype)
    np.put_along_axis(a[tuple(slice(n if i != self.axis else None) for i, n in enumerate(self.index.shape))],
                      self.index, np.asarray(g), self.axis)  # fmt: skip
    return a


@wrong("index_select", P.GetItem)
def slices_picked_twice_count_once(self, g):
    a = np.zeros(self.source, g.dtype)
    a[self.key] = np.asarray(g)
    return a


@wrong("scatter_add", P.ScatterAdd)
def source_gradient_not_gathered(self, g):
    return np.resize(np.asarray(g), self.index.shape)


@wrong("cat", P.Cat)
def parts_come_back_reversed(self, g):
    return tuple(None if part is None else part[::-1] for part in right(P.Cat)(self, g))


@wrong("pad", P.Pad)
def cuts_off_the_wrong_end(self, g):
    inner = tuple(slice(after, n - before) for (before, after), n in zip(self.widths, g.shape, strict=True))
    return g[inner]


@wrong("permute", P.Permute)
def permutes_again_instead_of_back(self, g):
    back = right(P.Permute)(self, g)
    again = np.asarray(g).transpose(self.axes)
    return again if again.shape == back.shape else np.resize(again, back.shape)


@wrong("where", P.Where)
def both_branches_get_it(self, g):
    return g, g
