"""How compiled code reads and writes what it shares with Python: fields of a table, arrays at addresses,
bytes, functions of C.

A field of a table `t` is read and written as `t.step`; an address with a kind in `layout.FIELDS` is read as a
pointer to elements of that kind, so `carray(t.keys, n)` is the array, and the compiler knows what is in it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import carray, int64, njit, types  # type: ignore[attr-defined]
from numba.core import cgutils
from numba.core.imputils import lower_getattr_generic, lower_setattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import intrinsic, models, register_model

from neurobus.node.kernel.cache import cache_dir
from neurobus.node.kernel.layout import FIELDS, NUMBER

# Beside the kernels: where one process at a time compiles, one at a time writes here.
_config: Any = numba.config


def _of_these_sources() -> str:
    """A word for all that helpers are made from. Numba looks at a helper's own file alone, and would go on
    with one in which an older constant, or another helper as it was, is compiled in."""
    names = "memory", "layout", "lookahead", "bus_io", "codegen"
    files = (Path(__file__).with_name(f"{name}.py") for name in names)
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


_config.CACHE_DIR = _config.CACHE_DIR or str(cache_dir() / "numba" / _of_these_sources())

BARE: Any = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Options of functions that only other compiled functions call."""


def helper(function: Any) -> Any:
    """Compile a function that all kernels share; numba keeps it on disk, which saves a third of the time."""
    return njit(cache=True, **BARE)(function)


# -- a table ----------------------------------------------------------------------------------------


class TableType(types.Type):
    """What numba takes the address of a `layout.Table` for."""

    def __init__(self) -> None:
        super().__init__("Table")


TABLE = TableType()
register_model(TableType)(models.OpaqueModel)
_PLACES = {name: place for place, name in enumerate(FIELDS)}
_pointer_to: Any = types.CPointer
_TYPES: dict[str, Any] = {
    name: types.int64 if kind is NUMBER else _pointer_to(numba.from_dtype(np.dtype(kind)))
    for name, kind in FIELDS.items()
}


class _Fields(AttributeTemplate):
    key = TableType

    def generic_resolve(self, table: Any, name: Any) -> Any:  # type: ignore[override]
        return _TYPES.get(name)


infer_getattr(_Fields)  # type: ignore[no-untyped-call]


def _field(builder: Any, context: Any, table: Any, name: str) -> Any:
    fields = builder.bitcast(table, context.get_value_type(_TYPES[name]).as_pointer())
    return builder.gep(fields, [ir.Constant(ir.IntType(32), _PLACES[name])])


def _read(context: Any, builder: Any, of: Any, table: Any, name: str) -> Any:
    return builder.load(_field(builder, context, table, name))


def _write(context: Any, builder: Any, signature: Any, arguments: Any, name: str) -> None:
    table, value = arguments
    value = context.cast(builder, value, signature.args[1], _TYPES[name])
    builder.store(value, _field(builder, context, table, name))


_lower: Any = lower_getattr_generic, lower_setattr_generic
_lower[0](TableType)(_read)
_lower[1](TableType)(_write)


