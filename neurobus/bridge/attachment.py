"""One board and the neuron it is, or is to be. Sans-IO.

It leads what comes from the board and from the bus to the hand-over (`handover.HandOver`, the table) and to
what works beside it (`pace.Pace`, `replica.Replica`, `weight_check`), and carries the instructions out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from neurobus import led
from neurobus.bridge import board_events
from neurobus.bridge.board_events import Hello
from neurobus.bridge.handover import Do, Event, HandOver, Instruction, Stage
from neurobus.bridge.image import CHIPS
from neurobus.bridge.lease import BridgePort, Lease, LeaseTerms, refusal
from neurobus.bridge.mirror import pixels
from neurobus.bridge.pace import Pace, Trials
from neurobus.bridge.replica import Replica
from neurobus.bridge.session import Session
from neurobus.bridge.session import Stage as SessionStage
from neurobus.bridge.stepped_pace import SteppedPace
from neurobus.bridge.wall_pace import WallPace
from neurobus.bridge.weight_check import Resync, WeightCheck
from neurobus.events import Spikes, Stimulus
from neurobus.wire import bus as wire
from neurobus.wire import lease as messages
from neurobus.wire import link, verbs
from neurobus.wire.message import ControlMessage, ReportMessage

BLINK_S = 2
MIRROR_EVERY = 5
"""The strip is mirrored every so many of its frames of 20 ms."""
STATS_S = 1.0
"""A board that owns is asked so often what it has counted."""
NEVER = float("inf")


class Attachment:
    """`port_name` is for people. `claimant`: BRIDGE/TOKEN. `lag_s`: see `WallPace`."""

    def __init__(self, port: BridgePort, neuron: str, port_name: str, claimant: str, token: int, wall: bool,
                 lag_s: float | None = None):  # fmt: skip
        self.port, self.neuron, self.port_name = port, neuron, port_name
        self.hand = HandOver(neuron)
        self.session = Session(token)
        self.lease = Lease(port, neuron, claimant)
        self.replica = Replica(self.lease, self.session)
        self.figures = self.replica.figures
        self.resync = Resync(self.replica)
        self.check = WeightCheck(self.replica)
        self.pace: Pace = (
            WallPace(self.hand, self.replica, lag_s)
            if wall
            else SteppedPace(self.hand, self.replica, self.resync, self.check)
        )
        self.hello: Hello | None = None
        self.serial: int | None = None
        self.counts: dict[str, int] | None = None
        """What the board counted since its start, as of a second ago at most."""
        self._palette: led.Palette | None = None
        """Asked for by a person; a board that comes back gets it again."""
        self._begun_s = 0.0
        self._stats_at = 0.0

    @property
    def stage(self) -> Stage:
        return self.hand.stage

    @property
    def horizon(self) -> int | None:
        """Up to here all that the board did has been published, as beats say. None: it owns nothing."""
        return self.pace.horizon if self.hand.owns else None

    @property
    def board(self) -> str:
        """What people call this board."""
        port = self.port_name.rpartition("/")[2]
        return f"board {self.hello.name} ({port})" if self.hello else port

    # -- what a person or the bridge asks -------------------------------------------------------------

    def opened(self, now: float) -> None:
        """The port is open, for the first time or again."""
        if self.stage is not Stage.AWAY:
            self._begun_s = now
        self._on(Event.OPENED, now)

    def unplugged(self, why: str, now: float) -> None:
        """The port is gone."""
        self.figures.unplugged += 1
        self._follow(self.hand.unplugged(now, why), now)

    def detach(self, now: float, why: str = "detached") -> None:
        """Give the neuron back in peace."""
        self._on(Event.DETACHED, now, why)

    def listening(self, claim: str, now: float) -> None:
        """Every subscription is in force: what is asked from now on comes with all that follows it."""
        if claim == self.lease.claim:
            self._on(Event.LISTENING, now)

    def palette(self, colours: led.Palette, now: float) -> None:
        """Colours of the strip."""
        self._palette = colours
        self.session.palette(colours, now)

    def blink(self, seconds: int, now: float) -> None:
        """So that people see which board it is."""
        self.session.send(link.IDENTIFY, now, seconds=seconds)

    # -- from the board -------------------------------------------------------------------------------

    def received(self, data: bytes, now: float) -> None:
        """Bytes from the port."""
        for event in self.session.receive(data, now):
            self._heard(event, now)

    def _heard(self, event: board_events.Event, now: float) -> None:
        match event:
            case board_events.Spiked(tick):
                self.pace.fired(tick)
            case board_events.Done(tick):
                self._try(self.pace.done(tick, now), now)
            case board_events.Lights():
                self._lights(event, now)
            case board_events.Late():
                self.figures.late += 1
                self._disturbed(0, now)
            case board_events.Poked(tick, weight):
                self._pressed(tick, weight)
            case board_events.Image(_, data):
                self._image(data, now)
            case board_events.Loaded(tick):
                if self.replica.base is not None and tick == self.replica.base.tick:
                    self._on(Event.LOADED, now)
            case board_events.Stats(values):
                self.counts = values
            case board_events.Here(hello):
                self._here(hello, now)
            case board_events.Reset(why):
                self._on(Event.LOST, now, why)
            case board_events.Silent(for_s):
                why = f"the board has been silent for {for_s * 1000:.0f} ms"
                self._on(Event.LOST, now, why)
            case board_events.Refused(why, silent):
                self._on(Event.NO_ANSWER if silent else Event.UNFIT, now, why)
            case board_events.Problem(fault, detail):
                why = f"the board could not follow a message: {fault} ({detail})"
                self._follow(self.hand.fault(now, why), now)

    def _here(self, hello: Hello, now: float) -> None:
        twin = self.port.namesake(hello.serial) if hello.serial and self.serial is None else None
        if (why := _misplaced(hello, self.serial, twin)) is not None:
            self._on(Event.UNFIT, now, why)
            return
        self.hello, self.serial = hello, hello.serial
        if not hello.serial or twin is not None:
            self.serial = self.port.new_serial()
            self.hello = replace(hello, serial=self.serial)
            self.session.send(link.NAME, now, serial=self.serial)
        if twin is not None:
            self.port.say(
                f"{self.neuron}: the board at {self.port_name} has the serial number of '{twin[0]}', "
                f"{hello.name}; its number is {self.hello.name} from now on"
            )
        self._follow(self.hand.greeted(now), now)

    def _disturbed(self, spikes: int, now: float) -> None:
        """An input came late, or (`spikes`) board and process fired differently."""
        if self.hand.owns:
            self.figures.disagreements += spikes
        elif not spikes and self.stage in (Stage.CATCHING_UP, Stage.BESIDE):
            self.pace.late()
        self._follow(self.hand.disturbed(now, self.figures.late), now)

    def _pressed(self, tick: int, weight: int) -> None:
        """The button: the shadow, and whoever records, hears of it as of a stimulus. Under the virtual clock
        so does the board: the conductor says in which update it acts, and it comes with a duty."""
        if self.stage in (Stage.OWNING, Stage.LEAVING, Stage.CEDING, Stage.BESIDE):
            self.figures.pokes += 1
            felt = weight * self.replica.chip.unit
            self.lease.poke(self.pace.poke_ns(tick), felt, self._origin)

    @property
    def _origin(self) -> str:
        return f"board-{self.serial:08X}" if self.serial else "board"

    def _lights(self, lights: board_events.Lights, now: float) -> None:
        if self.hello is not None:
            rgb = pixels(lights.level, lights.flash, lights.blink, self.hello.leds, lights.palette)
            self.lease.strip(self.pace.strip_ns(now), rgb)

    def _image(self, data: bytes, now: float) -> None:
        """The board's state has been read."""
        if not self.hand.owns:
            self.resync.under_way = False
            self.check.stop()
        elif self.check.under_way:
            self.check.read(self.replica.unpack(data))
        else:
            self.resync.read(self.replica.unpack(data), now)

    # -- from the bus -----------------------------------------------------------------------------------

    def spikes(self, event: Spikes, now: float) -> None:
        """A batch of a stream that somebody here listens to, under the wall clock."""
        if event.stream == self.neuron:
            self.pace.owner_spikes(event)
        else:
            self.replica.spikes(event, now)

    def stimulus(self, event: Stimulus) -> None:
        """A poke of this neuron. The board knows of its own button."""
        if event.origin != self._origin:
            self.pace.stimulus(event)

    def duty(self, duty: wire.Duty, now: float) -> None:
        """A duty of the conductor to our neuron's process."""
        self.pace.duty(duty, now)

    def control(self, message: ControlMessage) -> None:
        """A control to this neuron: our own come back to us, and mark a place in the order of all frames."""
        match message:
            case messages.AskState(claim=claim) if claim == self.lease.claim:
                self.replica.mark()
            case messages.Cede(claim=claim) if claim == self.lease.claim:
                self.pace.cede_came_back()

    def report(self, message: ReportMessage, now: float) -> None:
        """A word from this neuron's process."""
        if isinstance(message, verbs.Ready):
            self._on(Event.RESTARTED, now, "the process was restarted")
        elif getattr(message, "claim", None) == self.lease.claim:
            self._answered(message, now)

    def _answered(self, message: ReportMessage, now: float) -> None:
        match message:
            case messages.Granted() if self.stage is Stage.LENDING:
                self._granted(message, now)
            case messages.StateCopy(step=step) if self.stage is Stage.COPYING:
                known = step is not None and self.replica.marked
                self._on(Event.STATE if known else Event.NOT_YET, now, about=message)
            case messages.Ceded():
                self._on(Event.CEDED, now, about=message)
            case messages.Refused():
                why = refusal(self.neuron, message, self.hello.chip if self.hello else "")
                self._on(Event.REFUSED, now, why)
            case messages.Disagreed(shadow=shadow, board=board) if self.hand.owns:
                self._disagreed([*shadow, *board], now)
            case messages.Resynced():
                self.resync.under_way = False
            case messages.ShadowWeights() if self.check.under_way:
                self._compare(message, now)
            case messages.ShadowAnswer():
                self._try(self.pace.shadow(message, now), now)
            case messages.Owner(why=why):
                # If it was not asked to: it had not heard us for too long.
                self._on(Event.TAKEN, now, why)

    def _granted(self, granted: messages.Granted, now: float) -> None:
        assert self.hello is not None
        try:
            terms = LeaseTerms.read(granted, self.hello.chip)
            misfit = terms.chip.fits(self.hello.room, self.hello.synapses)
            why = misfit and f"'{self.neuron}' has {misfit}"
        except (KeyError, TypeError, ValueError) as error:
            why = str(error)
        if why is not None:
            self._on(Event.UNFIT, now, why)
            return
        self.lease.terms = terms
        self.session.inputs.gather = terms.chip.kicks
        self._on(Event.GRANTED, now)

    def _disagreed(self, alone: list[int], now: float) -> None:
        if max(alone, default=0) > self.resync.step:
            self._disturbed(len(alone), now)
        else:  # before it was put right
            self.figures.disagreements += len(alone)

    def _compare(self, theirs: messages.ShadowWeights, now: float) -> None:
        if off := self.check.compare(theirs):
            self.port.say(f"{self.neuron}: {off} weights of {self.board} are not its shadow's")
        self._compared(now)

    def _compared(self, now: float) -> None:
        """The weights have been compared, or could not be."""
        self.check.stop()
        self._try(self.pace.compared(now), now)

    # -- the hand-over ----------------------------------------------------------------------------------

    def _try(self, trials: Trials, now: float) -> None:
        """What a pace has found; each is dealt with before it goes on."""
        for trial in trials:
            if trial.event is Event.DISTURBED:
                self._disturbed(trial.spikes, now)
                continue
            if trial.event is Event.CAUGHT_UP and self.figures.catch_up_ms is None:
                self.figures.catch_up_ms = round((now - self._begun_s) * 1000, 1)
            self._on(trial.event, now)

    def _on(self, event: Event, now: float, why: str = "", about: Any = None) -> None:
        """An event of the table. `about`: the message that its instructions need."""
        self._follow(self.hand.on(event, now, why), now, about)

    def _follow(self, instructions: Iterable[Instruction], now: float, about: Any = None) -> None:
        for instruction in instructions:
            self._do(instruction, now, about)

    def _do(self, instruction: Instruction, now: float, about: Any) -> None:
        why = instruction.why
        match instruction.do:
            case Do.ASK_BOARD:
                self.session.open(now)
            case Do.GREET:
                self._greet(now)
            case Do.REQUEST_LEASE:
                assert self.hello is not None
                self.resync.under_way = self.check.begun = False
                self.check.stop()
                self.lease.request(self.board, CHIPS[self.hello.chip].model)
            case Do.LISTEN:
                claim, streams = self.lease.claim, self.pace.begin(self.lease.granted)
                self.port.listen(streams, lambda when: self.listening(claim, when))
            case Do.ASK_STATE:
                self.replica.marked = False
                self.pace.restart()
                self.lease.send(messages.AskState(self.lease.claim))
            case Do.LOAD:
                self._load(about, now)
            case Do.CATCH_UP:
                self.pace.catch_up(now)
            case Do.CEDE:
                self.lease.send(messages.Cede(self.lease.claim, self.pace.cede(now)))
            case Do.OWN:
                self._own(about.step, now)
            case Do.RESYNC:
                if not self.check.under_way:
                    self.resync.start(now)
            case Do.LEAVE:
                self._leave(now)
            case Do.COMPARE:
                if not self.check.under_way:
                    self.check.start(now)
            case Do.RELEASE:
                self._release(instruction)
            case Do.STOP_CLOCK:
                if self.session.stage is SessionStage.RUNNING:
                    self.session.stop(now)
            case Do.AWAIT_BOARD:
                self.replica.drop()
                self.port.await_board(why)
            case Do.CLOSE:
                self.port.let_go(why)

    def _greet(self, now: float) -> None:
        assert self.hello is not None
        self.blink(BLINK_S, now)
        if self._palette is not None:
            self.session.palette(self._palette, now)
        self.session.mirror(MIRROR_EVERY if self.hello.leds else 0, now)

    def _load(self, copy: messages.StateCopy, now: float) -> None:
        try:
            image = self.replica.pack(copy)
        except (KeyError, ValueError) as error:
            why = f"the chip cannot hold this state: {error}"
            self._on(Event.UNFIT, now, why)
        else:
            self.replica.load(image, copy, now)

    def _own(self, step: int, now: float) -> None:
        self.pace.own(step, now)
        errors = sorted(self.lease.granted.errors.items())
        worst = ", ".join(f"{name} by {error:.2g}" for name, error in errors)
        text = f"{self.board} is {self.neuron} from step {step} on"
        self.port.say(text + (f"; quantisation: {worst}" if worst else ""))

    def _leave(self, now: float) -> None:
        if self.resync.under_way:
            self._on(Event.COMPARED, now)
        elif self.pace.leave(now):
            self.check.start(now)

    def _release(self, instruction: Instruction) -> None:
        horizon = self.pace.horizon if instruction.owned else 0
        counted = (self.figures.weighed, self.figures.weights_off) if self.stage is Stage.RETURNING else ()
        self.lease.send(messages.Release(self.lease.claim, horizon, instruction.why, *counted))

    # -- time -----------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due."""
        for event in self.session.tick(now):
            self._heard(event, now)
        if now >= self._stats_at and self.hand.owns:
            self._stats_at = now + STATS_S
            self.session.send(link.TELL, now)
        if now >= self.hand.next_s:
            self._follow(self.hand.tick(now), now)
        if now >= self.check.deadline_s:
            self._compared(now)

    def next_s(self) -> float:
        """When `tick` is to be called next."""
        first = min(self.session.next_s(), self.hand.next_s, self.check.deadline_s)
        return min(first, self._stats_at) if self.hand.owns else first


def _misplaced(hello: Hello, serial: int | None, twin: tuple[str, bool] | None) -> str | None:
    """Why this board is not, or cannot be, the one that is meant: its serial number is known, or a `twin` has
    it: the neuron of that, and whether its port is open."""
    if serial is not None and hello.serial != serial:
        return f"another board is there: {hello.name}, not {serial:08X}"
    if twin is not None and not twin[1]:
        # It may be that very board, or one of the same number: nobody could say.
        return (
            f"a board of the same serial number, {hello.name}, is '{twin[0]}' and away; "
            f"if this is another one, neurobus detach {twin[0]} first"
        )
    if hello.chip not in CHIPS:
        known = " and ".join(f"'{chip}'" for chip in CHIPS)
        return f"the board runs the chip '{hello.chip}'; a neuron can be {known}"
    return None
