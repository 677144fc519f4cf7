"""PyTorch's files: both formats against PyTorch where it is installed, by hand where it is not, and hostile ones."""

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
import zlib
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.io import load, load_torch, save
from minidl.io.torch_file import MAGIC, PROTOCOL


class Global:
    """Pickles as a bare name."""

    def __init__(self, module, name):
        self.words = module, name


class Call:
    """Pickles as a call."""

    def __init__(self, function, *args):
        self.function, self.args = function, args


class Built:
    """Pickles as an object whose state is set."""

    def __init__(self, obj, state):
        self.obj, self.state = obj, state


class Stored:
    """Pickles as a persistent reference."""

    def __init__(self, *pid):
        self.pid = ("storage", *pid)


class Keyed:
    """{key: 1}, for a key that Python itself would take forever to hash."""

    def __init__(self, key):
        self.key = key


class Writer(pickle._Pickler):
    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Stored) else None

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Global):
            self.write(pickle.GLOBAL + "\n".join(obj.words).encode() + b"\n")
        elif isinstance(obj, Call):
            self.save(obj.function)
            self.save(obj.args)
            self.write(pickle.REDUCE)
        elif isinstance(obj, Built):
            self.save(obj.obj)
            self.save(obj.state)
            self.write(pickle.BUILD)
        elif isinstance(obj, Keyed):
            self.write(pickle.EMPTY_DICT)
            self.save(obj.key)
            self.save(1)
            self.write(pickle.SETITEM)
        else:
            super().save(obj, save_persistent_id)


def pickled(obj):
    out = io.BytesIO()
    Writer(out, 2).dump(obj)
    return out.getvalue()


def tensor(key="0", count=6, offset=0, size=(2, 3), stride=(3, 1), kind="FloatStorage"):
    storage = Stored(Global("torch", kind), key, "cpu", count)
    rebuild = Global("torch._utils", "_rebuild_tensor_v2")
    return Call(rebuild, storage, offset, size, stride, False, Call(Global("collections", "OrderedDict")))


def zipped(path, obj, storages, compression=zipfile.ZIP_STORED, **more):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled(obj))
        for key, content in storages.items():
            archive.writestr(f"archive/data/{key}", content)
        for name, content in more.items():
            archive.writestr(f"archive/{name.replace('__', '.')}", content)
    return path


