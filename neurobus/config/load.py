"""Reading a config: TOML and overrides in, checked structs out; every mistake at its line."""

from __future__ import annotations

import errno
import re
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import field

from neurobus import units
from neurobus.bounds import LONGEST_RUN, beyond
from neurobus.config import arrays, schema
from neurobus.config.locate import Place, Places, meant
from neurobus.config.schema import Document
from neurobus.config.tables import CsvTable
from neurobus.errors import InputError
from neurobus.model import Array

LONGEST_DT_NS = 1_000_000_000


class Config(Document, kw_only=True):
    """A config with where it came from. `files`: every CSV read, by the name written in the config."""

    places: Places
    path: Path | None = None
    text: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)

    def error(self, place: Place, message: str) -> InputError:
        """An error at the line of a table or key, such as `("groups", 0, "params", "I_e")`."""
        return self.places.error(place, message)

    def active(self, name: str) -> Iterator[tuple[Place, Any]]:
        """The tables `[[name]]` that are switched on, each with its place."""
        for n, table in enumerate(getattr(self, name)):
            if _used(table, self.switches):
                yield (name, n), table

    def table(self, file: str) -> CsvTable:
        """The rows of a CSV the config names. Raises InputError with the CSV's own line."""
        shown = str(self.path.parent / file) if self.path else file
        return CsvTable.parse(self.files[file], shown)

    def samples(self, file: str, array: str | None) -> Array:
        """The samples, shape (samples, inputs), of an array file the config names. Raises InputError."""
        return arrays.parse(self.files[file], str(self.path.parent / file) if self.path else file, array)


def load(path: Path, overrides: Sequence[str] = ()) -> Config:
    """The config in the file `path`, with the CSVs it names. Raises InputError."""
    path = Path(path)
    try:
        text = read_file(path).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise InputError("is not UTF-8 text", path) from error
        raise InputError(f"cannot be read: {_why(error)}", path) from error
    config = _config(text, str(path), lambda name: read_file(path.parent / name), overrides)
    config.path = path
    return config


def read_file(path: Path) -> bytes:
    """What is in a file; nobody waits for a terminal, a pipe or a device. Raises OSError, ValueError."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is a folder" if path.is_dir() else "it is no file")
    return path.read_bytes()


def _why(error: Exception) -> str:
    return ((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()


def loads(text: str, name: str, files: Mapping[str, bytes], overrides: Sequence[str] = ()) -> Config:
    """A config from memory, CSVs from `files`: how a log runs itself again. Raises InputError."""

    def read(file: str) -> bytes:
        if file not in files:
            raise FileNotFoundError(2, "no such file")
        return files[file]

    return _config(text, name, read, overrides)


def _config(text: str, name: str, read: Callable[[str], bytes], overrides: Sequence[str]) -> Config:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", str(error), re.DOTALL)
        message, line = (found[1], found[2]) if found else (str(error), None)
        lines = text.rstrip().split("\n")
        number = int(line) if line else len(lines)
        if "key part" in message:
            message += "; an inline table { … } must stay on one line"
        message = unquoted(lines[number - 1]) or f"not valid TOML: {message}"
        raise InputError(message, name, number) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"not valid TOML: {_beyond(error)}", name) from error
    try:
        places = Places(name, text)
    except RecursionError as error:
        raise InputError(f"not valid TOML: {_beyond(error)}", name) from error
    for override in overrides:
        places.changed[_override(raw, override)] = override
    if (huge := _huge(raw)) is not None:
        raise places.error(huge, "a whole number has at most 64 bits")
    _choose_packing(raw, places)
    try:
        document = msgspec.convert(raw, Document)
    except msgspec.ValidationError as error:
        raise _explained(str(error), raw, places) from error
    config = Config(
        **{key: getattr(document, key) for key in Document.__struct_fields__},
        places=places,
        text=text,
        overrides=list(overrides),
    )
    _check_switches(config)
    _check_run(config)
    _read_files(config, read)
    return config


_BARE_QUANTITY = re.compile(
    r"(?<![\w.])([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*[A-Za-zµμ]+(?:/s)?)(?![\w.])"
)
_BARE_WORD = re.compile(r"[=\[,]\s*([A-Za-z_][\w.#-]*)\s*(?=$|[,\]}])")


def unquoted(line: str) -> str:
    """What is wrong with a line that is no TOML: a quantity, or text, without its quotes; else nothing."""
    bare = re.sub(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'", '""', line).partition("#")[0].rstrip()
    for found in _BARE_QUANTITY.finditer(bare):
        try:
            units.split(found[1])
        except units.UnitError:
            continue
        return f'quantities need quotes; write "{found[1]}"'
    for word in _BARE_WORD.findall(bare.partition("=")[1] + bare.partition("=")[2]):
        if word not in ("true", "false", "inf", "nan"):
            return f'text needs quotes; write "{word}"'
    return ""


def _beyond(error: Exception) -> str:
    return "nested too deep" if isinstance(error, RecursionError) else "a number has too many digits"


def _huge(raw: dict[str, Any]) -> Place | None:
    """The place of a whole number that is none of TOML's."""
    waiting: list[tuple[Place, Any]] = [((), raw)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, dict | list):
            inner = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [((*place, key), one) for key, one in inner]
        elif isinstance(value, int) and not -1 << 63 <= value < 1 << 63:
            return place
    return None


