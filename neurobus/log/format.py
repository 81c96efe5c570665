"""What a log is: an MCAP file that explains itself and can be run again.

    metadata   neurobus        the facts of the run (`Header`), under a checksum of their own
    attachment ids.json        ids in index order, and groups
    attachment config.toml     the config as it was read
    attachment <name>          every CSV and array the config names
    channel    spikes          {t, i, r, d?}            batches: columns as little-endian bytes
    channel    samples         {t, i, v, r, d?}
    channel    stimuli         {t, neuron, weight, origin, r}
    channel    events          {t, origin, verb, data, r}
    channel    weights         {t, pre, post, w, r}    of one process at one time t
    metadata   neurobus.end    written on a clean close: end of the run, and what could not be written

Columns: t int64 ns of model time, i, pre, post uint32 neuron index, v float64 mV, w float64 in the unit of
the neuron post, d uint32 µs of receipt after r, r int64 ns of wall time (Unix). Of weights t is one number;
those of synapses between the same two stand in the order of their declaration. Every message is a msgpack
map whose last entry is `crc`, the CRC-32 of the bytes before that number: MCAP protects chunks, and a log
being recorded has none. An event `guest` {id, index, neuron} declares who is started by hand; on a close the
table of ids has them too, behind all others. The MCAP sequence number counts messages over all channels, so
a reader knows how many are missing. log_time is the model time of a batch's first spike, publish_time the
time of receipt.
"""

from __future__ import annotations

import json
import platform
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import msgpack
import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

import neurobus
from neurobus.config.schema import ID_PATTERN
from neurobus.errors import NeurobusError
from neurobus.events import Stimulus
from neurobus.versions import STREAMS

GROUP_PATTERN = ID_PATTERN.replace("_.-", "_.#-")
"""Patterns of a group are called `group#0`."""
MOST_SEED = (1 << 128) - 1
LONGEST_DT_NS = 3600 * 10**9
FORMAT = "1"
PROFILE = "neurobus"
CHANNELS = {1: "spikes", 2: "samples", 3: "stimuli", 4: "events", 5: "weights"}
"""Fixed, so that messages can be read where the channel records themselves are damaged."""
SPIKES, SAMPLES, STIMULI, EVENTS, WEIGHTS = CHANNELS.values()
TOML, JSON, CSV, BYTES = "application/toml", "application/json", "text/csv", "application/octet-stream"

LONGEST_NS = 1 << 62
"""No time in a log, of a model or of receipt, lies beyond: 146 years."""
MOST_PROBLEMS = 20

Int64s = npt.NDArray[np.int64]
Indices = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float64]
T = TypeVar("T")


class LogError(NeurobusError):
    """The log cannot be written further. What was written before stays readable."""


class LogFull(LogError):
    """No room: the disk, a quota or a file size limit."""


class Damaged(ValueError):
    """Bytes that are not what the writer wrote."""


class Problems(list[str]):
    """What is wrong with a file, in words: no more of them than a person would read."""

    def append(self, problem: str) -> None:
        if len(self) < MOST_PROBLEMS:
            super().append(problem if len(self) + 1 < MOST_PROBLEMS else "and more is wrong with it")


