"""A process that takes its neuron back: every spike is on the bus once, whatever was under way.

The bus is a hub of one process: what is sent comes to all in one order. The board is played by the test,
which knows what the neuron does: it is driven by a constant current. Time passes only where
the script says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from neurobus.cluster.prewarm import ScriptedBus
from neurobus.events import Spikes
from neurobus.ledger import Ledger
from neurobus.node import process
from neurobus.node.core import Core
from neurobus.node.interface import STEP_BITS
from neurobus.node.role import Role
from neurobus.node.snapshot import read_snapshot
from neurobus.node.wall import WallProcess
from neurobus.placement import place
from neurobus.wire import bus as wire
from neurobus.wire import lease, verbs
from neurobus.wire.message import Control, Report, fields
from tests.helpers import net, run_table, table, word

NETWORK = run_table() + table("neurons", id="m", model="nodes.chip", params='{ I_e = "1500 pA" }')
CLAIM = {"claim": "bridge/1/1"}
END_S = 0.8


class Clock:
    """The host's, and that of event loops made meanwhile."""

    def __init__(self) -> None:
        self.ns = 10**12

    def now_ns(self) -> int:
        return self.ns

    def sleep(self, steps: int) -> None:
        self.ns += steps * 100_000

    def loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.SelectorEventLoop()
        loop.time = lambda: self.ns * 1e-9  # type: ignore[method-assign]
        return loop


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(process, "now_ns", clock.now_ns)
    monkeypatch.setattr(process, "step_loop", clock.loop)
    return clock


def core() -> Core:
    return Core(place(net(NETWORK), 1).neuron_part(0))


