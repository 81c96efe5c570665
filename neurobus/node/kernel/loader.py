"""A model's compiled kernel, called with addresses: loaded from its object file, without the compiler.

numba compiles a model once (`kernel.codegen`) to machine code that is kept in the cache folder. To run
it takes LLVM's loader alone; the compiler with its 40 MB of Python objects, half a second of imports and
pages that every fork must copy stays out of the process that forks hundreds of neurons.

All it works on stands in one table (`layout`). What looks ahead and what talks to the bus is the same for all
models, and compiled once; it calls a model's own code by its address, which stands in the table.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import msgpack
import numpy as np
from llvmlite.binding.object_file import ObjectFileRef

from neurobus import stateful_synapses, streams
from neurobus.loading import load_synapse
from neurobus.model import Model
from neurobus.node.kernel.cache import alone, cache_dir
from neurobus.node.kernel.layout import MOST_ARGUMENTS
from neurobus.node.sealed import KERNEL, unseal

HOOKS = ("step", "arrive", "fire", "post", "modulate", "until")
"""What models and synapse types may define to be compiled."""
_CALL = (ctypes.c_int32, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * (1 + MOST_ARGUMENTS))
"""numba's calling convention: places for the result and for what was raised, then the arguments: a table, an
operation, and its own. The status is 0 unless something was raised."""
_result, _raised = ctypes.c_int64(), ctypes.c_void_p()
RESULT, RAISED = ctypes.addressof(_result), ctypes.addressof(_raised)


@dataclass(frozen=True)
class Kernel:
    """The entrance that all models share, and the address of a model's own code.

    Called as `run(RESULT, RAISED, table, operation, *arguments)`, with as many arguments as
    `MOST_ARGUMENTS`; not 0 when the model's code raised. `run` keeps the GIL, being short; `wait` does not.
    """

    run: Callable[..., int]
    wait: Callable[..., int]
    model: int


def called(function: Any, seen: dict[Any, None] | None = None) -> Iterator[FunctionType]:
    """A plain function and all plain functions it calls by a global name, each once."""
    seen = {} if seen is None else seen
    if not isinstance(function, FunctionType) or function in seen:
        return
    seen[function] = None
    yield function
    for name in function.__code__.co_names:
        yield from called(function.__globals__.get(name), seen)


def object_path(name: str, model: type[Model], synapses: tuple[str, ...] = ()) -> Path:
    """Where the kernel of a model with synapses of these types is kept. Its name is a hash of everything the
    kernel is made from, so an edited model gets another file, never a stale kernel; and so does another
    processor."""
    nodes = [model, *map(load_synapse, synapses)]
    functions = (getattr(node, hook, None) for node in nodes for hook in HOOKS)
    modules = {sys.modules[node.__module__] for node in nodes} | {
        sys.modules[part.__module__]
        for function in functions
        for part in called(function)
        if part.__module__ in sys.modules
    }
    sources = sorted(inspect.getsource(module) for module in modules)
    short = "_".join((name, *(synapse.rpartition(".")[2] for synapse in synapses))).replace(".", "_")
    return _object_path(short, [name, *synapses, *sources, *_here("codegen", "synapse_codegen")])


def _here(*names: str) -> list[str]:
    """Sources of this package, of the random words that its code draws, and of how synapses are laid out."""
    sources = [Path(__file__).with_name(f"{name}.py").read_text() for name in names]
    return [*sources, *map(inspect.getsource, (streams, stateful_synapses))]


def _object_path(short: str, made_from: list[str]) -> Path:
    common = _here("loader", "layout", "memory", "lookahead")
    what = [*made_from, *common, llvmlite.__version__, np.__version__, sys.version, _processor()]
    digest = hashlib.sha256("\0".join(what).encode()).hexdigest()[:16]
    return cache_dir() / f"{short[:80]}_{digest}.kernel"


@functools.cache
def _processor() -> str:
    return f"{llvm.get_default_triple()} {llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


_loaded: dict[tuple[str, type[Model], tuple[str, ...]], Kernel] = {}
_engines: list[Any] = []
"""They own the machine code."""
_NEVER_CALLED = "NRT_MemInfo_call_dtor"
"""Frees an array's memory. It is linked into every kernel, but the arrays of a kernel own none."""


def kernel(name: str, model: type[Model], synapses: tuple[str, ...] = ()) -> Kernel:
    """The kernel of a model with synapses of these types: from memory, the cache folder, or compiled now.

    Raises what numba raises where the model's `step` or a hook cannot be compiled.
    """
    if (name, model, synapses) not in _loaded:

        def make(path: Path) -> None:
            from neurobus.node.kernel import codegen

            codegen.compile_model(path, name, model, synapses)

        own = _address(object_path(name, model, synapses), make)
        _loaded[name, model, synapses] = Kernel(*_common(), own)
    return _loaded[name, model, synapses]


@functools.cache
def _common() -> tuple[Any, Any]:
    """The entrance, called in both ways."""

    def make(path: Path) -> None:
        from neurobus.node.kernel import codegen

        codegen.compile_common(path)

    address = _address(_object_path("all", _here("bus_io")), make)
    return ctypes.PYFUNCTYPE(*_CALL)(address), ctypes.CFUNCTYPE(*_CALL)(address)


def _address(path: Path, make: Callable[[Path], None]) -> int:
    """Address of the function in an object file, which is made where it is missing."""
    if (code := read(path)) is None:
        with alone(path.parent):
            if (code := read(path)) is None:
                make(path)
                code = read(path)
        if code is None:
            raise RuntimeError(f"{path} was written and cannot be read")
    return _load(path, code)


def read(path: Path) -> dict[str, Any] | None:
    """The object file and what belongs to it; None where there is none, or a damaged one: it is made anew."""
    try:
        code: dict[str, Any] = msgpack.unpackb(unseal(KERNEL, path.read_bytes()))
    except (OSError, ValueError):
        return None
    return code


def _load(path: Path, code: dict[str, Any]) -> int:
    # What LLVM does not find it leaves at address 0, and all other outside functions of the kernel with it.
    if set(code["helpers"]) - {_NEVER_CALLED}:
        # A model whose `step` allocates needs the runtime library of numba, which comes with it.
        from neurobus.node.kernel import codegen

        codegen.provide_helpers()
    elif llvm.address_of_symbol(_NEVER_CALLED) is None:
        llvm.add_symbol(_NEVER_CALLED, ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value)
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(ObjectFileRef.from_data(code["object"]))
    engine.finalize_object()
    _engines.append(engine)
    address: int = engine.get_function_address(code["symbol"])
    if not address:
        raise RuntimeError(f"{path} does not hold the function it names; remove it, and it is made again")
    return address