@dataclass(frozen=True)
class Header:
    """What a log knows about its run.

    `ids`: all neurons, then (from `n_neurons` on) the sources. `files`: name as the config writes it →
    content. `groups`: name → indices. `replaced`: ids that a recording played in this run. `streams`: version
    of the random streams that its network and noise were drawn by; logs without one are of version 1.
    `guests`: ids behind those of the config, started by hand; whether each is a neuron, else a source.
    """

    config_name: str
    config_text: str
    seed: int
    dt_ns: int
    clock: str
    ids: list[str]
    started_unix_ns: int
    duration_ns: int | None = None
    n_neurons: int | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    groups: dict[str, list[int]] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)
    streams: int = STREAMS
    guests: dict[str, bool] = field(default_factory=dict)
    version: str = neurobus.__version__
    python: str = field(default_factory=platform.python_version)
    numpy: str = np.__version__

    @property
    def of_neurons(self) -> npt.NDArray[np.bool_]:
        """Which ids are neurons, no sources. Shape (len(ids),)."""
        found = np.arange(len(self.ids)) < (len(self.ids) if self.n_neurons is None else self.n_neurons)
        first = len(self.ids) - len(self.guests)
        found[first:] = [self.guests[id] for id in self.ids[first:]]
        return found

    @property
    def config_ids(self) -> list[str]:
        return self.ids[: len(self.ids) - len(self.guests)]

    def with_guest(self, id: str, neuron: bool) -> Header:
        """With one more, behind all others."""
        return replace(self, ids=[*self.ids, id], guests={**self.guests, id: neuron})

    def metadata(self) -> dict[str, str]:
        facts = {
            "format": FORMAT,
            "version": self.version,
            "streams": str(self.streams),
            "config": self.config_name,
            "seed": str(self.seed),
            "dt_ns": str(self.dt_ns),
            "clock": self.clock,
            "started_unix_ns": str(self.started_unix_ns),
            "duration_ns": "" if self.duration_ns is None else str(self.duration_ns),
            "neurons": "" if self.n_neurons is None else str(self.n_neurons),
            "overrides": json.dumps(self.overrides),
            "files": json.dumps(list(self.files)),
            "replaced": json.dumps(self.replaced),
            "python": self.python,
            "numpy": self.numpy,
            "sealed": "1",  # the record of a clean close has a checksum
            **({"guests": json.dumps(self.guests)} if self.guests else {}),
        }
        return {**facts, "crc": str(_facts_crc(facts))}

    def with_guests_in(self, facts: Mapping[str, str]) -> dict[str, str]:
        """The facts of a file that knew of fewer guests, otherwise as they are."""
        if not self.guests:
            return dict(facts)
        facts = {**facts, "guests": json.dumps(self.guests)}
        facts.pop("crc", None)
        return {**facts, "crc": str(_facts_crc(facts))}

    def attachments(self) -> list[tuple[str, str, bytes]]:
        """(name, media type, content) in the order they stand in the file."""
        table = json.dumps({"ids": self.ids, "groups": self.groups}, separators=(",", ":")).encode()
        return [("ids.json", JSON, table), ("config.toml", TOML, self.config_text.encode()),
                *((name, CSV if name.endswith(".csv") else BYTES, content)
                  for name, content in self.files.items())]  # fmt: skip

    @staticmethod
    def parse(facts: Mapping[str, str], attached: Mapping[str, bytes], problems: list[str]) -> Header:
        """The inverse of `metadata` and `attachments`, every type and bound checked.

        A config or CSV that is missing is left empty and goes into `problems`. Raises `Damaged`.
        """
        facts = dict(facts)
        if facts.pop("crc", None) != str(_facts_crc(facts)):
            raise Damaged("its facts do not match their checksum")
        if facts["format"] != FORMAT:
            raise Damaged(f"it has format {facts['format']}; this neurobus reads format {FORMAT}")
        if "ids.json" not in attached:
            raise Damaged("its table of ids is cut off or damaged")
        table = _json(attached["ids.json"], _Table, "table of ids")
        ids, files, replaced = table.ids, _texts(facts, "files"), _texts(facts, "replaced")
        if len(set(ids)) < len(ids):
            raise Damaged("an id stands twice in its table")
        if any(member >= len(ids) for members in table.groups.values() for member in members):
            raise Damaged("a group in it has a member beyond the table of ids")
        if not set(replaced) <= set(ids):
            raise Damaged("a recorded neuron in it is not in the table of ids")
        guests = _json(facts.get("guests", "{}"), dict[str, bool], "list of guests")
        if list(guests) != ids[len(ids) - len(guests) :]:
            raise Damaged("its neurons that were started by hand are not the last in its table of ids")
        if facts["clock"] not in ("wall", "virtual"):
            raise Damaged(f"its clock is '{facts['clock']}'")
        for name in ["config.toml", *files]:
            if name not in attached:
                problems.append(f"{name} is lost")
        return Header(
            config_name=facts["config"],
            config_text=attached.get("config.toml", b"").decode(),
            seed=whole(facts, "seed", 0, MOST_SEED),
            dt_ns=whole(facts, "dt_ns", 1, LONGEST_DT_NS),
            clock=facts["clock"],
            ids=ids,
            started_unix_ns=whole(facts, "started_unix_ns", 0, LONGEST_NS),
            duration_ns=whole(facts, "duration_ns", 0, LONGEST_NS) if facts["duration_ns"] else None,
            n_neurons=whole(facts, "neurons", 0, len(ids) - len(guests)) if facts["neurons"] else None,
            files={name: attached[name] for name in files if name in attached},
            overrides=_texts(facts, "overrides"),
            groups=table.groups,
            replaced=replaced,
            streams=whole(facts, "streams", 1, 1 << 31) if "streams" in facts else 1,
            guests=guests,
            version=facts["version"],
            python=facts["python"],
            numpy=facts["numpy"],
        )


