"""IDX and .npz: whatever the bytes are, the data or a ValueError, and no allocation beyond the file."""

import gzip
import io
import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch_files import overlapping

from minidl.data import read_idx, read_npz, write_idx

IDX_DTYPES = ["u1", "i1", "i2", "i4", "f4", "f8"]
values = st.sampled_from(IDX_DTYPES).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_side=0, max_dims=4, max_side=6))
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "array-idx"


def read_or_none(reader, path, content):
    """What the reader makes of some bytes; None for a ValueError, which must name the file. Anything else is a bug."""
    path.write_bytes(content)
    try:
        return reader(path)
    except ValueError as error:
        assert str(path) in str(error)
        return None


@given(values, st.booleans())
def test_idx_round_trip(path, array, packed):
    file = path.with_name("round.gz" if packed else "round")
    write_idx(file, array)
    back = read_idx(file)
    assert back.dtype == array.dtype and back.dtype.isnative and back.flags.writeable
    np.testing.assert_array_equal(back, array)


def test_idx_layout(path):
    path.write_bytes(bytes([0, 0, 0x0B, 2, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 0xFF, 0xFE]))
    np.testing.assert_array_equal(read_idx(path), np.array([[258, -2]], np.int16))


def test_idx_goes_by_content_not_by_name(path):
    write_idx(path.with_name("packed.gz"), np.arange(3, dtype=np.int32))
    path.write_bytes(path.with_name("packed.gz").read_bytes())
    np.testing.assert_array_equal(read_idx(path), [0, 1, 2])


@given(values, st.booleans(), st.data())
def test_idx_truncated(path, array, packed, data):
    write_idx(path.with_name("whole.gz" if packed else "whole"), array)
    content = path.with_name("whole.gz" if packed else "whole").read_bytes()
    cut = data.draw(st.integers(0, len(content) - 1))
    assert read_or_none(read_idx, path, content[:cut]) is None


@given(values, st.data())
def test_idx_with_a_changed_byte(path, array, data):
    write_idx(path.with_name("whole"), array)
    content = bytearray(path.with_name("whole").read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    back = read_or_none(read_idx, path, bytes(content))
    if back is not None:  # a value, or another type of the same size: then it must be what the file now says
        write_idx(path.with_name("again"), back)
        assert path.with_name("again").read_bytes() == content


@given(values, st.data())
def test_gzip_with_a_changed_byte(path, array, data):
    write_idx(path.with_name("whole.gz"), array)
    content = bytearray(path.with_name("whole.gz").read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    back = read_or_none(read_idx, path, bytes(content))
    if back is not None:
        np.testing.assert_array_equal(back, array)


@given(st.binary(max_size=200), st.booleans())
def test_idx_of_any_bytes(path, content, packed):
    read_or_none(read_idx, path, gzip.compress(content, mtime=0) if packed else content)


def header(*shape):
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "at least 4 bytes, found 0"),
        (b"\x89PNG", "not an IDX file.*found 89 50 4e 47"),
        (bytes([0, 0, 8, 0]), "at least 1 dimension"),
        (bytes([0, 0, 0x0A, 1, 0, 0, 0, 0]), "not an IDX file"),
        (header(2, 3)[:-1], "announces 2 dimensions, 8 bytes, of which 7"),
        (header(2, 3) + bytes(5), r"truncated.*uint8 \(2, 3\), so 18 bytes are expected, but the file has 17"),
        (header(2, 3) + bytes(7), "too long"),
        (header(2**32 - 1, 2**32 - 1) + bytes(9), "truncated"),
        (header(*[0] * 65), "65 dimensions"),
        (header(0, 2**32 - 1, 2**32 - 1), "no array of shape"),
        (gzip.compress(header(2, 3) + bytes(5), mtime=0), "6 bytes of values; there are only 5"),
        (gzip.compress(header(2, 3) + bytes(7), mtime=0), "there are more"),
        (gzip.compress(header(2**32 - 1), mtime=0), "cannot hold"),
        (gzip.compress(header(3) + bytes(3), mtime=0)[:-4], "truncated: the gzip stream"),
        (gzip.compress(header(3) + bytes(3), mtime=0) + b"x", "corrupt gzip stream"),
    ],
)
def test_idx_errors(path, content, message):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_idx(path)
    assert str(path) in str(error.value)


def test_idx_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_idx(tmp_path / "nothing")
    with pytest.raises(ValueError, match="a folder"):
        read_idx(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="no regular file"):
        read_idx(tmp_path / "pipe")


