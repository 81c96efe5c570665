"""What the conductor has everybody do, row by row: no socket, no clock."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neurobus.bus.rounds import Collect, ConductorPlan, Publish, Rounds, Wait
from neurobus.events import Samples, Spikes, Stimulus
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.bus import NEVER, Answer, Duty, Malformed, Order

DT_NS = 100_000
DELAY = 10
NEVER_S = float("inf")
# `p` is a source of `a`; `a` and `b` drive each other.
PLAN = ConductorPlan(
    names=["p", "a", "b"], single=[True] * 3, sources=[True, False, False], dt_ns=DT_NS, min_delay=DELAY,
    spike_targets=[[(1, DELAY)], [(2, DELAY)], [(1, DELAY)]], sample_targets=[[], [], []],
    owner={"p": (0, 0), "a": (1, 1), "b": (2, 2)},
)  # fmt: skip


def keys(neuron: int, *steps: int) -> bytes:
    return np.array([step << 32 | neuron for step in steps], np.int64).tobytes()


class Run:
    """A shell without sockets: `go` on until the course must wait; `duties` are those under way."""

    def __init__(self, plan: ConductorPlan = PLAN, stop_step: int | None = None, pace: float | None = None,
                 first: tuple[int, ...] = (NEVER, NEVER, NEVER)):  # fmt: skip
        self.rounds, self.now_s, self.ended = Rounds(plan, self._sent), 100.0, False
        self.duties: dict[str, Duty] = {}
        self.published: list[Any] = []
        self.seq = dict.fromkeys(plan.names, 0)
        self._course = self.rounds.course()
        self.at = next(self._course)
        for p, step in enumerate(first):
            self.rounds.joined(p, verbs.Ready(next_step=step, pid=1, epoch=0))
        self.rounds.started(verbs.Start(0, stop_step, pace), self.now_s)
        self.go()

    def go(self) -> Run:
        """On to the next instruction that waits: for answers, or for time."""
        while not self.ended:
            try:
                self.at = self._course.send(self.now_s)
            except StopIteration:
                self.ended = True
            if isinstance(self.at, Publish):
                self.published.append(self.at.event)
            elif not isinstance(self.at, Collect) or self.rounds.waiting:
                break
        return self

    def _sent(self, frame: bytes) -> None:
        _, name, payload = wire.split(frame)
        self.duties[name] = wire.read_duty(payload)

    def answer(self, name: str, next_step: int = NEVER, *fired: int, epoch: int = 0) -> bool:
        p, number = PLAN.names.index(name), self.duties.pop(name).number
        found = Answer(
            number, epoch, next_step, min(fired, default=-1), self.seq[name], keys(p, *fired), 0, b"", b""
        )
        self.seq[name] += len(fired)
        return self.rounds.answered(p, found)

    def done(self, **next_steps: int) -> Run:
        """All duties under way are answered, with nothing emitted."""
        for name in list(self.duties):
            assert self.answer(name, next_steps.get(name, NEVER))
        return self.go()

    def orders(self) -> dict[str, tuple[int, Order | None]]:
        return {name: (duty.horizon, duty.order) for name, duty in self.duties.items()}


# -- the start ----------------------------------------------------------------------------------------------


def test_nothing_is_asked_before_all_have_joined_and_the_run_has_started():
    out: list[bytes] = []
    rounds = Rounds(PLAN, out.append)
    course = rounds.course()
    assert next(course) == Wait(NEVER_S)
    for p in range(3):
        rounds.joined(p, verbs.Ready(next_step=1, pid=1, epoch=0))
        assert course.send(0.0) == Wait(NEVER_S) and not out
    rounds.started(verbs.Start(0, None, None), 1.0)
    assert course.send(1.0) == Collect()
    assert course.send(1.0) == Collect() and len(out) == 3


def test_pokes_of_a_log_are_published_and_act_at_their_steps():
    run = Run(replace(PLAN, stimuli=[(7, "a", 2.5)]), stop_step=100)
    assert run.published == [Stimulus("a", 7 * DT_NS, 2.5, "log")]
    assert run.duties["a"].stimuli == [[7, 1, 2.5]]


# -- rounds -------------------------------------------------------------------------------------------------


def test_who_acts_next_runs_as_far_as_nobody_can_disturb_it():
    run = Run(first=(NEVER, 5, 40))
    assert run.orders() == {"a": (5 + DELAY - 1, None)}


def test_what_one_emits_the_other_is_given_with_its_next_duty():
    run = Run(first=(NEVER, 5, 40))
    assert run.answer("a", NEVER, 5)
    run.go()
    assert run.duties["b"].keys == keys(1, 5)


def test_sources_run_ahead_together_but_not_beyond_the_end():
    run = Run(stop_step=300, first=(1, NEVER, NEVER))
    assert run.orders() == {"p": (300, None)}
    assert Run(first=(1, NEVER, NEVER)).orders() == {"p": (10 + 1000, None)}


def test_an_answer_that_comes_twice_or_from_nobodys_duty_counts_once():
    run = Run(first=(NEVER, 5, NEVER))
    number = run.duties["a"].number
    assert not run.rounds.answered(2, Answer(number, 0, NEVER, -1, 0, b"", 0, b"", b""))
    assert run.answer("a", NEVER, 5)
    assert not run.rounds.answered(1, Answer(number, 0, NEVER, 5, 0, keys(1, 5), 0, b"", b""))
    assert run.rounds.ledger.totals()["received"] == 1


def test_an_answer_beyond_what_a_run_counts_is_malformed_and_still_awaited():
    run = Run(first=(NEVER, 5, NEVER))
    with pytest.raises(Malformed):
        run.rounds.answered(1, Answer(run.duties["a"].number, 0, 1 << 62, -1, 0, b"", 0, b"", b""))
    assert run.rounds.waiting == {1}


# -- the end ------------------------------------------------------------------------------------------------


def test_at_the_limit_all_get_their_last_duty():
    run = Run(stop_step=50)
    assert run.orders() == dict.fromkeys(PLAN.names, (50, Order.STOP))
    assert run.done().ended
    assert list(run.rounds.ends()) == [Spikes(name, 0, 0, [], None, True) for name in PLAN.names]
    assert run.rounds.figures(0)[0] == 50


def test_an_endless_network_at_rest_waits_for_what_may_come():
    run = Run()
    assert run.at == Wait(NEVER_S) and not run.duties
    assert run.rounds.poked(Stimulus("a", -1, 3.0, "x"), 100.0) == Stimulus("a", 0, 3.0, "x")
    assert run.go().duties["a"].stimuli == [[0, 1, 3.0]]


def test_a_stop_ends_it_where_all_can_stand():
    run = Run(first=(1, NEVER, NEVER))
    assert run.orders() == {"p": (1010, None)}, "the source is ahead"
    run.rounds.stop(100.0)
    assert run.done().orders() == dict.fromkeys(PLAN.names, (1010, Order.STOP))


def test_nobody_goes_on_beyond_the_longest_run():
    run = Run(first=(NEVER, NEVER + 5, NEVER))
    (told,) = run.published
    assert "the longest run is over" in told.message.what
    assert {order for _, order in run.orders().values()} == {Order.STOP}


# -- pokes --------------------------------------------------------------------------------------------------


def test_a_poke_never_acts_in_what_was_already_told_to_run():
    run = Run(first=(1, NEVER, NEVER))
    assert run.rounds.poked(Stimulus("p", -1, 1.0, "x"), 100.0).t_ns == 1010 * DT_NS
    assert run.rounds.poked(Stimulus("a", -1, 1.0, "x"), 100.0).t_ns == 10 * DT_NS
    assert run.rounds.poked(Stimulus("a", 900 * DT_NS, 1.0, "x"), 100.0).t_ns == 900 * DT_NS


@pytest.mark.parametrize("poke", [Stimulus("nobody", -1, 1.0, "x"), Stimulus("a", NEVER * DT_NS, 1.0, "x")])
def test_a_poke_of_nobody_or_outside_the_run_is_malformed(poke):
    with pytest.raises(Malformed):
        Run().rounds.poked(poke, 100.0)


def test_a_poke_before_the_start_is_malformed():
    with pytest.raises(Malformed):
        Rounds(PLAN, print).poked(Stimulus("a", -1, 1.0, "x"), 0.0)


# -- a process dies and comes back --------------------------------------------------------------------------


def back(run: Run, epoch: int, next_step: int = 1) -> None:
    run.duties.pop("a", None)
    run.seq["a"] = 0
    run.rounds.joined(1, verbs.Ready(next_step=next_step, pid=2, epoch=epoch))


def test_a_restarted_process_is_told_all_it_was_told_and_then_owes_its_duty():
    run = Run(replace(PLAN, stimuli=[(2, "a", 1.0)]), first=(NEVER, NEVER, 4))
    run.answer("b", NEVER, 4)
    run.answer("a", 40)
    run.go()
    under_way = run.duties["a"]
    assert under_way.keys == keys(2, 4)
    back(run, 1)
    caught_up = run.duties["a"]
    assert (caught_up.order, caught_up.keys, caught_up.stimuli) == (Order.CATCH_UP, keys(2, 4), [[2, 1, 1.0]])
    assert caught_up.number == (1 << 32) + 1 and caught_up.horizon < under_way.horizon
    assert run.answer("a", NEVER, epoch=1)
    again = run.duties["a"]
    assert (again.horizon, again.order, again.keys) == (under_way.horizon, None, b"")
    assert run.rounds.waiting == {1}


def test_the_word_of_the_duty_under_way_is_not_forgotten():
    run = Run(stop_step=50)
    back(run, 1)
    run.answer("a", epoch=1)
    assert run.orders()["a"] == (50, Order.STOP)


def test_one_that_dies_again_while_it_catches_up_still_owes_that_duty():
    run = Run(stop_step=50)
    back(run, 1)
    back(run, 2)
    assert run.duties["a"].order is Order.CATCH_UP
    run.answer("a", epoch=2)
    assert run.orders()["a"] == (50, Order.STOP)


def test_one_that_died_with_nothing_to_do_owes_nothing():
    run = Run()
    back(run, 1, NEVER)
    assert run.duties["a"].order is Order.CATCH_UP
    assert run.answer("a", epoch=1) and not run.duties


def test_the_answer_of_one_that_is_dead_does_not_count():
    run = Run(first=(NEVER, 5, NEVER))
    old = run.duties["a"].number
    back(run, 1)
    assert not run.rounds.answered(1, Answer(old, 0, NEVER, 5, 0, keys(1, 5), 0, b"", b""))


@pytest.mark.parametrize("epoch", [-1, 0, 1 << 33, None])
def test_a_process_of_an_epoch_that_is_over_or_none_is_malformed(epoch):
    run = Run()
    with pytest.raises(Malformed):
        run.rounds.joined(1, verbs.Ready(next_step=1, pid=2, epoch=epoch))
    assert not run.duties


# -- snapshots and weights ----------------------------------------------------------------------------------


def test_a_snapshot_is_of_one_step_and_the_history_before_it_is_forgotten():
    run = Run(replace(PLAN, snapshot_every_s=1.0), first=(NEVER, 5, NEVER))
    run.answer("a", 30, 5)
    run.now_s += 1.0
    run.go()
    step = run.rounds.schedule.horizon
    assert run.orders() == dict.fromkeys(PLAN.names, (step, Order.SNAPSHOT))
    assert run.duties["b"].keys == keys(1, 5)
    run.done(a=30)
    assert verbs.SnapshotTaken(step) in [event.message for event in run.published]
    back(run, 1)
    assert (run.duties["a"].order, run.duties["a"].keys) == (Order.CATCH_UP, b"")


def test_before_a_snapshot_all_run_to_where_the_sources_are():
    run = Run(replace(PLAN, snapshot_every_s=1.0), first=(1, 400, NEVER))
    assert run.orders() == {"p": (1010, None)}
    run.now_s += 1.0
    run.done(p=1100)
    assert run.orders() == {"a": (409, None)}
    run.done(a=2000)
    assert run.orders() == dict.fromkeys(PLAN.names, (1010, Order.SNAPSHOT))


def test_a_run_with_snapshots_ends_with_one():
    run = Run(replace(PLAN, snapshot_every_s=1.0), stop_step=50, first=(NEVER, 45, NEVER)).done()
    assert run.orders() == dict.fromkeys(PLAN.names, (50, Order.SNAPSHOT))
    assert run.done().orders() == dict.fromkeys(PLAN.names, (50, Order.STOP))


def test_weights_for_a_log_are_reported_at_multiples_and_no_round_goes_beyond():
    run = Run(replace(PLAN, recorded=[1], weight_interval=100), stop_step=150, first=(1, NEVER, NEVER))
    assert run.orders() == {"a": (0, Order.RECORD)}
    assert run.done().orders() == {"p": (100, None)}
    assert run.done(p=120).orders() == {"a": (100, Order.RECORD)}
    assert run.done().orders() == {"p": (150, None)}


def test_a_network_at_rest_for_good_is_not_asked_for_weights_for_ever():
    run = Run(replace(PLAN, recorded=[1], weight_interval=100))
    assert run.at == Wait(NEVER_S) and not run.duties


# -- the pace -----------------------------------------------------------------------------------------------


def test_a_round_begins_when_its_first_step_is_due():
    run = Run(pace=2.0, first=(NEVER, 4000, NEVER))
    assert run.at == Wait(pytest.approx(100.0 + 0.4 / 2.0))
    run.now_s += 0.2
    assert run.go().orders() == {"a": (4000 + DELAY - 1, None)}


def test_a_snapshot_is_not_kept_waiting_by_the_pace():
    run = Run(replace(PLAN, snapshot_every_s=0.1), pace=1.0, first=(NEVER, 4000, NEVER))
    assert run.at == Wait(pytest.approx(100.1))


def test_in_silence_model_time_goes_on_but_not_past_what_has_yet_to_happen():
    run = Run(pace=1.0, first=(NEVER, 4000, NEVER))
    assert run.rounds.figures(0, 100.1)[0] == pytest.approx(1000, abs=1)
    assert run.rounds.figures(0, 107.0)[0] == 3999
    assert run.rounds.poked(Stimulus("b", -1, 1.0, "x"), 100.1).t_ns == pytest.approx(1000 * DT_NS, abs=DT_NS)


# -- for observers ------------------------------------------------------------------------------------------


def test_what_was_emitted_as_observers_hear_it():
    answer = Answer(1, 2, NEVER, 5, 7, keys(1, 5), 3, keys(1, 6), np.array([-60.0]).tobytes())
    spikes, samples = Rounds(PLAN, print).emitted(1, answer)
    assert spikes == Spikes("a", 2, 7, [5 * DT_NS])
    assert samples == Samples("a", 2, 3, [6 * DT_NS], [-60.0])
    packed = Rounds(replace(PLAN, single=[True, False, True]), print)
    (spikes,) = packed.emitted(1, answer._replace(sample_keys=b"", sample_mv=b""))
    assert np.array_equal(spikes.t_ns, [5 * DT_NS]) and np.array_equal(spikes.neurons, [1])
