"""[models] What a model costs: µs per millisecond of model time, beside plain Python and Brian2; and how much
of a core a Hodgkin–Huxley neuron with a process of its own takes in real time.

Ours is the compiled kernel, called for 100 ms at a time as a core calls it, all neurons firing. Plain Python
is the model's own `step`, not compiled: the same equations, operation for operation. Brian2 has its numpy
target, the equations of `tests.peers`, and Runge–Kutta of fourth order at our step of 0.1 ms.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

from neurobus.config import loads
from neurobus.network import build
from neurobus.node.core import Core
from neurobus.placement import place
from tests.bench.cluster import ROOT, program, started
from tests.bench.figure import Figure, in_turn, spread

BRIAN = ROOT / "build" / "peers" / "bin" / "python"
MODELS = {
    "lif": 'I_e = "450 pA"',
    "lif_cond": 'I_e = "450 pA"',
    "eif": 'I_e = "200 pA"',
    "adex": 'I_e = "900 pA"',
    "izhikevich": 'I_e = "10 pA"',
    "hodgkin_huxley": 'I_e = "1000 pA"',
}
IN_BRIAN = ("lif", "lif_cond", "adex", "hodgkin_huxley")
SIZES = (1, 1000)
REAL_TIME_S = 10.0
AT_MOST_OF_A_CORE = 0.02


def measure() -> list[Figure]:
    return [_cost(name, k) for name in MODELS for k in SIZES] + [_real_time()]


def _core(name: str, k: int) -> Core:
    text = f'[[groups]]\nid = "n"\ncount = {k}\nmodel = "nodes.{name}"\nparams = {{ {MODELS[name]} }}\n'
    return Core(place(build(loads(text, "bench.toml", {})), k).neuron_part(0))


def _cost(name: str, k: int) -> Figure:
    core = _core(name, k)
    core.advance(2000)

    def ours() -> float:
        begun = time.perf_counter()
        emission = core.advance(core.k + 1000)
        took = time.perf_counter() - begun
        assert len(emission.keys), "silent"
        return took * 1e6 / 100

    found = in_turn(ours, _plain(name, min(k, 2), k))
    brian = _brian(name, k)
    more: dict[str, Any] = {"python_us": round(median(found[1]), 1), "spread": spread(found[0])}
    more["brian2_us"] = brian
    peer = f"plain Python; Brian2 {f'{brian:,.0f}' if isinstance(brian, float) else brian}"
    return Figure(
        f"cost_{name}_{k}", median(found[0]), "µs / ms", "reported", None, peer, median(found[1]), more
    )


def _plain(name: str, n: int, k: int) -> Callable[[], float]:
    """The same of plain Python, for n neurons, scaled to k."""
    core = _core(name, n)
    core.advance(2000)
    model, states, constants = core.part.model, core.state.copy(), core.t.bound["constants"]
    x, current = np.zeros((len(model.receptors), n)), np.zeros(n)
    fired, at = np.zeros(n, np.uint8), [2000]

    def turn() -> float:
        begun = time.perf_counter()
        for step in range(at[0], at[0] + 20):
            model.step(step, states, constants, x, current, core.part.key, fired)
        at[0] += 20
        return (time.perf_counter() - begun) * 1e6 / 2 * k / n

    return turn


def _brian(name: str, k: int) -> float | str:
    """µs per ms in Brian2, or why there is none."""
    if name not in IN_BRIAN:
        return "–"
    if not BRIAN.exists():
        return "missing (make peers installs it)"
    part = _core(name, k).part
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "network.npz"
        none, whole = np.empty(0), np.empty(0, int)
        np.savez(given, model=f"nodes.{name}", model_ms=100, brian_dt_ms=0.1, sources=1, spike_i=whole,
                 spike_ms=none, pre=whole, post=whole, weight=none, delay_ms=none, typed=np.empty(0, bool),
                 kind="", gap_a=whole, gap_b=whole, gap_ns=none, timed=True,
                 **{f"p_{key}": values for key, values in part.params.items()})  # fmt: skip
        command = [str(BRIAN), str(ROOT / "tests" / "peers" / "brian_side.py"), str(given)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        return f"failed: {done.stderr.strip().rpartition(chr(10))[2]}"
    return float(json.loads(done.stdout.strip().rpartition("\n")[2])["us_per_ms"])


def _real_time() -> Figure:
    """CPU time of the process of one neuron that fires at 68 Hz, by the clock on the wall."""
    _core("hodgkin_huxley", 1)  # compiled, and in the cache
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "one.toml"
        config.write_text(
            '[[neurons]]\nid = "axon"\nmodel = "nodes.hodgkin_huxley"\nparams = { I_e = "1000 pA" }\n'
            '[[neurons]]\nid = "ear"\nmodel = "nodes.lif"\n'
            '[[synapses]]\npre = "axon"\npost = "ear"\nweight = "10 pA"\ndelay = "1.5 ms"\n'
        )
        command = program(
            "neurobus", "run", config, "--clock", "wall", "--for", f"{REAL_TIME_S + 4} s", "--json"
        )
        with started(command) as process:
            child = _named(process.pid, "nb axon")
            time.sleep(1.0)
            begun, cpu = time.monotonic(), sum(child.cpu_times()[:2])
            time.sleep(REAL_TIME_S)
            share = (sum(child.cpu_times()[:2]) - cpu) / (time.monotonic() - begun)
            out, _ = process.communicate(timeout=60)
    spikes = json.loads(out.splitlines()[-1])["spikes"]
    return Figure("hh_real_time", share, "of a core", f"≤ {AT_MOST_OF_A_CORE:g}", share <= AT_MOST_OF_A_CORE,
                  "real time", more={"spikes": spikes})  # fmt: skip


def _named(pid: int, title: str) -> psutil.Process:
    """The descendant of that name, once it is there."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        for child in psutil.Process(pid).children(recursive=True):
            try:
                if child.name() == title:
                    return child
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.05)
    raise RuntimeError(f"no process '{title}'")


if __name__ == "__main__":
    for figure in measure():
        print(figure.row(), file=sys.stdout, flush=True)
