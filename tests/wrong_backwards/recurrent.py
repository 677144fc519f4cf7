"""Recurrent layers."""

from __future__ import annotations

import numpy as np

from minidl import primitives as P
from minidl.ops.recurrent import Gru, Lstm, RnnRelu, RnnTanh
from wrong_backwards.bank import right, wrong


@wrong("lstm", Lstm)
def last_states_pass_no_gradient(self, g, gh, gc):
    return right(Lstm)(self, g, np.zeros_like(gh), np.zeros_like(gc))


@wrong("lstm", Lstm)
def first_cell_state_gets_no_gradient(self, *grads):
    found = right(Lstm)(self, *grads)
    return (*found[:2], np.zeros_like(found[2]), *found[3:])


@wrong("lstm", Lstm)
def ignores_the_direction(self, *grads):
    self.reverse = False
    return right(Lstm)(self, *grads)


@wrong("lstm", Lstm)
def projection_gets_what_came_from_above_only(self, g, *states):
    found = right(Lstm)(self, g, *states)
    return found if found[7] is None else (*found[:7], g.T @ self.kept[2])


@wrong("lstm", Lstm)
def projection_is_not_differentiated(self, *grads):
    found = right(Lstm)(self, *grads)
    return found if found[7] is None else (*found[:7], np.zeros_like(found[7]))


@wrong("lstm", Lstm)
def one_hot_columns_get_their_neighbours_sums(self, *grads):
    found = list(right(Lstm)(self, *grads))
    if self.ids is not None:
        found[3] = np.roll(found[3], 1, axis=1)
    return tuple(found)


@wrong("gru", Gru)
def weight_gradient_of_the_last_step_only(self, *grads):
    found = list(right(Gru)(self, *grads))
    found[3] = found[3] / len(self.sizes)
    return tuple(found)


@wrong("gru", Gru)
def one_bias_gradient_for_both(self, *grads):
    found = list(right(Gru)(self, *grads))
    found[5] = None if found[4] is None else found[4].copy()
    return tuple(found)


@wrong("rnn_tanh", RnnTanh)
def forgets_the_state_before_the_first_step(self, *grads):
    found = list(right(RnnTanh)(self, *grads))
    found[1] = None if found[1] is None else np.zeros_like(found[1])
    return tuple(found)


@wrong("rnn_relu", RnnRelu)
def ignores_the_gradients_of_the_last_states(self, g, last):
    return right(RnnRelu)(self, g, np.zeros_like(last))


@wrong("matmul", P.MatMul)
def result_is_transposed(self, g):
    ga, gb = right(P.MatMul)(self, g)
    return ga, None if gb is None else np.asarray(gb).swapaxes(-1, -2).reshape(gb.shape)


@wrong("matmul", P.MatMul)
def only_the_first_of_the_batch(self, g):
    kept = np.zeros(g.shape, g.dtype)
    kept[:1] = np.asarray(g)[:1]
    return right(P.MatMul)(self, kept)
