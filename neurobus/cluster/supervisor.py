"""What a launcher decides: who is alive, when a run begins, what a death means, when all is over. Pure.

Events and the time go in; what is to be done comes back, in order. The phases of a run:

    BUILDING   the fork server builds the network
    BINDING    the hub, or the conductor, opens the bus
    JOINING    each process says it is ready once it hears itself through the bus, with all its subscriptions
               in force. Nobody starts before everybody is ready, so no first spike is missed
    STARTING   all are ready, and whoever wants to watch joins
    RUNNING    from one broadcast (the wall clock's model time 0, or the word to begin) until every process
               has reported, which it does once it has heard the end of all streams it listens to
    SAVING     the last snapshot, under the wall clock
    PARTING    the observers of the run report
    BRIDGE     so does the bridge, where there is one
    OVER
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, auto

from neurobus.bounds import LAST_STEP, last_step
from neurobus.cluster import guests, reports
from neurobus.cluster.folder import Built, Manifest
from neurobus.cluster.instructions import (
    Command,
    Do,
    Instruction,
    KeepSnapshot,
    MeasureMemory,
    Say,
    Send,
    TellReady,
)
from neurobus.cluster.members import BRIDGE, Kind, Member, Members
from neurobus.cluster.options import Options, program_name, refuse_pace
from neurobus.cluster.policy import RestartPolicy
from neurobus.cluster.resume import Snapshots
from neurobus.cluster.summary import Summary, resume_hint, sum_up
from neurobus.errors import InputError, NeurobusError, RunError
from neurobus.wire import bus as wire
from neurobus.wire import lease, verbs
from neurobus.wire.message import Report, ReportMessage, fields
from neurobus.wire.reasons import Reason

NAME, CONDUCTOR, HUB = "launcher", "conductor", "hub"
START_LEAD_NS = STOP_LEAD_NS = 20_000_000
"""Under the wall clock a start, a stop and a snapshot are agreed on for this much later, so that all hear of
it in time."""
READY_NS = 60_000_000_000
"""So long the bus may take to come up, and the next process to be ready."""
FINAL_NS, BRIDGE_NS = 10_000_000_000, 1_000_000_000
"""So long reports are waited for after the first one; and those of the bridge."""
PSS_SAMPLE = 64
LOOK_NS = 500_000_000


class Phase(IntEnum):
    BUILDING = auto()
    BINDING = auto()
    JOINING = auto()
    STARTING = auto()
    RUNNING = auto()
    SAVING = auto()
    PARTING = auto()
    BRIDGE = auto()
    OVER = auto()


HasSnapshot = Callable[[str, int], bool]


@dataclass
class Ending:
    """When a run is over at the latest, whoever is silent. Times of the monotonic clock.

    `stop_step`: None where the run has no end. `stopped_ns`: a stop was asked; `heard_ns`: the last that was
    heard of anybody; `first_ns`: the first final report.
    """

    wall: bool
    dt_ns: int
    stop_step: int | None
    t0_ns: int = 0
    stopped_ns: int | None = None
    heard_ns: int = 0
    first_ns: int | None = None

    @property
    def over_ns(self) -> float:
        """Under the virtual clock nobody knows before a first report; but once a stop was asked, silence is
        no answer."""
        if self.first_ns is not None:
            return self.first_ns + FINAL_NS
        if self.stopped_ns is not None:
            return max(self.stopped_ns, self.heard_ns) + FINAL_NS
        if self.wall and self.stop_step is not None:
            return self.t0_ns + self.stop_step * self.dt_ns + FINAL_NS
        return math.inf

    def step_soon(self, now_ns: int) -> int:
        """The step to agree on now under the wall clock."""
        return max((now_ns - self.t0_ns + STOP_LEAD_NS) // self.dt_ns, 1)


class Supervisor:
    """Of one run. `for_ns`: model time to run, None: until stopped, or the config's duration. `resume_with`:
    the command that goes on from its state folder. `has_snapshot`: whether a process has written its state at
    a step."""

    def __init__(self, options: Options, for_ns: int | None = None, pace: float | None = None,
                 resume_with: str = "", has_snapshot: HasSnapshot = lambda *_: False):  # fmt: skip
        self._options, self._for_ns, self._pace, self._resume_with = options, for_ns, pace, resume_with
        self._has_snapshot = has_snapshot
        self.phase = Phase.BUILDING
        self.failure: NeurobusError | None = None
        self.summary = Summary()
        self.manifest: Manifest
        self.ending: Ending
        programs = [program_name(*program) for program in options.programs]
        self.members = Members({name: Member(Kind.PROGRAM) for name in programs})
        self._snapshots = Snapshots(0)
        self._policy = RestartPolicy(0)
        self._conductor: verbs.ConductorFinal | None = None
        self._notes = reports.Notebook()
        self._malformed = 0
        self._errors: dict[str, str] = {}
        self._restarts: dict[str, int] = {}
        self._reborn = False
        self._n_ready, self._give_up_ns = -1, math.inf
        self._snapshot_ns = math.inf
        self._out: list[Instruction] = []

    # -- events -----------------------------------------------------------------------------------

    def built(self, built: Built, now_ns: int) -> list[Instruction]:
        """The fork server has built the network."""
        self.manifest = manifest = built.manifest
        self._built = built
        for line in built.told:
            self._do(Say(line))
        try:
            self.ending = Ending(manifest.clock == "wall", manifest.dt_ns, self._stop_step())
            refuse_pace(self._pace, manifest.clock)
        except InputError as error:
            self.failure = error
        epoch = 1 if self._options.resume else 0
        streams = sorted(set(manifest.streams) - set(manifest.external))
        self.members = Members({name: Member(Kind.PROCESS, epoch) for name in streams} | self.members)
        self._snapshots, self._policy = Snapshots(len(streams)), RestartPolicy(built.restarts)
        self.phase, self._give_up_ns = Phase.BINDING, now_ns + READY_NS
        return self._done()

    def bound(self, now_ns: int) -> list[Instruction]:
        """The bus is there; also after its hub was restarted."""
        if self.phase is Phase.BINDING:
            self.phase, self._give_up_ns = Phase.JOINING, now_ns + READY_NS
            self._do(Do.JOIN_BUS, Command("fork", 1 if self._options.resume else 0))
        return self._done()

    def failed(self, name: str, error: str) -> None:
        """A process says why it will end."""
        self._errors[name] = error

    def exited(self, name: str, code: int, now_ns: int) -> list[Instruction]:
        """A process has ended."""
        self._died(name, code, now_ns)
        return self._done()

    def report(self, event: Report, now_ns: int) -> list[Instruction]:
        """What somebody says on the bus. What nobody of this run would say is dropped and counted."""
        self.ending.heard_ns = now_ns
        try:
            self._hear(event.origin, event.message, now_ns)
        except wire.Malformed:
            self._malformed += 1
        return self._done()

    def malformed(self, now_ns: int) -> None:
        """A frame that is none."""
        self.ending.heard_ns = now_ns
        self._malformed += 1

    def troubled(self, what: str) -> list[Instruction]:
        """The launcher itself has trouble that ends nothing."""
        self._trouble(NAME, what)
        return self._done()

    def gone(self, name: str) -> list[Instruction]:
        """A neuron started by hand is no more. One that was killed says no goodbye."""
        self._see_off(name)
        return self._done()

    def kept(self, step: int) -> None:
        """The snapshot at `step` is the one to resume from."""
        self._snapshots.kept(step)

    def stop(self, now_ns: int) -> list[Instruction]:
        """Stop politely: everybody runs to one agreed step, reports, and exits."""
        self._stop(now_ns)
        return self._done()

    def kill(self) -> None:
        """Stop at once."""
        self.failure = RunError("killed")

    def _stop(self, now_ns: int) -> None:
        if self.phase < Phase.RUNNING:
            self.failure = self.failure or RunError("stopped before the start")
        elif self.ending.stopped_ns is None:
            self.ending.stopped_ns = now_ns
            if self.ending.wall:
                self._do(Send(wire.EVERYONE, verbs.Stop(step=self.ending.step_soon(now_ns))))
            else:
                self._do(Send(CONDUCTOR, verbs.Stop()))

    def tick(self, now_ns: int) -> list[Instruction]:
        """What is due. Once more at once where the phase has changed."""
        if self.failure is not None and self.phase < Phase.SAVING:
            return []
        for name in [name for name, due_ns in self._restarts.items() if due_ns <= now_ns]:
            self._restart(name)
        waiting = {Phase.BINDING: self._bind, Phase.JOINING: self._join, Phase.STARTING: self._start,
                   Phase.RUNNING: self._run, Phase.SAVING: self._save, Phase.PARTING: self._part,
                   Phase.BRIDGE: self._part_with_bridge}.get(self.phase)  # fmt: skip
        if waiting is not None:
            waiting(now_ns)
        return self._done()

    def wait_s(self, now_ns: int) -> float:
        """When to tick again at the latest."""
        due_ns = min([self._snapshot_ns, *self._restarts.values(), now_ns + LOOK_NS])
        return max(0.0, (due_ns - now_ns) * 1e-9)

    @property
    def fatal(self) -> NeurobusError | None:
        """What ends the run without a summary. What goes wrong after the run only shortens the farewell."""
        return self.failure if self.phase < Phase.SAVING else None

    # -- phases -----------------------------------------------------------------------------------

    def _bind(self, now_ns: int) -> None:
        if now_ns > self._give_up_ns:
            self.failure = RunError("the bus did not come up")

    def _join(self, now_ns: int) -> None:
        expected = [m for m in self.members.values() if m.kind is not Kind.GUEST]
        n = sum(member.ready for member in expected)
        if n != self._n_ready:
            self._n_ready, self._give_up_ns = n, now_ns + READY_NS
            self._do(TellReady(n, len(expected)))
        if n == len(expected):
            self.phase = Phase.STARTING
            self._do(Do.CALL_STARTING)
        elif now_ns > self._give_up_ns:
            missing = sorted(name for name, m in self.members.items() if not m.ready)
            self.failure = RunError(f"{len(missing)} processes did not become ready, {missing[0]} among them")

    def _start(self, now_ns: int) -> None:
        ending, begin = self.ending, self._built.begin
        ending.t0_ns = now_ns + START_LEAD_NS - begin * ending.dt_ns
        self.manifest.t0_ns, self.manifest.pace = ending.t0_ns, self._pace
        self._do(Do.WRITE_MANIFEST, Send(wire.EVERYONE, self._start_message))
        if not ending.wall:
            self._do(Send(CONDUCTOR, self._start_message))
        self._do(Do.CALL_STARTED)
        self.phase = Phase.RUNNING
        if ending.wall and self._saves:
            self._snapshot_ns = now_ns + self._built.snapshot_every_s * 1e9

    def _run(self, now_ns: int) -> None:
        finals = self.members.finals
        if self.ending.first_ns is None and (finals or self._conductor is not None):
            self.ending.first_ns = now_ns
        if now_ns >= self._snapshot_ns:
            self._ask_snapshot(now_ns)
        all_reported = len(finals) == len(self.members.processes)
        if not self.ending.wall and self._conductor is None:
            all_reported = False
        # Whoever is left is dead or deaf: they get their time, then the run ends without them.
        if all_reported or now_ns > self.ending.over_ns:
            self._end(now_ns)

    def _end(self, now_ns: int) -> None:
        """The run has ended."""
        ending, begin = self.ending, self._built.begin
        started_ns = ending.t0_ns + begin * ending.dt_ns - (0 if ending.wall else START_LEAD_NS)
        self.summary.wall_s = (now_ns - started_ns) * 1e-9
        self.summary.model_s = (self._end_step - begin) * ending.dt_ns * 1e-9
        pids = [member.pid for member in self.members.processes.values() if member.pid]
        self._do(MeasureMemory(pids[:: max(1, len(pids) // PSS_SAMPLE)]))
        self.phase, self._give_up_ns, self._snapshot_ns = Phase.SAVING, now_ns + FINAL_NS, math.inf
        if ending.wall and self._saves and self.members.finals:
            self._do(Send(wire.EVERYONE, verbs.TakeSnapshot(self._end_step)))
        else:
            self._give_up_ns = -math.inf

    def _save(self, now_ns: int) -> None:
        if self._snapshots.step == self._end_step or self._too_late(now_ns):
            end_ns = self._end_step * self.ending.dt_ns
            for name, member in self.members.programs.items():
                if not member.missed:
                    self._do(Send(name, verbs.Stop(end_ns=end_ns)))
            patience_ns = FINAL_NS if self.members.finals else BRIDGE_NS
            self.phase, self._give_up_ns = Phase.PARTING, now_ns + patience_ns

    def _part(self, now_ns: int) -> None:
        programs = self.members.programs.values()
        if all(m.missed or m.farewell is not None for m in programs) or self._too_late(now_ns):
            self.phase, self._give_up_ns = Phase.BRIDGE, now_ns + BRIDGE_NS
            if self.members.bridge_is_silent:
                self._do(Send(BRIDGE, verbs.AskFarewell()))

    def _part_with_bridge(self, now_ns: int) -> None:
        if not self.members.bridge_is_silent or self._too_late(now_ns):
            self.phase = Phase.OVER
            self.summary.restarts = self._policy.total
            self.summary.state = self._options.state if self._snapshots.step is not None else None
            begun = 1 if self._options.resume else 0
            sum_up(self.summary, self.manifest, self.members, begun, self._conductor, self._reborn,
                   self._notes.has)  # fmt: skip
            if self.summary.dropped is not None:
                self.summary.dropped += self._malformed
            self.summary.notes += self._notes.lines()

    def _too_late(self, now_ns: int) -> bool:
        return now_ns > self._give_up_ns or self.failure is not None

    # -- deaths -----------------------------------------------------------------------------------

    def _died(self, name: str, code: int, now_ns: int) -> None:
        how = self._errors.pop(name, None)
        cause = how or (f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}")
        member = self.members.get(name)
        is_program = member is not None and member.kind is Kind.PROGRAM
        if how and self.phase < Phase.RUNNING:
            of_a_neuron = member is not None and not is_program
            self.failure = InputError(f"{'neuron ' if of_a_neuron else ''}{name}: {how}")
        elif self.phase < Phase.RUNNING or name == CONDUCTOR:
            saved = self._options.state if self._snapshots.step else None
            hint = resume_hint(saved, self._resume_with, "; continue with: {}") if saved else ""
            self.failure = RunError(f"{name} died: {cause}{hint}")
        elif (member is not None and member.has_reported) or (is_program and code == 0):
            return  # its farewell has come, or is on its way
        elif member is not None and is_program:
            member.missed = True
            self._note(f"{name} died ({cause}); the run went on without it")
        elif (pause_s := self._policy.died(name)) is None:
            self.failure = RunError(
                f"{name} died ({cause}) and has used up its {self._policy.budget} restarts"
            )
        else:
            self._note(f"{name} died ({cause}) and was restarted")
            self._restarts[name] = now_ns + int(pause_s * 1e9)

    def _restart(self, name: str) -> None:
        del self._restarts[name]
        member = self.members.get(name)
        if member is not None:
            member.epoch += 1
            member.ready = False
            self._reborn = True
        self._do(Command("restart", member.epoch if member else 0, name))

    # -- reports ----------------------------------------------------------------------------------

    def _hear(self, name: str, message: ReportMessage, now_ns: int) -> None:
        member = self.members.get(name)
        ours = member is not None and member.kind is Kind.PROCESS
        match message:
            case verbs.Ready():
                self._joined(name, member or self._admit(name), message)
            case verbs.ConductorFinal() if name == CONDUCTOR and not self.ending.wall:
                self._conductor = message
            case verbs.Final() if member is not None and ours:
                member.final = message
            case verbs.Final() | verbs.Farewell() if member is not None and not ours:
                member.farewell = reports.farewell(fields(message))
                if member.kind is Kind.GUEST:
                    self._see_off(name)
            case verbs.Final() | verbs.ConductorFinal() | verbs.Farewell():
                raise wire.Malformed("a farewell of nobody")
            case verbs.Saved(step) if ours:
                self._saved(name, step)
            case lease.Ceded() | lease.Owner() if member is not None and ours:
                self._changed_hands(name, member, message)
            case verbs.Trouble(what, stop) if member is not None or name == CONDUCTOR:
                self._trouble(name, reports.line(what))
                if stop:
                    self._stop(now_ns)

    def _joined(self, name: str, member: Member, ready: verbs.Ready) -> None:
        if member.kind is Kind.PROCESS and ready.epoch != member.epoch:
            raise wire.Malformed("a process of another epoch")
        if member.kind is Kind.GUEST and ready.guest is not None:  # not so the bridge
            # A neuron started by hand is entered into the manifest, where all verbs look.
            if (why := guests.join(self.manifest, name, ready.guest)) is not None:
                self._trouble(NAME, why)
            else:
                self._do(Do.WRITE_MANIFEST)
        member.ready, member.pid = True, ready.pid
        if self.phase >= Phase.RUNNING and self.ending.wall:
            self._do(Send(name, self._start_message))

    def _admit(self, name: str) -> Member:
        """A peer that is none of the run's: the bridge, or a neuron started by hand. Raises Malformed."""
        placed = {BRIDGE, *self.manifest.external}
        if name not in placed and len(self.members.guests.keys() - placed) >= guests.MOST:
            self._trouble(NAME, guests.TOO_MANY)
            raise wire.Malformed("more guests than a run can have")
        return self.members.setdefault(reports.named(name), Member(Kind.GUEST))

    def _see_off(self, name: str) -> None:
        if guests.leave(self.manifest, name):
            self._do(Do.WRITE_MANIFEST)

    def _saved(self, name: str, step: int) -> None:
        if not self._has_snapshot(name, step):
            raise wire.Malformed("no snapshot of it is there")
        if self._snapshots.saved(name, step):
            self._do(KeepSnapshot(step, first=self._snapshots.step is None))

    def _changed_hands(self, name: str, member: Member, changed: lease.Ceded | lease.Owner) -> None:
        """A board took a neuron, or its process took it back: when, why, and what it cost."""
        member.epoch = max(member.epoch, reports.epoch(changed.epoch))
        if isinstance(changed, lease.Ceded):
            note = reports.taken(changed, self.ending.dt_ns)
        elif changed.owned and Reason.of(changed.why) is not Reason.RUN_ENDED:
            note = reports.returned(changed, self.ending.dt_ns)
        else:
            return
        if self._notes.one_more():
            self._note(f"{name} {note}")

    # -- helpers ----------------------------------------------------------------------------------

    def _stop_step(self) -> int | None:
        """A run without an end has the longest one, which the conductor sees by itself. Raises InputError."""
        begin, dt_ns, wall = self._built.begin, self.manifest.dt_ns, self.manifest.clock == "wall"
        duration_ns = self._built.duration_ns if self._for_ns is None else self._for_ns
        if duration_ns is None:
            hours = (LAST_STEP - begin) * dt_ns / 3.6e12
            at_most = f", for {hours:.3g} h at most" if hours < 24 else ""
            self._do(Say(f"no duration given: runs until Ctrl-C{at_most}"))
            return LAST_STEP if wall else None
        try:
            return last_step(begin, duration_ns, dt_ns)
        except ValueError as error:
            raise InputError(f"{'duration' if self._for_ns is None else '--for'}: {error}") from error

    def _ask_snapshot(self, now_ns: int) -> None:
        """Under the wall clock: agree on a step a little ahead, so that all save the same one."""
        step, last = self.ending.step_soon(now_ns), self.ending.stop_step
        if self.members.finals or self.ending.stopped_ns is not None or (last is not None and step > last):
            self._snapshot_ns = math.inf  # that of the end is still to come; nobody goes beyond it
            return
        self._snapshot_ns += self._built.snapshot_every_s * 1e9
        self._do(Send(wire.EVERYONE, verbs.TakeSnapshot(step)))

    def _trouble(self, name: str, what: str) -> None:
        """Somebody has trouble that ends nothing: a word when it begins, and a note at the end."""
        if self._notes.trouble(name, what):
            self._do(Say(f"{name}: {what}"))

    def _note(self, line: str) -> None:
        self.summary.notes.append(line)
        self._do(Say(line))

    @property
    def _saves(self) -> bool:
        return self._options.snapshots and bool(self._built.snapshot_every_s)

    @property
    def _start_message(self) -> verbs.Start:
        return verbs.Start(self.ending.t0_ns, self.ending.stop_step, self._pace)

    @property
    def _end_step(self) -> int:
        """How far the run went."""
        if self._conductor is not None:
            return self._conductor.step
        return max((final.step for final in self.members.finals.values()), default=self._built.begin)

    def _do(self, *instructions: Instruction) -> None:
        self._out += instructions

    def _done(self) -> list[Instruction]:
        out, self._out = self._out, []
        return out
