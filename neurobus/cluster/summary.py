"""What a run came to: figures summed over its processes. Pure.

A figure nobody measured is None, never zero.
"""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from neurobus.cluster.members import BRIDGE
from neurobus.cluster.unheard import unheard
from neurobus.words import counted, number, some

if TYPE_CHECKING:  # who only asks for an exit code starts the sooner
    from neurobus.cluster.folder import Manifest
    from neurobus.cluster.members import Members
    from neurobus.wire.verbs import ConductorFinal, Final

RESUME = "neurobus run --resume"
MOST = 5
FIGURES = {
    "spikes": ("spikes",),
    "deliveries": ("deliveries",),
    "lost": ("lost",),
    "late": ("late",),
    "duplicates": ("duplicates",),
    "dropped": ("malformed", "stale"),
}
"""What is summed over processes, of which of their figures."""


@dataclass
class Summary:
    """Totals of a run.

    `lost`, `late`, `duplicates` are as the receiving neurons counted them; `dropped` are frames that were
    malformed or of an epoch that is over. `cpu_s`: CPU time of the neuron processes from the barrier on.
    `observers`: what each recorder or program of the run missed, and observers that said goodbye.
    `busiest`: spikes of the neurons that fired most, the most first. `notes`: things a person ought to know,
    a line each. `interrupted`: by Ctrl-C. `signal`: what it was stopped by, if by one. `at_least`: the
    figures that some process gave no report of, or took with it when it died.

    Large because: `run --json` prints it, a key for each field.
    """

    name: str = ""
    config: str = ""
    clock: str = ""
    seed: int = 0
    neurons: int = 0
    processes: int = 0
    model_s: float = 0.0
    wall_s: float = 0.0
    ready_s: float = 0.0
    spikes: int | None = None
    deliveries: int | None = None
    lost: int | None = None
    late: int | None = None
    duplicates: int | None = None
    dropped: int | None = None
    busiest: dict[str, int] = field(default_factory=dict)
    restarts: int = 0
    pss_mb_per_process: float | None = None
    rounds: int | None = None
    duties: int | None = None
    cpu_s: float | None = None
    record: str | None = None
    state: str | None = None
    interrupted: bool = False
    signal: str | None = None
    observers: dict[str, dict[str, Any]] = field(default_factory=dict)
    gaps: dict[str, Any] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    at_least: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def exit_code(summary: Summary) -> int:
    """As `neurobus --help` lists them: a run that was stopped says by what, one that lost spikes, or
    of which a process gave no report, is no 0."""
    if summary.signal is not None:
        return 128 + signal.Signals[summary.signal]
    return 1 if summary.lost or summary.silent else 0


def of_boards(boards: object) -> list[str]:
    """Notes on boards that were not what their processes were: `boards` are the bridge's rows at the end."""
    notes = []
    for row in boards if isinstance(boards, list) else []:
        spikes, mended, off = (row.get(name) for name in ("disagreements", "mended", "weights_off"))
        words = [f"disagreed on {spikes} spike{'s' * (spikes != 1)}"] if spikes else []
        words += [f"the process was given the board's state {mended} times"] if mended else []
        words += [f"{off} of {row.get('weighed')} weights were not the same"] if off else []
        if words:
            notes.append(f"{row.get('neuron')}: board {row.get('board')} and its process: {'; '.join(words)}")
    return notes


def busiest(finals: Mapping[str, Final], ids: Sequence[str], streams: Sequence[str],
            n_neurons: int, most: int = MOST) -> dict[str, int]:  # fmt: skip
    """Spikes of the neurons that fired most, as their processes counted, the most first.

    `streams[i]`: the process of `ids[i]`, which counts its neurons in the order of `ids`. Sources, which
    stand behind the `n_neurons` neurons, do not compete.
    """
    told = {name: iter(final.counts) for name, final in finals.items()}
    spikes = [next(told.get(stream, iter(())), 0) for stream in streams[:n_neurons]]
    order = sorted((i for i, n in enumerate(spikes) if n), key=lambda i: -spikes[i])
    return {ids[i]: spikes[i] for i in order[:most]}


def resume_hint(state: str, resume_with: str | None, form: str) -> str:
    """`form` filled in with the command that goes on from `state`; nothing where there is none."""
    return form.format(f"{resume_with} {shlex.quote(state)}") if resume_with else ""


