"""Runs whose launcher is killed at some time, and that go on from the last snapshot they took.

    python -m tests.campaigns.resume --n 50

Under the virtual clock the rest has exactly the spikes of the unbroken run. Under the wall clock it has those
as well, unless a spike came late or was lost in either part, and then the figures say so.
"""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

from tests.campaigns.runs import campaign, trial, write_config
from tests.helpers import spikes_in

REST_MS = 500


def one(folder: Path, name: str, clock: str, seed: int) -> str:
    """One trial; returns a line about it. Raises AssertionError where a spike is missing without a word."""
    rng = random.Random(seed)
    config = write_config(folder, name, seed, snapshot_every=f"{rng.choice((150, 250, 400))} ms")
    state, logs = folder / "state", [folder / f"{part}.mcap" for part in ("first", "rest", "whole")]
    pace = ["--pace", "1"] if clock == "virtual" else []
    with trial(config, "--clock", clock, *pace, "--save", state, "--record", logs[0]) as first:
        first.started()
        first.wait_for(lambda: (state / "resume.json").exists(), "a snapshot")
        time.sleep(rng.uniform(0, 1.0))
        first.look_around()
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        first.rest()
    step = json.loads((state / "resume.json").read_text())["step"]
    with trial("--resume", state, "--for", f"{REST_MS} ms", "--record", logs[1]) as rest:
        code, summary, err = rest.end()
        rest.rest()
    whole_ms = step / 10 + REST_MS
    with trial(config, "--clock", "virtual", "--for", f"{whole_ms} ms", "--record", logs[2]) as whole:
        assert whole.end()[0] == 0
    assert summary and "Traceback" not in err, (code, err)
    begin, end = step * 100_000, (step + 10 * REST_MS) * 100_000
    due = [spike for spike in spikes_in(logs[2]) if begin < spike[0] <= end]
    found = spikes_in(logs[1])
    told = summary["late"] or summary["lost"] or summary["at_least"]
    line = f"{name}, {clock}, from {step / 10:g} ms: {len(found)} of {len(due)} spikes"
    line += f", lost {summary['lost']}, late {summary['late']}"
    if clock == "virtual":
        assert found == due, line
        assert not told, line
    elif not told:
        # The first part had its own late spikes, if any; then its course is another one.
        before = [spike for spike in spikes_in(logs[0]) if spike[0] <= begin]
        if before == [spike for spike in spikes_in(logs[2]) if spike[0] <= begin]:
            assert found == due, line
        else:
            line += " (late before the snapshot)"
    assert summary["spikes"] == len(found) or told, line
    return line


if __name__ == "__main__":
    campaign(one, 50, __doc__)
