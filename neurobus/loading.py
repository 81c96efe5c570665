"""Models and synapse types by their dotted names, and what is wrong with one, with file and line."""

from __future__ import annotations

import builtins
import contextlib
import dis
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar, cast

import numpy as np

from neurobus import modelpath
from neurobus.model import Model, Node, Source, Synapse

T = TypeVar("T")
TRIAL_DT_MS = 0.1
_STEP = 7
_OWNING_STEP = 11


def load(name: str) -> type[Model] | type[Source]:
    """The model class behind a dotted name: a module that defines one, or `module.Class`.

    Raises ImportError with a word on what would be right, and file and line where a model is at fault.
    """
    found = load_node(name)
    if issubclass(found, Synapse):
        raise ImportError(f"'{name}' is a synapse type; it stands as synapse = \"{name}\" in [[synapses]]")
    return cast(type[Model] | type[Source], found)


def load_synapse(name: str) -> type[Synapse]:
    """The synapse type behind a dotted name, as `load`."""
    found = load_node(name)
    if not issubclass(found, Synapse):
        raise ImportError(f"'{name}' is no synapse type")
    if found.arrive is None:
        raise ImportError(f"synapse type '{name}' has no 'arrive'")
    if found.dendritic and found.modulators:
        raise ImportError(f"synapse type '{name}': what is modulated cannot have a dendritic delay")
    return found


def load_node(name: str) -> type[Node]:
    """The class behind a dotted name, whatever kind of node or synapse type it is. Raises ImportError."""
    modelpath.require_allowed(name)
    return load_class(name, Node, "model")


def load_class(name: str, base: type[T], what: str) -> type[T]:
    """The class of kind `base` behind a module that has one, or `module.Class`; `what` it is, in errors.
    Raises ImportError."""
    if not all(part.isidentifier() for part in name.split(".")):
        raise ImportError(f"'{name}' is no dotted name of a module{modelpath.meant(name)}")
    try:
        module: Any = _imported(name)
    except ModuleNotFoundError as error:
        head, _, tail = name.rpartition(".")
        if error.name and not (name == error.name or name.startswith(error.name + ".")):
            raise ImportError(f"{what} '{name}' does not import: {_where(error)}{error}") from error
        try:
            module = getattr(_imported(head), tail) if head else None
        except (ImportError, AttributeError):
            module = None
        if module is None:
            raise ImportError(f"{what} '{name}' does not import: {error}{modelpath.meant(name)}") from error
    except (Exception, SystemExit) as error:
        word = " ".join(f"{type(error).__name__}: {_message(error)}".split())
        raise ImportError(f"{what} '{name}' does not import: {_where(error)}{word}") from error
    if isinstance(module, ModuleType):
        own: list[type[Any]] = [value for value in vars(module).values() if isinstance(value, type)
               and issubclass(value, base) and value.__module__ == module.__name__]  # fmt: skip
        if len(own) != 1:
            hint = "; name one as" if own else f"; a {what} is a class such as"
            which = f"module '{name}'" + (
                "" if own else f" ({getattr(module, '__file__', 'built into Python')})"
            )
            raise ImportError(f"{which} defines {len(own)} {what}s{hint} '{name}.Class'")
        return own[0]
    if not (isinstance(module, type) and issubclass(module, base)):
        raise ImportError(f"'{name}' is no neurobus {'Model or Source' if base is Node else base.__name__}")
    return module


def _imported(name: str) -> ModuleType:
    """The module. What it prints as it is imported is for the person, not for who reads our output."""
    with contextlib.redirect_stdout(sys.stderr):
        return importlib.import_module(name)


def _where(error: BaseException) -> str:
    """`file:line: ` of the fault in a model's file: where the text breaks off, or the last line that ran."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: "
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_theirs(frame.filename)]
    return f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""


def _is_theirs(file: str) -> bool:
    """Neither ours, nor Python's machinery of imports."""
    return not file.startswith("<") and Path(file).parent != Path(__file__).parent and "importlib" not in file


def _message(error: BaseException) -> str:
    return error.msg if isinstance(error, SyntaxError) else str(error)


