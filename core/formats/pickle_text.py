"""The tensors that a torch pickle names, from its text alone.

A pickle is a small program. `pickletools.genops` splits it into its operations; what is here follows them
with inert records only: no class is looked up, nothing is imported, nothing is called. A tensor stands in
such a program as the call of ``torch._utils._rebuild_tensor…`` with a storage ("persistent id"), an
offset and a shape, all of them plain text and numbers.

Sources: Python's ``pickletools``; ``torch/_utils.py`` and ``torch/serialization.py`` for what is called.
"""

from __future__ import annotations

import pickletools
from contextlib import suppress
from functools import lru_cache
from typing import Any, Protocol, cast

from ..turns import give_way
from .facts import Tensor

MAX_OPERATIONS = 400_000
MAX_PICKLE_BYTES = 16 * 1024 * 1024
MAX_ARGUMENT_BYTES = 256 * 1024
MAX_TENSORS = 20_000
MAX_NAME = 256
MAX_DEPTH = 12

WRAPPERS = ("state_dict", "params_ema", "params-ema", "params", "model", "net", "generator", "state")
"""Keys under which trainers keep the weights beside other things."""

_DTYPES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8",
    "BoolStorage": "BOOL", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip
_PUSHES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_MAKES_LIST = {"EMPTY_LIST", "LIST", "EMPTY_SET", "FROZENSET"}
_MAKES_DICT = {"EMPTY_DICT", "DICT"}
_MAKES_TUPLE = {"EMPTY_TUPLE", "TUPLE"}


class _Readable(Protocol):
    def read(self, count: int = ..., /) -> bytes: ...
    def readline(self, count: int = ..., /) -> bytes: ...


class _Global(str):
    """The name of a class or function, as ``module name``; never looked up."""


class _Storage(str):
    """A tensor's storage: what type its numbers have."""


