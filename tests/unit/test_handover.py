"""The hand-over's table, row by row: what a stage does on an event, and what it ignores."""

from __future__ import annotations

import pytest

from neurobus.bridge.handover import ANSWER_S, ASK_AGAIN_S, ATTEMPTS, RETURN_S, Do, Event, HandOver, Stage

S, E = Stage, Event
WAY = {
    S.IDENTIFYING: (),
    S.LENDING: (E.GREETED,),
    S.COPYING: (E.GREETED, E.LISTENING),
    S.LOADING: (E.GREETED, E.LISTENING, E.STATE),
    S.CATCHING_UP: (E.GREETED, E.LISTENING, E.STATE, E.LOADED),
    S.BESIDE: (E.GREETED, E.LISTENING, E.STATE, E.LOADED, E.CAUGHT_UP),
    S.CEDING: (E.GREETED, E.LISTENING, E.STATE, E.LOADED, E.CAUGHT_UP, E.AGREED),
    S.OWNING: (E.GREETED, E.LISTENING, E.STATE, E.LOADED, E.CAUGHT_UP, E.AGREED, E.CEDED),
    S.LEAVING: (E.GREETED, E.LISTENING, E.STATE, E.LOADED, E.CAUGHT_UP, E.AGREED, E.CEDED, E.DETACHED),
    S.RETURNING: (E.GREETED, E.DETACHED),
    S.AWAY: (E.GREETED, E.LOST),
    S.OVER: (E.UNFIT,),
}
"""The events that lead to each stage."""
LEASED = (S.LENDING, S.COPYING, S.LOADING, S.CATCHING_UP, S.BESIDE, S.CEDING, S.OWNING)


def at(stage: Stage) -> HandOver:
    hand = HandOver("m")
    for event in WAY[stage]:
        hand.on(event, 0.0)
    assert hand.stage is stage
    return hand


def row(stages: tuple[Stage, ...], event: Event, to: Stage | None, *do: Do) -> list[object]:
    return [pytest.param(stage, event, to or stage, do, id=f"{event.name}-{stage.name}") for stage in stages]


ROWS = [
    *row((S.IDENTIFYING, S.AWAY, S.RETURNING), E.OPENED, None, Do.ASK_BOARD),
    *row((S.IDENTIFYING, S.AWAY), E.GREETED, S.LENDING, Do.GREET, Do.REQUEST_LEASE),
    *row(LEASED, E.GREETED, S.LENDING, Do.RELEASE, Do.AWAIT_BOARD, Do.GREET, Do.REQUEST_LEASE),
    *row((S.LEAVING,), E.GREETED, S.OVER, Do.RELEASE, Do.CLOSE),
    *row((S.IDENTIFYING, S.AWAY, S.RETURNING), E.UNFIT, S.OVER, Do.CLOSE),
    *row((*LEASED, S.LEAVING), E.UNFIT, S.OVER, Do.RELEASE, Do.CLOSE),
    *row((S.AWAY,), E.NO_ANSWER, S.AWAY, Do.AWAIT_BOARD),
    *row((S.IDENTIFYING, S.RETURNING), E.NO_ANSWER, S.OVER, Do.CLOSE),
    *row((*LEASED, S.LEAVING), E.NO_ANSWER, S.OVER, Do.RELEASE, Do.CLOSE),
    *row((S.LENDING,), E.GRANTED, None, Do.LISTEN),
    *row((*LEASED, S.LEAVING, S.RETURNING), E.REFUSED, S.OVER, Do.CLOSE),
    *row((S.LENDING,), E.LISTENING, S.COPYING, Do.ASK_STATE),
    *row((S.COPYING,), E.NOT_YET, None),
    *row((S.COPYING,), E.AGAIN, None, Do.ASK_STATE),
    *row((S.COPYING,), E.STATE, S.LOADING, Do.LOAD),
    *row((S.LOADING,), E.LOADED, S.CATCHING_UP, Do.CATCH_UP),
    *row((S.CATCHING_UP,), E.CAUGHT_UP, S.BESIDE),
    *row((S.BESIDE,), E.AGREED, S.CEDING, Do.CEDE),
    *row((S.CEDING,), E.CEDED, S.OWNING, Do.OWN),
    *row((S.CATCHING_UP, S.BESIDE), E.DISTURBED, S.COPYING, Do.ASK_STATE),
    *row((S.CEDING,), E.DISTURBED, None),
    *row((S.OWNING, S.LEAVING), E.DISTURBED, None, Do.RESYNC),
    *row((S.IDENTIFYING,), E.LOST, S.AWAY, Do.AWAIT_BOARD),
    *row(LEASED, E.LOST, S.AWAY, Do.RELEASE, Do.AWAIT_BOARD),
    *row((S.LEAVING,), E.LOST, S.OVER, Do.RELEASE, Do.CLOSE),
    *row(LEASED, E.RESTARTED, S.AWAY, Do.RELEASE, Do.AWAIT_BOARD),
    *row((S.LEAVING,), E.RESTARTED, S.OVER, Do.RELEASE, Do.CLOSE),
    *row(LEASED, E.TAKEN, S.AWAY, Do.AWAIT_BOARD),
    *row((S.LEAVING,), E.TAKEN, S.OVER, Do.CLOSE),
    *row((S.RETURNING,), E.TAKEN, S.OVER, Do.STOP_CLOCK, Do.CLOSE),
    *row((S.IDENTIFYING, S.AWAY), E.DETACHED, S.OVER, Do.CLOSE),
    *row(LEASED[:-1], E.DETACHED, S.RETURNING, Do.RELEASE),
    *row((S.OWNING,), E.DETACHED, S.LEAVING, Do.LEAVE),
    *row((S.LEAVING,), E.COMPARED, S.RETURNING, Do.RELEASE),
    *row((S.LENDING, S.COPYING, S.CEDING), E.TIMEOUT, S.OVER, Do.RELEASE, Do.CLOSE),
    *row((S.LEAVING,), E.TIMEOUT, None, Do.COMPARE),
    *row((S.RETURNING,), E.TIMEOUT, S.OVER, Do.CLOSE),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "event", "to", "do"), ROWS)
