"""The launcher: asks the fork server for a run, sees to the start barrier, restarts the dead, sums up.

barrier  every process says it is ready only after it has heard itself through the bus with all its
         subscriptions in force; nobody starts before everybody is ready, so no first spike is missed
start    one broadcast: the wall clock's model time 0, or the conductor's word to begin
end      every stream says it has ended, every neuron reports once it has heard all ends, then all exit
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neurobus.bounds import LAST_STEP, last_step
from neurobus.bus.peer import Endpoints, Peer
from neurobus.cluster import folder as folders
from neurobus.cluster import guests, reports, resume, spawning
from neurobus.cluster.options import Options, program_name, refuse_pace
from neurobus.cluster.pipe import Pipe
from neurobus.cluster.policy import RestartPolicy
from neurobus.cluster.summary import RESUME, Summary, busiest, of_boards, resume_hint, total
from neurobus.errors import InputError, NeurobusError, RunError
from neurobus.guard import Guard, file_of
from neurobus.node.snapshot import path_of
from neurobus.wire import bus as wire
from neurobus.wire import lease, verbs
from neurobus.wire.message import Control, ControlMessage, Report, fields
from neurobus.wire.reasons import Reason
from neurobus.words import some

NAME = "launcher"
CONDUCTOR, HUB = "conductor", "hub"
START_LEAD_NS = 20_000_000
STOP_LEAD_NS = 20_000_000
"""A stop under the wall clock is agreed on for this much later, so that all hear of it in time."""
READY_TIMEOUT_S = 60.0
FINAL_TIMEOUT_S = 10.0
BRIDGE, BRIDGE_TIMEOUT_S = "bridge", 1.0
"""Who carries boards, and how long it may take to tell of them at the end."""
PSS_SAMPLE = 64
GUESTS_EVERY_S = 1.0
"""How often it is seen whether neurons started by hand are still there."""


@dataclass
class Hooks:
    """What a user interface may want to hear of. All are called in the launcher's event loop."""

    word: Callable[[str], None] = lambda text: None
    building: Callable[[], None] = lambda: None
    ready: Callable[[int, int], None] = lambda n, of: None
    starting: Callable[[folders.Manifest], None] = lambda manifest: None
    """All are ready, and none has begun: who joins the bus now hears the first spike."""
    started: Callable[[folders.Manifest], None] = lambda manifest: None


@dataclass
class Launch:
    """One run as asked for. `for_ns`: model time to run, None: until stopped (or the config's duration).
    `resume_with`: the command that goes on from its state folder."""

    options: Options
    stem: str
    for_ns: int | None = None
    pace: float | None = None
    resume_with: str = RESUME
    hooks: Hooks = field(default_factory=Hooks)


