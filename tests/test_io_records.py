"""What checkpoints hold beside tensors, and whole models and programs told of without running them."""

import argparse
import io
import pickle
import struct
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pathlib import PurePosixPath, PureWindowsPath
from types import SimpleNamespace

import numpy as np
import pytest
from torch_files import VALUES, Call, Global, chained, pickled, tensor, zipped

import minidl
from minidl import nn
from minidl.io import Record, load, load_pickle, load_torch, tensors_of
from minidl.io.torch_file import MAGIC

both = pytest.mark.parametrize("write", [zipped, chained])


@both
def test_what_checkpoints_hold_beside_tensors(tmp_path, write):
    saved = {
        "args": argparse.Namespace(hidden=3, weights=[tensor()]),
        "more": SimpleNamespace(a=1),
        "best": Counter(a=2, b=1),
        "state": defaultdict(dict, {0: {"step": 7}}),
        "shape": frozenset({1, 2}),
        "raw": bytearray(b"ab\xff"),
        "z": 1 - 2j,
        "where": PurePosixPath("/data/run"),
        "there": PureWindowsPath("c:/data"),
        "kind": Global("torch", "float16"),
    }
    loaded = load(write(tmp_path / "a.pt", saved, {"0": VALUES.tobytes()}))
    args = loaded.pop("args")
    assert args.hidden == 3
    np.testing.assert_array_equal(args.weights[0].numpy(), VALUES.reshape(2, 3))
    assert loaded == {
        "more": SimpleNamespace(a=1), "best": {"a": 2, "b": 1}, "state": {0: {"step": 7}}, "shape": {1, 2},
        "raw": b"ab\xff", "z": 1 - 2j, "where": "/data/run", "there": "c:\\data", "kind": "float16",
    }  # fmt: skip


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_protocols(tmp_path, protocol):
    """Each has instructions of its own: for objects, for bytes, for sets."""
    saved = {
        "args": argparse.Namespace(a=1),
        "b": bytearray(b"x"),
        "c": b"y\xff",
        "s": {1},
        "f": frozenset({2}),
        "z": 1j,
    }
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps(saved, protocol))
    loaded = load(tmp_path / "a.pt")
    assert vars(loaded.pop("args")) == {"a": 1}
    assert loaded == {key: saved[key] for key in "bcsfz"}


def test_attributes_of_a_namespace_are_values(tmp_path):
    saved = argparse.Namespace()
    vars(saved).update({"__class__": 1, "__dict__": 2, "self": 3})
    loaded = load(zipped(tmp_path / "a.pt", {"args": saved}, {}))["args"]
    assert type(loaded) is SimpleNamespace and vars(loaded) == {"__class__": 1, "__dict__": 2, "self": 3}


class Told:
    """An object of a class that no reader knows."""

    def __init__(self, **attributes):
        vars(self).update(attributes)


@both
def test_unknown_objects_are_refused_by_name_or_told_of(tmp_path, write):
    inner = Told(w=tensor(), words=["a"])
    path = write(tmp_path / "a.pt", {"model": Told(inner=inner, n=2), "again": inner}, {"0": VALUES.tobytes()})
    with pytest.raises(ValueError, match=r"asks for .*Told.*refused; .*state_dict\(\).*records=True"):
        load_torch(path)
    found = load_torch(path, records=True)
    assert type(found["model"]) is Record and found["model"].name.endswith(".Told")
    assert found["model"].attributes["inner"] is found["again"]
    assert found["again"].attributes["words"] == ["a"]
    assert list(tensors_of(found)) == ["model.inner.w", "again.w"]
    np.testing.assert_array_equal(tensors_of(found["model"])["inner.w"].numpy(), VALUES.reshape(2, 3))


def test_calls_items_and_slots_are_told_of_and_nothing_is_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    class Listed(list):
        def __reduce__(self):
            return Call, (1,), (None, {"slot": 5}), iter([2, 3]), iter([("k", 4)])

    touch = Call(Global("os", "system"), "touch executed")
    found = load_torch(zipped(tmp_path / "a.pt", [touch, Listed()], {}), records=True)
    assert (found[0].name, found[0].args) == ("os.system", ("touch executed",))
    assert not (tmp_path / "executed").exists()
    assert found[1].args == (1,)
    assert (found[1].attributes, found[1].items) == ({"slot": 5}, [2, 3, ("k", 4)])


def test_objects_that_contain_themselves(tmp_path):
    model = Told(w=tensor())
    model.me, model.child = model, Told(parent=model)
    found = load_torch(zipped(tmp_path / "a.pt", model, {"0": VALUES.tobytes()}), records=True)
    assert found.attributes["me"] is found and found.attributes["child"].attributes["parent"] is found
    assert list(tensors_of(found)) == ["w"]


