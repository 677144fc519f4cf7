"""Weights in safetensors and .npz: round trips, broken files, and writing as a whole or not at all."""

import builtins
import json
import os
import stat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import minidl
from minidl.io import (
    load,
    load_npz,
    load_safetensors,
    read_safetensors,
    save,
    save_npz,
    save_safetensors,
    write_atomically,
)
from minidl.io.tree import pack, unpack

DTYPES = ["f4", "f8", "i1", "i2", "i4", "i8", "u1", "?"]
weights = st.dictionaries(
    st.sampled_from(["layer.0.weight", "file", "b", "allow_pickle"]),
    st.sampled_from(DTYPES).flatmap(lambda dtype: arrays(dtype, array_shapes(min_dims=0, min_side=0))),
    max_size=3,
)
endings = pytest.mark.parametrize("ending", [".safetensors", ".npz"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("io")


@endings
@given(tree=weights, as_tensors=st.booleans())
def test_round_trip(folder, ending, tree, as_tensors):
    save({k: minidl.tensor(v) for k, v in tree.items()} if as_tensors else tree, folder / f"w{ending}")
    back = load(folder / f"w{ending}")
    assert set(back) == set(tree)
    for name, array in tree.items():
        assert isinstance(back[name], minidl.Tensor) and back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name].numpy(), array)


@endings
def test_any_memory_layout(folder, ending):
    a = np.arange(24.0).reshape(2, 3, 4)
    tree = {"t": a.T, "r": a[::-1, :, ::2], "big": a.astype(">f4"), "f": np.asfortranarray(a)}
    save(tree, folder / f"w{ending}")
    for name, tensor in load(folder / f"w{ending}").items():
        np.testing.assert_array_equal(tensor.numpy(), tree[name])
        assert tensor.numpy().flags.writeable


def test_parameters_and_metadata(folder):
    weight = minidl.ones(2, 2, requires_grad=True)
    save_safetensors({"w": weight}, folder / "w.safetensors", {"model": "x", "text": "é\n"})
    tensors, metadata = read_safetensors(folder / "w.safetensors")
    assert metadata == {"model": "x", "text": "é\n"} and not tensors["w"].requires_grad
    save_safetensors({"w": weight}, folder / "w.safetensors")
    assert read_safetensors(folder / "w.safetensors")[1] == {}


def test_half_precision_is_read_as_float32(folder):
    import safetensors.numpy

    safetensors.numpy.save_file({"h": np.array([1, 1e-7, 65504], np.float16)}, folder / "h.safetensors")
    h = load(folder / "h.safetensors")["h"]
    assert h.dtype == np.float32
    np.testing.assert_array_equal(h.numpy(), np.array([1, 1e-7, 65504], np.float16).astype(np.float32))


def test_bfloat16_is_read_as_float32(folder):
    """Its 16 bits are the upper half of a float32's; NumPy has no such dtype."""
    values = np.array([[1, -2.5, 2**-130], [np.inf, np.nan, 3e38]], np.float32)
    bits = (values.view(np.uint32) >> 16).astype("<u2")
    header = {
        "a": {"dtype": "F32", "shape": [1], "data_offsets": [12, 16]},
        "w": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
        "s": {"dtype": "BF16", "shape": [], "data_offsets": [16, 18]},
        "none": {"dtype": "BF16", "shape": [0, 2], "data_offsets": [18, 18]},
        "__metadata__": {"format": "pt"},
    }
    text = json.dumps(header).encode()
    content = bits.tobytes() + np.array([7], "<f4").tobytes() + bits[0, 1:2].tobytes()
    path = folder / "b.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)
    tensors, metadata = read_safetensors(path)
    assert metadata == {"format": "pt"} and {t.dtype for t in tensors.values()} == {np.dtype("f4")}
    np.testing.assert_array_equal(tensors["w"].numpy(), (bits.astype(np.uint32) << 16).view(np.float32))
    np.testing.assert_array_equal(tensors["w"].numpy()[0, :2], [1, -2.5])
    assert tensors["s"].item() == -2.5 and tensors["a"].item() == 7 and tensors["none"].shape == (0, 2)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"b\.safetensors"):
        load(path)


