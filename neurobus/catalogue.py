"""What a config may name, told by the things themselves: models and synapse types, rules, tables and fields.

Everything is a plain dict, ready for JSON; `render_*` give the same for the eye.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from neurobus import modelpath
from neurobus.config.locate import meant
from neurobus.config.schema import (
    Classroom,
    Distribution,
    Electrical,
    Graded,
    Group,
    Neuron,
    Patterns,
    Plain,
    Run,
    Source,
    Space,
    Synapses,
    Value,
)
from neurobus.errors import InputError
from neurobus.loading import load_node
from neurobus.model import Encoder, Model, Node, Param, Synapse
from neurobus.network.pairs import RULES

KINDS = {"neuron": "neurons", "source": "sources", "encoder": "encoders", "synapse": "synapse types"}
TABLES: dict[str, Any] = {
    "run": Run, "neurons": Neuron, "groups": Group, "synapses": Synapses,
    "electrical": Electrical, "graded": Graded, "classroom": Classroom,
    "space": Space, "patterns": Patterns, "distribution": Distribution,
}  # fmt: skip
SOURCES = {str(kind.__struct_config__.tag): kind for kind in get_args(Source)}
SINGLE, INLINE = ("run", "classroom"), ("space", "patterns", "distribution")
"""Tables that stand once, and those that are a value of a key; the others are lists, `[[name]]`."""

Facts = dict[str, Any]


# -- models -----------------------------------------------------------------------------------------


def models() -> list[Facts]:
    """The models and synapse types that neurobus ships: name, kind, summary."""
    found = []
    for name in modelpath.shipped():
        try:
            facts = model(name)
        except ImportError:
            continue  # a module that several models share
        found.append({key: facts[key] for key in ("name", "kind", "summary")})
    return found


def model(name: str) -> Facts:
    """All there is to know of a model or synapse type by its dotted name. Raises ImportError."""
    cls = load_node(name)
    text = inspect.getdoc(sys.modules[cls.__module__]) or inspect.getdoc(cls) or ""
    facts: Facts = {
        "name": name, "kind": kind(cls), "about": text,
        "summary": _summary(text),
        "parameters": [_param(key, param) for key, param in cls.params().items()],
    }  # fmt: skip
    if issubclass(cls, Model | Synapse):
        facts["states"] = [_state(key, state) for key, state in cls.states().items()]
    if issubclass(cls, Model):
        facts |= {"weight_unit": cls.weight_unit, "receptors": list(cls.receptors),
                  "synapse_states": [_state(key, z) for key, z in cls.synapse_states().items()]}  # fmt: skip
    if issubclass(cls, Synapse):
        facts["traces"] = [_state(key, trace) for key, trace in cls.traces().items()]
        facts["modulators"] = list(cls.modulators)
    return facts


def _summary(text: str) -> str:
    """The first sentence of a docstring, as far as it stands by itself."""
    first = " ".join(text.partition("\n\n")[0].split())
    return first if first.endswith(".") else first.rpartition(":")[0] + "."


def kind(cls: type[Node]) -> str:
    """neuron, source, encoder or synapse."""
    if issubclass(cls, Model):
        return "neuron"
    if issubclass(cls, Synapse):
        return "synapse"
    return "encoder" if issubclass(cls, Encoder) else "source"


def _param(name: str, param: Param) -> Facts:
    unit = "weight" if param.weight else param.unit
    return {"name": name, "default": param.value, "unit": unit, "bounds": param.bounds(), "about": param.doc}


def _state(name: str, state: Any) -> Facts:
    return {"name": name, "unit": state.unit, "about": state.doc}


# -- rules, tables and fields -------------------------------------------------------------------------


def rules() -> list[Facts]:
    """The rules by which neurons are connected: the keys they need, those they may have, what they give."""
    return [{"name": name, "needs": list(keys.needs), "may_have": list(keys.may_have), "about": keys.about}
            for name, keys in RULES.items()]  # fmt: skip


def tables() -> list[Facts]:
    """The tables of a config, each with its fields; sources by their kind."""
    return [table(name) for name in (*TABLES, *SOURCES)]


def table(name: str) -> Facts:
    """A table: how it is written, what it is for, its fields. `name` as in `TABLES`, or a kind of source."""
    struct = TABLES.get(name) or SOURCES[name]
    fields = [
        {
            "name": field.name,
            "required": field.required,
            "default": _default(field),
            "is": _kind_of(field.type),
        }
        for field in msgspec.structs.fields(struct)
    ]
    return {"name": name, "written": _heading(name), "about": inspect.getdoc(struct) or "", "fields": fields}


def _heading(name: str) -> str:
    if name in SOURCES:
        return f'[[sources]], kind = "{name}"'
    if name in INLINE:
        return f"{name} = {{ … }}"
    return f"[{name}]" if name in SINGLE else f"[[{name}]]"


def _default(field: Any) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    return None if field.default_factory is msgspec.NODEFAULT or field.required else []


def _kind_of(hint: Any) -> str:
    """A type as a person calls it."""
    if hint == Value:
        return "quantity or distribution"
    if hint == Plain:
        return "quantity"
    origin, of = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " | ".join(map(str, of))
    if origin in (Union, types.UnionType):
        rest = [part for part in of if part is not type(None)]
        if set(rest) >= set(get_args(Plain)):
            plain = [part for part in rest if part not in get_args(Plain)]
            return " or ".join(["quantity", *(_kind_of(part) for part in plain)])
        return " or ".join(_kind_of(part) for part in rest)
    if origin is list:
        return f"list of {_kind_of(of[0])}"
    if origin is tuple:
        return " and ".join(_kind_of(part) for part in of)
    if origin is dict:
        return f"table of {_kind_of(of[1])}"
    if hasattr(hint, "__metadata__"):
        return _kind_of(hint.__origin__) if origin is None else _kind_of(of[0])
    names = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    return names.get(hint) or getattr(hint, "__name__", str(hint)).lower()


def find(word: str) -> tuple[str, Facts]:
    """What `word` names: (`model` | `rule` | `table`, its facts). Raises InputError with what was meant."""
    if word in RULES:
        return "rule", next(rule for rule in rules() if rule["name"] == word)
    if word in TABLES or word in SOURCES:
        return "table", table(word)
    short = modelpath.SHIPPED + word
    name = short if short in modelpath.shipped() else word
    try:
        return "model", model(name)
    except ImportError as error:
        known = [name.removeprefix(modelpath.SHIPPED) for name in modelpath.shipped()]
        hint = meant(word, [*RULES, *TABLES, *SOURCES, *known]) if "." not in word else ""
        raise InputError(f"nothing is called '{word}'{hint}" if hint else str(error)) from error


# -- for the eye ---------------------------------------------------------------------------------------


def render_models(found: Sequence[Facts]) -> str:
    lines = []
    wide = max((len(facts["name"]) for facts in found), default=0)
    for kind, plural in KINDS.items():
        mine = [facts for facts in found if facts["kind"] == kind]
        lines += (
            [f"{plural}:", *(f"  {one['name']:<{wide}}  {one['summary']}" for one in mine), ""]
            if mine
            else []
        )
    return "\n".join(lines)


def render_model(facts: Facts) -> str:
    what = {"synapse": "a synapse type", "encoder": "an encoder"}.get(facts["kind"], f"a {facts['kind']}")
    lines = [f"{facts['name']}, {what}", "", facts["about"]]
    rows = [(one["name"], _value(one), one["bounds"], one["about"]) for one in facts["parameters"]]
    lines += _section("parameters", rows)
    for key in ("states", "synapse_states", "traces"):
        rows = [(one["name"], one["unit"], "", one["about"]) for one in facts.get(key, ())]
        lines += _section(key.replace("_", " "), rows)
    if facts.get("receptors"):
        unit = f", weights in {facts['weight_unit']}" if facts["weight_unit"] else ""
        lines += ["", f"receptors: {', '.join(facts['receptors'])}{unit}"]
    if facts.get("modulators"):
        lines += ["", f"modulators: {', '.join(facts['modulators'])}"]
    return "\n".join(lines)


def _value(one: Facts) -> str:
    return f"{one['default']:g} {one['unit']}".rstrip()


def render_rules(found: Sequence[Facts]) -> str:
    rows = []
    for rule in found:
        keys = ", ".join([*rule["needs"], *(f"[{key}]" for key in rule["may_have"])])
        rows.append((rule["name"], keys, "", rule["about"]))
    return "\n".join(_section("rules (keys in brackets may be left out)", rows)[1:])


def render_table(facts: Facts) -> str:
    rows = []
    for one in facts["fields"]:
        default = (
            "needed" if one["required"] else "" if one["default"] in (None, []) else _written(one["default"])
        )
        rows.append((one["name"], default, "", one["is"]))
    return "\n".join([f"{facts['written']}", "", facts["about"], *_section("fields", rows)])


RENDER: dict[str, Callable[[Facts], str]] = {
    "model": render_model, "table": render_table, "rule": lambda rule: render_rules([rule]),
}  # fmt: skip


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _section(title: str, rows: Iterable[tuple[str, ...]]) -> list[str]:
    rows = list(rows)
    if not rows:
        return []
    used = [n for n in range(len(rows[0])) if any(row[n] for row in rows)]
    wide = {n: max(len(row[n]) for row in rows) for n in used}
    return [
        "",
        f"{title}:",
        *("  " + "  ".join(f"{row[n]:<{wide[n]}}" for n in used).rstrip() for row in rows),
    ]