def test_tensors_of_few_bytes_that_mean_much():
    laughs = {"w": minidl.ones(1)}
    for _ in range(64):
        laughs = {"a": laughs, "b": laughs}
    with pytest.raises(ValueError, match="more than"):
        tensors_of(laughs)
    empty = {}
    for _ in range(64):
        empty = {"a": empty, "b": empty}
    assert tensors_of(empty) == {}
    assert list(tensors_of({"a": {1: minidl.ones(1)}, "b": [minidl.ones(1)]})) == ["a.1"]
    odd = Record("Net")
    odd.attributes = {"_parameters": {"w": minidl.ones(1)}, "_buffers": {}, "_modules": {}}
    odd.attributes["_non_persistent_buffers_set"] = Record("set")
    assert list(tensors_of(odd)) == ["w"]


class Program(Told):
    """As TorchScript writes them: a class without arguments, and a dict of its attributes."""

    def __reduce__(self):
        return Call(Global("__torch__.net", "Net")), (), vars(self)


def test_programs_by_hand(tmp_path):
    build = Global("torch.jit._pickle", "build_tensorlist")
    lstm = Call(Global("torch.jit._pickle", "restore_type_tag"), [1, 2], "List[int]")
    path = tmp_path / "a.pt"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        written = pickled({"sizes": lstm, "flat": Call(build, [tensor()]), "w": tensor()})
        program = b"\x80\x02c__torch__.net\nNet\n)\x81" + written[2:-1] + b"b."
        archive.writestr("a/data.pkl", program)
        archive.writestr("a/data/0", VALUES.tobytes())
        archive.writestr("a/constants.pkl", pickled(()))
        archive.writestr("a/code/__torch__/net.py", "def forward" * 99, zipfile.ZIP_DEFLATED)
    path.write_bytes(content.getvalue())
    with pytest.raises(ValueError, match=r"TorchScript program.*refused.*torch\.jit\.load.*records=True.*tensors_of"):
        load(path)
    found = load_torch(path, records=True)
    assert (found.name, found.attributes["sizes"]) == ("__torch__.net.Net", [1, 2])
    assert list(tensors_of(found)) == ["w"]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("p/.data/ts_code/0/data.pkl", program)
    with pytest.raises(ValueError, match=r"torch\.package.*refused"):
        load(path)


