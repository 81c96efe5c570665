"""Runs of which processes are killed, stopped and continued at random.

    python -m tests.campaigns.storms --n 60

Whatever dies: nothing is left behind, nothing hangs, the exit code is one that `neurobus run --help` names,
every spike that a process has emitted is received, late or lost in the figures, and a figure that is not
whole says so.
"""

from __future__ import annotations

import contextlib
import random
import signal
import time
from pathlib import Path
from typing import Any

import psutil

from tests.campaigns.runs import Trial, campaign, trial, write_config
from tests.helpers import spikes_in

RUN_S = 3.0
ENDS = {0, 1, 4}
"""Done; done with spikes lost, or reports; failed, and said why."""
ACTS = {"wall": ("kill", "kill", "stop", "stop and continue"), "virtual": ("kill", "stop and continue")}
"""Under the virtual clock all wait for one that is stopped."""


def one(folder: Path, name: str, clock: str, seed: int) -> str:
    """One storm; returns a line about it. Raises AssertionError where anything is left, or lost unsaid."""
    rng = random.Random(seed)
    config = write_config(folder, name, seed, snapshot_every="400 ms")
    log, pace = folder / "log.mcap", ["--pace", "1"] if clock == "virtual" else []
    args = (config, "--clock", clock, *pace, "--for", f"{RUN_S:g} s", "--save", folder / "state",
            "--record", log)  # fmt: skip
    with trial(*args) as run:
        run.started()
        begun, acts = time.monotonic(), []
        # Some of them near the end of the run, and beyond it.
        for when in sorted(rng.uniform(0, RUN_S + 0.5) for _ in range(rng.randint(1, 4))):
            time.sleep(max(0.0, begun + when - time.monotonic()))
            act = rng.choice(ACTS[clock])
            if (victim := hurt(run, rng, act)) is not None:
                acts.append(f"{act} {victim} at {when:.1f} s")
        try:
            code, summary, err = run.end()
        except AssertionError as error:
            raise AssertionError(f"{name}, {clock}: {'; '.join(acts)}: {error}") from error
        for process in run.seen.values():  # who is stopped for good is nobody's to wait for
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
        run.rest()
    line = f"{name}, {clock}: {'; '.join(acts) or 'nothing'}: code {code}"
    assert "Traceback" not in err, f"{line}\n{err}"
    assert code in ENDS, f"{line}\n{err}"
    assert code != 4 or err.strip(), line
    if summary:
        assert code == int(bool(summary["lost"] or summary["silent"])), line
        line += ", " + accounts(summary, log, clock, line)
    return line


def hurt(run: Trial, rng: random.Random, act: str) -> str | None:
    """Do something to one process of the run that lives; returns its name."""
    # Not the launcher, which `tests.campaigns.resume` kills; nor the fork server, which nothing survives.
    victims = [process for process in run.look_around() if process.ppid() != run.process.pid]
    if not victims:
        return None
    victim = rng.choice(victims)
    with contextlib.suppress(psutil.NoSuchProcess):
        name = victim.name()
        victim.send_signal(signal.SIGKILL if act == "kill" else signal.SIGSTOP)
        if act == "stop and continue":
            time.sleep(rng.uniform(0.05, 1.0))
            victim.resume()
        return name
    return None


def accounts(summary: dict[str, Any], log: Path, clock: str, line: str) -> str:
    """What the figures say, after a look at whether they may. Raises AssertionError."""
    whole, recorded = not summary["at_least"], len(spikes_in(log)) if log.exists() else 0
    spikes, deliveries, lost, late = (summary[figure] for figure in ("spikes", "deliveries", "lost", "late"))
    if spikes is None:
        assert summary["silent"] and summary["notes"], line
        return "not measured"
    told = f"{spikes} spikes ({recorded} in the log), {deliveries} deliveries, lost {lost}, late {late}"
    told += f", at least: {summary['at_least']}" if summary["at_least"] else ""
    assert whole or summary["notes"], f"{line}: {told}"
    assert "spikes" in summary["at_least"] or spikes >= recorded, f"{line}: {told}"
    if summary["config"].endswith("ring.toml") and whole:
        # One spike goes round: the last may have been under way at the end, and one that was lost ends it.
        assert spikes - deliveries <= 1 + lost + late, f"{line}: {told}"
        if clock == "wall" and deliveries < spikes - 1:
            assert lost or late, f"{line}: {told}"
    return told


if __name__ == "__main__":
    campaign(one, 60, __doc__)
