"""One board carries one neuron: the procedure, from the first HELLO to the last spike. Sans-IO.

    IDENTIFYING  who is there?                        session: HELLO
    LENDING      may I have the neuron?               bus: `lend`, and what listens to what
    COPYING      its state at t0, with what waits     bus: `state`; session: an image, inputs since t0
    CATCHING_UP  faster than real time
    BESIDE       both run; their spikes must agree
    CEDING       from an agreed step on it is ours    bus: `cede`
    OWNING       the board's spikes are the neuron's
    RETURNING    back to the process                  bus: `release`
    AWAY         no board; waits for it to come back

What a carrier hears on the bus after its own `state` is exactly what the state does not contain (all frames
come to all peers in one order), so nothing is missed between the two, and nothing is counted twice. The
board's spikes are held back until the process has said that it published its last one; so at the hand-over,
too, everybody hears them in order.

Under the virtual clock the conductor's duties take the place of time. Board and shadow both do each duty, and
when both have, the answer goes out: it is the board's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np

from neurobus import led
from neurobus.bridge import session as link_session
from neurobus.bridge.hardware import REFLASH
from neurobus.bridge.image import CHIPS, Chip, State, chip_for
from neurobus.bridge.session import Hello, Session
from neurobus.errors import InputError
from neurobus.events import Led, Spikes, Stimulus
from neurobus.ledger import Ledger
from neurobus.loading import load
from neurobus.model import Model
from neurobus.wire import bus as wire
from neurobus.wire import lease, link, verbs
from neurobus.wire.message import Control, ControlMessage, ReportMessage
from neurobus.wire.reasons import Reason

BLINK_S = 2
MIRROR_EVERY = 5
"""The strip is mirrored every so many of its frames of 20 ms."""
BESIDE_S = 0.2
"""How long board and process must agree before anything changes hands."""
BESIDE_DUTIES = 20
CEDE_LEAD_S = 0.01
SETTLED_S = 0.03
"""What a process fired has been heard after so long."""
UNHEARD_S = 0.2
"""What has not been heard after so long never will be."""
MARGIN_S = 0.002
"""A board that catches up goes no nearer to what may still arrive than this."""
CLOSE_S = 0.02
"""So near to the present it goes on by its own clock."""
ATTEMPTS = 40
LAG_MORE_S, LAG_MOST_S = 0.002, 0.025
"""Where inputs come late the board is let run farther behind, unless somebody has said how far."""
ASK_AGAIN_S = 0.02
TELL_S = 1.0
RETURN_S = 0.3
"""How long a process may take to say that it owns its neuron again."""
STEP_BITS = 32


class Stage(Enum):
    IDENTIFYING = "identifying"
    LENDING = "asking for the neuron"
    COPYING = "copying the state"
    CATCHING_UP = "catching up"
    BESIDE = "running beside the process"
    CEDING = "taking over"
    OWNING = "owns the neuron"
    RETURNING = "giving the neuron back"
    AWAY = "away"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Lent:
    """`synapses`, by a source's index: how long after a stamp its spike acts (steps), on which synapse of the
    chip."""

    synapses: dict[int, list[tuple[int, int]]]
    chip: Chip
    index: int
    heard: list[str]
    min_delay: int
    epoch: int
    errors: dict[str, float]


@dataclass(slots=True)
class Figures:
    """What a board has done and cost since it was attached."""

    spikes: int = 0
    inputs: int = 0
    late: int = 0
    disagreements: int = 0
    mended: int = 0
    attempts: int = 0
    hand_overs: int = 0
    losses: int = 0
    unplugged: int = 0
    """How often its port was gone."""
    line_set_again: int = 0
    """How often another program had changed the line."""
    gap_ms: float | None = None
    catch_up_ms: float | None = None
    pokes: int = 0
    weighed: int = 0
    """Weights of the board that were compared with its shadow's, when it was detached or the run ended."""
    weights_off: int = 0


@dataclass
class World:
    """What a carrier needs of the bridge. `bus(frame)` publishes; `listen(streams, then)` subscribes
    and calls `then` when all subscriptions are in force; `word(carrier, text)` tells a person;
    `lost(carrier, why)`: see whether the board comes back; `over(carrier, why)` lets go of the port;
    `last(carrier)`: the run ends with the answer that comes now. `namesake(carrier, serial)`: another
    carrier whose board has this serial number, and whether its port is open."""

    name: str
    wall: bool
    dt_ns: int
    streams: dict[str, int]
    """Streams of one neuron → index; a stream of many tells its neurons itself."""
    t0_s: Callable[[], float]
    bus: Callable[[bytes], None]
    listen: Callable[[list[str], Callable[[], None]], None]
    word: Callable[[Carrier, str], None]
    lost: Callable[[Carrier, str], None]
    over: Callable[[Carrier, str], None]
    last: Callable[[Carrier], None]
    new_serial: Callable[[], int]
    namesake: Callable[[Carrier, int], tuple[Carrier, bool] | None] = lambda carrier, serial: None


