"""One board and its neuron, from HELLO to the last spike: a board of Python, and a process that answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from neurobus.bridge import board_events as told
from neurobus.bridge.attachment import Attachment
from neurobus.bridge.handover import Stage
from neurobus.events import Spikes
from neurobus.loading import load
from neurobus.wire import bus as wire
from neurobus.wire import lease, verbs
from neurobus.wire.message import Control, ControlMessage, ReportMessage
from tests.fake_board import FakeBoard, Line, TwinChip

DT_NS, T0_S, TURN_S = 100_000, 9.0, 0.0005
WEIGHT_PA, DELAY = 8000.0, 300
"""One spike of x makes the neuron fire, a step after it acts."""


class Desk:
    """The bridge around an attachment, the bus, the neuron's process, the line, the board; one clock."""

    dt_ns, t0_s = DT_NS, T0_S

    def __init__(self, wall: bool = True, serial: int = 0xB0, twin: tuple[str, bool] | None = None):
        self.streams = {"m": 0, "x": 1}
        self.now = 10.0
        self.board, self.line = FakeBoard(serial=serial, kind=TwinChip), Line()
        self.twin = twin
        self.spikes: list[Spikes] = []
        self.controls: list[ControlMessage] = []
        self.answers: list[wire.Answer] = []
        self.words: list[str] = []
        self.ended = False
        self.deaf_to: tuple[type[ControlMessage], ...] = ()
        """What the process does not answer."""
        self.shadow_weight_pa = WEIGHT_PA
        self._asked: list[ControlMessage] = []
        self.one = Attachment(self, "m", "ttySIM0", "bridge/7", 7, wall)
        self.one.opened(self.now)

    # -- the bridge -----------------------------------------------------------------------------------

    def publish(self, frame: bytes) -> None:
        kind, _, payload = wire.split(frame)
        if kind == wire.ANSWER:
            self.answers.append(wire.answer(payload))
            return
        event = wire.decode(frame)
        if isinstance(event, Spikes):
            self.spikes.append(event)
        elif isinstance(event, Control):
            self.controls.append(event.message)
            self._asked.append(event.message)

    def listen(self, streams: list[str], then: Callable[[float], None]) -> None:
        then(self.now)

    def say(self, text: str) -> None:
        self.words.append(text)

    def await_board(self, why: str) -> None:
        self.words.append(why)

    def let_go(self, why: str) -> None:
        self.words.append(why)
        self.ended = True

    def answered_last(self) -> None:
        self.words.append("the last answer comes")

    def new_serial(self) -> int:
        return 77

    def namesake(self, serial: int) -> tuple[str, bool] | None:
        return self.twin

    # -- the process ----------------------------------------------------------------------------------

    @property
    def step(self) -> int:
        return int((self.now - T0_S) * 1e9) // DT_NS

    def _serve(self, asked: ControlMessage) -> None:
        self.one.control(asked)  # all frames come to all
        answer = None if isinstance(asked, self.deaf_to) else self._answer(asked)
        if answer is not None:
            self.one.report(answer, self.now)

    def _answer(self, asked: ControlMessage) -> ReportMessage | None:
        row = np.array([1], np.int64).tobytes()
        match asked:
            case lease.RequestLease(claim):
                params = {name: param.value for name, param in load("nodes.chip").params().items()}
                params |= {"V_th": -69.0, "t_ref": 30.0}
                delay, receptor = np.array([DELAY], np.int64).tobytes(), np.array([0], np.int64).tobytes()
                return lease.Granted(claim, 1, "nodes.chip", params, row, delay, receptor, DELAY, DELAY,
                                     DT_NS, 0, ["x"], {})  # fmt: skip
            case lease.AskState(claim):
                weight, none = np.array([WEIGHT_PA]).tobytes(), np.zeros(1).tobytes()
                return lease.StateCopy(claim, self.step, np.zeros(5).tobytes(), weight, none)
            case lease.Cede(claim, step):
                return lease.Ceded(claim, "a board", 1, step, {})
            case lease.AskWeights(claim, step):
                return lease.ShadowWeights(claim, step, np.array([self.shadow_weight_pa]).tobytes())
            case lease.Release(claim):
                return lease.Owner(2, "process", "a board", claim, "released", True)
        return None

    # -- time -----------------------------------------------------------------------------------------

    def turn(self, seconds: float = TURN_S) -> None:
        end = self.now + seconds
        while self.now < end and not self.ended:
            self.now += TURN_S
            asked, self._asked = self._asked, []
            for message in asked:
                self._serve(message)
            self.line.put(0, self.one.session.take_out(), self.now)
            self.board.receive(self.line.get(0, self.now), self.now)
            self.board.tick(self.now)
            self.line.put(1, self.board.take_out(), self.now)
            self.one.received(self.line.get(1, self.now), self.now)
            self.one.tick(self.now)

    def until(self, stage: Stage, timeout_s: float = 10.0) -> Desk:
        end = self.now + timeout_s
        while self.one.stage is not stage:
            assert self.now < end, f"{self.one.stage}, not {stage}; {self.words[-3:]}"
            self.turn()
        return self

    def hears(self, *events: told.Event) -> None:
        """These come from the board in one piece."""
        receive = self.one.session.receive
        self.one.session.receive = lambda data, now: list(events)  # type: ignore[method-assign]
        self.one.received(b"", self.now)
        self.one.session.receive = receive  # type: ignore[method-assign]

    def fires_x(self, seq: int) -> int:
        """x fires now; the step at which the board will."""
        self.one.spikes(Spikes("x", 0, seq, [self.step * DT_NS]), self.now)
        return self.step + DELAY + 1

    def published(self) -> list[int]:
        return [int(t) // DT_NS for batch in self.spikes for t in batch.t_ns]

    def last(self, kind: type[Any]) -> Any:
        return next(message for message in reversed(self.controls) if isinstance(message, kind))


# -- under the wall clock ---------------------------------------------------------------------------------


def test_a_board_becomes_the_neuron_and_its_spikes_are_published_in_its_epoch() -> None:
    desk = Desk().until(Stage.OWNING)
    asked = [type(message) for message in desk.controls]
    assert asked == [lease.RequestLease, lease.AskState, lease.Cede]
    assert desk.words[-1].startswith("board 000000B0 (ttySIM0) is m from step ")
    due = desk.fires_x(0)
    desk.turn(0.1)
    assert [one - due for one in desk.published()] == [0]
    assert [(batch.epoch, batch.seq) for batch in desk.spikes] == [(1, 0)]
    assert desk.one.horizon is not None and desk.one.horizon > due


def test_what_came_with_the_word_that_ended_it_has_not_been_told() -> None:
    """The last spike is nobody's but the process's: the board had failed before it was published."""
    desk = Desk().until(Stage.OWNING)
    at = desk.step + 200
    desk.hears(told.Spiked(at), told.Done(at + 5))
    assert desk.one.horizon == at + 5
    desk.hears(told.Problem("a fault", 0), told.Spiked(at + 10), told.Done(at + 15))
    assert (desk.published(), desk.last(lease.Release).horizon) == ([at], at + 5)


@pytest.mark.parametrize("how", ["unplugged", "detached"])
def test_a_board_that_waits_to_own_has_told_nothing(how: str) -> None:
    """Its spikes are held back until the process has published its last."""
    desk = Desk()
    desk.deaf_to = (lease.Cede,)
    desk.until(Stage.CEDING)
    desk.hears(told.Spiked(desk.step), told.Done(desk.step + 1))
    assert desk.one.horizon is None
    if how == "unplugged":
        desk.one.unplugged("no such device", desk.now)
    else:
        desk.one.detach(desk.now)
    assert (desk.published(), desk.last(lease.Release).horizon) == ([], 0)


def test_spikes_held_back_are_published_when_the_process_has_ceded_those_before_are_its() -> None:
    desk = Desk()
    desk.deaf_to = (lease.Cede,)
    desk.until(Stage.CEDING)
    ceded = desk.last(lease.Cede)
    desk.hears(told.Spiked(ceded.step), told.Spiked(ceded.step + 1))
    assert desk.published() == []
    desk.one.report(lease.Ceded(ceded.claim, "a board", 1, ceded.step, {}), desk.now)
    assert desk.published() == [ceded.step + 1]


@pytest.mark.parametrize(("spoilt", "off"), [(0.0, 0), (500.0, 1)])
def test_weights_are_compared_before_a_board_is_let_go(spoilt: float, off: int) -> None:
    desk = Desk().until(Stage.OWNING)
    desk.shadow_weight_pa += spoilt
    desk.one.detach(desk.now)
    desk.until(Stage.OVER)
    release = desk.last(lease.Release)
    # The board runs on while it is read: what differs counts only where both stand at one step.
    assert (release.weighed, release.off, release.why) == (1, off, "detached")
    assert desk.ended and any("are not its shadow's" in word for word in desk.words) == bool(off)


def test_a_shadow_that_disagreed_is_given_the_boards_state_once() -> None:
    desk = Desk().until(Stage.OWNING)
    claim = desk.last(lease.RequestLease).claim
    for _ in range(2):
        desk.one.report(lease.Disagreed(claim, [desk.step], []), desk.now)
    desk.turn(0.1)
    given = [message for message in desk.controls if isinstance(message, lease.Resync)]
    assert len(given) == 1 and given[0].weight == np.array([WEIGHT_PA]).tobytes()
    desk.one.report(lease.Resynced(claim, given[0].step), desk.now)
    desk.one.report(lease.Disagreed(claim, [given[0].step], []), desk.now)  # of before
    desk.turn(0.1)
    assert len([message for message in desk.controls if isinstance(message, lease.Resync)]) == 1
    assert (desk.one.figures.disagreements, desk.one.figures.mended) == (3, 1)


def test_where_inputs_come_late_the_board_is_let_run_farther_behind_and_begins_again() -> None:
    desk = Desk().until(Stage.BESIDE)
    before = desk.one.pace.lag_s
    desk.hears(told.Late((0,), desk.step, desk.step + 1))
    assert desk.one.pace.lag_s > before and desk.one.stage is Stage.COPYING


@pytest.mark.parametrize(
    ("what", "why"), [("reset", "the board was reset (external)"), ("deaf", "the board has been silent for ")]
)
def test_a_board_that_is_gone_is_awaited_and_takes_its_neuron_back(what: str, why: str) -> None:
    desk = Desk().until(Stage.OWNING)
    if what == "reset":
        desk.board.reset()
    else:
        desk.board.deaf = True
    desk.turn(0.3)
    assert desk.last(lease.Release).why.startswith(why)
    desk.board.deaf = False
    if what == "deaf":
        desk.until(Stage.AWAY).one.session.open(desk.now)
    desk.until(Stage.OWNING)
    assert desk.one.hand.losses == 1 and desk.one.hand.hand_overs == 2


def test_a_board_that_says_hello_while_it_is_let_go_asks_for_nothing_any_more() -> None:
    desk = Desk().until(Stage.OWNING)
    desk.one.detach(desk.now)
    assert desk.one.stage is Stage.LEAVING
    claims = [m for m in desk.controls if isinstance(m, lease.RequestLease)]
    assert desk.one.hello is not None
    desk.hears(told.Here(desk.one.hello))
    assert desk.ended and desk.last(lease.Release).why == "detached"
    assert [m for m in desk.controls if isinstance(m, lease.RequestLease)] == claims


def test_a_process_that_starts_anew_has_its_neuron() -> None:
    desk = Desk().until(Stage.OWNING)
    desk.one.report(verbs.Ready(pid=1, epoch=3, next_step=0), desk.now)
    assert desk.one.stage is Stage.AWAY and desk.words[-1] == "the process was restarted"


# -- under the virtual clock ------------------------------------------------------------------------------


class Stepped(Desk):
    """The conductor gives a duty of 100 steps after the other; the shadow does each as the board does."""

    def __init__(self) -> None:
        super().__init__(wall=False)
        self.number, self.at = 0, 0

    @property
    def step(self) -> int:
        return self.at

    def duty(self, *, x: tuple[int, ...] = (), fires: tuple[int, ...] = (), order: Any = None) -> None:
        """With spikes of x at these steps; the shadow fires at `fires`."""
        self.number, self.at = self.number + 1, self.at + 100
        keys = np.array([step << 32 | 1 for step in x], np.int64).tobytes()
        self.one.duty(wire.Duty(self.number, self.at, keys, b"", b"", None, order), self.now)
        if self.one.stage in (Stage.OWNING, Stage.LEAVING):
            own, claim = (
                np.array([step << 32 for step in fires], np.int64),
                self.last(lease.RequestLease).claim,
            )
            shadow = lease.ShadowAnswer(claim, self.number, self.at + 7, own.tobytes(), b"", b"")
            self.one.report(shadow, self.now)
        self.turn(0.05)

    def owned(self) -> Stepped:
        self.until(Stage.CATCHING_UP)
        while self.one.stage is not Stage.OWNING:
            assert self.number < 100
            self.duty()
        return self


def fired(answer: wire.Answer) -> list[int]:
    return (np.frombuffer(answer.keys, np.int64) >> 32).tolist()


def test_the_conductor_is_answered_with_the_boards_spikes_once_it_owns() -> None:
    desk = Stepped().owned()
    acknowledged = [m.number for m in desk.controls if isinstance(m, lease.Acknowledge)]
    assert acknowledged == list(range(1, desk.number + 1)) and desk.answers == []
    begun = desk.at
    desk.duty(x=(begun + 10,))
    desk.duty()
    desk.duty()
    desk.duty(fires=(begun + 11 + DELAY,))
    assert [fired(answer) for answer in desk.answers] == [[], [], [], [begun + 11 + DELAY]]
    assert [(a.number, a.epoch, a.seq) for a in desk.answers][-1] == (desk.number, 1, 0)
    assert desk.one.figures.disagreements == 0


def test_where_the_shadow_fired_otherwise_the_board_is_right_and_its_state_is_copied() -> None:
    desk = Stepped().owned()
    desk.duty(fires=(desk.at + 50,))
    assert [fired(answer) for answer in desk.answers] == [[]]
    assert desk.answers[0].next_step <= desk.at + 1
    assert desk.one.figures.disagreements == 1 and desk.last(lease.Resync).step == desk.at


@pytest.mark.parametrize("order", [None, wire.Order.STOP])
def test_weights_are_compared_before_the_last_answer_or_the_one_of_a_board_that_leaves(
    order: Any,
) -> None:
    desk = Stepped().owned()
    if order is None:
        desk.one.detach(desk.now)
        assert desk.one.stage is Stage.LEAVING
    desk.duty(order=order)
    assert desk.last(lease.AskWeights).step == desk.at and desk.one.figures.weighed == 1
    assert len(desk.answers) == 1 and desk.ended == (order is None)
    assert ("the last answer comes" in desk.words) == (order is not None)


def test_a_board_that_is_detached_while_no_duty_comes_is_compared_all_the_same() -> None:
    desk = Stepped().owned()
    desk.one.detach(desk.now)
    desk.until(Stage.OVER)
    assert (desk.last(lease.Release).weighed, desk.last(lease.Release).off) == (1, 0)


def test_a_duty_of_a_process_that_catches_up_is_not_the_boards() -> None:
    desk = Stepped().owned()
    desk.duty(order=wire.Order.CATCH_UP)
    assert desk.answers == []


# -- which board it is ------------------------------------------------------------------------------------


def test_a_second_board_of_the_same_number_is_given_another() -> None:
    desk = Desk(twin=("k", True)).until(Stage.LENDING)
    assert desk.one.serial == 77
    assert desk.words == ["m: the board at ttySIM0 has the serial number of 'k', 000000B0; its number is "
                          "0000004D from now on"]  # fmt: skip
    desk.turn(0.05)
    assert desk.board.serial == 77


def test_a_board_of_the_number_of_one_that_is_away_is_refused() -> None:
    desk = Desk(twin=("k", False)).until(Stage.OVER)
    assert "is 'k' and away; if this is another one, neurobus detach k first" in desk.words[0]


def test_another_board_at_its_port_is_refused_and_the_neuron_given_back() -> None:
    desk = Desk().until(Stage.OWNING)
    assert desk.one.hello is not None
    other = told.Hello(1, "host", "lif", "empty", (), 9, 0xC0, 1, 1, 400, 100, 8, "ws2812", 128, 16)
    desk.hears(told.Here(other))
    assert desk.ended and desk.words[-1] == "another board is there: 000000C0, not 000000B0"
    assert isinstance(desk.controls[-1], lease.Release)