# Overrides


def _override(raw: dict[str, Any], override: str) -> Place:
    """Put `PATH=VALUE` into `raw`; tables with an id go by it. Returns the outermost place it changed."""

    def wrong(message: str) -> InputError:
        return InputError(message, f"--set {override}")

    dotted, equals, written = override.partition("=")
    parts = dotted.strip().split(".")
    if not equals or not all(parts):
        raise wrong("write PATH=VALUE, such as run.seed=3")
    if parts[0] == "switches" and dotted.strip()[9:] not in raw.get("switches", {}):
        raise wrong(f"no switch '{dotted.strip()[9:]}'{meant(dotted.strip()[9:], raw.get('switches', {}))}")
    at: Any = raw
    place: Place = ()
    made: Place = ()
    key: Any
    while parts:
        if isinstance(at, list):
            key, used = _entry(at, parts, wrong)
        elif isinstance(at, dict):
            key, used = parts[0], 1
            if key not in at:
                made = made or (*place, key)
                at[key] = {}
        else:
            raise wrong(f"'{place[-1]}' is a value, it holds nothing named '{parts[0]}'")
        place, parts, around, at = (*place, key), parts[used:], at, at[key]
    around[key] = _toml(written.strip())
    return made or place


def _entry(tables: list[Any], parts: list[str], wrong: Callable[[str], InputError]) -> tuple[int, int]:
    """Which of `tables` the path goes on to, and how many of `parts` named it (ids may hold dots)."""
    ids = {table["id"]: n for n, table in enumerate(tables) if isinstance(table, dict) and "id" in table}
    for used in range(len(parts), 0, -1):
        if ".".join(parts[:used]) in ids:
            return ids[".".join(parts[:used])], used
    if parts[0].isdecimal() and int(parts[0]) < len(tables):
        return int(parts[0]), 1
    if parts[0].isdecimal():
        raise wrong(f"there is no number {parts[0]}; the last is {len(tables) - 1}")
    raise wrong(f"there is no '{parts[0]}'{meant(parts[0], ids)}")


