"""Images with labels: the digits that come with the package, and readers for the user's own."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minidl.data.idx import read_idx
from minidl.data.npz import read_npz
from minidl.data.split import stratified

DIGITS = Path(__file__).parent / "files" / "digits.npz"
CHANNELS = (1, 3, 4)
"""Grey, colour, and colour with transparency: how many channels images have that come channels-last."""

IDX_NAMES = {
    "x": "train-images-idx3-ubyte",
    "y": "train-labels-idx1-ubyte",
    "test_x": "t10k-images-idx3-ubyte",
    "test_y": "t10k-labels-idx1-ubyte",
}


@dataclass(frozen=True)
class ImageSet:
    """Images, their classes, and the part held out for judging, if it is given.

    Attributes:
        x: (N, C, H, W), uint8 or float32.
        y: (N,) int64, the index of each image's class.
        classes: the names of the classes.
        maximum: the value of a full pixel: 255 for 8-bit images, 16 for the digits, 1 for floats.
        test_x, test_y: the held-out part, or None.
    """

    x: np.ndarray
    y: np.ndarray
    classes: tuple[str, ...]
    maximum: float = 255.0
    test_x: np.ndarray | None = None
    test_y: np.ndarray | None = None

    def split(self, seed: int = 0, fraction: float = 0.2) -> ImageSet:
        """The same images with a held-out part: the one given, or else a random `fraction` of each class.

        Raises:
            ValueError: too few images to hold any out.
        """
        if self.test_x is not None:
            return self
        held_out = stratified(self.y, fraction, seed)
        if not held_out.any():
            raise ValueError(f"too few images to hold some out: {len(self.y)} in {len(self.classes)} classes")
        x, y = self.x[~held_out], self.y[~held_out]
        return ImageSet(x, y, self.classes, self.maximum, self.x[held_out], self.y[held_out])

    def digest(self) -> str:
        """A fingerprint of all images and labels, by which a resumed run knows its data again."""
        sha = hashlib.sha256()
        for array in (self.x, self.y, self.test_x, self.test_y):
            if array is not None:
                sha.update(f"{array.dtype} {array.shape}".encode())
                sha.update(np.ascontiguousarray(array).data)
        return sha.hexdigest()[:16]


def load_digits() -> ImageSet:
    """1797 handwritten digits, 8 × 8 pixels of 0 ... 16, in ten classes: they come with the package.

    E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits" (test part), UCI Machine Learning Repository,
    1998, https://doi.org/10.24432/C50P49, CC BY 4.0.

    >>> from minidl.data import load_digits
    >>> load_digits().x.shape
    (1797, 1, 8, 8)
    """
    arrays = read_npz(DIGITS)
    return image_set({"x": "digits.npz: x", "y": "digits.npz: y"}, arrays, maximum=16.0)


def load_images(path: str | os.PathLike) -> ImageSet:
    """Read labelled images from a folder with MNIST's four files, or from an .npz file.

    The folder holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`,
    `t10k-labels-idx1-ubyte` (or with a dot, `train-images.idx3-ubyte`), each plain or `.gz`; the two `t10k` may be
    missing. The .npz holds `x` and `y`, and `test_x` and `test_y` if there is a held-out part: images (N, H, W),
    (N, C, H, W) or (N, H, W, C) of integers or floats, labels (N,) of integers or strings. The last dimension is taken
    for the channels if it is 1, 3 or 4 and the second is not.

    Raises:
        FileNotFoundError: nothing there, or files of the four are missing.
        ValueError: truncated or corrupt files, or arrays that are not images with labels; names the file.
    """
    path = Path(path)
    if path.is_dir():
        files = _idx_files(path)
        return image_set(
            {name: str(file) for name, file in files.items()}, {name: read_idx(file) for name, file in files.items()}
        )
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file or folder")
    arrays = read_npz(path, IDX_NAMES)
    missing = [name for name in ("x", "y") if name not in arrays]
    if missing:
        raise ValueError(f"{path}: expected arrays x and y, {' and '.join(missing)} not found")
    if ("test_x" in arrays) != ("test_y" in arrays):
        raise ValueError(f"{path}: test_x and test_y come together or not at all")
    return image_set({name: f"{path}: {name}" for name in arrays}, arrays)


def image_set(where: dict[str, str], arrays: dict[str, np.ndarray], maximum: float | None = None) -> ImageSet:
    """Check arrays `x`, `y` and perhaps `test_x`, `test_y`, bring them to one form; `where` names them in messages."""
    x = check_images(where["x"], arrays["x"])
    classes, y = check_labels(where["y"], arrays["y"], len(x))
    if len(classes) < 2:
        raise ValueError(f"{where['y']}: all labels are {classes[0]}; at least two classes are needed")
    if maximum is None:
        maximum = 255.0 if x.dtype == np.uint8 else 1.0
    names = tuple(str(name) for name in classes.tolist())
    if "test_x" not in arrays:
        return ImageSet(x, y, names, maximum)
    test_x = check_images(where["test_x"], arrays["test_x"])
    if test_x.shape[1:] != x.shape[1:] or test_x.dtype != x.dtype:
        raise ValueError(
            f"{where['test_x']}: expected images {x.shape[1:]} {x.dtype} as in {where['x']}, "
            f"found {test_x.shape[1:]} {test_x.dtype}"
        )
    test_classes, test_y = check_labels(where["test_y"], arrays["test_y"], len(test_x))
    known = set(classes.tolist())
    unknown = [name for name in test_classes.tolist() if name not in known]
    if unknown:
        raise ValueError(f"{where['test_y']}: classes that the training part lacks: {', '.join(map(str, unknown[:5]))}")
    return ImageSet(x, y, names, maximum, test_x, np.searchsorted(classes, test_classes)[test_y])


def check_images(where: str, x: np.ndarray) -> np.ndarray:
    """Images as (N, C, H, W), uint8 or float32."""
    if x.dtype.kind not in "biuf":
        raise ValueError(f"{where}: expected images of integers or floats, found dtype {x.dtype}")
    if x.ndim not in (3, 4) or 0 in x.shape:
        raise ValueError(f"{where}: expected images (N, H, W) or (N, C, H, W), found shape {x.shape}")
    if x.ndim == 3:
        x = x[:, None]
    elif x.shape[3] in CHANNELS and x.shape[1] not in CHANNELS:
        x = x.transpose(0, 3, 1, 2)
    if x.dtype != np.uint8:
        with np.errstate(over="ignore"):
            x = x.astype(np.float32)
        wrong = ~np.isfinite(x).reshape(len(x), -1).all(axis=1)
        if wrong.any():
            raise ValueError(
                f"{where}: {wrong.sum()} images have NaN or infinite pixels, the first is image {wrong.argmax()}"
            )
    return np.ascontiguousarray(x)


def check_labels(where: str, y: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The sorted classes, and for each label the index of its class."""
    if y.ndim != 1 or len(y) != count:
        raise ValueError(f"{where}: expected one label for each of the {count} images, found shape {y.shape}")
    if y.dtype.kind not in "biuU":
        raise ValueError(f"{where}: expected integers or strings for labels, found dtype {y.dtype}")
    classes, indices = np.unique(y, return_inverse=True)
    return classes, indices.astype(np.int64)


def _idx_files(folder: Path) -> dict[str, Path]:
    found = {}
    for key, name in IDX_NAMES.items():
        spellings = [spelling + end for spelling in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
        files = [folder / spelling for spelling in spellings if (folder / spelling).exists()]
        if files:
            found[key] = files[0]
    needed = IDX_NAMES if "test_x" in found or "test_y" in found else ("x", "y")
    missing = [IDX_NAMES[key] for key in needed if key not in found]
    if missing:
        raise FileNotFoundError(f"{folder}: missing {' and '.join(missing)} (plain or .gz)")
    return found