def chained(path, obj, storages):
    with open(path, "wb") as file:
        for part in (MAGIC, PROTOCOL, {"little_endian": True}, obj, list(storages)):
            file.write(pickled(part))
        for content in storages.values():
            file.write(struct.pack("<q", len(content) // 4) + content)
    return path


VALUES = np.arange(6, dtype=np.float32)


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


class Evil:
    def __reduce__(self):
        return os.system, ("touch executed",)


HOSTILE = [
    (Evil(), "posix.system|nt.system"),
    (Call(Global("builtins", "eval"), "1"), "builtins.eval"),
    (Call(Global("torch._utils", "_rebuild_tensor_v2.__globals__"), "1"), "__globals__"),
    (Call(Global("builtins", "getattr"), "a", "b"), "builtins.getattr"),
    (tensor(offset=1), "does not fit"),
    (tensor(stride=(3, -1)), "stride"),
    (tensor(stride=(2**62, 1)), "stride"),
    (tensor(size=(2**40, 2**7), stride=(0, 0)), "does not fit"),
    (tensor(size=(2.0, 3)), "size"),
    (tensor(size=(6,), stride=(1, 1)), "size and stride"),
    (tensor(count=7), "28 bytes"),
    (tensor(key="1"), "no item named|There is no item"),
    (tensor(kind="QInt8Storage"), "torch.QInt8Storage"),
    (Call(Global("collections", "OrderedDict"), 3), "broken pickle"),
    (Stored(Global("torch", "FloatStorage"), "0", "cpu", 6), "storage without a tensor"),
]


@pytest.mark.parametrize(("obj", "message"), HOSTILE)
def test_hostile_files_are_refused_and_run_nothing(tmp_path, monkeypatch, obj, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_torch(zipped(tmp_path / "x.pt", {"w": obj}, {"0": VALUES.tobytes()}))
    assert not (tmp_path / "executed").exists()


def laughs(kind, depth=64):
    """A few hundred bytes that, written out, are 2^64 times the same."""
    value = kind(())
    for _ in range(depth):
        value = kind((value, value))
    return value


@pytest.mark.parametrize("write", [zipped, chained])
def test_what_is_shared_is_made_once(tmp_path, write):
    found = load(write(tmp_path / "a.pt", {"w": [[tensor()]] * 2, "laughs": laughs(list)}, {"0": VALUES.tobytes()}))
    assert found["w"][0] is found["w"][1]
    for _ in range(64):
        first, second = found["laughs"]
        assert first is second
        found["laughs"] = first


@pytest.mark.parametrize("write", [zipped, chained])
@pytest.mark.parametrize(
    "described",
    [
        lambda: Keyed(laughs(tuple)),
        lambda: Call(Global("builtins", "set"), [laughs(tuple)]),
        lambda: Call(Global("collections", "OrderedDict"), [[laughs(tuple), 1]]),
        lambda: Call(Global("torch", "device"), laughs(list)),
        lambda: tensor(size=laughs(tuple)),
        lambda: tensor(key=laughs(list)),
        lambda: [tensor(size=(2**23,), stride=(0,)) for _ in range(3)],
    ],
)
def test_few_bytes_that_mean_much_are_refused(tmp_path, write, described):
    with pytest.raises(ValueError, match=r"a\.pt"):
        load(write(tmp_path / "a.pt", described(), {"0": VALUES.tobytes()}))


def named(module, name):
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def repeated(shared, function, call, count):
    """A list of `count` calls of a function, all with the same argument: memo entries 0 and 1."""
    return b"\x80\x03](" + shared + b"q\x000" + named(*function) + b"q\x010" + call * count + b"e."


NUMBERS = b"](" + b"".join(b"J" + struct.pack("<i", i) for i in range(1000)) + b"e"
TEXT = b"X" + struct.pack("<I", 10**6) + b"a" * 10**6
ARRAY = b"h\x01)R(K\x01J@B\x0f\x00\x85" + named("numpy", "dtype") + b"U\x02u1\x85R\x89h\x00tb"

BUFFER = b"h\x01(h\x00" + named("numpy", "dtype") + b"U\x02u1\x85RJ@B\x0f\x00\x85U\x01CtR"


@pytest.mark.parametrize(
    "pickled",
    [
        repeated(NUMBERS, ("torch", "Size"), b"h\x01h\x00\x85R", 50_000),
        repeated(NUMBERS, ("builtins", "set"), b"h\x01h\x00\x85R", 50_000),
        repeated(TEXT, ("torch", "device"), b"h\x01h\x00\x85R", 500),
        repeated(TEXT, ("_codecs", "encode"), b"h\x01h\x00U\x06latin1\x86R", 500),
        repeated(b"B" + TEXT[1:], ("numpy", "ndarray"), ARRAY, 500),
        repeated(b"N", ("m", "C"), b"h\x01)R", 200_000),
        repeated(TEXT, ("m", "C"), b"h\x00U\x01C\x93", 500),
        repeated(b"\x96" + struct.pack("<Q", 10**6) + bytes(10**6), ("numpy.core.numeric", "_frombuffer"), BUFFER, 500),
        b"\x80\x02](" + b"]" * 900_000 + b"e.",
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 30) + b"x.",
    ],
    ids=["sizes", "sets", "devices", "bytes", "arrays", "records", "names", "buffers", "lists", "bytearray"],
)
def test_few_bytes_that_make_much_are_refused(tmp_path, pickled):
    """Most would take gigabytes."""
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", pickled)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"a\.pt.*(means very much|broken pickle)"):
            load_torch(tmp_path / "a.pt", records=True)
        assert tracemalloc.get_traced_memory()[1] < 150 << 20
    finally:
        tracemalloc.stop()


def overlapping(path, names, content, first, wrapped=bytes):
    """An archive of the members `first`, and of stored ones each of which contains all that follow it."""
    records = []
    for name in reversed(names):
        content = wrapped(content)
        raw, sizes = name.encode(), struct.pack("<III", zlib.crc32(content), len(content), len(content))
        local = b"PK\3\4" + struct.pack("<HHHHH", 20, 0, 0, 0, 0x21) + sizes + struct.pack("<HH", len(raw), 0) + raw
        content = local + content
        records.append((raw, sizes, len(content)))
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in first.items():
            archive.writestr(name, data)
        start = archive.start_dir
    whole = path.read_bytes()[:start] + content
    directory = path.read_bytes()[start:-22]
    for raw, sizes, distance in records:
        directory += b"PK\1\2" + struct.pack("<HHHHHH", 20, 20, 0, 0, 0, 0x21) + sizes
        directory += struct.pack("<HHHHHII", len(raw), 0, 0, 0, 0, 0, len(whole) - distance) + raw
    count = len(records) + len(first)
    path.write_bytes(
        whole + directory + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(whole), 0)
    )
    return path


def test_members_that_lie_over_each_other_are_refused(tmp_path):
    """20 KB of values, read thirty times over; the zipfile of some versions of Python reads it."""
    names, payload = [f"a/data/{i:03}" for i in range(30)], bytes(4 * 5000)
    counts = [5000 + 10 * (29 - i) for i in range(30)]  # a header is 30 bytes and a name of 10
    saved = [tensor(key=f"{i:03}", count=count, size=(1,), stride=(1,)) for i, count in enumerate(counts)]
    path = overlapping(tmp_path / "a.pt", names, payload, {"a/data.pkl": pickled(saved)})
    with pytest.raises(ValueError, match=r"longer than the file|[Oo]verlap"):
        load(path)
    saved = pickled([tensor(key="000", count=5000)])
    path = overlapping(tmp_path / "b.pt", names[:1], payload, {"a/data.pkl": saved})  # is right but for that
    assert load(path)[0].shape == (2, 3)


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


@settings(max_examples=150)
@given(st.booleans(), st.booleans(), st.data())
def test_broken_files_raise_nothing_but_value_errors(tmp_path_factory, old, records, data):
    path = tmp_path_factory.mktemp("broken") / "a.pt"
    saved = OrderedDict(w=tensor(), a=Call(Global("collections", "Counter"), {"b": {1}}), c=Call(Global("m", "C"), 1))
    (chained if old else zipped)(path, saved, {"0": VALUES.tobytes()})
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        load_torch(path, records=records)
    except ValueError as error:
        assert "a.pt" in str(error)


def test_without_checksums(tmp_path):
    """PyTorch can be told to save so, and writes zeros for them; other wrong ones are errors."""
    content = zipped(tmp_path / "a.pt", {"w": tensor()}, {"0": VALUES.tobytes()}).read_bytes()
    crc = struct.pack("<I", zlib.crc32(VALUES.tobytes()))
    (tmp_path / "a.pt").write_bytes(content.replace(crc, bytes(4)))
    np.testing.assert_array_equal(load(tmp_path / "a.pt")["w"].numpy().ravel(), VALUES)
    (tmp_path / "a.pt").write_bytes(content.replace(crc, b"\1\0\0\0"))
    with pytest.raises(ValueError, match="CRC"):
        load(tmp_path / "a.pt")


def test_where_the_members_begin_may_be_any_number(tmp_path):
    path = zipped(tmp_path / "a.pt", {"w": tensor()}, {"0": VALUES.tobytes()})
    content = path.read_bytes()
    for place in range(len(content) - 22, len(content)):  # the archive's last record: sizes and offsets
        for value in (0, 1, 0x7F, 0xFF):
            path.write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
            try:
                load(path)
            except ValueError as error:
                assert "a.pt" in str(error)


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