class Hub(ScriptedBus):
    """Keeps all frames in order, and gives the process those that it has subscribed."""

    def __init__(self, script: Iterator[list[bytes]]):
        super().__init__(script, wire.topic(wire.HELLO, "m"))
        self.frames: list[bytes] = []
        self.heard: set[bytes] = set()
        self.before: Callable[[bytes], list[bytes]] = lambda data: []
        """What somebody else sends in the same moment, and the hub takes first."""

    def subscribe(self, prefix: bytes) -> None:
        self.heard.add(prefix)

    def unsubscribe(self, prefix: bytes) -> None:
        self.heard.discard(prefix)

    def send(self, data: bytes) -> None:
        for frame in (*self.before(data), data):
            self.frames.append(frame)
            if any(frame.startswith(prefix) for prefix in self.heard):
                self._batch.append(frame)

    def reports(self, verb: str) -> list[dict[str, Any]]:
        events = (wire.decode(frame) for frame in self.frames if frame[:1] == wire.REPORT)
        return [fields(e.message) for e in events if isinstance(e, Report) and e.message.verb == verb]

    def spikes(self) -> list[int]:
        """The steps of the spikes that anybody who listens takes."""
        ledger, steps = Ledger(True), []
        for frame in self.frames:
            event = wire.decode(frame) if frame[:1] == wire.SPIKES else None
            if isinstance(event, Spikes):
                known = ledger.accept("m", event.epoch, event.seq, len(event.t_ns), event.last)
                if known >= 0:
                    steps += [t // 100_000 for t in event.t_ns[known:]]
        assert ledger.totals()["lost"] == ledger.totals()["duplicates"] == 0
        return steps


class Play:
    """A run in which the neuron is lent. `board` is part of the script: what comes once the process cedes."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.truth = [key >> STEP_BITS for key in core().advance(round(END_S * 10_000)).keys.tolist()]
        self.hub = Hub(self._script())
        self.seq = 0
        self.board: Callable[[], Iterator[list[bytes]]] = lambda: iter(())
        self.cede_at = self.from_step = 0
        self.snapshots: Path | None = None

    def now(self) -> int:
        return (self.clock.ns - self.t0_ns) // 100_000

    def run(self) -> list[int]:
        role = Role("m", ["m"], [0], 100_000, True, index_of={"m": 0}, n_ids=1, grace_ns=2_000_000,
                    snapshots=self.snapshots)  # fmt: skip
        WallProcess(role, core()).run(self.hub)
        return self.hub.spikes()

    def fired(self, after: int, to: int) -> list[int]:
        return [step for step in self.truth if after < step <= to]

    def published(self, steps: list[int]) -> list[bytes]:
        """The board's spikes, a frame each, as the bridge sends them."""
        epoch = self.hub.reports("lent")[-1]["epoch"]
        frames = []
        for step in steps:
            frames.append(wire.encode(Spikes("m", epoch, self.seq, [step * 100_000])))
            self.seq += 1
        return frames

    def say(self, verb: str, **args: Any) -> list[bytes]:
        frame = word(wire.CONTROL, "m", verb, {**CLAIM, **args})
        self.hub.frames.append(frame)
        return [frame]

    def tell(self, steps: list[int]) -> list[bytes]:
        frames = self.published(steps)
        self.hub.frames += frames
        return frames

    def until(self, done: Callable[[], Any], alive: bool = True) -> Iterator[list[bytes]]:
        while not done():
            self.clock.sleep(10)
            yield [wire.encode(Control("bridge", lease.Heartbeat({})))] if alive else []

    def _script(self) -> Iterator[list[bytes]]:
        hub = self.hub
        yield []
        self.t0_ns = self.clock.ns
        stop = round(END_S * 10_000)
        yield [wire.encode(Control(wire.EVERYONE, verbs.Start(self.t0_ns, stop, None)))]
        yield from self.until(lambda: self.now() > 500)
        yield self.say("lend", board="b", model="nodes.chip", beat="bridge")
        yield from self.until(lambda: hub.reports("lent"))
        yield self.say("state")
        yield from self.until(lambda: hub.reports("state"))
        self.cede_at = self.now() + 50
        yield self.say("cede", step=self.cede_at)
        yield from self.board()
        yield from self.until(lambda: hub.reports("final"), alive=False)
        yield [wire.encode(Control("m", verbs.Exit()))]

    def owned(self) -> Iterator[list[bytes]]:
        yield from self.until(lambda: self.hub.reports("ceded"))
        self.from_step = self.hub.reports("ceded")[0]["step"]  # later than asked for, where it woke late


def test_what_the_bridge_sent_in_the_moment_of_taking_back_is_not_sent_again(clock):
    """Both were asleep, on a busy machine. The bridge tells what waited at the port just as the process finds
    it silent: the process hears that only after it has decided."""
    play = Play(clock)

    def board() -> Iterator[list[bytes]]:
        yield from play.owned()
        sent, silent = play.now() - 20, []
        yield play.tell(play.fired(play.from_step, sent))

        def at_once(data: bytes) -> list[bytes]:
            """The first that the process says after the bridge's last word."""
            if data[:1] == wire.SPIKES and not silent:
                silent.append(play.fired(sent, play.now() - 100))
                return play.published(silent[0])
            return []

        play.hub.before = at_once
        yield from play.until(lambda: play.hub.reports("owner"), alive=False)
        assert silent[0]
        (owner,) = play.hub.reports("owner")
        assert "silent" in owner["why"] and owner["disagreements"] == 0

    play.board = board
    assert play.run() == play.truth


def test_what_comes_of_an_epoch_that_is_over_is_sent_by_the_process(clock):
    """The hub takes the bridge's frames after the process has ended the epoch: nobody hears them, nothing is
    lost."""
    play = Play(clock)

    def board() -> Iterator[list[bytes]]:
        yield from play.owned()
        yield from play.until(lambda: play.hub.frames[-1][:1] == wire.SPIKES, alive=False)
        yield play.tell(play.fired(play.from_step, play.now() - 100))[:0]
        yield from play.until(lambda: play.hub.reports("owner"), alive=False)

    play.board = board
    assert play.run() == play.truth


@pytest.mark.parametrize("ahead", [-20, 0, 60, 300])
def test_what_a_board_told_ahead_of_time_is_not_sent_again(clock, ahead):
    """A simulated board on a machine that could not keep up, or one whose clock was taken for slower."""
    play = Play(clock)

    def board() -> Iterator[list[bytes]]:
        yield from play.owned()
        sent = play.now() + ahead
        frames = play.tell(play.fired(play.from_step, sent))
        # Some of it is known to be all up to there, some has just been heard.
        yield [*frames, *play.say("release", horizon=sent - 40, why="unplugged")]

    play.board = board
    assert play.run() == play.truth


def test_what_fell_between_the_last_step_and_the_word_of_it_is_the_processes(clock):
    """The bridge lets go while the process, which woke late, has yet to say that its last step has passed."""
    play = Play(clock)

    def board() -> Iterator[list[bytes]]:
        play.clock.sleep(200)  # the loop does not come to its timers
        assert not play.hub.reports("ceded")
        look = wire.encode(Control("m", verbs.Stop(step=round(END_S * 10_000))))
        yield [look, *play.say("release", horizon=0, why="unplugged")]

    play.board = board
    assert play.run() == play.truth


def test_a_run_that_ends_beside_a_board_has_what_the_board_did_not_tell(clock):
    play = Play(clock)

    def board() -> Iterator[list[bytes]]:
        yield from play.owned()
        yield play.tell(play.fired(play.from_step, play.now() - 20))
        yield from play.until(lambda: play.hub.reports("owner"))
        assert play.hub.reports("owner")[0]["why"] == "the run has ended"

    play.board = board
    assert play.run() == play.truth


def test_what_a_board_publishes_is_kept_in_a_snapshot_with_its_own_numbers(clock, tmp_path):
    play = Play(clock)
    play.snapshots = tmp_path
    told: list[int] = []

    def board() -> Iterator[list[bytes]]:
        yield from play.owned()
        first = play.now() - 20
        yield play.tell(play.fired(play.from_step, first))
        already, at = play.seq, play.now() + 100
        yield [wire.encode(Control("m", verbs.TakeSnapshot(at)))]
        told.extend([already, *play.fired(first, at)])
        yield play.tell(play.fired(first, at))
        yield from play.until(lambda: play.hub.reports("saved"))
        yield play.say("release", horizon=at, why="detached")

    play.board = board
    assert play.run() == play.truth
    state = read_snapshot(tmp_path, "m")
    assert state is not None
    already, *steps = told
    kept = [row for row in state["sent"]["spikes"] if row[0] == 1]
    assert steps and [(row[0], row[1]) for row in kept] == [(1, already + n) for n in range(len(steps))]
    assert [int.from_bytes(row[2], "little") >> STEP_BITS for row in kept] == steps
    assert state["sent"]["at"] is None