def total(
    summary: Summary, finals: Mapping[str, Final], streams: list[str], conductor: ConductorFinal | None,
    reborn: bool = False,
) -> None:  # fmt: skip
    """Sum the final reports of the processes (`streams` names them all) into `summary`. `reborn`: some were
    restarted, and count from their snapshot on, or from their second birth."""
    heard = [finals[name] for name in streams if name in finals]
    summary.silent = [name for name in streams if name not in finals]
    if summary.silent:
        summary.notes.append(
            f"{len(summary.silent)} of {counted(len(streams), 'process')} gave no final report "
            f"({some(summary.silent)}); "
            "the totals are without them"
        )
    if not heard:
        return
    for name, keys in FIGURES.items():
        setattr(summary, name, sum(getattr(final, key) for final in heard for key in keys))
    summary.cpu_s = round(sum(final.cpu_s for final in heard), 3)
    if conductor is not None:
        ledger, samples = conductor.ledger, conductor.samples
        summary.rounds, summary.duties = conductor.rounds, conductor.duties
        # A process back from the dead counts from its snapshot on; the conductor has heard them all.
        summary.spikes = ledger.received
        summary.lost = (summary.lost or 0) + ledger.lost + samples.lost
        summary.duplicates = (summary.duplicates or 0) + ledger.duplicates + samples.duplicates
        summary.dropped = (summary.dropped or 0) + ledger.stale + samples.stale + conductor.malformed
    for name in streams:
        if name in finals and finals[name].gaps:
            summary.gaps[name] = finals[name].gaps
    missed = list(unheard(finals, streams))
    summary.lost = (summary.lost or 0) + sum(row.lost for row in missed)
    summary.notes += map(str, missed)
    if summary.silent or (reborn and conductor is None):
        summary.at_least = [name for name in FIGURES if name != "spikes" or conductor is None]
    elif not all(row.known for row in missed):
        summary.at_least = ["lost"]


def sum_up(summary: Summary, manifest: Manifest, members: Members, begun: int,
           conductor: ConductorFinal | None, reborn: bool, told: Callable[[str, str], bool],
           ) -> None:  # fmt: skip
    """The figures and notes of a run that is over. `begun`: the epoch in which its processes began;
    `conductor`: its final report; `reborn`: some process was restarted; `told`: whether this was said of a
    member before."""
    finals = members.finals
    summary.name, summary.config = manifest.name, manifest.config
    summary.clock, summary.seed = manifest.clock, manifest.seed
    summary.neurons, summary.processes = manifest.n_neurons, len(members.processes)
    total(summary, finals, list(members.processes), conductor, reborn)
    # Who was a board for a while, or died, has not counted all.
    whole = {name: final for name, final in finals.items() if members[name].epoch == begun}
    summary.busiest = busiest(whole, manifest.ids, manifest.streams, manifest.n_neurons)
    for name, member in members.programs.items():
        if member.farewell is not None:
            summary.record = member.farewell.get("path", summary.record)
            summary.notes += [note for note in member.farewell.get("notes", []) if not told(name, note)]
        elif not member.missed:
            summary.notes.append(f"{name} did not answer at the end; what it missed is not known")
    silent = sorted(name for name, guest in members.guests.items() if guest.farewell is None)
    if silent:
        missed = f"what {'it' if len(silent) == 1 else 'they'} missed is not known"
        summary.notes.append(f"{some(silent)} joined and never said goodbye; {missed}")
    summary.observers = {name: m.farewell for name, m in members.items() if m.farewell is not None}
    summary.notes += of_boards(summary.observers.get(BRIDGE, {}).get("boards"))


def render(summary: Summary, resume_with: str | None = RESUME) -> str:
    """The summary as a person reads it. `resume_with`: the command that goes on from its state, if any."""

    def figure(value: float | int | None) -> str:
        return "not measured" if value is None else number(value)

    def sum_of(name: str) -> str:
        return ("≥ " if name in summary.at_least else "") + figure(getattr(summary, name))

    speed = summary.model_s / summary.wall_s if summary.wall_s > 0 else 0.0
    rows = [
        ("neurons", f"{figure(summary.neurons)} in {counted(summary.processes, 'process')}"),
        (
            "time",
            f"{summary.model_s:.3f} s of model time in {summary.wall_s:.2f} s ({speed:.2g} x real time), "
            f"ready after {summary.ready_s:.2f} s",
        ),
        ("spikes", f"{sum_of('spikes')} ({sum_of('deliveries')} deliveries)"),
        ("busiest", ", ".join(f"{id} {number(spikes)}" for id, spikes in summary.busiest.items())),
        (
            "lost",
            f"{sum_of('lost')}   late {sum_of('late')}   duplicates {sum_of('duplicates')}   "
            f"dropped {sum_of('dropped')}   restarts {summary.restarts}",
        ),
    ]
    if summary.pss_mb_per_process is not None:
        rows.append(("memory", f"{summary.pss_mb_per_process:.1f} MB a process (PSS)"))
    for name, what in summary.observers.items():
        missed = f"missed {number(what['lost'])}" if what.get("lost") else "missed nothing"
        rows.append((name, f"{missed}" + (f", {what['path']}" if what.get("path") else "")))
    if summary.state:
        rows.append(
            ("state", summary.state + resume_hint(summary.state, resume_with, " (continue with: {})"))
        )
    lines = [f"{label:>8}  {text}" for label, text in rows if text]
    lines += [f"{'note':>8}  {note}" for note in summary.notes]
    return "\n".join(lines)
