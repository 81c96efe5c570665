"""What a run came to: figures summed over its processes. Pure.

A figure nobody measured is None, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Summary:
    """Totals of a run.

    `lost`, `late`, `duplicates` are as the receiving neurons counted them; `dropped` are frames that were
    malformed or of an epoch that is over. `cpu_s`: CPU time of the neuron processes from the barrier on.
    `observers`: what each recorder or program of the run missed, and observers that said goodbye.
    `notes`: things a person ought to know, a line each. `interrupted`: by Ctrl-C.
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
    restarts: int = 0
    pss_mb_per_process: float | None = None
    rounds: int | None = None
    duties: int | None = None
    cpu_s: float | None = None
    record: str | None = None
    state: str | None = None
    interrupted: bool = False
    observers: dict[str, dict[str, Any]] = field(default_factory=dict)
    gaps: dict[str, Any] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


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


def total(
    summary: Summary, finals: dict[str, dict[str, Any]], streams: list[str], conductor: dict[str, Any] | None
) -> None:
    """Sum the final reports of the processes (`streams` names them all) into `summary`."""
    heard = [finals[name] for name in streams if name in finals]
    summary.silent = [name for name in streams if name not in finals]
    if summary.silent:
        some = ", ".join(summary.silent[:5]) + (" …" if len(summary.silent) > 5 else "")
        summary.notes.append(
            f"{len(summary.silent)} of {len(streams)} processes gave no final report ({some}); "
            "the totals are without them"
        )
    if not heard:
        return
    for name, keys in {
        "spikes": ("spikes",),
        "deliveries": ("deliveries",),
        "lost": ("lost",),
        "late": ("late",),
        "duplicates": ("duplicates",),
        "dropped": ("malformed", "stale"),
    }.items():
        setattr(summary, name, sum(final[key] for final in heard for key in keys))
    summary.cpu_s = round(sum(final["cpu_s"] for final in heard), 3)
    if conductor is not None:
        ledger, samples = conductor["ledger"], conductor["samples"]
        summary.rounds, summary.duties = conductor["rounds"], conductor["duties"]
        # A process back from the dead counts from its snapshot on; the conductor has heard them all.
        summary.spikes = ledger["received"]
        summary.lost = (summary.lost or 0) + ledger["lost"] + samples["lost"]
        summary.duplicates = (summary.duplicates or 0) + ledger["duplicates"] + samples["duplicates"]
        summary.dropped = (summary.dropped or 0) + ledger["stale"] + samples["stale"] + conductor["malformed"]
    for name in streams:
        final = finals.get(name, {})
        if final.get("gaps"):
            summary.gaps[name] = final["gaps"]
        if final.get("unended"):
            summary.notes.append(f"{name} never heard the end of {', '.join(final['unended'][:5])}")


def render(summary: Summary) -> str:
    """The summary as a person reads it."""

    def figure(value: float | int | None, form: str = "{:,}") -> str:
        return "not measured" if value is None else form.format(value).replace(",", " ")

    speed = summary.model_s / summary.wall_s if summary.wall_s > 0 else 0.0
    rows = [
        ("neurons", f"{summary.neurons} in {summary.processes} processes"),
        (
            "time",
            f"{summary.model_s:.3f} s of model time in {summary.wall_s:.2f} s ({speed:.2g} x real time), "
            f"ready after {summary.ready_s:.2f} s",
        ),
        ("spikes", f"{figure(summary.spikes)} ({figure(summary.deliveries)} deliveries)"),
        (
            "lost",
            f"{figure(summary.lost)}   late {figure(summary.late)}   "
            f"duplicates {figure(summary.duplicates)}   "
            f"dropped {figure(summary.dropped)}   restarts {summary.restarts}",
        ),
    ]
    if summary.pss_mb_per_process is not None:
        rows.append(("memory", f"{summary.pss_mb_per_process:.1f} MB a process (PSS)"))
    for name, what in summary.observers.items():
        missed = f"missed {what['lost']}" if what.get("lost") else "missed nothing"
        rows.append((name, f"{missed}" + (f", {what['path']}" if what.get("path") else "")))
    if summary.state:
        rows.append(("state", f"{summary.state} (continue with: neurobus run --resume {summary.state})"))
    lines = [f"{label:>8}  {text}" for label, text in rows]
    lines += [f"{'note':>8}  {note}" for note in summary.notes]
    return "\n".join(lines)