def _toml(written: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {written}")
    except (ValueError, RecursionError):
        return written
    return parsed["value"] if len(parsed) == 1 else written


def _choose_packing(raw: dict[str, Any], places: Places) -> None:
    """`processes` and `neurons_per_process` exclude each other; one from `--set` replaces the other."""
    run = raw.get("run")
    if not (isinstance(run, dict) and "processes" in run and "neurons_per_process" in run):
        return
    if (("run", "processes") in places.changed) == (("run", "neurons_per_process") in places.changed):
        raise places.error(("run", "processes"), "give processes or neurons_per_process, not both")
    del run["neurons_per_process" if ("run", "processes") in places.changed else "processes"]


# What msgspec says, in words of the config

_NAMES = {"int": "a whole number", "float": "a number", "str": "text in quotes", "bool": "true or false",
          "array": "a list", "object": "a table", "datetime": "a date", "date": "a date",
          "time": "a time"}  # fmt: skip
_TABLES = {"run": schema.Run, "neurons": schema.Neuron, "groups": schema.Group, "synapses": schema.Synapses,
           "electrical": schema.Electrical, "graded": schema.Graded,
           "classroom": schema.Classroom}  # fmt: skip
_KINDS = {kind.__struct_config__.tag: kind for kind in get_args(schema.Source)}
_PARTS = {"space": schema.Space, "patterns": schema.Patterns}
_CHOICES = {"kind": _KINDS, "clock": get_args(schema.Clock), "rule": get_args(schema.Rule),
            "kernel": get_args(schema.Kernel), "placed": get_args(schema.Placed),
            "on_log_failure": get_args(schema.OnLogFailure), "code": get_args(schema.Code),
            "transfer": get_args(schema.Transfer)}  # fmt: skip
_MAPS: dict[str, Any] = {"params": schema.Value, "columns": str, "switches": bool}


def _explained(error: str, raw: dict[str, Any], places: Places) -> InputError:
    message, _, path = error.partition(" - at `$")
    place: Place = ()
    value: Any = raw
    for name, index, any_key in re.findall(r"\.(\w+)|\[(\d+)\]|(\[\.\.\.\])", path):
        step: Any = _culprit(value, str(place[-1])) if any_key else int(index) if index else name
        place, value = (*place, step), value[step]
    if found := re.match("Object contains unknown field `(.+)`", message):
        where, known = _table(place, raw)
        hint = meant(found[1], known)
        return places.error((*place, found[1]), f"unknown field '{found[1]}' in {where}{hint}")
    if found := re.match("Object missing required field `(.+)`", message):
        return places.error(place, f"{_table(place, raw)[0]} needs '{found[1]}'")
    if message.startswith("Invalid"):
        hint = meant(str(value), _CHOICES[str(place[-1])])
        return places.error(place, f"{place[-1]} cannot be {value!r}{hint}")
    if "matching regex" in message:
        return places.error(place, f"'{value}' is no id; {schema.ID_RULE}")
    if len(place) == 1 and message == "Expected `array`, got `object`":
        return places.error(place, f"write [[{place[0]}]], not [{place[0]}]: it may stand several times")
    found = re.match("Expected `(.+?)`(?:, got `(.+)`| (.*?)(?:, got .*)?)?$", message)
    assert found is not None, message
    kinds = [kind for kind in found[1].split(" | ") if kind != "null"]
    wanted = ('a quantity such as "20 ms"' + " or a distribution" * ("object" in kinds)
              if {"str", "float"} <= set(kinds) else _NAMES.get(kinds[0], kinds[0]))  # fmt: skip
    got = _NAMES.get(found[2], found[2]) if found[2] and found[2] != "bool" else repr(value).lower()
    limit = f" {found[3]}, not {value!r}" if found[3] else f", not {got}"
    named = next(part for part in reversed(place) if isinstance(part, str))
    return places.error(place, f"'{named}' must be {wanted}{limit}")


def _culprit(entries: dict[str, Any], of: str) -> str:
    """msgspec writes `[...]` for the key of a mapping: the first entry that does not convert."""
    for key, value in entries.items():
        try:
            msgspec.convert(value, _MAPS[of])
        except msgspec.ValidationError:
            return key
    raise AssertionError(entries)


def _table(place: Place, raw: dict[str, Any]) -> tuple[str, Sequence[str]]:
    """How a person calls the table at `place`, and the fields it may have."""
    if not place:
        return "a config", Document.__struct_fields__
    if place[0] in ("run", "classroom"):
        return f"[{place[0]}]", _TABLES[str(place[0])].__struct_fields__
    if len(place) > 2 and place[2] in _PARTS:
        return str(place[2]), _PARTS[str(place[2])].__struct_fields__
    if len(place) > 2:
        return "a distribution", schema.Distribution.__struct_fields__
    if place[0] == "sources":
        kind = raw["sources"][place[1]].get("kind")
        if kind not in _KINDS:
            return "[[sources]]", ()
        return f"a source of kind '{kind}'", ("kind", *_KINDS[kind].__struct_fields__)
    return f"[[{place[0]}]]", _TABLES[str(place[0])].__struct_fields__


# Checks that need no network


def _used(table: schema.Table, switches: Mapping[str, bool]) -> bool:
    when = table.when
    return when is None or switches[when.removeprefix("!")] != when.startswith("!")


def _check_switches(config: Config) -> None:
    for name in ("neurons", "groups", "sources", "synapses", "electrical", "graded"):
        for n, table in enumerate(getattr(config, name)):
            if table.when is not None and (switch := table.when.removeprefix("!")) not in config.switches:
                hint = meant(switch, config.switches) or "; declare it in [switches]"
                raise config.error((name, n, "when"), f"no switch '{switch}'{hint}")


def _check_run(config: Config) -> None:
    run = config.run
    for key, unit, least in (("dt", "ms", 1), ("duration", "s", 1), ("grace", "ms", 0),
                             ("snapshot_every", "s", 0), ("potential_interval", "ms", 0),
                             ("weight_interval", "s", 1), ("potential_delta", "mV", 0),
                             ("junction_delta", "mV", 0)):  # fmt: skip
        written = getattr(run, key)
        if written is None:
            continue
        try:
            value = units.parse(written, unit) if unit == "mV" else units.to_ns(written, usual=unit)
        except units.UnitError as error:
            raise config.error(("run", key), f"{key}: {error}") from error
        if key == "dt" and value > LONGEST_DT_NS:
            raise config.error(("run", key), f"dt must be <= 1 s, not '{written}'")
        if key in ("duration", "potential_interval") and value >= LONGEST_RUN * run.dt_ns:
            raise config.error(("run", key), f"{key} '{written}' is {beyond(run.dt_ns)}")
        if value < least:
            raise config.error(("run", key), f"{key} must be {'> 0' if least else '>= 0'}, not '{written}'")
    if run.duration_ns is not None and run.duration_ns % run.dt_ns:
        raise config.error(("run", "duration"), f"duration '{run.duration}' is no multiple of dt = {run.dt}")


def _read_files(config: Config, read: Callable[[str], bytes]) -> None:
    for name, key in (("groups", "csv"), ("sources", "file"), ("synapses", "csv"), ("electrical", "csv"),
                      ("graded", "csv")):  # fmt: skip
        for place, table in config.active(name):
            file = getattr(table, key, None)
            if file is None or file in config.files:
                continue
            try:
                config.files[file] = read(file)
            except (OSError, ValueError) as error:
                message = f"'{file}' cannot be read beside the config: {_why(error)}"
                raise config.error((*place, key), message) from error