def test_row(stage: Stage, event: Event, to: Stage, do: tuple[Do, ...]) -> None:
    hand = at(stage)
    assert tuple(instruction.do for instruction in hand.on(event, 1.0)) == do
    assert hand.stage is to


LISTED = {(param.values[0], param.values[1]) for param in ROWS}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("stage", "event"), [(s, e) for s in Stage for e in Event if (s, e) not in LISTED],
    ids=lambda value: value.name,
)  # fmt: skip
def test_what_a_stage_has_left_behind_is_ignored(stage: Stage, event: Event) -> None:
    hand = at(stage)
    assert hand.on(event, 1.0, "of the past") == []
    assert hand.stage is stage and hand.why != "of the past"


@pytest.mark.parametrize("stage", Stage)
def test_only_a_board_that_owned_has_told_anything_of_the_neuron(stage: Stage) -> None:
    given = at(stage).on(Event.LOST, 1.0, "gone")
    assert {one.owned for one in given} <= {stage in (S.OWNING, S.LEAVING)}
    assert {one.why for one in given} <= {"gone"}


@pytest.mark.parametrize(("stage", "losses"), [(S.BESIDE, 0), (S.CEDING, 1), (S.OWNING, 1), (S.LEAVING, 1)])
def test_a_loss_is_counted_once_the_process_was_asked_to_cede(stage: Stage, losses: int) -> None:
    for event in (E.LOST, E.RESTARTED, E.TAKEN, E.GREETED):
        hand = at(stage)
        hand.on(event, 1.0)
        assert hand.losses == losses, event


def test_what_it_is_detached_for_stays_the_reason_whatever_comes_then() -> None:
    hand = at(S.OWNING)
    hand.on(E.DETACHED, 1.0, "the run has ended")
    (release,) = hand.on(E.COMPARED, 1.1)
    assert (release.do, release.why, release.owned) == (Do.RELEASE, "the run has ended", True)
    assert {one.why for one in hand.on(E.TAKEN, 1.2, "released")} == {"the run has ended"}