class Launcher:
    """Runs one cluster: `summary = await Launcher(launch).run()`. `fork_server`: one already started."""

    def __init__(self, launch: Launch, fork_server: spawning.Started | None = None):
        self.launch, self._given = launch, fork_server
        self.summary = Summary()
        self.manifest: folders.Manifest
        self._finals: dict[str, verbs.Final] = {}
        self._farewells: dict[str, dict[str, Any]] = {}
        self._conductor: verbs.ConductorFinal | None = None
        self._ready: set[str] = set()
        self._pids: dict[str, int] = {}
        self._epochs: dict[str, int] = {}
        self._programs = [program_name(*program) for program in launch.options.programs]
        self._dead_programs: set[str] = set()
        self._guests: set[str] = set()
        self._seeing_off = False
        self._malformed = 0
        self._failure: NeurobusError | None = None
        self._changed = asyncio.Event()
        self._stopping = False
        self._stopped_at = self._heard_at = self._first_final = 0.0
        self._exiting = False
        self._guard = Guard(self._passed_over, file_of(folders.state_dir(), NAME))
        self._troubles: dict[str, list[str]] = {}
        self._untold = self._hands = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._reborn = False
        self._last_error: dict[str, str] = {}

    # -- the run ----------------------------------------------------------------------------------

    async def run(self) -> Summary:
        """From nothing to the summary. Raises InputError or RunError; leaves nothing behind either way."""
        begun = self._given.begun if self._given else time.monotonic()
        self.folder = folders.create(self.launch.stem)
        self._pipe: Pipe | None = None
        self._peer: Peer | None = None
        try:
            self._prepare_state()
            self.launch.options.write(self.folder)
            await self._start_fork_server()
            await self._barrier()
            self.summary.ready_s = time.monotonic() - begun
            await self._conduct()
        finally:
            await self._clean_up()
        return self.summary

    def _prepare_state(self) -> None:
        options = self.launch.options
        if options.snapshots and options.state is None:
            options.state, options.state_by_name = str(folders.state_dir() / self.folder.name), True

    async def _start_fork_server(self) -> None:
        pipe = Pipe((self._given or spawning.fork_server()).process)
        await pipe.open()
        self._pipe = pipe
        self._tell(folder=str(self.folder))
        self._reader = asyncio.create_task(self._read_news())
        self.launch.hooks.building()
        await self._until(lambda: hasattr(self, "built"), None)
        refuse_pace(self.launch.pace, self.manifest.clock)
        await self._until(lambda: hasattr(self, "_bound"), READY_TIMEOUT_S, "the bus did not come up")

    async def _barrier(self) -> None:
        self._peer = Peer(Endpoints(**self.built["endpoints"]))
        self._peer.subscribe(wire.REPORT + b"/")
        self._peer.join(NAME)
        loop = asyncio.get_running_loop()
        self._guard.watch(loop, self._read_bus)
        loop.add_reader(self._peer.fd, self._read_bus)
        self._read_bus()
        self._streams = sorted({s for s in self.built["streams"]} - set(self.built["external"]))
        self._snapshots = resume.Snapshots(len(self._streams))
        everyone = len(self._streams) + len(self._programs)
        epoch = 1 if self.launch.options.resume else 0
        self._epochs = dict.fromkeys(self._streams, epoch)
        self._tell(do="fork", epoch=epoch)
        last, since = -1, time.monotonic()
        while len(self._ready) < everyone:
            await self._wait(0.1)
            if len(self._ready) != last:
                last, since = len(self._ready), time.monotonic()
                self.launch.hooks.ready(last, everyone)
            if time.monotonic() - since > READY_TIMEOUT_S:
                missing = sorted({*self._streams, *self._programs} - self._ready)
                raise RunError(f"{len(missing)} processes did not become ready, {missing[0]} among them")

    async def _conduct(self) -> None:
        built, launch = self.built, self.launch
        launch.hooks.starting(self.manifest)
        begin = built["resume_step"]
        dt_ns = built["dt_ns"]
        self._wall = built["clock"] == "wall"
        self.policy = RestartPolicy(built["restarts"])
        self._t0_ns = time.monotonic_ns() + START_LEAD_NS - begin * dt_ns
        started = time.monotonic() + (START_LEAD_NS * 1e-9 if self._wall else 0.0)
        self.manifest.t0_ns = self._t0_ns
        self.manifest.pace = launch.pace
        self.manifest.write(self.folder)
        start = verbs.Start(self._t0_ns, self._stop_step, launch.pace)
        self._control(wire.EVERYONE, start)
        if not self._wall:
            self._control(CONDUCTOR, start)
        launch.hooks.started(self.manifest)
        every = built["snapshot_every_s"]
        if self._wall and every and launch.options.snapshots:
            self._spawn(self._ask_for_snapshots(every))
        await self._until(self._finished, None)
        self.summary.wall_s = time.monotonic() - started
        end = (
            self._conductor.step
            if self._conductor
            else max((final.step for final in self._finals.values()), default=begin)
        )
        self.summary.model_s = (end - begin) * dt_ns * 1e-9
        self._measure_memory()
        if self._wall and launch.options.snapshots and every and self._finals:
            await self._last_snapshot(end)
        for name in set(self._programs) - self._dead_programs:
            self._control(name, verbs.Stop(end_ns=end * dt_ns))
        with contextlib.suppress(RunError):
            await self._until(
                lambda: all(
                    name in self._farewells or name in self._dead_programs for name in self._programs
                ),
                FINAL_TIMEOUT_S if self._finals else BRIDGE_TIMEOUT_S,
            )
        if BRIDGE in self._guests and BRIDGE not in self._farewells:
            self._control(BRIDGE, verbs.AskFarewell())
            with contextlib.suppress(RunError):
                await self._until(lambda: BRIDGE in self._farewells, BRIDGE_TIMEOUT_S)
        self._sum_up()

    def _plan_end(self, for_ns: int | None, duration_ns: int | None, dt_ns: int) -> None:
        """`_stop_step`. A run without an end has the longest one, which the conductor sees by itself."""
        begin, duration = self.built["resume_step"], duration_ns if for_ns is None else for_ns
        if duration is None:
            self._stop_step = LAST_STEP if self.built["clock"] == "wall" else None
            hours = (LAST_STEP - begin) * dt_ns / 3.6e12
            at_most = f", for {hours:.3g} h at most" if hours < 24 else ""
            self.launch.hooks.word(f"no duration given: runs until Ctrl-C{at_most}")
            return
        try:
            self._stop_step = last_step(begin, duration, dt_ns)
        except ValueError as error:
            self._failure = InputError(f"{'duration' if for_ns is None else '--for'}: {error}")

    def _finished(self) -> bool:
        if not self._wall and self._conductor is None:
            return time.monotonic() > self._over_at()
        missing = [name for name in self._streams if name not in self._finals]
        if not missing:
            return True
        # Whoever is left is dead or deaf: they get their time, then the run ends without them.
        return time.monotonic() > self._over_at()

    def _over_at(self) -> float:
        """When all should have reported, at the latest. Under the virtual clock nobody knows before a first
        report, but once a stop was asked, silence is no answer."""
        if self._finals or self._conductor is not None:
            self._first_final = self._first_final or time.monotonic()
            return self._first_final + FINAL_TIMEOUT_S
        if self._stopping:
            return max(self._stopped_at, self._heard_at) + FINAL_TIMEOUT_S
        if self._wall and self._stop_step is not None:
            end_ns: int = self._t0_ns + self._stop_step * self.built["dt_ns"]
            return end_ns * 1e-9 + FINAL_TIMEOUT_S
        return float("inf")

    def stop(self) -> None:
        """Stop politely: everybody runs to one agreed step, reports, and exits."""
        if self._stopping or not hasattr(self, "_t0_ns"):
            self._failure = self._failure or RunError("stopped before the start")
            self._changed.set()
            return
        self._stopping, self._stopped_at = True, time.monotonic()
        if self._wall:
            step = (time.monotonic_ns() - self._t0_ns + STOP_LEAD_NS) // self.built["dt_ns"]
            self._control(wire.EVERYONE, verbs.Stop(step=max(step, 1)))
        else:
            self._control(CONDUCTOR, verbs.Stop())

    def kill(self) -> None:
        """Stop at once."""
        self._failure = RunError("killed")
        self._changed.set()

    def _sum_up(self) -> None:
        built, summary = self.built, self.summary
        summary.name, summary.config, summary.clock, summary.seed = (
            built["name"],
            built["config"],
            built["clock"],
            built["seed"],
        )
        summary.neurons, summary.processes = built["n_neurons"], len(self._streams)
        summary.restarts = self.policy.total
        total(summary, self._finals, self._streams, self._conductor, self._reborn)
        begun = 1 if self.launch.options.resume else 0  # who was a board, or died, has not counted all
        whole = {name: final for name, final in self._finals.items() if self._epochs.get(name) == begun}
        summary.busiest = busiest(whole, built["ids"], built["streams"], built["n_neurons"])
        if summary.dropped is not None:
            summary.dropped += self._malformed
        for name in self._programs:
            final = self._farewells.get(name)
            if final is not None:
                summary.observers[name] = final
                summary.record = final.get("path", summary.record)
                told = [what for what, who in self._troubles.items() if name in who]
                summary.notes += [note for note in final.get("notes", []) if note not in told]
            elif name not in self._dead_programs:
                summary.notes.append(f"{name} did not answer at the end; what it missed is not known")
        silent = sorted(self._guests - self._farewells.keys())
        if silent:
            missed = f"what {'it' if len(silent) == 1 else 'they'} missed is not known"
            summary.notes.append(f"{some(silent)} joined and never said goodbye; {missed}")
        for name in sorted(self._guests & self._farewells.keys()):
            summary.observers[name] = self._farewells[name]
        summary.notes += of_boards(summary.observers.get(BRIDGE, {}).get("boards"))
        summary.notes += [f"{some(who)}: {what}" for what, who in self._troubles.items()]
        if untold := self._untold + max(0, self._hands - reports.MOST_TOLD):
            summary.notes.append(f"{untold} more notes were not kept")
        if self._saved_step is not None and resume.resumable(Path(self.launch.options.state or "")):
            summary.state = self.launch.options.state

    # -- news from the fork server and the bus ---------------------------------------------------------

    async def _read_news(self) -> None:
        assert self._pipe is not None
        while line := await self._pipe.line():
            self._news(json.loads(line))
            self._changed.set()
        code = await self._pipe.wait()
        if not self._exiting and self._failure is None:
            self._failure = RunError(f"the fork server ended unexpectedly (exit code {code})")
        self._changed.set()

    def _news(self, news: dict[str, Any]) -> None:
        if "error" in news and "failed" not in news:
            kind = InputError if news["code"] == 2 else RunError
            self._failure = kind(news["error"])
        elif "compiling" in news:
            self.launch.hooks.word(f"compiling {news['compiling']} (only this once)")
        elif "built" in news:
            built = folders.Built.of(news["built"])
            self.manifest = built.manifest
            for word in built.told:
                self.launch.hooks.word(word)
            self.built = {**news["built"]["manifest"], **news["built"], "resume_step": built.begin}
            self._plan_end(self.launch.for_ns, self.built["duration_ns"], self.built["dt_ns"])
        elif "bound" in news:
            self._bound = news["bound"]
        elif "failed" in news:
            self._last_error[news["failed"]] = news["error"]
        elif "exit" in news and not self._exiting:
            self._died(news["exit"], news["code"])

    def _died(self, name: str, code: int) -> None:
        how = self._last_error.pop(name, None)
        cause = how or (f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}")
        started = hasattr(self, "_t0_ns")
        if not started or name == CONDUCTOR:
            saved = self.launch.options.state if self._saved_step else None
            resume = resume_hint(saved, self.launch.resume_with, "; continue with: {}") if saved else ""
            if how and not started:
                self._failure = InputError(f"{name if name in self._programs else _who(name)}: {how}")
            else:
                self._failure = RunError(f"{name} died: {cause}{resume}")
            return
        if name in self._finals or name in self._farewells or (name in self._programs and code == 0):
            return  # its farewell has come, or is on its way
        if name in self._programs:
            self._dead_programs.add(name)
            self.summary.notes.append(f"{name} died ({cause}); the run went on without it")
            self.launch.hooks.word(self.summary.notes[-1])
            return
        pause = self.policy.died(name)
        if pause is None:
            self._failure = RunError(
                f"{name} died ({cause}) and has used up its {self.policy.budget} restarts"
            )
            return
        self.summary.notes.append(f"{name} died ({cause}) and was restarted")
        self.launch.hooks.word(self.summary.notes[-1])
        self._spawn(self._restart(name, pause))

    async def _restart(self, name: str, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        epoch = self._epochs[name] = self._epochs.get(name, 0) + 1
        self._ready.discard(name)
        self._reborn |= name in self._streams
        self._tell(do="restart", name=name, epoch=epoch)

    def _read_bus(self) -> None:
        assert self._peer is not None
        for data in self._peer.frames():
            self._heard_at = time.monotonic()
            try:
                event = wire.decode(data)
                if isinstance(event, Report):
                    self._report(event)
            except wire.Malformed:
                self._malformed += 1
            except Exception as error:
                self._guard.caught(error)
        self._changed.set()

    def _passed_over(self, line: str) -> None:
        """An error of our own that has ended nothing."""
        self._troubled(NAME, f"passed over an error: {line}")

    def _troubled(self, name: str, what: str) -> None:
        """Somebody has trouble that ends nothing: a word when it begins, and a note at the end."""
        if what not in self._troubles and len(self._troubles) >= reports.MOST_TOLD:
            self._untold += 1
            return
        who = self._troubles.setdefault(what, [])
        if name in who:
            return
        who.append(name)
        if len(who) == 1:
            self.launch.hooks.word(f"{name}: {what}")

    def _report(self, event: Report) -> None:
        name, ours = event.origin, event.origin in self._epochs
        match event.message:
            case verbs.Ready() as ready:
                self._joined(name, ready)
            case verbs.ConductorFinal() as final if name == CONDUCTOR and not self._wall:
                self._conductor = final
            case verbs.Final() as final if ours:
                self._finals[name] = final
            case verbs.Final() | verbs.Farewell() as final if name in (*self._programs, *self._guests):
                self._farewells[name] = reports.farewell(fields(final))
                if name in self._guests:
                    self._see_off(name)
            case verbs.Final() | verbs.ConductorFinal() | verbs.Farewell():
                raise wire.Malformed("a farewell of nobody")
            case verbs.Saved(step) if ours:
                self._note_saved(name, step)
            case lease.Ceded() | lease.Owner() as changed if ours:
                self._changed_hands(name, changed)
            case verbs.Trouble(what, stop) if ours or name in (*self._programs, *self._guests, CONDUCTOR):
                self._troubled(name, reports.line(what))
                if stop:
                    self.stop()

    def _joined(self, name: str, ready: verbs.Ready) -> None:
        ours = name in self._epochs
        if ours and ready.epoch != self._epochs[name]:
            raise wire.Malformed("a process of another epoch")
        if not ours and name not in self._programs:
            self._admit(name)
            if ready.guest is not None:  # not so the bridge
                self._welcome(name, ready.pid, ready.guest)
        self._ready.add(name)
        self._pids[name] = ready.pid
        if hasattr(self, "_t0_ns") and self._wall:
            self._control(name, verbs.Start(self._t0_ns, self._stop_step, None))

    def _admit(self, name: str) -> None:
        """A peer that is none of the run's: the bridge, or a neuron started by hand. Raises Malformed."""
        placed = {BRIDGE, *self.built["external"]}
        if name not in self._guests | placed and len(self._guests - placed) >= guests.MOST:
            self._troubled(NAME, guests.TOO_MANY)
            raise wire.Malformed("more guests than a run can have")
        self._guests.add(reports.named(name))

    def _welcome(self, name: str, pid: int, guest: verbs.Guest) -> None:
        """A neuron started by hand is entered into the manifest, where all verbs look."""
        if (why := guests.join(self.manifest, name, guest)) is not None:
            self._troubled(NAME, why)
            return
        self._pids[name] = pid
        self.manifest.write(self.folder)
        if not self._seeing_off:
            self._seeing_off = True
            self._spawn(self._miss_guests())

    def _see_off(self, name: str) -> None:
        if guests.leave(self.manifest, name):
            self.manifest.write(self.folder)

    async def _miss_guests(self) -> None:
        """A guest that was killed says no goodbye."""
        while True:
            await asyncio.sleep(GUESTS_EVERY_S)
            for name in list(self.manifest.guests):
                if not folders.alive(self._pids[name]):
                    self._see_off(name)

    def _changed_hands(self, name: str, changed: lease.Ceded | lease.Owner) -> None:
        """A board took a neuron, or its process took it back: when, why, and what it cost."""
        self._epochs[name] = max(self._epochs[name], reports.epoch(changed.epoch))
        if isinstance(changed, lease.Ceded):
            note = f"{name} {reports.taken(changed, self.built['dt_ns'])}"
        elif changed.owned and Reason.of(changed.why) is not Reason.RUN_ENDED:
            note = f"{name} {reports.returned(changed, self.built['dt_ns'])}"
        else:
            return
        self._hands += 1
        if self._hands <= reports.MOST_TOLD:
            self.summary.notes.append(note)
            self.launch.hooks.word(note)

    # -- snapshots --------------------------------------------------------------------------------

    async def _ask_for_snapshots(self, every_s: float) -> None:
        """Under the wall clock: agree on a step a little ahead, so that all save the same one."""
        while True:
            await asyncio.sleep(every_s)
            if self._stopping or self._finals:
                return
            step = (time.monotonic_ns() - self._t0_ns + STOP_LEAD_NS) // self.built["dt_ns"]
            if self._stop_step is not None and step > self._stop_step:
                return  # that of the end is still to come; nobody goes beyond it
            self._control(wire.EVERYONE, verbs.TakeSnapshot(step))

    async def _last_snapshot(self, step: int) -> None:
        self._control(wire.EVERYONE, verbs.TakeSnapshot(step))
        with contextlib.suppress(RunError):
            await self._until(lambda: self._saved_step == step, FINAL_TIMEOUT_S)

    def _note_saved(self, name: str, step: int) -> None:
        options = self.launch.options
        if not (options.snapshots and options.state and path_of(Path(options.state), name, step).exists()):
            raise wire.Malformed("no snapshot of it is there")
        if self._snapshots.saved(name, step):
            try:
                facts = {key: self.built[key] for key in ("clock", "name", "seed")}
                resume.keep(self.launch.options, step, facts, self._snapshots.step is None)
                self._snapshots.kept(step)
            except OSError as error:
                self._troubled(NAME, f"snapshot not kept: {error.strerror}")

    @property
    def _saved_step(self) -> int | None:
        return self._snapshots.step if hasattr(self, "_snapshots") else None

    # -- helpers ----------------------------------------------------------------------------------

    def _measure_memory(self) -> None:
        pids = [self._pids[name] for name in self._streams if self._pids.get(name)]
        chosen = pids[:: max(1, len(pids) // PSS_SAMPLE)]
        sizes = [size for pid in chosen if (size := pss_kb(pid)) is not None]
        if sizes:
            self.summary.pss_mb_per_process = round(sum(sizes) / len(sizes) / 1024, 2)

    def _tell(self, **command: Any) -> None:
        assert self._pipe is not None
        self._pipe.tell(**command)

    def _control(self, to: str, message: ControlMessage) -> None:
        assert self._peer is not None
        self._peer.send(wire.encode(Control(to, message)))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._guard.caught(error)

    async def _wait(self, timeout_s: float) -> None:
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        if self._failure is not None:
            raise self._failure

    async def _until(
        self, true: Callable[[], bool], timeout_s: float | None, what: str = "timed out"
    ) -> None:
        give_up = None if timeout_s is None else time.monotonic() + timeout_s
        while not true():
            if give_up is not None and time.monotonic() > give_up:
                raise RunError(what)
            await self._wait(0.5)

    async def _clean_up(self) -> None:
        self._exiting = True
        for task in list(self._tasks):
            task.cancel()
        if self._peer is not None:
            asyncio.get_running_loop().remove_reader(self._peer.fd)
            self._control(wire.EVERYONE, verbs.Exit())
            self._control(CONDUCTOR, verbs.Exit())
            self._peer.close()
        if self._pipe is not None:
            self._tell(do="end")
            self._pipe.hang_up()  # while it builds it reads no word, but sees that
            try:
                await asyncio.wait_for(self._pipe.wait(), 10)
            except TimeoutError:
                self._pipe.kill()
                await self._pipe.wait()
            await self._reader
        folders.remove(self.folder, os.getpid())


def _who(name: str) -> str:
    return name if name in (HUB, CONDUCTOR) else f"neuron {name}"


def pss_kb(pid: int) -> int | None:
    """Proportional set size of a process in kB; None where the system does not tell."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return None