@intrinsic
def _table_at(typingctx, address):  # type: ignore[no-untyped-def]

    def cast(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return TABLE(types.int64), cast


table_at: Any = _table_at
"""The table at an address."""

_PARTS: list[tuple[Any, Any]] = []
VOID: set[str] = set()
"""Names of the parts that hand nothing back."""


def part(result: Any) -> Any:
    """A function of a table and integers, which all models share. It is compiled by `compile_parts`, with
    this signature alone: else numba compiles it once for every constant it is called with."""

    def declare(function: Any) -> Any:
        made = njit(**BARE)(function)
        if result is types.void:
            VOID.add(function.__name__)
        _PARTS.append((made, result(TABLE, *[int64] * (function.__code__.co_argcount - 1))))
        return made

    return declare


def compile_parts() -> None:
    """Compile each part, those before that which call them."""
    for made, signature in _PARTS:
        made.compile(signature)
        made.disable_compile()


# -- arrays and bytes -------------------------------------------------------------------------------


@intrinsic
def _address(typingctx, pointer):  # type: ignore[no-untyped-def]

    def cast(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.ptrtoint(arguments[0], ir.IntType(64))

    return types.int64(pointer), cast


address: Any = _address
"""The address in a pointer."""


@intrinsic
def _pointer(typingctx, address):  # type: ignore[no-untyped-def]
    def cast(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), cast


@helper
def view(address, n, dtype):  # type: ignore[no-untyped-def]
    """The array of `n` items at an address. Its owner must live."""
    return carray(_pointer(address), n, dtype)  # type: ignore[call-arg]


@helper
def view2(address, n, m, dtype):  # type: ignore[no-untyped-def]
    """The array (n, m) at an address."""
    return carray(_pointer(address), (n, m), dtype)  # type: ignore[call-arg]


@helper
def big_endian(p, at, n):  # type: ignore[no-untyped-def]
    """The integer in `n` bytes of the array p, from place `at` on."""
    value = 0
    for i in range(n):
        value = value << 8 | p[at + i]
    return value


@helper
def to_big_endian(p, at, n, value):  # type: ignore[no-untyped-def]
    """Write an integer into `n` bytes of the array p, from place `at` on."""
    for i in range(n):
        p[at + n - 1 - i] = value & 0xFF
        value >>= 8


@helper
def unsigned(p, at, end):  # type: ignore[no-untyped-def]
    """The integer that msgpack wrote at place `at` of the bytes p, and the place after it; -1 where there is
    none, or one below 0, or from 2**63 on, or not whole by place `end`."""
    if at >= end:
        return -1, at
    kind = p[at]
    if kind < 0x80:
        return int64(kind), at + 1
    if kind < 0xCC or kind > 0xCF:
        return -1, at
    n = 1 << (kind - 0xCC)
    if at + 1 + n > end:
        return -1, at
    value = big_endian(p, at + 1, n)
    return (value, at + 1 + n) if value >= 0 else (-1, at)


@helper
def to_unsigned(p, at, value):  # type: ignore[no-untyped-def]
    """Write an integer that is not negative as msgpack does; returns the place after it."""
    if value < 0x80:
        p[at] = value
        return at + 1
    more = 0
    while more < 3 and value >> (8 << more):
        more += 1
    p[at] = 0xCC + more
    to_big_endian(p, at + 1, 1 << more, value)
    return at + 1 + (1 << more)


# -- functions of C ---------------------------------------------------------------------------------


def outside(results_pointer: bool, n: int, *narrow: int) -> Any:
    """A function that calls one of C at an address, with `n` integers or pointers; those at the places
    `narrow` are C ints, and so is the result unless it is a pointer."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        wide, short = ir.IntType(64), ir.IntType(32)
        kinds = [short if place in narrow else wide for place in range(n)]
        given = [
            builder.trunc(one, kind) if kind is short else one
            for one, kind in zip(arguments[1:], kinds, strict=True)
        ]
        kind = ir.FunctionType(wide if results_pointer else short, kinds)
        result = builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), given)
        return result if results_pointer else builder.sext(result, wide)

    names = ", ".join(f"a{place}" for place in range(n))
    made: dict[str, Any] = {"generate": generate, "signature": types.int64(*[types.int64] * (n + 1))}
    exec(f"def call(typingctx, address, {names}):\n    return signature, generate", made)  # numba counts them
    return intrinsic(made["call"])


msg_recv, msg_data, send = outside(False, 3, 2), outside(True, 1), outside(False, 4, 3)
"""`zmq_msg_recv(message, socket, flags)`, `zmq_msg_data(message)`, `zmq_send(socket, bytes, size, flags)`."""
clock_gettime, ppoll = outside(False, 2, 0), outside(False, 4)
"""`clock_gettime(clock, timespec)`, `ppoll(pollfds, n, timespec, signals)`."""
model_run = outside(False, 13)
"""A model's own code (`codegen.entrance`), by numba's convention: places for the result and for what was
raised, then its arguments."""