class _Weight:
    """What loading would make a tensor of."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _Call:
    """Something else that loading would make by a call: what would be called, with what, and the state it gets."""

    __slots__ = ("arguments", "function", "state")

    def __init__(self, function: Any, arguments: Any) -> None:
        self.function = function
        self.arguments = arguments
        self.state: dict[Any, Any] | None = None


# A file has thousands of tensors of a few kinds. One object for each of them would soon bring on a full collection of
# garbage, which halts all threads.
_global = lru_cache(maxsize=256)(_Global)
_storage_of = lru_cache(maxsize=64)(_Storage)
_weight = lru_cache(maxsize=1024)(_Weight)

_MARK = object()
_UNFINISHED = 8
"""How many values at the bottom of the stack are looked into where a pickle could not be followed to its end."""


class _Bounded:
    """What of the pickle may be read; more of it ends the reading."""

    def __init__(self, file: _Readable) -> None:
        self._file = file
        self._left = MAX_PICKLE_BYTES

    def read(self, count: int) -> bytes:
        if count > min(MAX_ARGUMENT_BYTES, self._left):
            raise ValueError("too long")
        self._left -= count
        return self._file.read(count)

    def readline(self) -> bytes:
        line = self._file.readline(min(4096, self._left))
        self._left -= len(line)
        return line


def tensors_of_pickle(file: _Readable) -> dict[str, Tensor]:
    """Name, type and shape of the tensors that a pickle describes, as far as it can be followed.

    Never raises for what the pickle holds: what cannot be followed ends the reading.
    """
    stack: list[Any] = []
    tensors: dict[str, Tensor] = {}
    with suppress(ValueError, IndexError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        tensors = _follow(_Bounded(file), stack)
    return tensors or next(filter(None, map(_tensors_in, stack[:_UNFINISHED])), {})


def _follow(file: _Bounded, stack: list[Any]) -> dict[str, Tensor]:
    """Run through the operations, keeping on ``stack`` what a loader would have there, but inert."""
    memo: dict[int, Any] = {}
    budget = MAX_OPERATIONS
    while True:  # a legacy torch file is several pickles in a row
        for operation, argument, _ in pickletools.genops(cast("Any", file)):
            budget -= 1
            if budget < 0:
                return {}
            give_way()
            _step(operation.name, argument, stack, memo)
        tensors = _tensors_in(stack.pop())
        if tensors:
            return tensors
        stack.clear()
        memo.clear()


def _step(name: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
    if name == "MARK":
        stack.append(_MARK)
    elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
        memo[len(memo) if argument is None else argument] = stack[-1]
    elif name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif name in _PUSHES:
        stack.append(_PUSHES[name])
    elif name in _MAKES_DICT or name in _MAKES_LIST or name in _MAKES_TUPLE:
        items = [] if name.startswith("EMPTY") else _to_mark(stack)
        stack.append(
            _pairs(items) if name in _MAKES_DICT else tuple(items) if name in _MAKES_TUPLE else items
        )
    elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        count = int(name[-1])
        items = stack[-count:]
        del stack[-count:]
        stack.append(tuple(items))
    elif name == "SETITEM":
        value, key = stack.pop(), stack.pop()
        _set(stack[-1], [key, value])
    elif name == "SETITEMS":
        items = _to_mark(stack)
        _set(stack[-1], items)
    elif name in ("APPEND", "APPENDS", "ADDITEMS"):
        items = [stack.pop()] if name == "APPEND" else _to_mark(stack)
        if isinstance(stack[-1], list):
            stack[-1].extend(items)
    elif name in ("GLOBAL", "INST"):
        function = _global(argument)
        stack.append(_Call(function, tuple(_to_mark(stack))) if name == "INST" else function)
    elif name == "STACK_GLOBAL":
        last, module = stack.pop(), stack.pop()
        stack.append(
            _global(f"{str(module)[:MAX_NAME]} {str(last)[:MAX_NAME]}" if isinstance(module, str) else "")
        )
    elif name in ("REDUCE", "NEWOBJ"):
        arguments, function = stack.pop(), stack.pop()
        made = _made(function, arguments)
        if function == "collections OrderedDict" and isinstance(arguments, tuple) and arguments:
            _take_pairs(made, arguments[0])
        stack.append(made)
    elif name == "BUILD":
        state = stack.pop()
        if isinstance(stack[-1], _Call) and isinstance(state, dict) and not stack[-1].state:
            stack[-1].state = state  # by reference: copies of copies would grow without bound
    elif name == "BINPERSID":
        stack.append(_storage(stack.pop()))
    elif name == "POP":
        stack.pop()
    elif name == "POP_MARK":
        _to_mark(stack)
    elif name == "DUP":
        stack.append(stack[-1])
    elif name in ("PROTO", "FRAME", "STOP"):
        pass
    elif argument is not None:
        stack.append(argument if isinstance(argument, (str, int, bool)) else None)
    else:
        raise ValueError(f"cannot follow {name}")


def _to_mark(stack: list[Any]) -> list[Any]:
    """Take everything above the last mark off the stack, and the mark."""
    for place in range(len(stack) - 1, -1, -1):
        if stack[place] is _MARK:
            items = stack[place + 1 :]
            del stack[place:]
            return items
    raise ValueError("no mark")


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return {
        key: value
        for key, value in zip(items[::2], items[1::2], strict=False)
        if isinstance(key, str) or (isinstance(key, int) and abs(key) < 2**31)
    }


def _take_pairs(call: _Call | _Weight, pairs: Any) -> None:
    """What Python 2 gave an OrderedDict when it was made; out of the list, so that no other can copy it again."""
    if isinstance(call, _Call) and isinstance(pairs, list):
        call.state = _pairs([part for pair in pairs if isinstance(pair, list) for part in pair[:2]])
        pairs.clear()


def _set(target: Any, items: list[Any]) -> None:
    if isinstance(target, dict):
        target.update(_pairs(items))
    elif isinstance(target, _Call):  # an OrderedDict
        target.state = target.state or {}
        target.state.update(_pairs(items))


def _storage(identity: Any) -> _Storage:
    """``("storage", torch.FloatStorage, "0", "cpu", 42)`` says what type the numbers have."""
    kind = identity[1] if isinstance(identity, tuple) and len(identity) > 1 else ""
    return _storage_of(_DTYPES.get(kind.rpartition(" ")[2], "") if isinstance(kind, _Global) else "")


def _made(function: Any, arguments: Any) -> _Weight | _Call:
    """What a call makes: a weight, if it is ``_rebuild_tensor_v2(storage, offset, shape, …)`` or of a weight."""
    if (
        isinstance(function, _Global)
        and function.startswith("torch._utils _rebuild")
        and isinstance(arguments, tuple)
        and arguments
    ):
        if isinstance(arguments[0], _Weight):
            return arguments[0]
        if isinstance(arguments[0], _Storage):
            shape = arguments[2] if len(arguments) > 2 and isinstance(arguments[2], tuple) else ()
            extents = tuple(extent for extent in shape[:8] if isinstance(extent, int) and 0 <= extent < 2**40)
            named = (
                _DTYPES.get(part.rpartition(" ")[2], "") for part in arguments if isinstance(part, _Global)
            )
            return _weight((str(arguments[0]) or next(named, ""), extents))
    return _Call(function, arguments)


def _tensors_in(value: Any) -> dict[str, Tensor]:
    """The tensors in what was loaded: the weights themselves, where a trainer keeps them beside other things."""
    for wrapper in WRAPPERS:
        tensors = _Collector().collect(_inside(value).get(wrapper))
        if tensors:
            return tensors
    return _Collector().collect(value)


def _inside(value: Any) -> dict[Any, Any]:
    inner = value.state if isinstance(value, _Call) else value
    if isinstance(inner, tuple):  # a hypernetwork keeps its two halves so
        return dict(enumerate(inner[:4]))
    return inner if isinstance(inner, dict) else {}


class _Collector:
    """Finds tensors below a value, under their dotted paths; each branch once, and not without end."""

    def __init__(self) -> None:
        self._left = 4 * MAX_TENSORS
        self._seen: set[int] = set()
        self._found: dict[str, Tensor] = {}

    def collect(self, value: Any, path: str = "", depth: int = MAX_DEPTH) -> dict[str, Tensor]:
        if depth > 0 and id(value) not in self._seen:
            self._seen.add(id(value))
            for key, item in _inside(value).items():
                give_way()
                self._left -= 1
                if self._left < 0 or len(self._found) >= MAX_TENSORS:
                    break
                self._add(f"{path}{key}", key, item, path, depth)
        return self._found

    def _add(self, name: str, key: Any, item: Any, path: str, depth: int) -> None:
        if len(name) > MAX_NAME:
            return
        if isinstance(item, _Weight):
            self._found[name] = item.tensor
        elif isinstance(item, (dict, tuple, _Call)):
            self.collect(
                item, path if key in ("_modules", "_parameters", "_buffers") else f"{name}.", depth - 1
            )
