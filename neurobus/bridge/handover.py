"""The hand-over of a neuron between its process and a board: the transition table. Sans-IO, pure.

    IDENTIFYING   who is there?                        board: HELLO
    LENDING       may I have the neuron?               bus: RequestLease, and what listens to what
    COPYING       its state at t0, with what waits     bus: AskState
    LOADING       the image of that state              board: BEGIN, WRITE, COMMIT
    CATCHING_UP   faster than real time
    BESIDE        both run; their spikes must agree
    CEDING        from an agreed step on it is ours    bus: Cede
    OWNING        the board's spikes are the neuron's
    LEAVING       detached: the weights are compared   bus: AskWeights
    RETURNING     back to the process                  bus: Release
    AWAY          no board; waits for it to come back
    OVER          the port is let go

An event and the stage that it finds give the next stage and what is to be done, in order. An event without a
row for a stage is of a past that this stage has left; nothing is done. `disturbed`, `fault` and `unplugged`
first look at what has happened before, and so choose the event.

What is heard on the bus after our own `AskState` is exactly what the state does not contain (all frames come
to all peers in one order), so nothing is missed between the two, and nothing is counted twice. The board's
spikes are held back until the process has said that it published its last one; so at the hand-over, too,
everybody hears them in order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

ANSWER_S = 5.0
"""How long the process may take to answer what the hand-over waits for."""
RETURN_S = 0.3
"""How long it may take to say that it owns its neuron again, and the board to tell its weights."""
ASK_AGAIN_S = 0.02
"""A process that has not kept inputs for long enough is asked for its state again after so long."""
ATTEMPTS = 40
NEVER = float("inf")


class Stage(Enum):
    IDENTIFYING = "identifying"
    LENDING = "asking for the neuron"
    COPYING = "copying the state"
    LOADING = "loading the image"
    CATCHING_UP = "catching up"
    BESIDE = "running beside the process"
    CEDING = "taking over"
    OWNING = "owns the neuron"
    LEAVING = "comparing the weights"
    RETURNING = "giving the neuron back"
    AWAY = "away"
    OVER = "over"


class Event(Enum):
    OPENED = "the port is open, for the first time or again"
    GREETED = "the board has said HELLO, and may be used"
    UNFIT = "this board cannot be this neuron"
    NO_ANSWER = "no board answers"
    GRANTED = "the process has granted the lease"
    REFUSED = "the process has refused, or knows of no lease"
    LISTENING = "every subscription is in force"
    NOT_YET = "the process has not kept inputs for long enough"
    AGAIN = "the pause before the state is asked again is over"
    STATE = "the state has come"
    LOADED = "the board has its image"
    CAUGHT_UP = "the board has come near the present"
    AGREED = "board and process have fired alike for long enough"
    DISTURBED = "the board is not where its shadow is"
    CEDED = "the process has published its last spike"
    LOST = "the board is gone, or not what it was"
    RESTARTED = "the process has started anew"
    TAKEN = "the process owns its neuron"
    DETACHED = "the neuron is to be given back"
    COMPARED = "the weights have been compared, or could not be"
    TIMEOUT = "what was waited for has not come"


class Do(Enum):
    ASK_BOARD = "ask who is there"
    GREET = "blink, and mirror the strip"
    REQUEST_LEASE = "ask for the neuron"
    LISTEN = "subscribe to what the neuron hears"
    ASK_STATE = "ask the process for the neuron's state"
    LOAD = "give the board the image, and what has come since"
    CATCH_UP = "run after the present"
    CEDE = "ask the process to publish no more, and hold the board's spikes back"
    OWN = "publish the board's spikes"
    RESYNC = "copy the board's state to its shadow"
    LEAVE = "compare the weights, where nothing is under way"
    COMPARE = "compare the weights now"
    RELEASE = "tell the process that the lease is over"
    STOP_CLOCK = "let the board stand still"
    AWAIT_BOARD = "forget the state, and see whether the board comes back"
    CLOSE = "let go of the port"


@dataclass(frozen=True, slots=True)
class Instruction:
    """`why`: for `RELEASE`, `AWAIT_BOARD` and `CLOSE`. `owned`: the board owned the neuron until now."""

    do: Do
    why: str = ""
    owned: bool = False


S, E = Stage, Event
ON_LEASE = (S.LENDING, S.COPYING, S.LOADING, S.CATCHING_UP, S.BESIDE, S.CEDING, S.OWNING)
"""The process keeps inputs for the board, or is its shadow."""
OWNS = (S.OWNING, S.LEAVING)
LOSES = (S.CEDING, *OWNS)
"""A board that fails here is counted as a loss: its spikes are, or were about to be, the neuron's."""
LOSSES = (E.GREETED, E.LOST, E.RESTARTED, E.TAKEN)
QUESTIONS = frozenset((Do.REQUEST_LEASE, Do.ASK_STATE))
TRYING = (S.CATCHING_UP, S.BESIDE, S.CEDING)
STAY = None