def test_write_idx_refuses():
    with pytest.raises(TypeError, match="no type for int64"):
        write_idx("nowhere", np.zeros(3, np.int64))
    with pytest.raises(ValueError, match="1 to 255 dimensions"):
        write_idx("nowhere", np.uint8(3))


def test_bombs_are_refused_before_anything_is_allocated(path):
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb") as file:
        file.write(header(1 << 27))
        for _ in range(128):
            file.write(bytes(1 << 20))
    path.write_bytes(bomb.getvalue())
    npz = path.with_name("bomb.npz")
    np.savez_compressed(npz, x=np.zeros(1 << 27, np.uint8))
    tracemalloc.start()
    try:
        for reader, file in ((read_idx, path), (read_npz, npz)):
            with pytest.raises(ValueError, match=f"{file.name}.*refused.*more than 200 times"):
                reader(file)
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


# .npz

any_array = st.sampled_from(["u1", "f4", ">f8", "?", "U3"]).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_side=0, min_dims=0))
)
npz_arrays = st.dictionaries(st.sampled_from(["x", "y", "test_x"]), any_array, min_size=1, max_size=2)


@given(npz_arrays, st.booleans())
def test_npz_round_trip(path, tree, packed):
    file = path.with_name("round.npz")
    (np.savez_compressed if packed else np.savez)(file, **tree)
    back = read_npz(file)
    assert list(back) == list(tree)
    for name, array in tree.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype.isnative and back[name].flags.writeable


@settings(max_examples=200)
@given(npz_arrays, st.booleans(), st.data())
def test_npz_cut_or_changed(path, tree, packed, data):
    content = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(content, **tree)
    broken = bytearray(content.getvalue())
    place = data.draw(st.integers(0, len(broken) - 1))
    if data.draw(st.booleans()):
        del broken[place:]
    else:
        broken[place] ^= data.draw(st.integers(1, 255))
    back = read_or_none(read_npz, path, bytes(broken))
    for name, array in (back or {}).items():  # a name may have changed; the values are guarded by checksums
        if name in tree:
            np.testing.assert_array_equal(array, tree[name])


def test_npz_arrays_that_lie_over_each_other(path):
    """Each is an array of the bytes of all that follow it."""
    names = [f"{i:02}.npy" for i in range(20)]

    def wrapped(content):
        return npy("|u1", (len(content),), content)

    overlapping(path, names[:1], bytes(1000), {}, wrapped)
    assert read_npz(path)["00"].shape == (1000,)
    overlapping(path, names, bytes(1000), {}, wrapped)
    with pytest.raises(ValueError, match=r"lie over each other|[Oo]verlap"):
        read_npz(path)


@given(st.binary(max_size=200))
def test_npz_of_any_bytes(path, content):
    assert read_or_none(read_npz, path, content) is None


def npy(descr, shape, values=b""):
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": descr, "fortran_order": False, "shape": shape})
    return content.getvalue() + values


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy("|O", (1,), b"cos\nsystem\n(S'true'\ntR."), "pickled Python objects"),
        (npy("<f4", (10**15,)), "4000000000000000 bytes, but 0 are there"),
        (npy("<f4", (2,), bytes(9)), "8 bytes, but 9 are there"),
        (npy("<f4", (-1,), bytes(4)), "shape"),
        (npy("<M8[s]", (1,), bytes(8)), "expected numbers or strings"),
        (npy([("a", "<f4")], (1,), bytes(4)), "expected numbers or strings"),
        (b"\x93NUMPY\x09\x00" + bytes(20), "version"),
        (b"not an array", "corrupt"),
        (b"\x93NUMPY\x01\x00" + (9000).to_bytes(2, "little") + b"(" * 9000, "corrupt header"),
        (b"\x93NUMPY\x01\x00\x04\x00[1]\n", "corrupt header"),
    ],
)
def test_npz_member_errors(path, content, message):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(ValueError, match=message) as error:
        read_npz(path)
    assert str(path) in str(error.value)


def test_npz_reads_only_what_is_asked_for(path):
    np.savez(path.with_name("some.npz"), x=np.arange(3), other=np.array([object()]))
    assert list(read_npz(path.with_name("some.npz"), ["x", "y"])) == ["x"]


def test_npz_encrypted_or_of_another_method(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("x.npy", npy("<f4", (1,), bytes(4)))
    with pytest.raises(ValueError, match="only plain and deflated"):
        read_npz(path)
