"""Transforms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl.data import Compose, Enlarge, Normalize, RandomCrop, RandomHorizontalFlip, ToFloat, Transform

IMAGES = np.random.default_rng(0).normal(size=(40, 2, 5, 4)).astype(np.float32)


def gen(seed=0):
    return minidl.Generator().manual_seed(seed)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2), st.integers(0, 3))
def test_crops_are_windows_of_the_padded_image(height, width, padding, seed):
    crops = RandomCrop((height, width), padding, fill=9, generator=gen(seed))(IMAGES)
    assert crops.shape == (40, 2, height, width) and crops.dtype == np.float32
    padded = np.pad(IMAGES, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=9)
    rows, columns = padded.shape[2] - height + 1, padded.shape[3] - width + 1
    for crop, image in zip(crops, padded, strict=True):
        places = [(i, j) for i in range(rows) for j in range(columns)]
        assert any(np.array_equal(crop, image[:, i : i + height, j : j + width]) for i, j in places)
    np.testing.assert_array_equal(crops, RandomCrop((height, width), padding, 9, gen(seed))(IMAGES))


def test_crops_reach_every_place():
    images = np.arange(9.0).reshape(1, 1, 3, 3).repeat(200, axis=0)
    assert set(RandomCrop(1, generator=gen())(images).ravel()) == set(range(9))


def test_flip():
    flipped = RandomHorizontalFlip(0.5, gen())(IMAGES)
    mirrored = np.array([np.array_equal(f, i[..., ::-1]) for f, i in zip(flipped, IMAGES, strict=True)])
    same = np.array([np.array_equal(f, i) for f, i in zip(flipped, IMAGES, strict=True)])
    assert (mirrored ^ same).all() and 8 < mirrored.sum() < 32
    np.testing.assert_array_equal(RandomHorizontalFlip(1.0)(IMAGES), IMAGES[..., ::-1])
    np.testing.assert_array_equal(RandomHorizontalFlip(0.0)(IMAGES), IMAGES)


def test_one_image_batches_tensors_and_arrays():
    double = Enlarge(2)
    assert double(IMAGES).shape == (40, 2, 10, 8) and double(IMAGES[0]).shape == (2, 10, 8)
    np.testing.assert_array_equal(double(IMAGES)[:, :, 1::2, ::2], IMAGES)
    assert isinstance(double(minidl.from_numpy(IMAGES)), minidl.Tensor)
    before = IMAGES.copy()
    Compose([ToFloat(2), Normalize([1, 2], [3, 4]), RandomCrop(4, 1), RandomHorizontalFlip(1.0)])(IMAGES)
    np.testing.assert_array_equal(IMAGES, before)


def test_normalize():
    out = Normalize([1, 2], [2, 4])(IMAGES)
    np.testing.assert_allclose(out[:, 1], (IMAGES[:, 1] - 2) / 4, rtol=1e-6)
    assert out.dtype == np.float32 and Normalize(0, 1)(IMAGES.astype(np.float64)).dtype == np.float64


def test_refusals():
    with pytest.raises(TypeError, match=r"Normalize: .*uint8.*ToFloat"):
        Normalize(0, 1)(IMAGES.astype(np.uint8))
    with pytest.raises(ValueError, match="mean has 3 channels, but the images 2"):
        Normalize([1, 2, 3], 1)(IMAGES)
    with pytest.raises(ValueError, match="std must be positive"):
        Normalize(0, [1, 0])
    with pytest.raises(ValueError, match=r"RandomCrop: size \(6, 6\) is larger than the padded image \(5, 4\)"):
        RandomCrop(6)(IMAGES)
    with pytest.raises(ValueError, match="padding=-1"):
        RandomCrop(6, -1)
    with pytest.raises(ValueError, match=r"expects an image \(C, H, W\)"):
        Enlarge(2)(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="between 0 and 1"):
        RandomHorizontalFlip(1.5)
    with pytest.raises(ValueError, match="factor"):
        Enlarge(0)
    with pytest.raises(ValueError, match="maximum"):
        ToFloat(0)
    with pytest.raises(TypeError, match="Generator"):
        RandomCrop(2, generator=3)(IMAGES)
    with pytest.raises(NotImplementedError, match="apply"):
        Transform()(IMAGES)