def test_dtypes_that_minidl_lacks_are_named(folder):
    header = json.dumps({"w": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}).encode()
    (folder / "b.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(2))
    with pytest.raises(ValueError, match=r"b\.safetensors: w: dtype F8_E4M3 is not supported"):
        load(folder / "b.safetensors")
    np.savez(folder / "c.npz", c=np.ones(2, complex))
    with pytest.raises(ValueError, match=r"c\.npz: c: .*complex128"):
        load(folder / "c.npz")
    np.savez(folder / "s.npz", s=np.array(["a"]))
    with pytest.raises(ValueError, match=r"s\.npz: s: "):
        load(folder / "s.npz")


def test_arrays_beside_others_are_read_by_their_names(folder):
    np.savez(
        folder / "m.npz", w=np.ones(2, np.float16), b=np.zeros(1), meta=np.array({"rate": 16000}), s=np.array(["a"])
    )
    with pytest.raises(ValueError, match=r"'meta'.*pickled.*`names` asks for some of \['b', 'meta', 's', 'w'\]"):
        load_npz(folder / "m.npz")
    tensors = load_npz(folder / "m.npz", names=("w", "b", "none"))
    assert list(tensors) == ["w", "b"] and tensors["w"].dtype == np.float32
    with pytest.raises(ValueError, match="pickled"):
        load_npz(folder / "m.npz", names=["meta"])


@endings
@given(data=st.data())
def test_cut_or_changed(folder, ending, data):
    tree = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(4)}
    save(tree, folder / f"whole{ending}")
    content = bytearray((folder / f"whole{ending}").read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    cut = data.draw(st.booleans())
    if cut:
        del content[place:]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    broken = folder / f"broken{ending}"
    broken.write_bytes(content)
    try:
        back = load(broken)
    except ValueError as error:
        assert str(broken) in str(error)
    else:
        assert not cut and sum(t._array.nbytes for t in back.values()) <= len(content)


@given(content=st.binary(max_size=300))
@endings
def test_any_bytes(folder, ending, content):
    path = folder / f"any{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="any") as error:
        load(path)
    assert "\n" not in str(error.value)


@endings
def test_refusals(folder, ending):
    for tree in ({1: np.ones(2)}, {"a": "text"}, {"a": np.array([object()])}, {"a": 1j}):
        with pytest.raises(TypeError):
            save(tree, folder / f"no{ending}")
    assert not (folder / f"no{ending}").exists()
    with pytest.raises(FileNotFoundError, match="no such file"):
        load(folder / f"missing{ending}")
    with pytest.raises(ValueError, match="a folder"):
        (load_npz if ending == ".npz" else load_safetensors)(folder)
    with pytest.raises(FileNotFoundError):
        save({}, folder / "missing" / f"w{ending}")


def test_other_endings_and_metadata(folder):
    for operation in (lambda: save({}, "w.pt"), lambda: load("w.txt")):
        with pytest.raises(ValueError, match=r"expected a name ending in \.safetensors or \.npz"):
            operation()
    with pytest.raises(TypeError, match="metadata must be strings"):
        save_safetensors({}, folder / "w.safetensors", {"epoch": 3})


def test_without_the_package(folder, monkeypatch):
    real = builtins.__import__

    def no_safetensors(name, *args, **kwargs):
        if name.startswith("safetensors"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_safetensors)
    with pytest.raises(ImportError, match="pip install safetensors"):
        save_safetensors({}, folder / "w.safetensors")
    save_npz({"a": np.ones(2)}, folder / "w.npz")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    for name in ("fsync", "replace"):
        for error in (OSError("disk full"), KeyboardInterrupt()):
            with monkeypatch.context() as patch:

                def fail(*args, error=error):
                    raise error

                patch.setattr(os, name, fail)
                with pytest.raises(type(error)):
                    write_atomically(path, b"new")
            assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_permissions_are_those_of_any_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write_atomically(tmp_path / "file", b"")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode
    os.chmod(tmp_path / "file", 0o600)
    write_atomically(tmp_path / "file", b"")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
trees = st.recursive(
    leaves,
    lambda t: (
        st.lists(t, max_size=3)
        | st.lists(t, max_size=3).map(tuple)
        | st.dictionaries(st.integers(0, 9) | st.text(max_size=3), t, max_size=3)
    ),
)


@given(trees)
def test_trees_survive_json(tree):
    assert unpack(json.loads(json.dumps(pack(tree, {}, "t"))), {}) == tree


def test_trees_with_arrays():
    tree = {"state": {0: {"m": minidl.ones(2), "step": 3}, 1: {"m": np.zeros((1, 2))}}, "lr": np.float64(0.1)}
    arrays_found = {}
    packed = json.loads(json.dumps(pack(tree, arrays_found, "opt")))
    assert list(arrays_found) == ["opt.state.0.m", "opt.state.1.m"]
    back = unpack(packed, arrays_found)
    assert back["state"][0]["step"] == 3 and back["lr"] == 0.1
    assert back["state"][0]["m"].shape == (2,) and back["state"][1]["m"].shape == (1, 2)
    with pytest.raises(TypeError, match=r"opt\.x: cannot store a set"):
        pack({"x": set()}, {}, "opt")
