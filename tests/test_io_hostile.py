"""Files of PyTorch's that mean harm, and broken ones: nothing is run, nothing hangs, no memory is taken."""

import os
import struct
import tracemalloc
import zipfile
from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_files import VALUES, Call, Global, Keyed, Stored, chained, named, overlapping, pickled, tensor, zipped

from minidl.io import load, load_torch


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
