"""What a run came to: sums over its processes, and never a zero that nobody measured."""

from __future__ import annotations

from neurobus.cluster.summary import Summary, busiest, exit_code, of_boards, render, total
from neurobus.wire.verbs import ConductorFinal, Totals
from tests.helpers import final

FINAL = final(spikes=3, deliveries=10, lost=1, late=2, duplicates=4, malformed=5, stale=6, cpu_s=0.25)
ZERO = final()
CONDUCTOR = ConductorFinal(
    step=0, rounds=7, duties=8, malformed=100, ledger=Totals(999, 1, 2, 3), gaps={},
    samples=Totals(0, 10, 20, 30),
)  # fmt: skip


def summed(finals, streams, conductor=None):
    summary = Summary()
    total(summary, finals, streams, conductor)
    return summary


def test_figures_are_summed_over_processes():
    summary = summed({"a": FINAL, "b": FINAL, "recorder": final(spikes=99)}, ["a", "b"])
    assert (summary.spikes, summary.deliveries, summary.lost, summary.late) == (6, 20, 2, 4)
    assert (summary.duplicates, summary.dropped) == (8, 22)
    assert summary.silent == [] and summary.notes == [] and summary.rounds is None


def test_nothing_measured_is_not_zero():
    summary = summed({}, ["a"])
    figures = (
        summary.spikes,
        summary.deliveries,
        summary.lost,
        summary.late,
        summary.duplicates,
        summary.dropped,
    )
    assert figures == (None,) * 6
    assert summary.silent == ["a"]
    assert "not measured" in render(summary)
    assert "1 of 1 process gave no final report (a)" in render(summary)


def test_the_silent_are_named_a_few_of_them():
    summary = summed({"n0": ZERO}, [f"n{i}" for i in range(9)])
    assert summary.spikes == 0
    assert summary.silent == [f"n{i}" for i in range(1, 9)]
    assert (
        "8 of 9 processes gave no final report (n1, n2, n3, n4, n5, …); the totals are without them"
        in summary.notes
    )


def test_the_conductors_account_counts_too():
    summary = summed({"a": FINAL}, ["a"], CONDUCTOR)
    assert (summary.rounds, summary.duties, summary.spikes) == (7, 8, 999)
    assert (summary.lost, summary.duplicates, summary.dropped) == (1 + 11, 4 + 22, 11 + 133)


def test_gaps_are_told():
    summary = summed({"a": final(gaps={"b": {"lost": 1}}), "b": ZERO}, ["a", "b"])
    assert summary.gaps == {"a": {"b": {"lost": 1}}}
    assert summary.notes == [] and summary.at_least == []


def unended(spikes=None, samples=None):
    return final(unended={"spikes": spikes or {}, "samples": samples or {}})


def test_what_came_after_the_last_that_was_heard_is_lost():
    """A neuron slept past the end: its receiver had given up on it, and counts no gap."""
    finals = {
        "a": unended({"b": [0, 5], "c": [0, 2]}, {"b": [0, 1]}),
        "b": final(sent=[0, 7, 4]),
        "c": final(sent=[0, 2, 0]),
    }
    summary = summed(finals, ["a", "b", "c"])
    assert (summary.lost, summary.at_least) == (2 + 3, [])
    assert summary.notes == ["a never heard the end of b, c: 5 lost"]


def test_what_a_silent_or_reborn_sender_sent_is_not_known():
    silent = summed({"a": unended({"b": [0, 5]})}, ["a", "b"])
    assert (silent.lost, exit_code(silent)) == (0, 1)
    assert set(silent.at_least) == {"spikes", "deliveries", "lost", "late", "duplicates", "dropped"}
    assert "a never heard the end of b, and what it missed is not known" in silent.notes
    again = summed({"a": unended({"b": [0, 5]}), "b": final(sent=[1, 3, 0])}, ["a", "b"])
    assert (again.lost, again.at_least) == (3, ["lost"])
    assert again.notes == ["a never heard the end of b: 3 lost at least"]
    assert "≥ 3   late 0" in render(again)
    outside = summed({"a": unended({"guest": [0, 0]})}, ["a"])
    assert (outside.lost, outside.at_least) == (0, [])


def test_figures_of_the_reborn_are_lower_bounds_where_nobody_else_counted():
    def reborn(conductor):
        summary = Summary()
        total(summary, {"a": FINAL}, ["a"], conductor, reborn=True)
        return summary

    assert "spikes" in reborn(None).at_least
    assert "≥ 3 (≥ 10 deliveries)" in render(reborn(None))
    assert reborn(CONDUCTOR).at_least == []


def test_what_a_person_reads():
    summary = summed({"a": final(spikes=1234567, late=3)}, ["a"])
    summary.neurons, summary.processes, summary.model_s, summary.wall_s, summary.ready_s = 1, 1, 2.0, 4.0, 0.5
    summary.restarts, summary.pss_mb_per_process, summary.state = 2, 3.25, "/states/x"
    summary.observers = {"recording": {"lost": 0, "path": "x.mcap"}, "other": {"lost": 7}}
    summary.notes = ["a died"]
    text = render(summary)
    for part in (
        "1 in 1 process",
        "2.000 s of model time in 4.00 s (0.5 x real time), ready after 0.50 s",
        "1,234,567 (0 deliveries)",
        "late 3",
        "restarts 2",
        "3.2 MB a process",
        "missed nothing, x.mcap",
        "missed 7",
        "neurobus run --resume /states/x",
        "a died",
    ):
        assert part in text, part
    assert "0 x real time" in render(Summary())
    assert "/states/x" in render(summary, None) and "continue" not in render(summary, None)
    summary.state = "/a b"
    assert "(continue with: neurobus train --resume '/a b')" in render(summary, "neurobus train --resume")


def test_who_fired_most():
    finals = {"p0": final(counts=[3, 7]), "a": final(counts=[0]), "drive": final(counts=[99])}
    ids, streams = ["a", "x.0", "x.1", "b", "drive"], ["a", "p0", "p0", "b", "drive"]
    assert busiest(finals, ids, streams, 4) == {"x.1": 7, "x.0": 3}
    assert list(busiest({"p": final(counts=[5, 5, 6])}, list("abc"), ["p"] * 3, 3, most=2)) == ["c", "a"]
    summary = Summary(busiest={"x.1": 1234})
    assert " busiest  x.1 1,234\n" in render(summary) + "\n"


def test_boards_that_were_not_what_their_processes_were_are_told():
    calm = {"neuron": "m", "board": "B0", "disagreements": 0, "mended": 0, "weights_off": 0, "weighed": 64}
    assert of_boards([calm]) == [] == of_boards(None)
    (note,) = of_boards([calm, calm | {"disagreements": 1, "mended": 2, "weights_off": 3}])
    assert note == (
        "m: board B0 and its process: disagreed on 1 spike; the process was given the board's state 2 times; "
        "3 of 64 weights were not the same"
    )
