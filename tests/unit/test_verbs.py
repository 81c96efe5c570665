"""The table of controls and reports: its bytes, what is Malformed, and that every row is said and heard."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest

from neurobus.wire import bus as wire
from neurobus.wire import lease, verbs
from neurobus.wire.bus import Malformed, decode, encode
from neurobus.wire.message import CONTROLS, REPORTS, Control, ControlMessage, Message, Party, Report, fields
from neurobus.wire.reasons import Reason
from tests.helpers import word

ROWS: list[type[Message]] = [
    kind for table in (CONTROLS, REPORTS) for kinds in table.values() for kind in kinds
]
FIGURES = {
    "step": 9, "owner": None, "agreed": 1, "disagreements": 2, "returned": 3, "spikes": 4, "deliveries": 5,
    "samples": 6, "late": 7, "lost": 8, "duplicates": 9, "stale": 10, "malformed": 11, "cpu_s": 0.5,
}  # fmt: skip
TOTALS = {"received": 1, "lost": 2, "duplicates": 3, "stale": 4}
CONDUCTED = {"step": 9, "rounds": 1, "duties": 2, "malformed": 0, "ledger": TOTALS,
             "gaps": {"a": {"lost": 1}}, "samples": TOTALS}  # fmt: skip
COLUMNS = {"pre": [0], "post": [1], "receptor": [0], "delay": [15], "weight": [0.5], "kind": [-1]}
OWNER = {"epoch": 2, "by": "process", "board": "B0", "claim": "b/1", "why": "detached"}
_totals = verbs.Totals(1, 2, 3, 4)
VECTORS: list[tuple[Message, dict[str, Any]]] = [
    (verbs.Start(10**12, 300, None), {"t0_ns": 10**12, "stop_step": 300, "pace": None}),
    (verbs.Start(-5, None, 0.5), {"t0_ns": -5, "stop_step": None, "pace": 0.5}),
    (verbs.Stop(), {}),
    (verbs.Stop(step=7), {"step": 7}),
    (verbs.Stop(end_ns=700), {"end_ns": 700}),
    (verbs.Exit(), {}),
    (verbs.TakeSnapshot(70_000), {"step": 70_000}),
    (verbs.AskStatus(), {}),
    (verbs.AskStatus(3), {"step": 3}),
    (verbs.AskWeights(), {}),
    (verbs.AskWeights("n.1"), {"neuron": "n.1"}),
    (verbs.AskFarewell(), {}),
    (verbs.Ready(pid=5), {"pid": 5}),
    (verbs.Ready(next_step=1, pid=5, epoch=0), {"next_step": 1, "pid": 5, "epoch": 0}),
    (verbs.Ready(next_step=1, pid=5, epoch=2, guest=verbs.Guest(True, "pA", (-70.0, -55.0), (0.5, 127))),
     {"next_step": 1, "pid": 5, "epoch": 2,
      "guest": {"neuron": True, "unit": "pA", "level_mv": [-70.0, -55.0], "grain": [0.5, 127]}}),
    (verbs.Status(**FIGURES, counts=[4], mv=[-65.5]), {**FIGURES, "counts": [4], "mv": [-65.5]}),
    (verbs.Final(**FIGURES, counts=[4], gaps={}, unended={"spikes": {"a": (0, 5)}, "samples": {}},
                 sent=(0, 4, 6)),
     {**FIGURES, "counts": [4], "gaps": {}, "unended": {"spikes": {"a": [0, 5]}, "samples": {}},
      "sent": [0, 4, 6]}),
    (verbs.ConductorStatus(9, 1, 2, 0, _totals, {"a": {"lost": 1}}, _totals), CONDUCTED),
    (verbs.ConductorFinal(9, 1, 2, 0, _totals, {"a": {"lost": 1}}, _totals), CONDUCTED),
    (verbs.Farewell({"path": "x.mcap", "lost": 0, "mine": [1, 2.5]}),
     {"path": "x.mcap", "lost": 0, "mine": [1, 2.5]}),
    (verbs.Weights(9, ["static"], **COLUMNS), {"step": 9, "types": ["static"], **COLUMNS}),
    (verbs.RecordedWeights(9, 900, b"\1\0\0\0", b"\2\0\0\0", bytes(8)),
     {"step": 9, "t_ns": 900, "pre": b"\1\0\0\0", "post": b"\2\0\0\0", "weight": bytes(8)}),
    (verbs.Saved(9), {"step": 9}),
    (verbs.SnapshotTaken(9), {"step": 9}),
    (verbs.Trouble("hot"), {"what": "hot"}),
    (verbs.Trouble("full", stop=True), {"what": "full", "stop": True}),
    (lease.RequestLease("b/1", "B0", "nodes.chip", "bridge"),
     {"claim": "b/1", "board": "B0", "model": "nodes.chip", "beat": "bridge"}),
    (lease.AskState("b/1"), {"claim": "b/1"}),
    (lease.Acknowledge("b/1", 1 << 40), {"claim": "b/1", "number": 1 << 40}),
    (lease.Cede("b/1", 9), {"claim": "b/1", "step": 9}),
    (lease.Heartbeat({"m": 9}), {"at": {"m": 9}}),
    (lease.Resync("b/1", 9, b"s", b"w", b"y"),
     {"claim": "b/1", "step": 9, "state": b"s", "weight": b"w", "synapses": b"y"}),
    (lease.AskWeights("b/1", 9), {"claim": "b/1", "step": 9}),
    (lease.Release("b/1", 9, "gone"), {"claim": "b/1", "horizon": 9, "why": "gone"}),
    (lease.Release("b/1", 9, "detached", 64, 0),
     {"claim": "b/1", "horizon": 9, "why": "detached", "weighed": 64, "off": 0}),
    (lease.Granted("b/1", 1, "nodes.chip", {"V_th": 0.25}, b"s", b"d", b"r", 15, 50, 100_000, 2, ["a"], {}),
     {"claim": "b/1", "epoch": 1, "model": "nodes.chip", "params": {"V_th": 0.25}, "source": b"s",
      "delay": b"d", "receptor": b"r", "min_delay": 15, "max_delay": 50, "dt_ns": 100_000, "index": 2,
      "heard": ["a"], "errors": {}}),
    (lease.Refused("b/1", "no", "nodes.lif"), {"claim": "b/1", "why": "no", "model": "nodes.lif"}),
    (lease.StateCopy("b/1", 9, b"s", b"w", b"", b"k", [(8, 0, 1.5)], {"a weight, pA": 0.125}),
     {"claim": "b/1", "step": 9, "state": b"s", "weight": b"w", "synapses": b"", "keys": b"k",
      "pokes": [[8, 0, 1.5]], "errors": {"a weight, pA": 0.125}}),
    (lease.StateCopy("b/1", None), {"claim": "b/1", "step": None}),
    (lease.Ceded("b/1", "B0", 1, 9, {}),
     {"claim": "b/1", "board": "B0", "epoch": 1, "step": 9, "errors": {}}),
    (lease.Owner(**OWNER, owned=True, step=9, late=1, waited_ms=0.1, agreed=4, disagreements=0, weighed=3,
                     off=1),
     {**OWNER, "owned": True, "step": 9, "late": 1, "waited_ms": 0.1, "agreed": 4, "disagreements": 0,
      "weighed": 3, "off": 1}),
    (lease.Owner(**OWNER, owned=False), {**OWNER, "owned": False}),
    (lease.Disagreed("b/1", [8], []), {"claim": "b/1", "shadow": [8], "board": []}),
    (lease.Resynced("b/1", 9), {"claim": "b/1", "step": 9}),
    (lease.ShadowWeights("b/1", 9, bytes(8)), {"claim": "b/1", "step": 9, "weight": bytes(8)}),
    (lease.ShadowAnswer("b/1", 3, 12, b"", b"", b""),
     {"claim": "b/1", "number": 3, "next_step": 12, "keys": b"", "sample_keys": b"", "sample_mv": b""}),
    (verbs.Attach(request="1-1", port="/dev/x", neuron="m", baud=500_000),
     {"request": "1-1", "port": "/dev/x", "neuron": "m", "baud": 500_000}),
    (verbs.Detach(request="1-2"), {"request": "1-2"}),
    (verbs.ListBoards(request="1-3"), {"request": "1-3"}),
    (verbs.Identify(request="1-4", which="m", seconds=3), {"request": "1-4", "which": "m", "seconds": 3}),
    (verbs.SetPalette(request="1-5", colours=((1, 2, 3),) * 4),
     {"request": "1-5", "colours": [[1, 2, 3]] * 4}),
    (verbs.Answer("1-5", True), {"request": "1-5", "done": True}),
    (verbs.Answer("1-1", True, error="no"), {"request": "1-1", "done": True, "error": "no"}),
    (verbs.Word("m", "so"), {"neuron": "m", "text": "so"}),
]  # fmt: skip


def named(value: Any) -> str:
    return type(value).__name__ if isinstance(value, Message) else ""


def sent(message: Message) -> Control | Report:
    return Control("a", message) if isinstance(message, ControlMessage) else Report("a", message)  # type: ignore[arg-type]


def frame(kind: type[Message], args: Any) -> bytes:
    return word(wire.CONTROL if issubclass(kind, ControlMessage) else wire.REPORT, "a", kind.verb, args)


@pytest.mark.parametrize(("message", "args"), VECTORS, ids=named)
def test_the_bytes_of_a_message(message: Message, args: dict[str, Any]) -> None:
    """A map in the order of the fields, packed by another library."""
    data = encode(sent(message))
    assert data == frame(type(message), args)
    assert decode(data) == sent(message)
    assert msgpack.unpackb(msgpack.packb(fields(message))) == args


def test_every_row_has_a_vector() -> None:
    assert {type(message) for message, _ in VECTORS} == set(ROWS)


def wrong(kind: type[Message], args: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One field of another type, or missing where it is needed."""
    needed = {field.encode_name for field in msgspec.structs.fields(kind) if field.required}
    for name, value in args.items():
        yield {**args, name: 7 if isinstance(value, dict) else {"x": b"x"}}
        if name in needed:
            yield {key: value for key, value in args.items() if key != name}


