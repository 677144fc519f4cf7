"""PyTorch's files written by hand: pickles with any calls and names in them, and the archives around these."""

import io
import pickle
import struct
import zipfile
import zlib

import numpy as np

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


def named(module, name):
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


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


VALUES = np.arange(6, dtype=np.float32)
