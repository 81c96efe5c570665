"""The messages of a lease: what is sent is read back, and what is of another kind is refused."""

from __future__ import annotations

from dataclasses import fields

import pytest

from neurobus.events import Control, Report
from neurobus.wire import bus as wire
from neurobus.wire import lease

KINDS = [*lease.CONTROLS.values(), *lease.REPORTS.values()]
SAMPLES = {
    "str": "bridge/7/1", "int": 12, "bytes": b"12345678", "bool": True, "int | None": 5, "float | None": 0.25,
    "dict[str, int]": {"n": 4}, "dict[str, float]": {"v": 0.5}, "list[int]": [3, 4], "list[str]": ["a"],
    "list[Any]": [[1, 0, 2.0]],
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_sent_is_read_back(kind):
    message = kind(**{field.name: SAMPLES[field.type] for field in fields(kind)})
    if kind in lease.CONTROLS.values():
        event = wire.decode(wire.encode(message.control("n")))
        assert isinstance(event, Control) and lease.of_control(event) == message
    else:
        event = wire.decode(wire.encode(message.report("n")))
        assert isinstance(event, Report) and lease.of_report(event) == message


def test_a_verb_of_somebody_else_is_no_message():
    assert lease.of_control(Control("n", "exit", {})) is None
    assert lease.of_report(Report("n", "ready", {})) is None


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("state", {}),
        ("state", {"claim": 7}),
        ("cede", {"claim": "c", "step": 1.0}),
        ("cede", {"claim": "c", "step": True}),
        ("cede", {"claim": "c", "step": 1 << 62}),
        ("mend", {"claim": "c", "step": 1, "state": "", "weight": b"", "synapses": b""}),
        ("release", {"claim": "c", "horizon": 0, "why": None}),
        ("beat", {"at": {"n": 1.5}}),
        ("beat", {"at": [1]}),
        ("lend", {"claim": "c", "board": "b", "model": "m", "beat": None}),
    ],
)
def test_what_is_of_another_kind_is_refused(verb, args):
    with pytest.raises(wire.Malformed):
        lease.of_control(Control("n", verb, args))


def test_what_a_bridge_may_leave_out_is_not_sent():
    assert lease.Release("c", 7, "detached").args() == {"claim": "c", "horizon": 7, "why": "detached"}
    assert lease.StateCopy("c", None).args() == {"claim": "c", "step": None}
    assert "late" not in lease.Owner(1, "process", "b", "c", "", False).args()
