"""PyTorch's files: both formats against PyTorch where it is installed, and by hand where it is not."""

import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict

import numpy as np
import pytest
from torch_files import VALUES, Built, Call, Global, chained, named, pickled, tensor, zipped

from minidl.io import load, save


@pytest.mark.parametrize("write", [zipped, chained])
def test_both_formats(tmp_path, write):
    state = OrderedDict(w=tensor(), t=tensor(size=(3, 2), stride=(1, 3)), x=tensor(offset=2, size=(), stride=()))
    loaded = load(write(tmp_path / "a.pt", state, {"0": VALUES.tobytes()}))
    assert list(loaded) == ["w", "t", "x"]
    np.testing.assert_array_equal(loaded["w"].numpy(), VALUES.reshape(2, 3))
    np.testing.assert_array_equal(loaded["t"].numpy(), VALUES.reshape(2, 3).T)
    assert loaded["x"].item() == 2


def test_other_byte_orders_half_precision_and_nesting(tmp_path):
    swapped = zipped(tmp_path / "b.pth", {"a": [tensor()]}, {"0": VALUES.astype(">f4").tobytes()}, byteorder=b"big")
    np.testing.assert_array_equal(load(swapped)["a"][0].numpy().ravel(), VALUES)
    half = (VALUES.view(np.uint32) >> 16).astype("<u2").tobytes()
    path = zipped(tmp_path / "c.pth", {"epoch": 3, "w": tensor(kind="BFloat16Storage")}, {"0": half})
    assert load(path)["epoch"] == 3
    np.testing.assert_array_equal(load(path)["w"].numpy().ravel(), VALUES)


def test_attributes_are_set_on_state_dicts_only(tmp_path):
    state = pickled(OrderedDict(w=1))
    attribute = pickle.EMPTY_DICT + pickle.BINUNICODE + struct.pack("<I", 5) + b"items" + pickle.NONE + pickle.SETITEM
    build = attribute + pickle.BUILD + pickle.STOP
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", state[:-1] + build)
    assert load(tmp_path / "a.pt") == {"w": 1}
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"ctorch._utils\n_rebuild_tensor\n" + build)
    with pytest.raises(ValueError, match="changes attributes of a function"):
        load(tmp_path / "b.pt")


