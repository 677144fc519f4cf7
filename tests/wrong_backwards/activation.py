"""Activations and dropout."""

from __future__ import annotations

import numpy as np

from minidl.ops.activation import Clamp, LeakyRelu, Relu
from minidl.ops.dropout import Dropout
from minidl.ops.smooth import Elu, Gelu, Sigmoid, Silu, Softplus
from wrong_backwards.bank import right, wrong


@wrong("relu", Relu)
def passes_what_is_negative(self, g):
    return g * (np.asarray(self.output) <= 0)


@wrong("relu", Relu)
def multiplies_by_the_output_not_by_its_mask(self, g):
    return g * self.output


@wrong("relu", Relu)
def cuts_the_gradient_where_it_is_negative(self, g):
    return g * (np.asarray(g) > 0)


@wrong("leaky_relu", LeakyRelu)
def slope_is_forgotten(self, g):
    return g * (np.asarray(self.inputs[0]) > 0)


@wrong("relu6", Clamp)
def lets_it_pass_above_the_upper_end(self, g):
    return g * (self.inputs[0] > self.low)


@wrong("hardsigmoid", Clamp)
def slope_of_one(self, g):
    return right(Clamp)(self, g) / self.scale


@wrong("celu", Elu)
def forgets_the_inner_derivative(self, g):
    x = self.inputs[0]
    return right(Elu)(self, g) if self.rate == 1 else np.where(x <= 0, right(Elu)(self, g) / self.rate, g)


@wrong("elu", Elu)
def uses_the_input_where_the_exponential_belongs(self, g):
    x = self.inputs[0]
    return g * np.where(x <= 0, self.height * (1 + x), self.scale)


@wrong("softplus", Softplus)
def derivative_is_tanh(self, g):
    return g * np.tanh(self.inputs[0])


@wrong("sigmoid", Sigmoid)
def uses_the_input_for_the_output(self, g):
    y = np.arctanh(np.clip(np.asarray(self.output) * 2 - 1, -1 + 1e-12, 1 - 1e-12)) * 2
    return g * (y * (1 - y))


@wrong("silu", Silu)
def forgets_the_product_rule(self, g):
    (x,) = self.inputs
    return g * (1.0 / ((-x).exp() + 1.0)) if hasattr(x, "exp") else g / (np.exp(-x) + 1)


@wrong("gelu", Gelu)
def derivative_of_the_other_form(self, g):
    (x,) = self.inputs
    return right(Gelu)(self, g) * 1.001


@wrong("dropout", Dropout)
def ignores_the_mask(self, g):
    return g


@wrong("dropout", Dropout)
def forgets_to_scale(self, g):
    return right(Dropout)(self, g) * (1 - self.p)


@wrong("dropout", Dropout)
def draws_another_mask(self, g):
    return Dropout(seed=self.seed + 1, p=self.p, over=self.over).forward(g)