class _Table(msgspec.Struct):
    """`ids.json`."""

    ids: list[Annotated[str, Meta(pattern=ID_PATTERN)]]
    groups: dict[Annotated[str, Meta(pattern=GROUP_PATTERN)], list[Annotated[int, Meta(ge=0)]]]


def _json(text: str | bytes, kind: type[T], what: str) -> T:
    """Raises `Damaged`."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Damaged(f"its {what} is not as it should be: {error}") from error


def _texts(facts: Mapping[str, str], name: str) -> list[str]:
    return _json(facts[name], list[str], f"list of {name}")


def whole(facts: Mapping[str, str], name: str, least: int, most: int) -> int:
    """A whole number among the facts. Raises `Damaged`."""
    text = facts[name]
    if not re.fullmatch("-?[0-9]{1,40}", text) or not least <= int(text) <= most:
        raise Damaged(f"its {name} is {text[:40]}")
    return int(text)


def _facts_crc(facts: Mapping[str, str]) -> int:
    return zlib.crc32(json.dumps(facts, sort_keys=True).encode())


@dataclass(frozen=True)
class End:
    """What a clean close adds: how many messages there are, the longest stretch of model time in one of
    them (a search by time must begin that much earlier), and how many items could not be written."""

    end_ns: int
    messages: int
    span_ns: int
    lost: int = 0
    why: str = ""
    recovered: str = ""
    """Of a log made of what could be read of another: what that lacked."""

    def metadata(self) -> dict[str, str]:
        facts = {name: str(value) for name, value in asdict(self).items()}
        return {**facts, "crc": str(_facts_crc(facts))}

    @staticmethod
    def parse(facts: Mapping[str, str], sealed: bool) -> End:
        """The inverse; only where the log is `sealed` it must have its checksum. Raises `Damaged`."""
        facts = dict(facts)
        crc = facts.pop("crc", None)
        if crc != str(_facts_crc(facts)) and (sealed or crc is not None):
            raise Damaged("its facts do not match their checksum")
        span_ns, messages, lost = (whole(facts, name, 0, 1 << 63) for name in ("span_ns", "messages", "lost"))
        end_ns, recovered = whole(facts, "end_ns", 0, LONGEST_NS), facts.get("recovered", "")
        return End(end_ns, messages, span_ns, lost, facts["why"], recovered)


@dataclass(frozen=True)
class LogEvent:
    """A report as a log keeps it, or what the log says of itself: where it begins, whom it declares."""

    origin: str
    verb: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A stimulus or event with the model time at which it took place and its time of receipt."""

    t_ns: int
    receipt_ns: int
    item: T


@dataclass(frozen=True)
class Potentials:
    """Recorded membrane potentials, sorted by (t, i). All shape (M,)."""

    t: Int64s
    i: Indices
    v_mv: Floats
    receipt: Int64s

    def only(self, chosen: Any) -> Potentials:
        v_mv = self.v_mv[chosen] if self.v_mv.size else self.v_mv  # spikes have none
        return Potentials(self.t[chosen], self.i[chosen], v_mv, self.receipt[chosen])

    def followed_by(self, other: Potentials) -> Potentials:
        columns = (
            np.append(getattr(self, name), getattr(other, name)) for name in ("t", "i", "v_mv", "receipt")
        )
        return Potentials(*columns)


