"""Products of matrices: matmul with batch dimensions, and einsum, of which it is a case."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.function import Primitive, call
from minidl.kernels import gemm
from minidl.primitives.elementwise import unbroadcast


class MatMul(Primitive):
    """a @ b for a (..., m, k) and b (..., k, n), batch dimensions broadcast.

    c_ij = Σ_k a_ik b_kj, so ∂L/∂a_ik = Σ_j g_ij b_kj and ∂L/∂b_kj = Σ_i a_ik g_ij: ga = g bᵀ, gb = aᵀ g.
    """

    keeps_inputs = True

    def forward(self, a: Any, b: Any) -> Any:
        return gemm.matmul(a, b)

    def backward(self, g: Any) -> tuple[Any, Any]:
        a, b = self.inputs
        if type(g) is np.ndarray:
            return self.gradients_of_arrays(g, a, b)
        ga = unbroadcast(g @ b.swapaxes(-1, -2), a.shape) if self.needs[0] else None
        gb = unbroadcast(a.swapaxes(-1, -2) @ g, b.shape) if self.needs[1] else None
        return ga, gb

    def gradients_of_arrays(self, g: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[Any, Any]:
        """The same on the kernel that forward used."""
        ga = unbroadcast(gemm.matmul(g, b.swapaxes(-1, -2)), a.shape) if self.needs[0] else None
        gb = None
        if (
            self.needs[1] and b.ndim == 2 and a.size and g.size
        ):  # all leading dimensions of a and g are rows, and summed
            gb = gemm.matmul(a.reshape(-1, a.shape[-1]).T, g.reshape(-1, g.shape[-1]))
        elif self.needs[1]:
            gb = unbroadcast(gemm.matmul(a.swapaxes(-1, -2), g), b.shape)
        return ga, gb


class Einsum(Primitive):
    """Σ over the letters that do not appear in the output, of the product of the operands.

    `terms` are the operands' letters, `output` the result's; explicit form, no repeats inside a term. The gradient of
    an operand is again an einsum: of g with all other operands, summed over what the operand does not have. A letter
    that only this operand has was summed by itself; its gradient is the same all along it.
    """

    keeps_inputs = True

    def forward(self, *operands: Any) -> Any:
        equation = f"{','.join(self.terms)}->{self.result}"
        return np.einsum(equation, *operands, optimize=len(operands) > 1)

    def backward(self, g: Any) -> tuple[Any, ...]:
        return tuple(self.gradient_of(i, g) if need else None for i, need in enumerate(self.needs))

    def gradient_of(self, i: int, g: Any) -> Any:
        operand, term = self.inputs[i], self.terms[i]
        others = [(t, x) for j, (t, x) in enumerate(zip(self.terms, self.inputs, strict=True)) if j != i]
        known = self.result + "".join(t for t, _ in others)
        have = "".join(c for c in term if c in known)
        terms = (self.result, *(t for t, _ in others))
        ga = call(Einsum, g, *(x for _, x in others), terms=terms, result=have)
        alone = tuple(n if c in known else 1 for c, n in zip(term, operand.shape, strict=True))
        ga = ga.reshape(alone)
        return ga if alone == operand.shape else ga + np.zeros(operand.shape, ga.dtype)