def test_a_board_that_says_hello_again_is_told_from_one_that_comes() -> None:
    first, again = HandOver("m"), at(S.OWNING)
    assert {one.why for one in first.greeted(0.0)} == {""}
    assert {one.why for one in again.greeted(0.0)} == {"the board has begun anew"}


@pytest.mark.parametrize("stage", [S.LENDING, S.COPYING, S.CEDING, S.RETURNING])
def test_what_does_not_come_is_waited_for_so_long(stage: Stage) -> None:
    patience_s = RETURN_S if stage is S.RETURNING else ANSWER_S
    hand = at(stage)
    assert hand.next_s == patience_s
    assert hand.tick(patience_s * 0.99) == [] and hand.stage is stage
    ends = hand.tick(patience_s)
    assert ends[-1].do is Do.CLOSE and hand.stage is S.OVER
    assert (ends[-1].why == "the process of 'm' does not answer") == (stage is not S.RETURNING)
    assert hand.next_s == float("inf")


def test_in_other_stages_nothing_is_waited_for() -> None:
    idle = (S.IDENTIFYING, S.LOADING, S.CATCHING_UP, S.BESIDE, S.OWNING, S.AWAY, S.OVER)
    assert {at(stage).next_s for stage in idle} == {float("inf")}


def test_a_board_that_leaves_and_has_no_duty_is_compared_at_once_in_the_end() -> None:
    hand = at(S.LEAVING)
    assert [one.do for one in hand.tick(RETURN_S)] == [Do.COMPARE]
    assert hand.next_s == float("inf") and hand.stage is S.LEAVING


def test_the_state_is_asked_for_again_and_the_process_has_its_time_from_then() -> None:
    hand = at(S.COPYING)
    hand.on(E.NOT_YET, 4.0)
    assert hand.next_s == 4.0 + ASK_AGAIN_S
    assert [one.do for one in hand.tick(4.0 + ASK_AGAIN_S)] == [Do.ASK_STATE]
    assert hand.next_s == 4.0 + ASK_AGAIN_S + ANSWER_S


@pytest.mark.parametrize("owned_once", [False, True])
def test_a_board_that_never_agrees_is_given_up_or_if_it_owned_once_lost(owned_once: bool) -> None:
    hand = at(S.BESIDE)
    if owned_once:
        for event in (E.AGREED, E.CEDED, E.LOST, *WAY[S.BESIDE]):
            hand.on(event, 0.0)
    for _ in range(ATTEMPTS - 1):
        assert [one.do for one in hand.disturbed(1.0, 3)] == [Do.ASK_STATE]
        for event in (E.STATE, E.LOADED, E.CAUGHT_UP):
            hand.on(event, 1.0)
    *_, last = hand.disturbed(1.0, 3)
    assert last.do is (Do.AWAIT_BOARD if owned_once else Do.CLOSE)
    assert f"did not agree in {ATTEMPTS} attempts (3 inputs came late)" in last.why


def test_while_it_cedes_a_disturbance_is_an_attempt_and_no_more() -> None:
    hand = at(S.CEDING)
    assert hand.disturbed(1.0, 0) == [] and hand.attempts == 1
    hand.on(E.CEDED, 1.0)
    assert (hand.attempts, hand.hand_overs) == (0, 1)
    assert [one.do for one in hand.disturbed(1.0, 0)] == [Do.RESYNC] and hand.attempts == 0


def test_a_board_that_cannot_follow_is_tried_again_and_given_up_in_the_end() -> None:
    hand = HandOver("m")
    for attempt in range(1, ATTEMPTS + 1):
        hand.on(E.GREETED, 1.0)
        *_, last = hand.fault(1.0, "a fault")
        assert last.do is (Do.CLOSE if attempt == ATTEMPTS else Do.AWAIT_BOARD)


def test_a_cable_pulled_before_it_ever_owned_ends_it_and_later_it_is_awaited() -> None:
    before, after = at(S.BESIDE), at(S.OWNING)
    *_, last = before.unplugged(1.0, "no such device")
    assert (last.do, last.why) == (Do.CLOSE, "unplugged before it owned the neuron: no such device")
    *_, last = after.unplugged(1.0, "no such device")
    assert (last.do, last.why) == (Do.AWAIT_BOARD, "unplugged: no such device")