def test_other_files_are_refused(tmp_path):
    for name, content in (("a.pt", b""), ("b.pt", b"PK\x03\x04"), ("c.pt", b"hello"), ("d.pt", pickle.dumps({"a": 1}))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.pt")
    with pytest.raises(ValueError, match="TorchScript"):
        load(zipped(tmp_path / "e.pt", {}, {}, constants__pkl=b""))
    with pytest.raises(ValueError, match="compressed"):
        load(zipped(tmp_path / "f.pt", {"w": tensor()}, {"0": bytes(10**6)}, zipfile.ZIP_DEFLATED))
    with pytest.raises(ValueError, match="safetensors"):
        save({}, tmp_path / "g.pt")


def test_without_checksums(tmp_path):
    """PyTorch can be told to save so, and writes zeros for them; other wrong ones are errors."""
    content = zipped(tmp_path / "a.pt", {"w": tensor()}, {"0": VALUES.tobytes()}).read_bytes()
    crc = struct.pack("<I", zlib.crc32(VALUES.tobytes()))
    (tmp_path / "a.pt").write_bytes(content.replace(crc, bytes(4)))
    np.testing.assert_array_equal(load(tmp_path / "a.pt")["w"].numpy().ravel(), VALUES)
    (tmp_path / "a.pt").write_bytes(content.replace(crc, b"\1\0\0\0"))
    with pytest.raises(ValueError, match="CRC"):
        load(tmp_path / "a.pt")


@pytest.mark.parametrize("new", [True, False])
def test_against_pytorch(tmp_path, new):
    torch = pytest.importorskip("torch")
    dtypes = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    x = torch.arange(24).reshape(2, 3, 4)
    saved = {name: x.to(getattr(torch, name)) for name in dtypes}
    saved |= {"turned": x.float().permute(2, 0, 1)[1:, :, ::2], "wide": x[0, 0].float().expand(5, 4), "none": x[:0]}
    saved |= {"scalar": torch.tensor(3.5), "parameter": torch.nn.Parameter(torch.ones(2))}
    saved |= {f"layer.{k}": v for k, v in torch.nn.LSTM(3, 4).state_dict().items()}
    torch.save(
        {"state": saved, "lr": 0.1, "size": x.shape, "steps": [1, (2, None)]},
        tmp_path / "a.pt",
        _use_new_zipfile_serialization=new,
    )
    loaded = load(tmp_path / "a.pt")
    assert loaded["lr"] == 0.1
    assert loaded["size"] == (2, 3, 4)
    assert loaded["steps"] == [1, (2, None)]
    for name, expected in saved.items():
        expected = expected.detach()
        expected = expected.float() if expected.dtype in (torch.float16, torch.bfloat16) else expected
        np.testing.assert_array_equal(loaded["state"][name].numpy(), expected.numpy(), err_msg=name)
        assert str(loaded["state"][name].dtype) == str(expected.dtype).removeprefix("torch."), name


@pytest.mark.parametrize("new", [True, False])
def test_numbers_and_arrays_of_numpy(tmp_path, new):
    """A best accuracy, a mean of the data: what else checkpoints hold."""
    torch = pytest.importorskip("torch")
    mean = np.arange(6, dtype=np.float32).reshape(2, 3)
    saved = {"best": np.float64(0.9), "step": np.int64(7), "done": np.bool_(True), 0: mean, 1: mean.T, 2: mean[0, :0]}
    saved |= {3: mean.astype(">f8"), 4: mean.astype(np.float16), 5: np.array(3), 6: mean[:, ::2] > 2}
    saved |= {7: np.array([2**16 - 1], np.uint16), 8: np.array([2**32 - 1], ">u4")}
    saved |= {"rng": ("MT19937", np.arange(624, dtype=np.uint32))}
    torch.save(saved, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
    loaded = load(tmp_path / "a.pt")
    assert [(k, type(loaded[k]), loaded[k]) for k in ("best", "step", "done")] == [
        ("best", float, 0.9), ("step", int, 7), ("done", bool, True)
    ]  # fmt: skip
    np.testing.assert_array_equal(loaded["rng"][1].numpy(), saved["rng"][1])
    for key in range(9):
        expected = saved[key].astype({4: np.float32, 7: np.int32, 8: np.int64}.get(key, saved[key].dtype))
        assert loaded[key].shape == expected.shape and loaded[key].dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(loaded[key].numpy(), expected)


@pytest.mark.parametrize(
    "saved", [np.array(["text"]), np.array([None]), np.array([1j]), np.uint64(3), np.zeros(1, [("a", "f4")])]
)
def test_other_arrays_of_numpy_are_refused(tmp_path, saved):
    torch = pytest.importorskip("torch")
    torch.save({"a": saved}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="refused"):
        load(tmp_path / "a.pt")


def test_numpy_by_hand(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:  # made, but never given values
        archive.writestr("a/data.pkl", b"\x80\x02" + named("numpy", "ndarray") + b")\x81.")
    assert load(tmp_path / "a.pt").shape == (0,)
    kind = Call(Global("numpy", "dtype"), "f4", False, True)
    scalar = Call(Global("numpy._core.multiarray", "scalar"), kind, np.float32(2.5).tobytes())
    assert load(zipped(tmp_path / "a.pt", {"a": scalar}, {}))["a"] == 2.5
    for content in (b"", b"12345", bytes(8), "\u20ac..", 4):
        bad = Call(Global("numpy._core.multiarray", "scalar"), kind, content)
        with pytest.raises(ValueError, match=r"a\.pt"):
            load(zipped(tmp_path / "a.pt", {"a": bad}, {}))
    for shape in ((-1,), (2**60,), [1], (1.0,), (1,) * 33):
        built = Built(Call(Global("numpy.core.multiarray", "_reconstruct"), 0), (1, shape, kind, False, bytes(4)))
        with pytest.raises(ValueError, match=r"a\.pt"):
            load(zipped(tmp_path / "a.pt", {"a": built}, {}))
    with pytest.raises(ValueError, match="refused"):
        load(zipped(tmp_path / "a.pt", {"a": Call(Global("_codecs", "encode"), "x", "rot13")}, {}))
