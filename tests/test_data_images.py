"""Image folders, .npz files with images, the bundled digits, and the held-out part."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.data import load_digits, load_images, stratified, write_idx

rng = np.random.default_rng(0)
X = rng.integers(0, 256, (20, 6, 5)).astype(np.uint8)
Y = (np.arange(20) % 2).astype(np.uint8)


def save(path, **arrays):
    np.savez(path / "data.npz", **{"x": X, "y": Y} | arrays)
    return path / "data.npz"


def test_digits():
    digits = load_digits()
    assert digits.x.shape == (1797, 1, 8, 8) and digits.x.dtype == np.uint8 and digits.x.max() == digits.maximum == 16
    assert digits.y.dtype == np.int64 and digits.classes == tuple("0123456789")
    assert np.bincount(digits.y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


@pytest.mark.parametrize("dot", [False, True])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_mnist_folder(tmp_path, dot, end):
    for part, n in (("train", 20), ("t10k", 5)):
        for kind, array in (("images-idx3", X), ("labels-idx1", Y)):
            name = f"{part}-{kind}-ubyte{end}"
            write_idx(tmp_path / (name.replace("-idx", ".idx") if dot else name), array[:n])
    images = load_images(tmp_path)
    np.testing.assert_array_equal(images.x, X[:, None])
    np.testing.assert_array_equal(images.y, Y)
    assert len(images.test_x) == len(images.test_y) == 5 and images.classes == ("0", "1") and images.maximum == 255
    assert images.split() is images


def test_mnist_folder_without_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing train-images-idx3-ubyte and train-labels-idx1-ubyte"):
        load_images(tmp_path)
    write_idx(tmp_path / "train-images-idx3-ubyte", X)
    write_idx(tmp_path / "train-labels-idx1-ubyte", Y)
    assert load_images(tmp_path).test_x is None
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", Y)
    with pytest.raises(FileNotFoundError, match="missing t10k-images-idx3-ubyte"):
        load_images(tmp_path)
    write_idx(tmp_path / "t10k-images-idx3-ubyte", X[:, :5])
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte: expected images"):
        load_images(tmp_path)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((20, 6, 5), (20, 1, 6, 5)),
        ((20, 6, 5, 3), (20, 3, 6, 5)),
        ((20, 6, 5, 1), (20, 1, 6, 5)),
        ((20, 3, 6, 5), (20, 3, 6, 5)),
        ((20, 2, 6, 5), (20, 2, 6, 5)),
        ((20, 3, 6, 4), (20, 3, 6, 4)),
    ],
)
def test_npz_shapes(tmp_path, shape, expected):
    x = rng.integers(0, 256, shape).astype(np.uint8)
    images = load_images(save(tmp_path, x=x))
    assert images.x.shape == expected and images.x.flags.c_contiguous
    if expected != shape and len(shape) == 4:
        np.testing.assert_array_equal(images.x[3, :, 2, 1], x[3, 2, 1])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, np.bool_])
def test_npz_dtypes(tmp_path, dtype):
    images = load_images(save(tmp_path, x=(X % 2).astype(dtype)))
    assert images.x.dtype == np.float32
    np.testing.assert_array_equal(images.x[:, 0], X % 2)


def test_npz_string_labels_and_test_part(tmp_path):
    names = np.array(["cat", "dog", "a bird"])
    images = load_images(save(tmp_path, y=names[np.arange(20) % 3], test_x=X[:4], test_y=names[[2, 2, 1, 1]]))
    assert images.classes == ("a bird", "cat", "dog")
    assert images.y[:4].tolist() == [1, 2, 0, 1] and images.test_y.tolist() == [0, 0, 2, 2]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X[0]}, r"x: expected images .* found shape \(6, 5\)"),
        ({"x": X[:0], "y": Y[:0]}, r"x: expected images .* found shape \(0, 6, 5\)"),
        ({"x": X.astype(str)}, "x: expected images of integers or floats, found dtype"),
        ({"x": X.astype(complex)}, "complex128"),
        ({"x": X.astype(object)}, "pickled"),
        ({"x": np.where(np.arange(20)[:, None, None] == 7, np.nan, X)}, "1 images .* the first is image 7"),
        ({"x": np.full((20, 6, 5), 1e300)}, "infinite"),
        ({"y": Y[:-1]}, r"y: expected one label for each of the 20 images, found shape \(19,\)"),
        ({"y": np.eye(2)[Y]}, r"found shape \(20, 2\)"),
        ({"y": Y.astype(float)}, "y: expected integers or strings for labels, found dtype float64"),
        ({"y": Y * 0}, "y: all labels are 0; at least two classes"),
        ({"test_x": X}, "test_x and test_y come together"),
        ({"test_x": X[:, :4], "test_y": Y}, r"test_x: expected images \(1, 6, 5\)"),
        ({"test_x": X, "test_y": Y + 1}, "test_y: classes that the training part lacks: 2"),
    ],
)
def test_npz_errors(tmp_path, arrays, message):
    path = save(tmp_path, **arrays)
    with pytest.raises(ValueError, match=message) as error:
        load_images(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_npz_without_labels(tmp_path):
    np.savez(tmp_path / "data.npz", x=X)
    with pytest.raises(ValueError, match="expected arrays x and y, y not found"):
        load_images(tmp_path / "data.npz")
    with pytest.raises(FileNotFoundError):
        load_images(tmp_path / "nothing")


@given(st.lists(st.integers(0, 60), min_size=1, max_size=5), st.integers(0, 5))
def test_stratified(counts, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    chosen = stratified(labels, 0.2, seed)
    np.testing.assert_array_equal(np.bincount(labels[chosen], minlength=len(counts)), [round(n / 5) for n in counts])
    np.testing.assert_array_equal(chosen, stratified(labels, 0.2, seed))


def test_split():
    digits = load_digits()
    split = digits.split(seed=3)
    assert len(split.x) + len(split.test_x) == 1797 and len(split.test_x) == len(split.test_y) == 359
    together = np.concatenate([split.x, split.test_x]).reshape(1797, -1)
    assert sorted(map(bytes, together)) == sorted(map(bytes, digits.x.reshape(1797, -1)))
    assert digits.split(seed=3).digest() == split.digest() != digits.split(seed=4).digest()


def test_too_few_to_split(tmp_path):
    with pytest.raises(ValueError, match="too few images to hold some out: 4 in 2 classes"):
        load_images(save(tmp_path, x=X[:4], y=Y[:4])).split()