@pytest.mark.parametrize(("message", "args"), VECTORS, ids=named)
def test_a_field_that_is_missing_or_of_another_type_is_malformed(
    message: Message, args: dict[str, Any]
) -> None:
    if isinstance(message, verbs.Farewell):  # fields of its own names
        return
    for odd in wrong(type(message), args):
        try:
            found = decode(frame(type(message), odd))
        except Malformed:
            continue
        assert isinstance(found.message, verbs.Farewell), odd  # type: ignore[union-attr]


@pytest.mark.parametrize("verb", ["", "dance", "Start"])
def test_a_verb_that_is_not_in_the_table_is_malformed(verb: str) -> None:
    for kind in (wire.CONTROL, wire.REPORT):
        with pytest.raises(Malformed, match="no verb"):
            decode(word(kind, "a", verb, {}))


def test_a_control_is_no_report() -> None:
    with pytest.raises(Malformed):
        decode(word(wire.REPORT, "a", "start", {"t0_ns": 0, "stop_step": None, "pace": None}))


def test_fields_that_a_row_does_not_know_are_passed_over() -> None:
    assert decode(word(wire.CONTROL, "a", "cede", {"claim": "b/1", "step": 9, "new": [1]})) == Control(
        "a", lease.Cede("b/1", 9)
    )