# -- what a class must have --------------------------------------------------------------------------------


def fault(model: type[Node]) -> str | None:
    """What a model lacks to be run, with file and line; None when nothing that can be seen beforehand."""
    if issubclass(model, Source):
        return f"{_at(model)}it has no 'stamps'" if model.stamps is Source.stamps else None
    if not issubclass(model, Model):
        return None
    for hook in ("prepare", "step"):
        if getattr(model, hook) is getattr(Model, hook):
            return f"{_at(model)}it has no '{hook}'"
    if model.potential not in model.states():
        return (f"{_at(model)}it has no State '{model.potential}', its potential; "
                f"potential = \"…\" names another")  # fmt: skip
    if unknown := next((name for name in (model.potential_zero, model.potential_delta, model.peak)
                        if name is not None and name not in model.params()), None):  # fmt: skip
        return f"{_at(model)}it has no Param '{unknown}'"
    return _fault_of_step(model) or _fault_of_trial(model)


def _fault_of_step(model: type[Model]) -> str | None:
    step = model.step
    if not isinstance(step, FunctionType):
        return f"{_at(model)}'step' must be a plain function"
    wanted = _STEP if model.arrive is None else _OWNING_STEP
    if step.__code__.co_argcount != wanted:
        return f"{_at(step)}'step' has {step.__code__.co_argcount} arguments; it must have {wanted}"
    for name in _globals_of(step.__code__):
        if name not in step.__globals__ and not hasattr(builtins, name):
            return f"{_at(step)}'step' uses '{name}', which is not defined"
    return None


def _globals_of(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            yield instruction.argval


def _fault_of_trial(model: type[Model]) -> str | None:
    """`prepare` and `initial` for one neuron with the parameters as they are by default."""
    hook: Any = model.params
    try:
        p = {name: np.array([param.value]) for name, param in model.params().items()}
        if model.check(p):
            return None  # as they are by default they contradict each other: whoever gives them is told
        hook = model.prepare
        with np.errstate(all="ignore"):
            made = model.prepare(p, TRIAL_DT_MS)
            rows = [np.asarray(row, np.float64) for row in made.values()]
            if any(row.shape != (1,) for row in rows):
                return f"{_at(hook)}'prepare' must give arrays as long as those it gets"
            hook = model.initial
            begun = model.initial(p)
        if strange := next((name for name in begun if name not in model.states()), None):
            return f"{_at(hook)}'initial' names '{strange}', which is no State"
    except Exception as error:
        return fault_in(model, error)
    return None


def fault_in(model: type[Node], error: Exception) -> str:
    """What a model raised, in one line, with file and line."""
    word = " ".join(f"{type(error).__name__}: {_message(error)}".split())
    return f"{_where(error) or _at(model)}{word}"


def _at(thing: Any) -> str:
    try:
        return f"{inspect.getsourcefile(thing)}:{inspect.getsourcelines(thing)[1]}: "
    except (OSError, TypeError):
        return ""


# -- what the compiler says --------------------------------------------------------------------------------

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_PLACE = re.compile(r'File "([^"]+)", line (\d+)')
_TELLING = re.compile(
    r"NameError|Cannot unify|Unknown attribute|No implementation|Untyped global|not supported|Unsupported"
    r"|Use of unknown|Invalid use|[Cc]annot|Undeclared|Type of variable"
)


def compiling_fault(model: type[Node], error: BaseException) -> str:
    """What numba says of a model, in one line: where in its file, and the line that tells what."""
    text = _COLOUR.sub("", str(error))
    own = inspect.getsourcefile(model)
    # Numba writes paths as seen from where we are; of the places it names the deepest comes first.
    lines = [line for file, line in _PLACE.findall(text) if own and Path(file).name == Path(own).name]
    at = f"{own}:{lines[0]}: " if lines else _at(getattr(model, "step", model))
    said = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    first = next((n for n, line in enumerate(said) if _TELLING.search(line)), 0)
    telling = " ".join(
        said[first : first + 2] if said[first:] and said[first].endswith(":") else said[first : first + 1]
    )
    return f"{at}{type(error).__name__}: {telling[:200]}"
