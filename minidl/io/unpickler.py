"""Reading pickles without running anything.

A pickle is a program for a stack machine, and two of its instructions are dangerous: GLOBAL fetches any function by
name, and REDUCE calls it. Here GLOBAL finds only the names of a closed list, and what it finds are stand-ins, which
keep what they are called with. Whatever else a file asks for is refused by name or, where that is wanted, recorded.

Python's own machine in Python is used, not the one in C: there a broken file that numbers its memo entries in billions
allocates for billions. A pickle can also be small and mean much: a list of the same list twice, thirty times over, is
kept as it is written, and neither hashed nor spelt out. What would be copied, or made of a single byte, is counted
against an allowance that grows with the file.
"""

from __future__ import annotations

import pickle
import reprlib
import struct
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

from minidl.io.records import Record, Unknown
from minidl.io.standins import (
    FUNCTIONS,
    NumpyArray,
    NumpyType,
    Refused,
    StorageRef,
    StorageType,
    as_frozenset,
    found,
    key_of,
    named,
)

CONTAINER, RECORD = 64, 512
"""Bytes of memory that an empty list takes, or a tuple; and that a Record does."""
SLACK, RATIO = 1 << 25, 16
"""Bytes that a pickle may come to in memory beside those it is written in, and how many for each of these."""
TOLD = "records=True tells what is in it, and tensors_of finds the weights there"


def sized(value: Any) -> int:
    """Bytes that a copy of it takes, or about that."""
    if type(value) in (str, bytes, bytearray):
        return len(value)
    return 32 * len(value) if isinstance(value, list | tuple | dict | set | frozenset) else 0


class Unpickler(pickle._Unpickler):  # type: ignore[name-defined]
    """The stack machine, with a closed list."""

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined]

    def __init__(self, file: Any, length: int, records: bool) -> None:
        super().__init__(file, encoding="utf-8")
        self.allowance, self.records = SLACK + RATIO * length, records

    def spend(self, size: int) -> None:
        self.allowance -= size
        if self.allowance < 0:
            raise Refused("it is small and means very much: refused")

    def _decode_string(self, value: bytes) -> str | bytes:
        """A string of Python 2, which may be a text or bytes: if it is ASCII, either; NumPy's arrays take both."""
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value

    def find_class(self, module: str, name: str) -> Any:
        stand_in = found(module, name)
        if stand_in is not None:
            return stand_in
        if self.records:
            self.spend(len(module) + len(name))
            return Unknown(f"{module}.{name}")
        saved = "where PyTorch is, save model.state_dict() instead"
        raise Refused(f"it asks for {module}.{name}, which may do anything: refused; {saved}; {TOLD}")

    def call(self, function: Any, args: Any) -> Any:
        """Of the functions on the list, or of one that only records it."""
        known = type(function) is Unknown or (callable(function) and function in CALLABLE)
        if not known or type(args) is not tuple:
            raise Refused(f"it calls {named(function)}: refused")
        self.spend(sum(map(sized, args)))
        made = function(*args)
        self.spend(RECORD if type(made) is Record else sys.getsizeof(made))
        return made

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self.call(self.stack[-1], args)

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.NEWOBJ[0]] = load_reduce

    def load_newobj_ex(self) -> None:
        keywords, args = self.stack.pop(), self.stack.pop()
        self.stack[-1] = self.call(self.stack[-1], (*args, keywords) if keywords else args)

    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex

    def _instantiate(self, kind: Any, args: Any) -> None:
        self.append(self.call(kind, tuple(args)))

    def load_build(self) -> None:
        """BUILD sets attributes. State dicts have one that means nothing here; NumPy's arrays are built so."""
        state, top = self.stack.pop(), self.stack[-1]
        self.spend(sized(state) + (sum(map(sized, state)) if type(state) is tuple else 0))
        if type(top) in (NumpyType, NumpyArray, Record):
            top.build(state)
        elif type(top) is SimpleNamespace and isinstance(state, dict) and all(type(key) is str for key in state):
            vars(top).update(state)
        elif not isinstance(top, dict):
            raise Refused(f"it changes attributes of {named(top)}: refused")

    dispatch[pickle.BUILD[0]] = load_build

    def load_setitem(self) -> None:
        value = self.stack.pop()
        self.fill([self.stack.pop(), value])

    dispatch[pickle.SETITEM[0]] = load_setitem

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self.fill(items)

    dispatch[pickle.SETITEMS[0]] = load_setitems

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self.fill(items)

    dispatch[pickle.DICT[0]] = load_dict

    def fill(self, items: list[Any]) -> None:
        """Keys and values in turn, into what is on top of the stack."""
        top, pairs = self.stack[-1], zip(map(key_of, items[::2]), items[1::2], strict=True)
        if type(top) is Record:
            top.extend(pairs)
        elif isinstance(top, dict):
            top.update(pairs)
        else:
            raise Refused(f"it gives items to {named(top)}: refused")

    def load_additems(self) -> None:
        items = self.pop_mark()
        if type(self.stack[-1]) is not set:
            raise Refused(f"it adds to {named(self.stack[-1])}: refused")
        self.stack[-1].update(map(key_of, items))

    dispatch[pickle.ADDITEMS[0]] = load_additems

    def load_frozenset(self) -> None:
        items = self.pop_mark()  # gives `append` another stack, and must come before it
        self.append(as_frozenset(items))

    dispatch[pickle.FROZENSET[0]] = load_frozenset

    def load_bytearray8(self) -> None:
        """Python's own makes room for as many bytes as the file says that there are."""
        (length,) = struct.unpack("<Q", self.read(8))
        content = self.read(min(length, self.allowance))
        self.append(bytearray(content))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module" and type(pid[1]) is Unknown:
            return pid[1]  # the older format puts the source code of a class beside it
        if not (isinstance(pid, tuple) and len(pid) in (5, 6) and pid[0] == "storage"):
            raise Refused(f"it refers to something unknown outside of the pickle: {reprlib.repr(pid)}")
        _, kind, key, _, count, *view = pid
        whole = view in ([], [None])
        if not (isinstance(kind, StorageType) and isinstance(key, str) and type(count) is int and whole):
            raise Refused(f"it describes a storage that cannot be: {reprlib.repr(pid)}")
        return StorageRef(kind.name, key, count)


def counted(load: Callable[[Any], None]) -> Callable[[Any], None]:
    """The same instruction, its container counted."""

    def load_counted(self: Unpickler) -> None:
        self.spend(CONTAINER)
        load(self)

    return load_counted


CALLABLE = frozenset(FUNCTIONS.values())
for _name in ("EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET", "MARK", "TUPLE1", "TUPLE2", "TUPLE3"):
    _code = getattr(pickle, _name)[0]
    Unpickler.dispatch[_code] = counted(Unpickler.dispatch[_code])


def unpickle(file: Any, length: int, records: bool = False) -> Any:
    """The next object of a file, which is so many bytes long.

    Args:
        records: whether objects of classes that are not on the list are told of in Records, instead of refused.

    Raises:
        ValueError: something that is not on the list, or a broken pickle.
    """
    try:
        return Unpickler(file, length, records).load()
    except Refused:
        raise
    except Exception as error:  # a broken pickle can make the stack machine raise anything
        raise ValueError(f"broken pickle: {type(error).__name__}: {error!s:.200}") from None
