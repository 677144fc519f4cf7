"""Transforms: what happens to an image between the data set and the model.

Each takes one image `(C, H, W)` or a batch `(N, C, H, W)`, as an array or a Tensor, and returns the same kind. Those
that draw at random do so for every image of the batch on its own, from `generator=` or `minidl.default_generator`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.factories import made
from minidl.random import Generator, stream
from minidl.tensor import Tensor


class Transform:
    """Base of the transforms: a subclass writes `apply(images)` for an array (N, C, H, W)."""

    @property
    def takes_batches(self) -> bool:
        """Whether it may be given a batch, rather than one image after the other."""
        return True

    def apply(self, images: np.ndarray) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__}: a Transform needs an apply(images)")

    def __call__(self, images: Any) -> Any:
        array = images._array if isinstance(images, Tensor) else np.asarray(images)
        if array.ndim not in (3, 4):
            raise ValueError(
                f"{type(self).__name__}: expects an image (C, H, W) or a batch (N, C, H, W), got shape {array.shape}"
            )
        result = self.apply(array) if array.ndim == 4 else self.apply(array[None])[0]
        return made(result) if isinstance(images, Tensor) else result


class Compose(Transform):
    """One transform after the other.

    >>> import numpy as np
    >>> from minidl.data import Compose, Normalize, ToFloat
    >>> Compose([ToFloat(255), Normalize(0.5, 0.5)])(np.array([[[0, 255]]], np.uint8))
    array([[[-1.,  1.]]], dtype=float32)
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = list(transforms)

    @property
    def takes_batches(self) -> bool:
        """Whether all of them do."""
        return all(getattr(transform, "takes_batches", False) for transform in self.transforms)

    def __call__(self, images: Any) -> Any:
        for transform in self.transforms:
            images = transform(images)
        return images


class ToFloat(Transform):
    """float32 values divided by `maximum`: pixels 0 ... 255 become 0 ... 1.

    >>> import numpy as np
    >>> from minidl.data import ToFloat
    >>> ToFloat(255)(np.array([[[0, 51, 255]]], np.uint8))
    array([[[0. , 0.2, 1. ]]], dtype=float32)
    """

    def __init__(self, maximum: float = 255.0) -> None:
        if not maximum > 0:
            raise ValueError(f"ToFloat: maximum must be positive, got {maximum}")
        self.maximum = maximum

    def apply(self, images: np.ndarray) -> np.ndarray:
        return images.astype(np.float32) / np.float32(self.maximum)


class Normalize(Transform):
    """(x - mean) / std, channel by channel.

    Args:
        mean, std: one number for all channels, or one for each of them.

    Raises:
        ValueError: a `std` of zero or less, or a number of channels that does not fit.
        TypeError: integer images; `ToFloat` goes before.
    """

    def __init__(self, mean: float | Sequence[float] | np.ndarray, std: float | Sequence[float] | np.ndarray) -> None:
        self.mean = np.asarray(mean, np.float64).reshape(-1)
        self.std = np.asarray(std, np.float64).reshape(-1)
        if not (self.std > 0).all():
            raise ValueError(f"Normalize: std must be positive, got {std}")

    def apply(self, images: np.ndarray) -> np.ndarray:
        if images.dtype.kind != "f":
            raise TypeError(f"Normalize: expects floating-point images, got {images.dtype}; put ToFloat() before it")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, images.shape[1]):
                raise ValueError(f"Normalize: {name} has {len(values)} channels, but the images {images.shape[1]}")
        mean = self.mean.astype(images.dtype)[:, None, None]
        std = self.std.astype(images.dtype)[:, None, None]
        return (images - mean) / std


class Enlarge(Transform):
    """Every pixel becomes a square of `factor` × `factor`.

    >>> import numpy as np
    >>> from minidl.data import Enlarge
    >>> Enlarge(2)(np.array([[[1, 2]]]))
    array([[[1, 1, 2, 2],
            [1, 1, 2, 2]]])
    """

    def __init__(self, factor: int) -> None:
        if not isinstance(factor, int) or factor < 1:
            raise ValueError(f"Enlarge: factor must be a positive integer, got {factor!r}")
        self.factor = factor

    def apply(self, images: np.ndarray) -> np.ndarray:
        return images.repeat(self.factor, axis=2).repeat(self.factor, axis=3)


class RandomCrop(Transform):
    """A window of `size` at a random place of the image, after `padding` of value `fill` on all four sides.

    With `size` the image's own, this shifts it by up to `padding` pixels.

    Args:
        size: height and width of the window, an int or a pair.
        padding: pixels added on each side.
        fill: their value.
        generator: where chance comes from.

    Raises:
        ValueError: the window is larger than the padded image.

    Example:
        >>> import minidl, numpy as np
        >>> from minidl.data import RandomCrop
        >>> crop = RandomCrop(2, padding=1, generator=minidl.Generator().manual_seed(0))
        >>> crop(np.ones((8, 1, 2, 2))).shape
        (8, 1, 2, 2)
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        padding: int = 0,
        fill: float = 0,
        generator: Generator | None = None,
    ) -> None:
        self.size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        if min(self.size) < 1 or padding < 0:
            raise ValueError(f"RandomCrop: expects size > 0 and padding >= 0, got size={size}, padding={padding}")
        self.padding = padding
        self.fill = fill
        self.generator = generator

    def apply(self, images: np.ndarray) -> np.ndarray:
        p, (height, width) = self.padding, self.size
        padded = np.pad(images, ((0, 0), (0, 0), (p, p), (p, p)), constant_values=self.fill)
        rows, columns = padded.shape[2] - height + 1, padded.shape[3] - width + 1
        if rows < 1 or columns < 1:
            raise ValueError(f"RandomCrop: size {self.size} is larger than the padded image {padded.shape[2:]}")
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.size, axis=(2, 3))  # (N, C, rows, cols, h, w)
        chance = stream(self.generator)
        n = len(images)
        return windows[np.arange(n), :, chance.integers(0, rows, n), chance.integers(0, columns, n)]


class RandomHorizontalFlip(Transform):
    """Mirror left and right with probability `p`.

    Raises:
        ValueError: `p` is not a probability.
    """

    def __init__(self, p: float = 0.5, generator: Generator | None = None) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"RandomHorizontalFlip: p must be between 0 and 1, got {p}")
        self.p = p
        self.generator = generator

    def apply(self, images: np.ndarray) -> np.ndarray:
        chance = stream(self.generator)
        flipped = chance.random(len(images)) < self.p
        return np.where(flipped[:, None, None, None], images[..., ::-1], images)