Row = tuple[Stage | None, tuple[Do, ...]]


def _rows(stages: Iterable[Stage], to: Stage | None, *do: Do) -> dict[Stage, Row]:
    return dict.fromkeys(stages, (to, do))


_UNFIT = {
    **_rows((S.IDENTIFYING, S.AWAY, S.RETURNING), S.OVER, Do.CLOSE),
    **_rows((*ON_LEASE, S.LEAVING), S.OVER, Do.RELEASE, Do.CLOSE),
}
_LOST = {
    **_rows(ON_LEASE, S.AWAY, Do.RELEASE, Do.AWAIT_BOARD),
    **_rows((S.LEAVING,), S.OVER, Do.RELEASE, Do.CLOSE),
}

TABLE: dict[Event, dict[Stage, Row]] = {
    E.OPENED: _rows((S.IDENTIFYING, S.AWAY, S.RETURNING), STAY, Do.ASK_BOARD),
    E.GREETED: {
        **_rows((S.IDENTIFYING, S.AWAY), S.LENDING, Do.GREET, Do.REQUEST_LEASE),
        # Reset twice in a row, it may answer twice: let go of what was begun, or the neuron stays lent.
        **_rows(ON_LEASE, S.LENDING, Do.RELEASE, Do.AWAIT_BOARD, Do.GREET, Do.REQUEST_LEASE),
        **_rows((S.LEAVING,), S.OVER, Do.RELEASE, Do.CLOSE),
    },
    E.UNFIT: _UNFIT,
    # One that was ours may be slow to come back.
    E.NO_ANSWER: {**_UNFIT, **_rows((S.AWAY,), STAY, Do.AWAIT_BOARD)},
    E.GRANTED: _rows((S.LENDING,), STAY, Do.LISTEN),
    E.REFUSED: _rows((*ON_LEASE, S.LEAVING, S.RETURNING), S.OVER, Do.CLOSE),
    E.LISTENING: _rows((S.LENDING,), S.COPYING, Do.ASK_STATE),
    E.NOT_YET: _rows((S.COPYING,), STAY),
    E.AGAIN: _rows((S.COPYING,), STAY, Do.ASK_STATE),
    E.STATE: _rows((S.COPYING,), S.LOADING, Do.LOAD),
    E.LOADED: _rows((S.LOADING,), S.CATCHING_UP, Do.CATCH_UP),
    E.CAUGHT_UP: _rows((S.CATCHING_UP,), S.BESIDE),
    E.AGREED: _rows((S.BESIDE,), S.CEDING, Do.CEDE),
    E.DISTURBED: {
        **_rows((S.CATCHING_UP, S.BESIDE), S.COPYING, Do.ASK_STATE),
        **_rows((S.CEDING,), STAY),  # agreed already; its shadow will disagree
        **_rows(OWNS, STAY, Do.RESYNC),
    },
    E.CEDED: _rows((S.CEDING,), S.OWNING, Do.OWN),
    E.LOST: {**_LOST, **_rows((S.IDENTIFYING,), S.AWAY, Do.AWAIT_BOARD)},
    E.RESTARTED: _LOST,
    E.TAKEN: {
        **_rows(ON_LEASE, S.AWAY, Do.AWAIT_BOARD),
        **_rows((S.LEAVING,), S.OVER, Do.CLOSE),
        **_rows((S.RETURNING,), S.OVER, Do.STOP_CLOCK, Do.CLOSE),
    },
    E.DETACHED: {
        **_rows((S.IDENTIFYING, S.AWAY), S.OVER, Do.CLOSE),
        **_rows(ON_LEASE, S.RETURNING, Do.RELEASE),
        **_rows((S.OWNING,), S.LEAVING, Do.LEAVE),
    },
    E.COMPARED: _rows((S.LEAVING,), S.RETURNING, Do.RELEASE),
    E.TIMEOUT: {
        **_rows((S.LENDING, S.COPYING, S.CEDING), S.OVER, Do.RELEASE, Do.CLOSE),
        **_rows((S.LEAVING,), STAY, Do.COMPARE),  # no duty has come that could have been waited for
        **_rows((S.RETURNING,), S.OVER, Do.CLOSE),
    },
}
PATIENCE_S = {S.LENDING: ANSWER_S, S.COPYING: ANSWER_S, S.CEDING: ANSWER_S, S.LEAVING: RETURN_S,
              S.RETURNING: RETURN_S}  # fmt: skip