@pytest.mark.parametrize("new", [True, False])
def test_whole_modules_of_pytorch(tmp_path, new):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.ModuleDict({"rnn": torch.nn.GRU(3, 4, bidirectional=True), "norm": torch.nn.BatchNorm1d(8)})
    theirs["norm"].register_buffer("scratch", torch.ones(2), persistent=False)
    theirs["again"] = theirs["norm"]
    torch.save(theirs, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
    with pytest.raises(ValueError, match=r"asks for torch\.nn\.modules\.container\.ModuleDict.*refused.*records=True"):
        load(tmp_path / "a.pt")
    found = tensors_of(load_torch(tmp_path / "a.pt", records=True))
    expected = theirs.state_dict()
    assert set(found) == set(expected)
    for name in expected:
        np.testing.assert_array_equal(found[name].numpy(), expected[name].numpy())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_programs_of_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Sequential(torch.nn.BatchNorm1d(4), torch.nn.Tanh()))
    torch.jit.trace(theirs.eval(), torch.ones(2, 3)).save(tmp_path / "a.pt")
    with pytest.raises(ValueError, match="TorchScript program"):
        load(tmp_path / "a.pt")
    ours = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.BatchNorm1d(4), nn.Tanh()))
    ours.load_state_dict(tensors_of(load_torch(tmp_path / "a.pt", records=True)))
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    expected = theirs(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(ours.eval()(minidl.tensor(x)).detach().numpy(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("new", [True, False])
def test_tensors_with_attributes_and_other_dtypes(tmp_path, new):
    torch = pytest.importorskip("torch")
    tensor, parameter = torch.arange(3.0), torch.nn.Parameter(torch.ones(2))
    tensor.note, parameter.note = "a", "b"
    saved = {"t": tensor, "p": parameter, "o": OrderedDict(b=torch.nn.Buffer(torch.zeros(1)))}
    torch.save(saved, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
    loaded = load(tmp_path / "a.pt")
    np.testing.assert_array_equal(loaded["t"].numpy(), [0, 1, 2])
    np.testing.assert_array_equal(loaded["p"].numpy(), [1, 1])
    np.testing.assert_array_equal(loaded["o"]["b"].numpy(), [0])
    for dtype in ("uint16", "complex64", "float8_e5m2"):
        torch.save(torch.zeros(2, dtype=getattr(torch, dtype)), tmp_path / "a.pt", _use_new_zipfile_serialization=new)
        with pytest.raises(ValueError, match=rf"{dtype}.*refused|ComplexFloatStorage.*refused"):
            load(tmp_path / "a.pt")


def test_a_tensor_of_a_type_is_made_by_the_two_functions_only(tmp_path):
    again = Global("torch._tensor", "_rebuild_from_type_v2")
    with pytest.raises(ValueError, match="a tensor that cannot be"):
        load(zipped(tmp_path / "a.pt", Call(again, Global("torch", "Size"), Global("torch", "Tensor"), ([1],), {}), {}))


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"<!DOCTYPE html>", "web page"),
        (b"\x1f\x8b\x08", "gzip"),
        ((99).to_bytes(8, "little") + b'{"w":', "load_safetensors"),
    ],
)
def test_other_files_are_named(tmp_path, start, kind):
    (tmp_path / "a.pt").write_bytes(start + bytes(99))
    with pytest.raises(ValueError, match=rf"a\.pt: it is .*{kind}"):
        load(tmp_path / "a.pt")


def test_names_of_files(tmp_path):
    for name in ("best.pth.tar", "a.th", "a.ckpt"):
        assert load(zipped(tmp_path / name, {"epoch": 3}, {})) == {"epoch": 3}
    path = zipped(tmp_path / "weights", {"epoch": 3}, {})
    with pytest.raises(ValueError, match="load_torch reads PyTorch's files of any name"):
        load(path)
    assert load_torch(path) == {"epoch": 3}


def test_where_a_state_fits():
    layer = nn.Linear(2, 3)
    state = layer.state_dict()
    with pytest.raises(RuntimeError, match=r"its 'model' has all of these keys: load that"):
        layer.load_state_dict({"epoch": 3, "model": state})
    with pytest.raises(RuntimeError, match=r"behind 'module\.': take that off, key\.removeprefix\('module\.'\)"):
        layer.load_state_dict({f"module.{key}": value for key, value in state.items()} | {"module.more": 1})
    with pytest.raises(RuntimeError) as raised:
        layer.load_state_dict({"module.weight": state["weight"], "bias": state["bias"]})
    assert "removeprefix" not in str(raised.value)


def test_batch_norm_of_old_files_has_no_count():
    layer, new = nn.Sequential(nn.BatchNorm1d(2)), nn.Sequential(nn.BatchNorm1d(2))
    state = {key: value for key, value in new.state_dict().items() if "num_batches" not in key}
    layer(minidl.randn(3, 2))
    assert layer.load_state_dict(state).missing_keys == []
    assert layer[0].num_batches_tracked.item() == 1 and (layer[0].running_mean == 0).all()
    with pytest.raises(RuntimeError, match=r"missing keys: 0\.running_var$"):
        layer.load_state_dict({key: value for key, value in state.items() if "var" not in key})


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_plain_pickles(tmp_path, protocol):
    saved = {"w": np.arange(6, dtype=np.float32).reshape(2, 3).T, "best": np.float64(0.5), "words": ["a", ("b", 1)]}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(saved, protocol))
    loaded = load_pickle(tmp_path / "a.pkl")
    np.testing.assert_array_equal(loaded.pop("w").numpy(), saved.pop("w"))
    assert loaded == saved
    with pytest.raises(ValueError, match="load_pickle reads other pickles"):
        load_torch(tmp_path / "a.pkl")
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(saved, protocol) + b"x")
    with pytest.raises(ValueError, match=r"not a pickle.*more follows"):
        load_pickle(tmp_path / "b.pkl")
    (tmp_path / "c.pkl").write_bytes(pickle.dumps({"a": Told(w=np.ones(2)), "f": np.sum}, protocol))
    with pytest.raises(ValueError, match=r"asks for .*Told.*refused"):
        load_pickle(tmp_path / "c.pkl")
    assert list(tensors_of(load_pickle(tmp_path / "c.pkl", records=True))) == ["a.w"]


def test_arrays_of_python_2(tmp_path):
    """There a string was bytes: of an array, too, and these may or may not be a text."""
    for values in (np.zeros(2, np.float32), np.array([1.5, -2], np.float32)):
        content = values.tobytes()
        string = pickle.BINSTRING + struct.pack("<i", len(content)) + content
        kind = b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        (tmp_path / "a.pkl").write_bytes(b"\x80\x02" + array + b"(K\x01K\x02\x85" + kind + b"\x89" + string + b"tb.")
        np.testing.assert_array_equal(load_pickle(tmp_path / "a.pkl").numpy(), values)


def test_tensors_in_a_plain_pickle_have_no_values(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickled({"w": tensor()}))
    with pytest.raises(ValueError, match="no storage 0"):
        load_pickle(tmp_path / "a.pkl")
    (tmp_path / "b.pkl").write_bytes(pickled(MAGIC))
    with pytest.raises(ValueError, match="load_torch reads"):
        load_pickle(tmp_path / "b.pkl")
