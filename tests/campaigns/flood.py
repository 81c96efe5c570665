"""A stranger floods the bus of a run: random, mutated and spoofed frames of all kinds.

    python -m tests.campaigns.flood --n 4

Whoever reaches the bus may speak as anybody: the run's folder is its user's alone. So a spoofed `stop` ends a
run as a sound one does, `exit` costs a process a restart, and a spoofed spike is a spike. What holds: the run
ends, its exit code is one that `neurobus run --help` names, what was dropped is told, no process raises or
grows, nothing is left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import psutil

from neurobus.bus.peer import Peer
from neurobus.cluster.folder import state_dir
from neurobus.cluster.summary import FIGURES
from neurobus.events import Led, Samples, Spikes, Stimulus
from neurobus.wire import bus as wire
from neurobus.wire import message, verbs
from neurobus.wire.message import Control, Report
from tests.campaigns.configs import frames as mutated
from tests.campaigns.runs import Trial, trial, write_config
from tests.helpers import word

ENDS = {0, 1}
"""Done; done with spikes lost or reports missing. Under spoofed words to end also 4: failed, and said why."""
GROWTH_MB = 64
"""A process may grow by so much. What came in while it did not look lies in ZeroMQ's queue until it does."""
BATCH, LOOK = 500, 10
"""Frames sent on end; batches between two looks at the memory."""
REPORTS = (*message.REPORTS, "joined")
VERBS = (*message.CONTROLS, "x")
BIG = [2**31, 2**53 - 1, 2**62, 2**63 - 1, 2**64 - 1]
ODD = [None, -1, 0, 1, 7, *BIG, 0.5, 1e300, float("nan"), float("inf"), True, "x", "é\n\x1b[2J", b"\0" * 7,
       b"\xff" * 8, [], [1, "x"], {}, {"x": b"\0"}, [[]] * 3]  # fmt: skip
KEYS = [
    *(
        "pid",
        "epoch",
        "step",
        "what",
        "stop",
        "owned",
        "why",
        "board",
        "late",
        "weighed",
        "off",
        "path",
        "notes",
    ),
    *("gaps", "counts", "unended", "sent", "spikes", "lost", "cpu_s", "t_ns", "t0_ns", "stop_step", "pace"),
    *("neuron", "pre", "post", "weight", "boards", "claim", "next_step", "ledger", "mv", "owner", "end_ns"),
]


class Stranger:
    """Frames of one flood. `names`: of the run's streams and programs. `ends`: sound words to end as well."""

    def __init__(self, names: list[str], some: random.Random, ends: bool):
        self._names, self._some, self._ends = names, some, ends
        self._mutants = mutated(1 << 40, some)

    def __iter__(self) -> Iterator[bytes]:
        makes = (self._noise, self._mutant, self._spikes, self._samples, self._stimulus, self._report,
                 self._report, self._final, self._control, self._talk, self._led)  # fmt: skip
        while True:
            data = self._some.choice(makes)()
            if self._ends or not ends_something(data):
                yield data

    def _name(self) -> str:
        if self._some.random() < 0.8:
            return self._some.choice(self._names)
        return f"ghost.{self._some.randrange(10**6)}"

    def _int(self) -> int:
        return self._some.choice([0, 0, 1, 2, 10, self._some.randrange(10**4), self._some.randrange(2**53)])

    def _times(self) -> list[int]:
        return [100_000 * min(self._int(), 2**40) for _ in range(self._some.randrange(4))]

    def _args(self) -> dict[str, Any]:
        keys = self._some.sample(KEYS, self._some.randrange(len(KEYS)))
        return {key: self._some.choice(ODD) if self._some.random() < 0.6 else self._int() for key in keys}

    def _noise(self) -> bytes:
        return self._some.randbytes(self._some.randrange(60))

    def _mutant(self) -> bytes:
        return next(self._mutants)

    def _spikes(self) -> bytes:
        last = self._some.random() < 0.01
        return wire.encode(Spikes(self._name(), self._int(), self._int(), self._times(), None, last))

    def _samples(self) -> bytes:
        times = self._times()
        mv = [self._some.choice([-65.0, 1e300, float("nan")]) for _ in times]
        return wire.encode(Samples(self._name(), self._int(), self._int(), times, mv))

    def _stimulus(self) -> bytes:
        weight = self._some.choice([0.0, 1.0, -5000.0, 1e299])
        return wire.encode(Stimulus(self._name(), self._some.choice([-1, 0, self._int()]), weight, "poke"))

    def _report(self) -> bytes:
        return word(wire.REPORT, self._name(), self._some.choice(REPORTS), self._args())

    def _final(self) -> bytes:
        """As a process would send it, but for one thing."""
        figures = sorted({key for keys in FIGURES.values() for key in keys})
        final: dict[str, Any] = dict.fromkeys([*figures, "cpu_s", "step"], 0)
        final |= {"counts": [0], "gaps": {}, "unended": {}, "sent": [0, 0, 0]}
        final[self._some.choice(list(final))] = self._some.choice(ODD)
        return word(wire.REPORT, self._name(), "final", final)

    def _control(self) -> bytes:
        verb = self._some.choice(
            ["stop", "exit", "snapshot", "start", "report", "weights", "claim", "release", "x"]
        )
        to = self._some.choice([wire.EVERYONE, "conductor", self._name()])
        return word(wire.CONTROL, to, verb, self._args())

    def _talk(self) -> bytes:
        """Duties and answers, which only a conductor and its processes send."""
        name = self._name()
        if self._some.random() < 0.5:
            answer = wire.Answer(self._int(), self._int(), self._int(), -1, self._int(), b"", 0, b"", b"")
            return wire.topic(wire.ANSWER, name) + wire.answered(answer)
        return wire.topic(wire.ANSWER, name) + msgpack.packb([self._some.choice(ODD) for _ in range(9)])

    def _led(self) -> bytes:
        return wire.encode(Led(self._name(), self._int(), b"rgb" * self._some.randrange(60)))