@dataclass
class Carrier:
    """A board and the neuron it is, or is to be. `port` is a name for people."""

    world: World
    neuron: str
    port: str
    token: int
    lag_s: float | None = None
    """The board runs so far behind the bus: fewer inputs are late, and its spikes come later. None: by the
    network's smallest delay, see `_usual_lag_s`."""
    batch: int = 1
    stage: Stage = Stage.IDENTIFYING
    figures: Figures = field(default_factory=Figures)

    def __post_init__(self) -> None:
        self.session = Session(self.token)
        self.hello: Hello | None = None
        self.serial: int | None = None
        self.lent: Lent | None = None
        self.stats: dict[str, int] | None = None
        """What the board counted since its start, as of a second ago at most."""
        self.why = ""
        self.ledger = Ledger(from_start=False)
        self._lag_s = 0.0
        self._claim = ""
        self._claims = 0
        self._marked = self._answered = False
        self._since: list[Any] = []
        self._ask_at: float | None = None
        self._state: State | None = None
        self._begun_s = 0.0
        self._owner_spikes: list[int] = []
        self._board_spikes: list[int] = []
        self._beside_from = 0
        self._beside_s = 0.0
        self._agreed = 0
        self._from_step: int | None = None
        self._held: list[int] = []
        self._told = 0
        """All that the board did up to this tick has been published. The session is ahead of it by what has
        come and is not handled yet."""
        self._seq = self._sample_seq = 0
        self._ceded_s: float | None = None
        self._mending = False
        self._mended_to = 0
        self._goal = 0
        self._tell_at = 0.0
        self._return_by: float | None = None
        self._after_return = Stage.OVER
        self._duties: deque[list[Any]] = deque()
        self._doing: list[Any] | None = None
        self._done_keys: list[int] = []
        self._shadow: dict[int, lease.ShadowAnswer] = {}
        self._duties_agreed = 0
        self._cede_marked = False
        self._leaving: str | None = None
        """Why it will be detached, once its weights have been compared."""
        self._weighing = self._weighed = False
        self._on_scales: State | None = None
        self._strip_at_ns = 0
        self._palette: led.Palette | None = None

    # -- to the bus -----------------------------------------------------------------------------------

    def _control(self, message: ControlMessage) -> None:
        self.world.bus(wire.encode(Control(self.neuron, message)))

    def _step_of(self, now: float) -> int:
        return int((now - self.world.t0_s()) * 1e9) // self.world.dt_ns

    @property
    def board(self) -> str:
        """What people call this board."""
        port = self.port.rpartition("/")[2]
        return f"board {self.hello.name} ({port})" if self.hello else port

    def opened(self, now: float) -> None:
        """The port is open, for the first time or again."""
        if self.stage is not Stage.AWAY:
            self.stage, self._begun_s = Stage.IDENTIFYING, now
        self.session.open(now)

    def _lend(self, now: float) -> None:
        self._claims += 1
        self._claim = f"{self.world.name}/{self.token}/{self._claims}"
        self.stage, self.lent = Stage.LENDING, None
        self._duties.clear()
        self._shadow.clear()
        self._doing, self._mending, self._cede_marked = None, False, False
        self._weighing = self._weighed = False
        self._from_step, self._told, self._seq, self._sample_seq = None, 0, 0, 0
        self._return_by = now + link_session.ASK_PATIENCE_S
        assert self.hello is not None
        model = CHIPS[self.hello.chip].model
        self._control(lease.RequestLease(self._claim, self.board, model, self.world.name))

    def _ask_state(self, now: float) -> None:
        self.stage, self._ask_at = Stage.COPYING, None
        self._marked, self._since = False, []
        self._duties.clear()
        self._shadow.clear()
        self._doing = None
        self._duties_agreed = 0
        self._return_by = now + link_session.ASK_PATIENCE_S
        self._control(lease.AskState(self._claim))

    # -- from the board -------------------------------------------------------------------------------

    def received(self, data: bytes, now: float) -> None:
        """Bytes from the port."""
        for event in self.session.receive(data, now):
            self._event(event, now)

    def _event(self, event: link_session.Event, now: float) -> None:
        match event:
            case link_session.Spiked(tick):
                self._fired(tick)
            case link_session.Done(tick):
                self._done(tick, now)
            case link_session.Lights():
                self._lights(event, now)
            case link_session.Late():
                self.figures.late += 1
                self._disturbed(now)
            case link_session.Poked(tick, weight):
                self._pressed(tick, weight)
            case link_session.Image(_, data):
                self._read(data)
            case link_session.Loaded(tick):
                self._loaded(tick, now)
            case link_session.Stats(values):
                self.stats = values
            case link_session.Here(hello):
                self._here(hello, now)
            case link_session.Reset(why):
                self._lose(why, now)
            case link_session.Silent(for_s):
                self._lose(f"the board has been silent for {for_s * 1000:.0f} ms", now)
            case link_session.Refused(why):
                self._refused(why, now)
            case link_session.Problem(fault, detail):
                self.figures.attempts += 1
                why = f"the board could not follow a message: {fault} ({detail})"
                if self.figures.attempts >= ATTEMPTS:
                    self._give_up(why, now)
                else:
                    self._lose(why, now)

    def _here(self, hello: Hello, now: float) -> None:
        if self.serial is not None and hello.serial != self.serial:
            self._over(f"another board is there: {hello.name}, not {self.serial:08X}")
            return
        twin = self.world.namesake(self, hello.serial) if hello.serial and self.serial is None else None
        if twin is not None and not twin[1]:
            # It may be that very board, or one of the same number: nobody could say.
            self._over(
                f"a board of the same serial number, {hello.name}, is '{twin[0].neuron}' and away; "
                f"if this is another one, neurobus detach {twin[0].neuron} first"
            )
            return
        self.hello, self.serial = hello, hello.serial
        if not hello.serial or twin is not None:
            self.serial = self.world.new_serial()
            self.hello = replace(hello, serial=self.serial)
            self.session.send(link.NAME, now, serial=self.serial)
        if twin is not None:
            self.world.word(
                self,
                f"{self.neuron}: the board at {self.port} has the serial number of '{twin[0].neuron}', "
                f"{hello.name}; its number is {self.hello.name} from now on",
            )
        if hello.chip not in CHIPS:
            known = " and ".join(f"'{chip}'" for chip in CHIPS)
            self._over(f"the board runs the chip '{hello.chip}'; a neuron can be {known}")
            return
        if self.stage is Stage.RETURNING:
            self._after_return = Stage.IDENTIFYING
            return
        if self.stage not in (Stage.IDENTIFYING, Stage.AWAY):
            # Reset twice in a row, it may answer twice: let go of what was begun, or the neuron stays lent.
            self._lose("the board has begun anew", now)
        self.session.send(link.IDENTIFY, now, seconds=BLINK_S)
        if self._palette is not None:
            self.session.palette(self._palette, now)
        self.session.mirror(MIRROR_EVERY if hello.leds else 0, now)
        self._lend(now)

    def _refused(self, why: str, now: float) -> None:
        """No session. A board that was ours once may be slow to come back."""
        if self.stage is Stage.AWAY and Reason.of(why) is Reason.NO_BOARD:
            self.world.lost(self, why)
        else:
            self._over(why)

    def _loaded(self, tick: int, now: float) -> None:
        if self.stage is not Stage.COPYING or self._state is None or tick != self._state.tick:
            return
        self.stage = Stage.CATCHING_UP
        self._board_spikes = []
        if self.world.wall:
            self._chase(now)
        else:
            self._next_duty(now)

    def _chase(self, now: float) -> None:
        """As far as all inputs are known: what acts in an update was fired a smallest delay before."""
        assert self.lent is not None
        dt_s = self.world.dt_ns * 1e-9
        known = now - self.world.t0_s() - MARGIN_S + min((self.lent.min_delay - 1) * dt_s, 2 * MARGIN_S)
        self._goal = max(int((known - self._lag_s) / dt_s), self.session.at)
        self.session.go(self._goal, now)

    def _done(self, tick: int, now: float) -> None:
        if not self.world.wall:
            self._duty_done(now)
            return
        if self.stage is Stage.OWNING:
            self._told = max(self._told, tick)
        if self.stage is Stage.CATCHING_UP and tick >= self._goal:
            behind_s = now - self.world.t0_s() - tick * self.world.dt_ns * 1e-9
            if behind_s > CLOSE_S + self._lag_s or not self.session.sync.ready:
                self._chase(now)
                return
            dt_s = self.world.dt_ns * 1e-9
            # Update k ends at step k + 1, and what acts in it may come until then.
            self.session.run(self.world.t0_s() + dt_s + self._lag_s, dt_s, now, self.batch)
            self.stage = Stage.BESIDE
            self._beside_s, self._beside_from, self._agreed = now, tick, 0
            if self.figures.catch_up_ms is None:
                self.figures.catch_up_ms = round((now - self._begun_s) * 1000, 1)
        elif self.stage is Stage.BESIDE:
            self._compare(now)

    def _compare(self, now: float) -> None:
        """Side by side: the same spikes for a while, then the neuron changes hands."""
        to = min(self.session.at, self._step_of(now - SETTLED_S))
        mine = {step for step in self._board_spikes if self._beside_from < step <= to}
        theirs = {step for step in self._owner_spikes if self._beside_from < step <= to}
        if alone := mine ^ theirs:
            # On a busy machine the other side may be slow to tell; what is older than this will not come.
            if min(alone) <= self._step_of(now - UNHEARD_S):
                self._disturbed(now, len(alone))
            return
        self._agreed += len(mine)
        self._beside_from = max(self._beside_from, to)
        self._board_spikes = [step for step in self._board_spikes if step > to]
        self._owner_spikes = [step for step in self._owner_spikes if step > to]
        if now - self._beside_s >= BESIDE_S:
            self._cede(now)

    def _cede(self, now: float) -> None:
        self.stage = Stage.CEDING
        self._held = list(self._board_spikes)
        self._return_by = now + link_session.ASK_PATIENCE_S
        step = self._step_of(now + CEDE_LEAD_S) if self.world.wall else 0
        self._control(lease.Cede(self._claim, step))

    def _disturbed(self, now: float, spikes: int = 0) -> None:
        """The board is not where its shadow is: an input came late, or they fired differently."""
        if self.stage is Stage.OWNING:
            self.figures.disagreements += spikes
            self._mend(now)
        elif self.stage in (Stage.BESIDE, Stage.CATCHING_UP) or (
            self.stage is Stage.CEDING and self._from_step is None
        ):
            self.figures.attempts += 1
            if self.figures.attempts >= ATTEMPTS:
                self.figures.attempts = 0
                why = (
                    f"board and process did not agree in {ATTEMPTS} attempts "
                    f"({self.figures.late} inputs came late); longer delays, a faster baud, --lag would help"
                )
                if self.figures.hand_overs:
                    self._lose(why, now)
                else:
                    self._give_up(why, now)
            elif self.stage is not Stage.CEDING:
                if self.lag_s is None and not spikes:
                    self._lag_s = min(self._lag_s + LAG_MORE_S, LAG_MOST_S)
                self._ask_state(now)

    def _mend(self, now: float) -> None:
        """Copy the board's state to its shadow."""
        if self._mending or self._weighing or self.lent is None:
            return
        self._mending = True
        self._read_board(now)

    def _read_board(self, now: float) -> None:
        assert self.lent is not None
        chip = self.lent.chip
        self.session.read(chip.state_at, chip.size - chip.state_at, now)

    def _read(self, data: bytes) -> None:
        if self.lent is None or self._state is None or self.stage is not Stage.OWNING:
            self._mending = self._weighing = False
            return
        state = self.lent.chip.unpack(data, self._state.weight)
        if self._weighing:
            self._on_scales = state
            self._control(lease.AskWeights(self._claim, state.tick))
            return
        if state.waiting:
            # Inputs of the next update stand in it already: the shadow would feel them twice. Once more.
            self._mending = False
            self._ask_at = 0.0
            return
        self.figures.mended += 1
        self._mended_to = state.tick
        columns = (column.tobytes() for column in (state.rows, state.weight, state.marks))
        self._control(lease.Resync(self._claim, state.tick, *columns))

    def _fired(self, tick: int) -> None:
        self.figures.spikes += self.stage is Stage.OWNING and self.world.wall
        if not self.world.wall:
            self._done_keys.append(tick)
        elif self.stage is Stage.OWNING:
            self._publish([tick])
        elif self.stage is Stage.CEDING:
            self._held.append(tick)
        else:
            self._board_spikes.append(tick)

    def _publish(self, ticks: list[int]) -> None:
        assert self.lent is not None and self._from_step is not None
        ticks = [tick for tick in ticks if tick > self._from_step]
        if not ticks:
            return
        dt = self.world.dt_ns
        spikes = Spikes(self.neuron, self.lent.epoch, self._seq, [tick * dt for tick in ticks])
        self.world.bus(wire.encode(spikes))
        self._seq += len(ticks)

    def _pressed(self, tick: int, weight: int) -> None:
        """The button: the shadow, and whoever records, hears of it as of a stimulus. Under the virtual clock
        so does the board: the conductor says in which update it acts, and it comes with a duty."""
        if self.lent is None or self.stage not in (Stage.OWNING, Stage.CEDING, Stage.BESIDE):
            return
        self.figures.pokes += 1
        felt = weight * self.lent.chip.unit
        t_ns = tick * self.world.dt_ns if self.world.wall else -1
        self.world.bus(wire.encode(Stimulus(self.neuron, t_ns, felt, self._origin)))

    def palette(self, colours: led.Palette, now: float) -> None:
        """Colours of the strip; a board that comes back gets them again."""
        self._palette = colours
        self.session.palette(colours, now)

    @property
    def _origin(self) -> str:
        return f"board-{self.serial:08X}" if self.serial else "board"

    def _lights(self, lights: link_session.Lights, now: float) -> None:
        if self.hello is None:
            return
        t_ns = max(0, int((now - self.world.t0_s()) * 1e9)) if self.world.wall else self._strip_at_ns
        palette = lights.palette or led.STRIP
        colours = led.strip(lights.level, lights.flash, lights.blink, self.hello.leds, palette)
        self.world.bus(
            wire.encode(Led(self.neuron, t_ns, bytes(part for colour in colours for part in colour)))
        )

    # -- from the bus -----------------------------------------------------------------------------------

    def spikes(self, event: Spikes, now: float) -> None:
        """A batch of a stream that somebody here listens to, under the wall clock."""
        if event.stream == self.neuron:
            if self.lent is not None and event.epoch < self.lent.epoch:
                self._owner_spikes += [t // self.world.dt_ns for t in event.t_ns]
            return
        lent = self.lent
        if lent is None or event.stream not in lent.heard:
            return
        known = self.ledger.accept(event.stream, event.epoch, event.seq, len(event.t_ns), event.last)
        if known < 0 or known >= len(event.t_ns):
            return
        if event.neurons is None:
            source = self.world.streams[event.stream]
            rows = [(t // self.world.dt_ns, source) for t in event.t_ns[known:]]
        else:
            rows = [
                (int(t) // self.world.dt_ns, int(i))
                for t, i in zip(event.t_ns[known:], event.neurons[known:], strict=True)
            ]
        if self._marked and self.stage is Stage.COPYING and self._state is None:
            self._since.append(("spikes", rows))
        elif self._state is not None:
            self._feel(rows)
            self.session.release(now)

    def _feel(self, rows: list[tuple[int, int]]) -> None:
        """Spikes (stamp, source): every synapse of theirs, each with the update in which it acts."""
        assert self.lent is not None
        lent, at = self.lent, self._state.tick if self._state else 0
        for stamp, source in rows:
            for acts_after, synapse in lent.synapses.get(source, ()):
                if stamp + acts_after >= at:
                    self.figures.inputs += 1
                    self.session.input(stamp + acts_after, synapse)

    def stimulus(self, event: Stimulus) -> None:
        """A poke of this neuron. The board knows of its own button; under the virtual clock it is duties that
        bring pokes."""
        if event.origin == self._origin or self.lent is None or not self.world.wall:
            return
        tick = event.t_ns // self.world.dt_ns
        if self._marked and self.stage is Stage.COPYING and self._state is None:
            self._since.append(("poke", tick, event.weight))
        elif self._state is not None:
            self.session.kick(max(tick, self._state.tick), self.lent.chip.kick(event.weight))

    def control(self, message: ControlMessage) -> None:
        """A control to this neuron: our own come back to us, and mark a place in the order of all frames."""
        match message:
            case lease.AskState(claim) if claim == self._claim:
                self._marked, self._since, self._state = True, [], None
            case lease.Cede(claim) if claim == self._claim and not self.world.wall:
                self._cede_marked = True

    def report(self, message: ReportMessage, now: float) -> None:
        """A word from this neuron's process."""
        if isinstance(message, verbs.Ready):
            if self.stage not in (Stage.IDENTIFYING, Stage.AWAY, Stage.OVER):
                self._lose("the process was restarted", now)
            return
        if getattr(message, "claim", None) != self._claim:
            return
        match message:
            case lease.Granted() if self.stage is Stage.LENDING:
                self._on_lent(message, now)
            case lease.StateCopy(step=int(tick)) if self.stage is Stage.COPYING and self._marked:
                self._on_state(message, tick, now)
            case lease.StateCopy() if self.stage is Stage.COPYING:
                self._ask_at = now + ASK_AGAIN_S
            case lease.Ceded() if self.stage is Stage.CEDING:
                self._on_ceded(message, now)
            case lease.Refused():
                if self.stage is Stage.RETURNING:
                    self._over(self.why)
                elif self.stage is not Stage.AWAY:
                    self._give_up(self._refusal(message), now, told=False)
            case lease.Disagreed() if self.stage is Stage.OWNING:
                alone = [*message.shadow, *message.board]
                if max(alone, default=0) > self._mended_to:
                    self._disturbed(now, len(alone))
                else:
                    self.figures.disagreements += len(alone)
            case lease.Resynced():
                self._mending = False
            case lease.ShadowWeights() if self._weighing:
                self._compare_weights(message)
                self._go_on(now)
            case lease.ShadowAnswer():
                self._shadow[message.number] = message
                self._maybe_answer(now)
            case lease.Owner():
                self._returned(message.why, now)

    def _refusal(self, refused: lease.Refused) -> str:
        """Why there is no lease, and what to flash where another chip could be this neuron."""
        model, why = refused.model, refused.why
        needed = chip_for(model)
        if self.hello is None or needed is None or needed.kind == self.hello.chip:
            return why
        return (
            f"'{self.neuron}' is a {model}, which the chip '{needed.kind}' can be; this board runs "
            f"'{self.hello.chip}': make firmware CHIP={needed.kind} && "
            f"{REFLASH} --chip {needed.kind}"
        )

    def _on_lent(self, leased: lease.Granted, now: float) -> None:
        try:
            lent = self._read_lent(leased)
        except (KeyError, TypeError, ValueError) as error:
            self._give_up(str(error), now)
            return
        assert self.hello is not None
        if (word := lent.chip.fits(self.hello.room, self.hello.synapses)) is not None:
            self._give_up(f"'{self.neuron}' has {word}", now)
            return
        self.lent, self.session.gather = lent, lent.chip.kicks
        self._lag_s = _usual_lag_s(lent.min_delay * self.world.dt_ns) if self.lag_s is None else self.lag_s
        claim = self._claim
        streams = [*lent.heard, self.neuron] if self.world.wall else []
        self.world.listen(streams, lambda: self._listening(claim))

    def _listening(self, claim: str) -> None:
        """Every subscription is in force: what is asked from now on comes with all that follows it."""
        if self._claim == claim and self.stage is Stage.LENDING:
            self.stage, self._ask_at = Stage.COPYING, 0.0

    def _read_lent(self, leased: lease.Granted) -> Lent:
        model = load(leased.model)
        assert issubclass(model, Model) and self.hello is not None
        params = {name: np.array([value]) for name, value in leased.params.items()}
        constants = model.prepare(params, leased.dt_ns / 1e6)
        columns = (leased.source, leased.delay, leased.receptor)
        source, delay, receptor = (np.frombuffer(column, np.int64) for column in columns)
        chip = CHIPS[self.hello.chip](constants, receptor)
        synapses: dict[int, list[tuple[int, int]]] = {}
        for pre, steps, number in zip(source.tolist(), delay.tolist(), chip.number.tolist(), strict=True):
            synapses.setdefault(pre, []).append((steps - 1, number))
        return Lent(synapses, chip, leased.index, leased.heard,
                    leased.min_delay, leased.epoch, leased.errors)  # fmt: skip

    def _on_state(self, told: lease.StateCopy, tick: int, now: float) -> None:
        """The neuron at t0. What came since our own question waits in `_since`, or in the duties."""
        assert self.lent is not None
        n = self.lent.chip.n
        rows = np.frombuffer(told.state, np.float64)
        state = State(tick, rows, np.frombuffer(told.weight, np.float64),
                      np.frombuffer(told.synapses, np.float64)[:n])  # fmt: skip
        self.lent.errors.update(told.errors)
        try:
            image = self.lent.chip.pack(state)
        except (KeyError, ValueError) as error:
            self._give_up(f"the chip cannot hold this state: {error}", now)
            return
        self._state = state
        self.session.load(image, link.CHIP[self.lent.chip.kind], now)
        keys = np.frombuffer(told.keys, np.int64)
        self._feel([(key >> STEP_BITS, key & 0xFFFFFFFF) for key in keys.tolist()])
        for update, _, weight in told.pokes:
            self.session.kick(update, self.lent.chip.kick(weight))
        since, self._since = self._since, []
        for what, *rest in since:
            if what == "spikes":
                self._feel(rest[0])
            else:
                self.session.kick(max(rest[0], tick), self.lent.chip.kick(rest[1]))
        self._owner_spikes = []

    def _on_ceded(self, ceded: lease.Ceded, now: float) -> None:
        self._from_step = ceded.step
        self.stage, self._return_by = Stage.OWNING, None
        self.figures.hand_overs += 1
        self.figures.attempts = 0
        self.figures.gap_ms = 0.0
        if self.world.wall:
            held, self._held = self._held, []
            self._publish(held)
            first = next((tick for tick in held if tick > self._from_step), None)
            if first is not None:
                waited = now - self.world.t0_s() - first * self.world.dt_ns * 1e-9
                self.figures.gap_ms = round(max(waited - self._lag_s, 0.0) * 1000, 3)
        worst = ", ".join(f"{name} by {error:.2g}" for name, error in sorted(self.lent.errors.items())) if (
            self.lent) else ""  # fmt: skip
        self.world.word(self, f"{self.board} is {self.neuron} from step {self._from_step} on"
                        + (f"; quantisation: {worst}" if worst else ""))  # fmt: skip

    # -- under the virtual clock --------------------------------------------------------------------

    def duty(self, row: wire.Duty, now: float) -> None:
        """A duty of the conductor to our neuron's process. The last element tells whether it is ours."""
        if not self._marked or self.stage in (Stage.AWAY, Stage.OVER, Stage.LENDING):
            return
        if row.order is wire.Order.CATCH_UP:
            return
        self._duties.append([*row, self._cede_marked])
        self._next_duty(now)

    def _next_duty(self, now: float) -> None:
        if self._doing is not None or not self._duties or self._state is None or self.lent is None:
            return
        if self.session.stage is not link_session.Stage.STEPPED:
            return
        self._doing = duty = self._duties.popleft()
        _, horizon, keys, _, _, stimuli, _, _ = duty
        self._feel([(key >> STEP_BITS, key & 0xFFFFFFFF) for key in np.frombuffer(keys, np.int64).tolist()])
        for step, _, weight in stimuli or ():
            self.session.kick(max(int(step), self._state.tick), self.lent.chip.kick(float(weight)))
        self._done_keys = []
        self._strip_at_ns = horizon * self.world.dt_ns
        self.session.go(horizon, now)

    def _duty_done(self, now: float) -> None:
        if self._doing is None:
            return
        if self._doing[7]:
            self._doing.append(True)
            self._maybe_answer(now)
            return
        # Not ours: the process answers, and what it fired is heard as anybody hears it.
        self._board_spikes += self._done_keys
        number, self._doing = self._doing[0], None
        self._control(lease.Acknowledge(self._claim, number))
        self._shadow.pop(number, None)
        self._duties_agreed += 1
        if self.stage is Stage.CATCHING_UP and not self._duties:
            self.stage = Stage.BESIDE
            self._duties_agreed = 0
            if self.figures.catch_up_ms is None:
                self.figures.catch_up_ms = round((now - self._begun_s) * 1000, 1)
        if self.stage is Stage.BESIDE and not self._duties and self._duties_agreed >= BESIDE_DUTIES:
            self._cede(now)
        self._next_duty(now)

    def _maybe_answer(self, now: float) -> None:
        """Board and shadow have both done the duty under way: answer it."""
        doing = self._doing
        if doing is None or len(doing) < 9 or self.lent is None:
            return
        number = doing[0]
        shadow = self._shadow.get(number)
        if shadow is None or self._weighing:
            return
        if (doing[6] is wire.Order.STOP or self._leaving is not None) and not (
            self._weighed or self._mending
        ):
            # Both stand at the end of this duty, and get no other before it is answered.
            self._weigh(now)
            return
        del self._shadow[number]
        index = self.lent.index
        keys = np.array([tick << STEP_BITS | index for tick in self._done_keys], np.int64).tobytes()
        next_step = shadow.next_step
        if keys != shadow.keys:
            alone = np.setxor1d(np.frombuffer(keys, np.int64), np.frombuffer(shadow.keys, np.int64))
            next_step = min(next_step, doing[1] + 1)
            self._disturbed(now, len(alone))
        sample_keys = shadow.sample_keys
        firsts = [int(np.frombuffer(k, np.int64)[0]) >> STEP_BITS for k in (keys, sample_keys) if k]
        answer = wire.Answer(number, self.lent.epoch, next_step, min(firsts, default=-1), self._seq, keys,
                             self._sample_seq, sample_keys, shadow.sample_mv)  # fmt: skip
        self._seq += len(self._done_keys)
        self._sample_seq += len(sample_keys) // 8
        self.figures.spikes += len(self._done_keys)
        if doing[6] is wire.Order.STOP:
            self.world.last(self)
        self.world.bus(wire.frame(wire.topic(wire.ANSWER, self.neuron), tuple(answer)))
        self._doing = None
        if self._leaving is not None and self.stage is Stage.OWNING:
            self._release(now)
            return
        self._next_duty(now)

    # -- endings ------------------------------------------------------------------------------------

    def _lose(self, why: str, now: float, told: bool = True) -> None:
        """The board is gone, or not what it was. If it owned the neuron, the process owns it now."""
        if self.stage in (Stage.AWAY, Stage.OVER):
            return
        if self.stage is Stage.RETURNING:
            self._after_return = Stage.AWAY if self._after_return is not Stage.OVER else Stage.OVER
            return
        owned = self.stage in (Stage.OWNING, Stage.CEDING)
        self.why = why
        self.figures.losses += owned
        if told and self.stage is not Stage.IDENTIFYING:
            self._control(lease.Release(self._claim, self.horizon or 0, why))
        self.stage, self._state, self._marked = Stage.AWAY, None, False
        if self._leaving is not None:
            self._over(why)
        else:
            self.world.lost(self, why)

    def unplugged(self, why: str, now: float) -> None:
        """The port is gone."""
        self.figures.unplugged += 1
        if self.figures.hand_overs:
            self._lose(f"unplugged: {why}", now)
        elif self.stage is not Stage.OVER:
            self._give_up(f"unplugged before it owned the neuron: {why}", now)

    def detach(self, now: float, why: str = "detached") -> None:
        """Give the neuron back in peace."""
        if self.stage in (Stage.AWAY, Stage.IDENTIFYING, Stage.OVER):
            self._over(why)
            return
        if self._leaving is not None or self.stage is Stage.RETURNING:
            return
        self._leaving = why
        if self.stage is not Stage.OWNING or self._mending:
            self._release(now)
        elif self.world.wall:
            self._weigh(now)
        else:
            self._return_by = now + RETURN_S
            self._maybe_answer(now)

    def _release(self, now: float) -> None:
        assert self._leaving is not None
        self.why, self._after_return = self._leaving, Stage.OVER
        f, horizon = self.figures, self.horizon or 0
        self.stage, self._return_by = Stage.RETURNING, now + RETURN_S
        self._control(lease.Release(self._claim, horizon, self.why, f.weighed, f.weights_off))

    # Spikes tell nothing of a weight that no sample has asked for since it was learnt.

    def _weigh(self, now: float) -> None:
        """Compare the board's weights with its shadow's: read them, ask for its, then `_go_on`."""
        self._weighing = self._weighed = True
        self._on_scales, self._return_by = None, now + RETURN_S
        self._read_board(now)

    def _compare_weights(self, told: lease.ShadowWeights) -> None:
        mine, lent = self._on_scales, self.lent
        if mine is None or lent is None:
            return
        theirs = np.frombuffer(told.weight, np.float64)
        off = int(np.count_nonzero(lent.chip.whole(mine.weight) != lent.chip.whole(theirs)))
        if off and (told.step != mine.tick or mine.waiting):
            return  # by the wall clock the shadow may have learnt on already: that tells nothing
        self.figures.weighed += len(lent.chip.whole(theirs))
        self.figures.weights_off += off
        if off:
            self.world.word(self, f"{self.neuron}: {off} weights of {self.board} are not its shadow's")

    def _go_on(self, now: float) -> None:
        """The weights have been compared, or could not be."""
        self._weighing, self._return_by = False, None
        if self._doing is not None and not self.world.wall:
            self._maybe_answer(now)
        elif self._leaving is not None:
            self._release(now)

    def _returned(self, why: str, now: float) -> None:
        """The process owns its neuron."""
        if self.stage is Stage.RETURNING:
            if self.session.stage is link_session.Stage.RUNNING:
                self.session.stop(now)
            self._over(self.why)
        elif self.stage is not Stage.AWAY:
            # It took the neuron back by itself: it had not heard us for too long.
            self._lose(why, now, told=False)

    def _give_up(self, why: str, now: float, told: bool = True) -> None:
        if told:
            self._control(lease.Release(self._claim, self.horizon or 0, why))
        self._over(why)

    def _over(self, why: str) -> None:
        self.stage, self.why = Stage.OVER, why
        self.world.over(self, why)

    # -- time -----------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due."""
        for event in self.session.tick(now):
            self._event(event, now)
        if now >= self._tell_at and self.stage is Stage.OWNING:
            self._tell_at = now + TELL_S
            self.session.send(link.TELL, now)
        if self._ask_at is not None and now >= self._ask_at:
            self._ask_at = None
            if self.stage is Stage.COPYING:
                self._ask_state(now)
            elif self.stage is Stage.OWNING:
                self._mend(now)
        if self._return_by is not None and now >= self._return_by:
            self._return_by = None
            if self.stage is Stage.OWNING and self._weighing:
                self._go_on(now)
            elif self.stage is Stage.OWNING and self._leaving is not None:
                self._weigh(now)  # no duty has come that could have been waited for
            elif self.stage is Stage.RETURNING:
                self._over(self.why)
            elif self.stage in (Stage.LENDING, Stage.CEDING) or (
                self.stage is Stage.COPYING and self._state is None
            ):
                self._give_up(f"the process of '{self.neuron}' does not answer", now)

    def next_s(self) -> float:
        """When `tick` is to be called next."""
        first = self.session.next_s()
        for time in (self._ask_at, self._return_by, self._tell_at if self.stage is Stage.OWNING else None):
            if time is not None and time < first:
                first = time
        return first

    @property
    def horizon(self) -> int | None:
        """Up to here all that the board did has been published, as beats say. None: it owns nothing."""
        return self._told if self.stage is Stage.OWNING else None

    def link_figures(self) -> dict[str, Any]:
        """The link as it is now."""
        counts, sync = self.session.transport.counts, self.session.sync
        trip = sync.trip_s
        return {
            "round_trip_ms": None if trip is None else round(trip * 1000, 3),
            "drift_ppm": round(sync.drift_ppm, 1) if sync.ready else None,
            "lag_ms": round(self._lag_s * 1000, 3),
            "credit": self.session.transport.credit, "free": self.session.transport.spare,
            "bad": counts.bad, "gaps": counts.gaps, "resent": counts.resent, "asked": counts.asked,
        }  # fmt: skip


def _usual_lag_s(min_delay_ns: int) -> float:
    """Half of what the smallest delay leaves beyond 2 ms for the bus and the line, at most 5 ms. What listens
    can be late by its grace and still be exact; a board cannot."""
    return min(max(min_delay_ns * 1e-9 - 0.002, 0.0) / 2, 0.005)


def refuse(neuron: str, ids: list[str], n_neurons: int, streams: list[str]) -> None:
    """Raise InputError for a neuron that no board can be, as far as a manifest tells."""
    if neuron not in ids:
        raise InputError(f"no neuron '{neuron}' in this cluster")
    index = ids.index(neuron)
    if index >= n_neurons:
        raise InputError(f"'{neuron}' is a source; a board runs a neuron")
    if streams[index] != neuron:
        raise InputError(
            f"'{neuron}' shares a process with others; a board is one neuron: run.neurons_per_process = 1"
        )
