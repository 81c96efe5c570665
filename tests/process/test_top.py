"""`neurobus top` on clusters that run: one picture, and the live view in a terminal of its own."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest

from tests.conftest import ROOT, Neurobus
from tests.helpers import Cluster

pytestmark = [pytest.mark.process, pytest.mark.calm]

NET = """
[run]
duration = "60 s"
snapshot_every = "0 s"
grace = "1 s"
[[sources]]
id = "beat"
kind = "metronome"
period = "100 ms"
[[groups]]
id = "fires"
count = 2
model = "nodes.lif_delta"
[[neurons]]
id = "almost"
model = "nodes.lif"
params = { I_e = "370 pA", tau_m = "20 ms", C_m = "500 pF" }
[[synapses]]
pre = "beat"
post = "fires"
rule = "all_to_all"
weight = "30 mV"
delay = "20 ms"
"""
ESCAPES = re.compile(r"\x1b(\[[0-9;?<>=]*[A-Za-z]|[PX^_\]][^\x1b\x07]*(\x1b\\|\x07)|.)")


class Terminal:
    """A program in a pseudo-terminal, as if a person sat there."""

    def __init__(self, *args: str, columns: int = 120, rows: int = 32):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        command = [sys.executable, "-m", "neurobus", *args]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.seen = b""

    def text(self) -> str:
        """What was written since `forget`, without colours and cursor movements."""
        return ESCAPES.sub("", self.seen.decode(errors="replace"))

    def forget(self) -> None:
        self.seen = b""

    def read(self, timeout_s: float) -> None:
        if select.select([self.master], [], [], timeout_s)[0]:
            with suppress(OSError):  # EIO: the program has ended
                self.seen += os.read(self.master, 1 << 16)

    def until(self, pattern: str, timeout_s: float = 20) -> re.Match[str]:
        deadline = time.monotonic() + timeout_s
        while not (found := re.search(pattern, self.text())):
            assert time.monotonic() < deadline, f"'{pattern}' never came; seen:\n{self.text()[-3000:]}"
            self.read(0.1)
        return found

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def end(self, timeout_s: float = 20) -> int:
        deadline = time.monotonic() + timeout_s
        while (code := self.process.poll()) is None:
            assert time.monotonic() < deadline, "the program does not end"
            self.read(0.05)
        self.read(0.0)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


@contextmanager
def top(*args: str) -> Iterator[Terminal]:
    terminal = Terminal("top", *args)
    try:
        yield terminal
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("options", "packed"), [(("wall",), 1), (("virtual", "--pace", "1"), 1), (("wall",), 2)], ids=str
)
def test_one_picture_as_json(neurobus: Neurobus, config, launch: Callable[..., Cluster], options, packed):
    cluster = launch(config(NET), "--clock", *options, "--set", f"run.neurons_per_process={packed}")
    done = neurobus("top", "--once", "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert (shown["name"], shown["clock"], shown["neurons"]) == ("net", options[0], 3)
    assert shown["processes"] == (4 if packed == 1 else 3)
    assert (shown["lost"], shown["duplicates"], shown["dropped"], shown["missed_here"]) == (0, 0, 0, 0)
    assert shown["silent"] == []
    of = {neuron["neuron"]: neuron for neuron in shown["each"]}
    assert set(of) == {"almost", "fires.0", "fires.1", "beat"}
    assert of["beat"]["rate_hz"] == pytest.approx(10, abs=2)
    assert of["beat"]["mv"] is None
    for name in ("fires.0", "fires.1"):
        assert of[name]["rate_hz"] == pytest.approx(10, abs=2)
        assert of[name]["spikes"] >= 5
    assert shown["spikes_per_s"] == pytest.approx(30, abs=6)
    assert of["almost"]["spikes"] == 0
    assert of["almost"]["rate_hz"] == 0.0
    # Asleep since the start, and yet its potential is that of now: 370 pA · 20 ms / 500 pF above rest.
    assert of["almost"]["mv"] == pytest.approx(-70 + 370 * 20 / 500, abs=0.01)
    cluster.stop()


def test_one_picture_as_a_table(neurobus: Neurobus, config, launch: Callable[..., Cluster]):
    cluster = launch(config(NET))
    done = neurobus("top", "--once")
    assert done.returncode == 0, done.stderr
    assert "net   wall clock" in done.stdout
    assert "lost 0   late 0   duplicates 0   dropped 0" in done.stdout
    assert re.search(r"● almost +━+ +-55\.2 +0\.0 +0", done.stdout)
    cluster.stop()


def test_a_process_that_hangs_is_named_and_totals_are_not_guessed(
    neurobus: Neurobus, config, launch: Callable[..., Cluster]
):
    cluster = launch(config(NET))
    stopped = cluster.child("almost")
    assert stopped is not None
    stopped.suspend()
    try:
        shown = json.loads(neurobus("top", "--once", "--json").stdout)
    finally:
        stopped.resume()
    assert shown["silent"] == ["almost"]
    assert shown["lost"] is shown["late"] is shown["spikes"] is None
    assert next(neuron for neuron in shown["each"] if neuron["neuron"] == "almost")["mv"] is None
    assert next(neuron for neuron in shown["each"] if neuron["neuron"] == "beat")["rate_hz"] > 5
    cluster.stop()


def test_the_live_view_shows_pokes_and_leaves(config, launch: Callable[..., Cluster]):
    cluster = launch(config(NET))
    with top() as terminal:
        terminal.until(r"net   wall clock   [\d.]+ s")
        terminal.until(r"lost 0   late 0   duplicates 0   dropped 0")
        terminal.until(r"[23]\d spikes/s")
        terminal.until(r"fires\.1 ")
        terminal.type("/almost\r")
        terminal.until(r"1 with 'almost' in the id")
        terminal.type("p")
        terminal.until(r"poked almost with [\d.]+ pA")
        terminal.forget()
        terminal.until(r"almost.*-5\d\.\d.*1\.0 +1 ")
        terminal.forget()
        terminal.type("q")
        assert terminal.end() == 0
    assert b"\x1b[?1049l" in terminal.seen, "the terminal is given back"
    ended = cluster.stop()
    assert ended.summary["spikes"] > 0


def test_the_live_view_ends_with_the_cluster(config, launch: Callable[..., Cluster]):
    cluster = launch(config(NET))
    with top("--cluster", "net") as terminal:
        terminal.until(r"spikes/s")
        terminal.until(r"lost 0")
        cluster.stop()
        terminal.until(r"net has ended, [\d.]+ s of model time after its start")
        assert terminal.end() == 0


def test_the_live_view_survives_a_killed_launcher(config, launch: Callable[..., Cluster]):
    cluster = launch(config(NET))
    with top() as terminal:
        terminal.until(r"lost 0")
        cluster.process.kill()
        terminal.until(r"has ended")
        assert terminal.end() == 0
    cluster.process.communicate()
    psutil.wait_procs([cluster.fork_server], 5)


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        ((), 2, "the live view needs a terminal; --once prints one picture"),
        (("--json",), 2, "--json prints one picture; it goes with --once"),
        (("--once",), 3, "no cluster is running; start one with 'neurobus run CONFIG'"),
        (("--once", "--cluster", "worm"), 3, "no cluster named 'worm' is running"),
    ],
)
def test_bad_use_is_one_line(neurobus: Neurobus, arguments, code, word):
    done = neurobus("top", *arguments)
    assert done.returncode == code
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert word in done.stderr


def test_textual_is_loaded_for_the_live_view_only():
    code = "import sys; import neurobus.cli.top; sys.exit('textual' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
