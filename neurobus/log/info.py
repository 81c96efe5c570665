"""What a log holds, for people and programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from neurobus.errors import one_line
from neurobus.log.format import Log
from neurobus.log.recording import JOINED, LISTENED

_WEIGHTS = "{synapses:,} synapses at {times:,} times, {min:.4g} to {max:.4g}"


def describe(log: Log) -> dict[str, Any]:
    """The facts of a log as plain values. Spikes are those of neurons and sources, rates of neurons."""
    header = log.header
    counts = np.bincount(log.spikes_i, minlength=len(header.ids))
    fired = np.where(header.of_neurons, counts, 0)
    neurons = int(header.of_neurons.sum())
    from_ns = listened_from_ns(log)
    seconds = max(log.end_ns - (from_ns or 0), 0) / 1e9
    busiest = [int(k) for k in np.argsort(-fired, kind="stable")[:5] if fired[k]]
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
        "model_s": log.end_ns / 1e9,
        "listened_from_s": None if from_ns is None else from_ns / 1e9,
        "recovered": log.recovered,
        "neurons": neurons,
        "sources": counts.size - neurons,
        "by_hand": list(header.guests),
        "active": int((fired > 0).sum()),
        "spikes": int(log.spikes_t.size),
        "neuron_spikes": int(fired.sum()),
        "source_spikes": int(counts.sum() - fired.sum()),
        "mean_rate_hz": float(fired.sum() / neurons / seconds) if seconds and neurons else None,
        "busiest": {header.ids[k]: int(counts[k]) for k in busiest},
        "samples": int(log.samples.t.size),
        "weights": _weighed(log),
        "stimuli": len(log.stimuli),
        "events": _tally(log),
        "files": list(header.files),
        "size_bytes": log.path.stat().st_size,
    }


def listened_from_ns(log: Log) -> int | None:
    """The model time from which on a log has everything, of one that begins in the middle of its run."""
    told = {entry.item.verb: entry.item.data for entry in log.events if entry.item.verb in (JOINED, LISTENED)}
    if not told:
        return None
    for found in (told.get(LISTENED, {}).get("from_ns"), told.get(JOINED, {}).get("t_ns")):
        if isinstance(found, int):
            return found
    return int(log.spikes_t[0]) if log.spikes_t.size else 0


def render(facts: dict[str, Any]) -> str:
    """`describe`'s facts as text."""
    rate = "" if facts["mean_rate_hz"] is None else f", {facts['mean_rate_hz']:.3g} Hz on average"
    size, from_s = facts["size_bytes"] / 1e6, facts["listened_from_s"]
    span = f"from {from_s:g} s to {facts['model_s']:g} s" if from_s else f"{facts['model_s']:g} s"
    state = (
        "complete" if facts["complete"] else "sound, but recovered" if facts["recovered"] else "NOT COMPLETE"
    )
    begun = f" from {from_s:g} s of its run on" if from_s and facts["complete"] else ""
    of_sources = f"; {facts['source_spikes']} of sources" if facts["sources"] else ""
    lines = [
        ("log", f"{facts['path']}, {size:.2f} MB, {state}{begun}"),
        *(("", f"! {problem}") for problem in facts["problems"]),
        ("run", " ".join([facts["config"], *(f"--set {word}" for word in facts["overrides"])])),
        ("", f"seed {facts['seed']}, {facts['clock']} clock, dt {facts['dt_ms']:g} ms"),
        ("", f"started {facts['started']}"),
        ("", f"neurobus {facts['neurobus']}, Python {facts['python']}, numpy {facts['numpy']}"),
        ("model time", span),
        ("neurons", f"{facts['neurons']}, {facts['active']} of them fired"),
        ("sources", str(facts["sources"] or "")),
        ("by hand", ", ".join(facts["by_hand"])),
        ("spikes", f"{facts['neuron_spikes']} of neurons{rate}{of_sources}"),
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
