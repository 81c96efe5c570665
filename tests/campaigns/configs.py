"""Mutated configs, snapshots and frames through all that reads them: `python -m tests.campaigns.configs`.

Each must be taken, or be refused by an error meant for a person, in one line, within TIME_S. What was not is
told with its text; exit code 1 then.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import msgpack

from neurobus import config, describe, network
from neurobus.errors import NeurobusError
from neurobus.events import Led, Samples, Spikes, Stimulus
from neurobus.ledger import Ledger
from neurobus.node.snapshot import read_snapshot, write_snapshot
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.message import Control, Report

ROOT = Path(__file__).parents[2]
TIME_S = 10.0
SHIPPED = [
    "configs/first/pair.toml",
    "configs/first/ring.toml",
    "configs/papers/stdp.toml",
    "configs/papers/gap_junction.toml",
    "configs/papers/winnerless.toml",
]
NUMBERS = [
    "0",
    "-1",
    "1e308",
    "1e400",
    "nan",
    "inf",
    "-inf",
    "9" * 30,
    "9" * 5000,
    "1e-320",
    "0x" + "f" * 40,
    "1e999999999999",
    "true",
    "{}",
    "[]",
    '""',
    '"x"',
    "1979-05-27",
    '"1e300 s"',
    '"-1 ms"',
    '"1 furlong"',
    "1_000_000_000",
    "100000000000",
]
WORDS = [
    "",
    "*",
    "..",
    "a/b",
    "a\\nb",
    "\\u0000",
    "hub",
    "conductor",
    "x" * 5000,
    "ä",
    "nodes.nothing",
    "os.path",
    "static",
    "#0",
    "!",
]


def mutated(text: str, some: random.Random) -> str:
    """A config with something wrong with it, or many things."""
    for _ in range(some.choice([1, 1, 1, 2, 5])):
        kind = some.choice(["number", "word", "line", "bytes", "cut", "nest", "swap", "key"])
        lines = text.split("\n")
        at = some.randrange(len(lines))
        key = lines[at].partition("=")[0]
        if kind == "number":
            lines[at] = f"{key}= {some.choice(NUMBERS)}"
        elif kind == "word":
            lines[at] = f'{key}= "{some.choice(WORDS)}"'
        elif kind == "line":
            lines.insert(some.randrange(len(lines)), lines[at])
        elif kind == "key":
            other_key = some.choice(["when", "count", "id", "rule", "csv", "kind", "x"])
            lines[at] = other_key + lines[at][len(key.rstrip()) :]
        elif kind == "nest":
            depth = some.choice([3, 100, 3000])
            lines[at] = f"{key}= {'[' * depth}{']' * depth}"
        elif kind == "swap":
            other = some.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        text = "\n".join(lines)
        if kind == "bytes":
            place = some.randrange(max(1, len(text)))
            text = text[:place] + some.choice(["\0", "[", '"', "=", "\r", "\x1b", "{", "'''"]) + text[place:]
        elif kind == "cut":
            text = text[: some.randrange(max(1, len(text)))]
    return text


def frames(n: int, some: random.Random) -> Iterator[bytes]:
    """Frames as a stranger on the bus would send them: mutated ones, and lists of anything."""
    sound: list[wire.Event] = [
        Spikes("a", 0, 1, [100], None, False),
        Samples("a", 0, 1, [100], [-65.0], None, False),
        Stimulus("a", 100, 1.0, "x"),
        Control("a", verbs.Stop(step=3)),
        Report("a", verbs.Ready(pid=1, epoch=0)),
        Led("a", 5, b"rgb"),
    ]
    odd = [None, -1, 2**63 - 1, 2**63, 2**64 - 1, 1.5, float("nan"), "x", b"\0" * 7, [], {}, True, [[]] * 3]
    for _ in range(n):
        data = bytearray(wire.encode(some.choice(sound)))
        if some.random() < 0.5:
            for at in some.sample(range(len(data)), min(len(data), some.choice([1, 2, 8]))):
                data[at] = some.randrange(256)
        else:
            row = [some.choice(odd) for _ in range(some.randrange(8))]
            data = data[: data.index(0) + 1] + msgpack.packb(row)
        yield bytes(data)


def try_config(text: str) -> str | None:
    """What was wrong with how a config was taken, or None."""
    return _tried(lambda: describe.describe(network.build(config.loads(text, "net.toml", {}))))


def try_frame(data: bytes) -> str | None:
    def hear() -> None:
        try:
            event = wire.decode(data)
        except wire.Malformed:
            return
        if isinstance(event, Spikes):
            ledger = Ledger(True)
            ledger.accept(event.stream, event.epoch, event.seq, len(event.t_ns), event.last)
            assert all(0 <= figure < 1 << 63 for figure in ledger.totals().values())

    return _tried(hear)


def try_snapshot(folder: Path, some: random.Random) -> str | None:
    path = write_snapshot(folder, "n", 5, {"core": {"k": 5, "state": bytes(100)}})
    data = bytearray(path.read_bytes())
    for at in some.sample(range(len(data)), some.choice([1, 2, 9])):
        data[at] ^= some.randrange(1, 256)
    path.write_bytes(bytes(data[: some.choice([len(data), len(data), some.randrange(len(data))])]))

    def look() -> None:
        read_snapshot(folder, "n")
        raise AssertionError("a damaged snapshot was read")

    return _tried(look)


def _tried(act: object) -> str | None:
    begun = time.process_time()
    try:
        act()  # type: ignore[operator]
    except NeurobusError as error:
        if "\n" in str(error) or error.exit_code != 2:
            return f"no line: {error!r}"
    except BaseException:
        return traceback.format_exc()
    took_s = time.process_time() - begun
    return f"took {took_s:.1f} s" if took_s > TIME_S else None


def campaign(n: int, seed: int) -> list[str]:
    """What went wrong with n mutants of each kind, a text each."""
    some, wrong = random.Random(seed), []
    shipped = [(ROOT / name).read_text() for name in SHIPPED]
    for _ in range(n):
        text = mutated(some.choice(shipped), some)
        if why := try_config(text):
            wrong.append(f"{why}\n--- of ---\n{text[:3000]}")
    wrong += [f"{why}\n--- of ---\n{data!r}" for data in frames(10 * n, some) if (why := try_frame(data))]
    with tempfile.TemporaryDirectory() as folder:
        wrong += [why for _ in range(n) if (why := try_snapshot(Path(folder), some))]
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1000, help="mutants of each kind (ten times as many frames)")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    given = parser.parse_args()
    print(f"{given.n} configs and snapshots, {10 * given.n} frames, seed {given.seed}", flush=True)
    wrong = campaign(given.n, given.seed)
    print("\n\n".join(wrong[:20]))
    print(f"{len(wrong)} went wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
