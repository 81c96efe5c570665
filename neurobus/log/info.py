"""What a log holds, for people and programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from neurobus.errors import one_line
from neurobus.log.format import Log

_WEIGHTS = "{synapses:,} synapses at {times:,} times, {min:.4g} to {max:.4g}"


def describe(log: Log) -> dict[str, Any]:
    """The facts of a log as plain values. Spikes are those of neurons and sources, rates of neurons."""
    header = log.header
    counts = np.bincount(log.spikes_i, minlength=len(header.ids))
    fired = counts[: header.n_neurons]
    seconds = log.end_ns / 1e9
    busiest = [int(k) for k in np.argsort(-counts, kind="stable")[:5] if counts[k]]
    return {
        "path": str(log.path),
        "complete": log.complete,
        "problems": log.problems,
        "config": header.config_name,
        "overrides": header.overrides,
        "seed": header.seed,
        "clock": header.clock,
        "dt_ms": header.dt_ns / 1e6,
        "started": datetime.fromtimestamp(header.started_unix_ns / 1e9, UTC).isoformat(timespec="seconds"),
        "neurobus": header.version,
        "python": header.python,
        "numpy": header.numpy,
        "model_s": seconds,
        "neurons": fired.size,
        "sources": counts.size - fired.size,
        "active": int((fired > 0).sum()),
        "spikes": int(log.spikes_t.size),
        "mean_rate_hz": float(fired.mean() / seconds) if seconds and fired.size else None,
        "busiest": {header.ids[k]: int(counts[k]) for k in busiest},
        "samples": int(log.samples.t.size),
        "weights": _weighed(log),
        "stimuli": len(log.stimuli),
        "events": _tally(log),
        "files": list(header.files),
        "size_bytes": log.path.stat().st_size,
    }


def render(facts: dict[str, Any]) -> str:
    """`describe`'s facts as text."""
    rate = "" if facts["mean_rate_hz"] is None else f", {facts['mean_rate_hz']:.3g} Hz on average"
    size = facts["size_bytes"] / 1e6
    lines = [
        ("log", f"{facts['path']}, {size:.2f} MB, {'complete' if facts['complete'] else 'NOT COMPLETE'}"),
        *(("", f"! {problem}") for problem in facts["problems"]),
        ("run", " ".join([facts["config"], *(f"--set {word}" for word in facts["overrides"])])),
        ("", f"seed {facts['seed']}, {facts['clock']} clock, dt {facts['dt_ms']:g} ms"),
        ("", f"started {facts['started']}"),
        ("", f"neurobus {facts['neurobus']}, Python {facts['python']}, numpy {facts['numpy']}"),
        ("model time", f"{facts['model_s']:g} s"),
        ("neurons", f"{facts['neurons']}, {facts['active']} of them fired"),
        ("sources", str(facts["sources"] or "")),
        ("spikes", f"{facts['spikes']}{rate}"),
        ("busiest", ", ".join(f"{id} {count}" for id, count in facts["busiest"].items())),
        ("potentials", f"{facts['samples']} samples" if facts["samples"] else ""),
        ("weights", _WEIGHTS.format_map(facts["weights"]) if facts["weights"] else ""),
        ("stimuli", str(facts["stimuli"] or "")),
        ("events", ", ".join(f"{verb} {count}" for verb, count in facts["events"].items())),
        ("files", ", ".join(facts["files"])),
    ]
    return "\n".join(f"{name:<11}{one_line(text)}" for name, text in lines if text)


def _weighed(log: Log) -> dict[str, Any] | None:
    """How many synapses were weighed and how often, and the smallest and largest weight of all; or None."""
    if not log.weights.t.size:
        return None
    told = log.weights
    return {"synapses": told.synapses()[0].size, "times": np.unique(told.t).size,
            "min": float(told.weight.min()), "max": float(told.weight.max())}  # fmt: skip


def _tally(log: Log) -> dict[str, int]:
    tally: dict[str, int] = {}
    for entry in log.events:
        tally[entry.item.verb] = tally.get(entry.item.verb, 0) + 1
    return tally
