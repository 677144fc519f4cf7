"""MyGrad: NumPy with gradients, written to teach. Its memory guarding, a debugging aid, is off, as its manual says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mygrad
import numpy as np
from mygrad import nnet

from benchmarks.contenders import CannotExpress, Contender, Vocabulary, cotangent, inputs
from benchmarks.kinds import Operation


class Words(Vocabulary):
    relu = staticmethod(nnet.relu)
    tanh = staticmethod(mygrad.tanh)
    cross_entropy = staticmethod(nnet.softmax_crossentropy)

    def conv2d(self, x: Any, w: Any, b: Any, stride: int, padding: int, groups: int) -> Any:
        if groups > 1:
            raise CannotExpress("conv_nd has no groups")
        check_windows(x.shape[-1] + 2 * padding, w.shape[-1], stride)
        return nnet.conv_nd(x, w, stride=stride, padding=padding) + b.reshape(-1, 1, 1)

    def max_pool2d(self, x: Any, size: int, stride: int) -> Any:
        check_windows(x.shape[-1], size, stride)
        return nnet.max_pool(x, (size, size), stride)

    def batch_norm(self, x: Any, mean: None, var: None, w: Any, b: Any, training: bool) -> Any:
        return nnet.batchnorm(x, gamma=w, beta=b, eps=1e-5)

    def layer_norm(self, x: Any, shape: tuple[int], w: Any, b: Any) -> Any:
        root = mygrad.sqrt(mygrad.var(x, -1, keepdims=True) + 1e-5)
        return (x - mygrad.mean(x, -1, keepdims=True)) / root * w + b

    def softmax(self, x: Any, axis: int) -> Any:
        return nnet.softmax(x, axis=axis)

    def linear(self, x: Any, w: Any, b: Any) -> Any:
        return x @ w.T + b


def check_windows(side: int, size: int, stride: int) -> None:
    if (side - size) % stride:
        raise CannotExpress("windows must end where the image ends")


class MyGrad(Contender):
    F = Words()

    def version(self) -> str:
        return mygrad.__version__

    def operation(self, workload: Operation, backward: bool) -> Callable[[], list[Any]]:
        arrays, floats = inputs(workload)
        given: list[Any] = list(arrays)
        for i in floats:
            given[i] = mygrad.tensor(arrays[i])
        if not backward:

            def forward() -> list[Any]:
                with mygrad.no_autodiff:
                    return [workload.function(self.F, *given)]

            return forward
        g = cotangent(workload.function(self.F, *given).shape)

        def both() -> list[Any]:
            y = workload.function(self.F, *given)
            y.backward(g)
            return [y, *(given[i].grad for i in floats)]

        return both

    def arrays(self, results: list[Any]) -> list[np.ndarray]:
        return [mygrad.asarray(result) for result in results]


def make(name: str, threads: int) -> MyGrad:
    mygrad.turn_memory_guarding_off()
    return MyGrad()