"""From entering a stage to its TIMEOUT; in COPYING from each question."""


class HandOver:
    """Where one board's hand-over stands. Events and the time (s) go in, instructions come out."""

    def __init__(self, neuron: str) -> None:
        self.stage = Stage.IDENTIFYING
        self.why = ""
        """Of the last loss, or of the end."""
        self.attempts = self.hand_overs = self.losses = 0
        self._neuron = neuron
        self._deadline_s = self._again_s = self.next_s = NEVER
        """`next_s`: when `tick` is to be called next."""

    @property
    def owns(self) -> bool:
        return self.stage in OWNS

    def on(self, event: Event, now: float, why: str = "") -> list[Instruction]:
        """What this event asks for. `why` is for people."""
        before = self.stage
        if (row := TABLE[event].get(before)) is None:
            return []
        self.stage, do = row[0] or before, row[1]
        if why and before is not Stage.RETURNING:
            self.why = why
        if event in LOSSES:
            self.losses += before in LOSES
        if event is Event.CEDED:
            self.hand_overs, self.attempts = self.hand_overs + 1, 0
        self._again_s = now + ASK_AGAIN_S if event is Event.NOT_YET else NEVER
        if self.stage is not before or not QUESTIONS.isdisjoint(do):
            self._deadline_s = now + PATIENCE_S.get(self.stage, NEVER)
        self.next_s = min(self._deadline_s, self._again_s)
        return [Instruction(what, self.why, before in OWNS) for what in do]

    def greeted(self, now: float) -> list[Instruction]:
        """The board has said HELLO, and may be used."""
        return self.on(Event.GREETED, now, "the board has begun anew" if self.stage in ON_LEASE else "")

    def disturbed(self, now: float, late: int) -> list[Instruction]:
        """An input came late (so many have), or the two fired differently."""
        if self.stage not in TRYING:
            return self.on(Event.DISTURBED, now)
        self.attempts += 1
        if self.attempts < ATTEMPTS:
            return self.on(Event.DISTURBED, now)
        self.attempts = 0
        why = (
            f"board and process did not agree in {ATTEMPTS} attempts ({late} inputs came late); "
            "longer delays, a faster baud, --lag would help"
        )
        return self.on(Event.LOST if self.hand_overs else Event.UNFIT, now, why)

    def fault(self, now: float, why: str) -> list[Instruction]:
        """The board could not follow a message."""
        self.attempts += 1
        return self.on(Event.UNFIT if self.attempts >= ATTEMPTS else Event.LOST, now, why)

    def unplugged(self, now: float, why: str) -> list[Instruction]:
        """The port is gone."""
        if self.hand_overs:
            return self.on(Event.LOST, now, f"unplugged: {why}")
        return self.on(Event.UNFIT, now, f"unplugged before it owned the neuron: {why}")

    def tick(self, now: float) -> list[Instruction]:
        """What is due."""
        if now >= self._deadline_s:
            self._deadline_s = NEVER
            leaves = self.stage in (Stage.LEAVING, Stage.RETURNING)
            return self.on(
                Event.TIMEOUT, now, "" if leaves else f"the process of '{self._neuron}' does not answer"
            )
        return self.on(Event.AGAIN, now) if now >= self._again_s else []