def ends_something(data: bytes) -> bool:
    """Whether a frame is sound and ends the run, a process or a stream, or tells of a process born anew."""
    try:
        event = wire.decode(data)
    except wire.Malformed:
        return False
    if isinstance(event, Control):
        return isinstance(event.message, (verbs.Stop, verbs.Exit))
    if isinstance(event, Report):
        match event.message:
            case verbs.Ready(next_step=int(step), epoch=int(epoch)):
                return step >= 0 and epoch >= 0
            case verbs.Trouble(stop=stop):
                return stop
        return event.message.verb == "final"
    return isinstance(event, (Spikes, Samples)) and event.last


def pour(
    run: Trial, peer: Peer, stranger: Stranger, frames: int, seconds: float
) -> tuple[int, dict[str, float]]:
    """Send so many frames evenly over a time, while the run lasts. How many, and how processes grew (MB)."""
    begun, sent, first, most = time.monotonic(), 0, sizes(run), dict[int, float]()
    source = iter(stranger)
    while sent < frames and run.process.poll() is None:
        due = int(frames * (time.monotonic() - begun) / seconds)
        while sent < min(frames, due):
            for _ in range(BATCH):
                peer.send(next(source))
            sent += BATCH
            if sent % (LOOK * BATCH) == 0:
                most |= {pid: max(mb, most.get(pid, 0.0)) for pid, (_, mb) in sizes(run).items()}
        time.sleep(0.002)
    return sent, {first[pid][0]: mb - first[pid][1] for pid, mb in most.items() if pid in first}


def sizes(run: Trial) -> dict[int, tuple[str, float]]:
    """Name and resident memory (MB) of the launcher and all its processes."""
    found = {}
    for process in [psutil.Process(run.process.pid), *run.look_around()]:
        try:
            found[process.pid] = process.name(), process.memory_info().rss / 2**20
        except psutil.Error:
            continue
    return found


def tracebacks(since: float) -> list[Path]:
    folder = state_dir() / "tracebacks"
    return [path for path in folder.glob("*") if path.stat().st_mtime >= since] if folder.exists() else []


def one(folder: Path, name: str, clock: str, seed: int, frames: int, seconds: float, ends: bool) -> str:
    """One flood; returns a line about it. Raises AssertionError where anything went wrong."""
    some, begun = random.Random(seed), time.time()
    config = write_config(folder, name, seed, snapshot_every="300 ms")
    log, pace = folder / "log.mcap", ["--pace", "1"] if clock == "virtual" else []
    with trial(config, "--clock", clock, *pace, "--for", f"{seconds + 1:g} s", "--save", folder / "state",
               "--record", log) as run:  # fmt: skip
        manifest = run.started()
        names = [*manifest.ids, "recording", "conductor", "launcher", "hub"]
        peer = Peer(manifest.bus, observer=True)
        try:
            peer.join("stranger")
            sent, grown = pour(run, peer, Stranger(names, some, ends), frames, seconds)
        finally:
            peer.close(0)
        code, summary, err = run.end()
        run.rest()
    growth = max(grown.items(), key=lambda item: item[1], default=("none", 0.0))
    line = f"{name}, {clock}{', with words to end' * ends}: {sent} frames, code {code}"
    line += f", dropped {summary.get('dropped')}, {growth[0]} grew by {growth[1]:.0f} MB"
    written = {path.read_text()[-600:] for path in tracebacks(begun)}
    assert not written, f"{line}\n" + "\n".join(written)
    assert "Traceback" not in err, f"{line}\n{err}"
    assert code in (ENDS | {4} if ends else ENDS), f"{line}\n{err[-3000:]}"
    assert growth[1] < GROWTH_MB, line
    assert len(json.dumps(summary)) < 1 << 20 and err.count("\n") < 1000, f"{line}: says too much"
    if not ends:
        assert sent >= frames, line
        assert summary["dropped"], line
        assert not [note for note in summary["notes"] if "died" in note], f"{line}\n{summary['notes']}"
        assert log.exists(), line
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--n", type=int, default=4, help="floods: each clock, without and with words to end")
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.environ.setdefault("NEUROBUS_STATE_DIR", tempfile.mkdtemp())
    wrong = 0
    for n in range(given.n):
        clock, ends = ("wall", "virtual")[n % 2], bool(n // 2 % 2)
        with tempfile.TemporaryDirectory() as folder:
            try:
                line = one(Path(folder), "stdp", clock, given.seed + n, given.frames, given.seconds, ends)
            except AssertionError as error:
                wrong += 1
                line = f"WRONG {error}"
        print(f"{n + 1:3}  {line}", flush=True)
    print(f"{given.n - wrong} of {given.n} as they should be")
    raise SystemExit(wrong > 0)


if __name__ == "__main__":
    main()