@pytest.mark.parametrize(
    "figures", [{"lost": -1}, {"lost": "x"}, {"path": 7}, {"notes": "x"}, {"notes": [7]}, {"boards": [1]}]
)
def test_what_all_farewells_hold_has_one_meaning(figures: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        decode(word(wire.REPORT, "a", "final", figures))


@pytest.mark.parametrize("value", [1 << 62, -(1 << 62), 1.0, True, None, "1", b"1"])
def test_a_step_is_an_integer_within_bounds(value: Any) -> None:
    with pytest.raises(Malformed):
        decode(word(wire.CONTROL, "a", "cede", {"claim": "b/1", "step": value}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_a_number_that_is_printed_is_finite(value: float) -> None:
    with pytest.raises(Malformed):
        decode(word(wire.REPORT, "a", "status", {**FIGURES, "counts": [4], "mv": [-65.5], "cpu_s": value}))


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("state", {"claim": 7}),
        ("mend", {"claim": "c", "step": 1, "state": "", "weight": b"", "synapses": b""}),
        ("release", {"claim": "c", "horizon": 0, "why": None}),
        ("beat", {"at": {"n": 1.5}}),
        ("beat", {"at": [1]}),
        ("lend", {"claim": "c", "board": "b", "model": "m", "beat": None}),
    ],
)
def test_what_no_bridge_says(verb: str, args: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        decode(word(wire.CONTROL, "a", verb, args))


def test_a_sender_leaves_out_no_field() -> None:
    with pytest.raises(TypeError):
        verbs.Start(0)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        lease.Cede(claim="b/1", steps=3)  # type: ignore[call-arg]


def test_a_reason_is_known_by_its_words_alone() -> None:
    assert Reason.of("the run has ended") is Reason.RUN_ENDED
    assert Reason.of("the run has ended.") is None
    assert {Reason.of(reason.value) for reason in Reason} == set(Reason)


# -- who says what ------------------------------------------------------------------------------------------

HOMES = {
    Party.PROCESS: {"node"}, Party.CONDUCTOR: {"bus"}, Party.LAUNCHER: {"cluster"},
    Party.PROGRAM: {"log", "classroom", "observer"}, Party.BRIDGE: {"bridge"},
    Party.OBSERVER: {"cli", "cluster", "bridge"},
}  # fmt: skip


def uses() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """By a row's name: the folders in which it is made, and those in which it is looked for."""
    made, heard = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    root = Path(wire.__file__).parents[1]
    for path in root.rglob("*.py"):
        folder = path.relative_to(root).parts[0].removesuffix(".py")
        tree = ast.parse(path.read_text())
        calls = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if isinstance(node, (ast.Attribute, ast.Name)):
                name = ast.unparse(node).replace("messages.", "lease.")
                (made if id(node) in calls else heard)[name].add(folder)
    return made, heard


MADE, HEARD = uses()


@pytest.mark.parametrize("kind", ROWS, ids=lambda kind: kind.__name__)
def test_every_row_is_said_by_its_senders_and_heard_by_its_receivers(kind: type[Message]) -> None:
    name = f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"
    silent = [party for party in kind.sender if not HOMES[party] & MADE[name]]
    deaf = [party for party in kind.receiver if not HOMES[party] & HEARD[name]]
    assert not silent and not deaf


def test_msgpack_agrees_about_numbers() -> None:
    """Both pack an integer as short as it goes and a number in eight bytes."""
    for value in (0, 127, 128, -32, -33, 1 << 16, 1 << 32, (1 << 62) - 1, 0.1):
        assert msgspec.msgpack.encode(value) == msgpack.packb(value)