def no_samples() -> Potentials:
    return Potentials(np.empty(0, np.int64), np.empty(0, np.uint32), np.empty(0), np.empty(0, np.int64))


@dataclass(frozen=True)
class Weights:
    """Recorded weights, sorted by (t, post, pre, order of declaration). All shape (M,)."""

    t: Int64s
    pre: Indices
    post: Indices
    weight: Floats
    receipt: Int64s

    def columns(self) -> tuple[Int64s, Indices, Indices, Floats, Int64s]:
        return self.t, self.pre, self.post, self.weight, self.receipt

    def only(self, chosen: Any) -> Weights:
        return Weights(self.t[chosen], self.pre[chosen], self.post[chosen], self.weight[chosen],
                       self.receipt[chosen])  # fmt: skip

    def table(self) -> tuple[Int64s, Indices, Indices, Floats]:
        """Times (T,) ns, pre and post (S,) of each synapse, and its weight at each time (T, S): NaN where it
        was not told."""
        times, row = np.unique(self.t, return_inverse=True)
        synapses, column = self.synapses()
        weight = np.full((times.size, synapses.size), np.nan)
        weight[row, column] = self.weight
        return times, self.pre[synapses], self.post[synapses], weight

    def synapses(self) -> tuple[Int64s, Int64s]:
        """An item of each synapse (S,), and the number of the synapse of each item (M,)."""
        pair, nth = self.post.astype(np.int64) << 32 | self.pre, self.nth()
        order = np.lexsort((nth, pair))
        first = (np.diff(pair[order], prepend=-1) | np.diff(nth[order], prepend=-1)) != 0
        column = np.empty(pair.size, np.int64)
        column[order] = np.cumsum(first) - 1
        return order[first], column

    def nth(self) -> Int64s:
        """Which of several synapses of one pair (M,): the place in the run of equal (t, pair)."""
        pair = self.post.astype(np.int64) << 32 | self.pre
        begins = np.flatnonzero((np.diff(self.t, prepend=-1) != 0) | (np.diff(pair, prepend=-1) != 0))
        return np.arange(pair.size) - np.repeat(begins, np.diff(begins, append=pair.size))


def no_weights() -> Weights:
    none = np.empty(0, np.uint32)
    return Weights(np.empty(0, np.int64), none, none, np.empty(0), np.empty(0, np.int64))


def joined(parts: Sequence[Weights]) -> Weights:
    """One after the other."""
    return Weights(*(np.concatenate(column) for column in zip(*(p.columns() for p in parts), strict=True)))


@dataclass(frozen=True)
class Log:
    """A log in memory. Spikes are sorted by (t, i); `spikes_i` indexes `header.ids`. Shapes (N,).

    `complete`: closed cleanly, nothing missing. Where it is False, `problems` says in words what is lost.
    `recovered`: the file is sound, but made of what could be read of one that was not.
    `initial_samples`, `initial_weights`: of a part of a log, what was told last before it, and holds in it.
    """

    path: Path
    header: Header
    spikes_t: Int64s
    spikes_i: Indices
    receipt: Int64s
    samples: Potentials
    weights: Weights
    stimuli: list[Entry[Stimulus]]
    events: list[Entry[LogEvent]]
    end_ns: int
    complete: bool
    problems: list[str]
    recovered: bool = False
    initial_samples: Potentials = field(default_factory=no_samples)
    initial_weights: Weights = field(default_factory=no_weights)


def pack(fields: dict[str, Any]) -> bytes:
    """One message: a msgpack map that ends in its checksum."""
    body: bytes = msgpack.packb({**fields, "crc": 0xFFFFFFFF})
    return body[:-4] + zlib.crc32(body[:-4]).to_bytes(4, "big")


def sound(data: bytes | memoryview) -> bool:
    """Whether a message ends in its checksum and that holds."""
    return data[-9:-4] == b"\xa3crc\xce" and zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "big")


def receipts(r: int, offsets: bytes | None, n: int) -> Int64s:
    """Time of receipt (Unix ns) of each of n items, from a batch's `r` and `d`."""
    if offsets is None:
        return np.full(n, r, np.int64)
    return r + np.frombuffer(offsets, "<u4").astype(np.int64) * 1000
