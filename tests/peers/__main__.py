"""`python -m tests.peers [--brian PYTHON] [--json FILE] [--only NAME]`: spike times beside the peers'.

A row per network: spikes, and the largest difference of any spike time, in ms. NEST's spikes stand on our
grid. Brian2's may lie between its steps; theirs are said to differ by 0 where ours is the end of the step
of ours in which theirs falls. Exit code 1 where a network could not be compared that should be.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from neurobus.config import loads
from neurobus.network import Network, build
from tests.helpers import Ensemble
from tests.peers.cases import CASES, MODEL_MS, Case

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 600


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.peers")
    parser.add_argument("--brian", metavar="PYTHON", help="a Python that has Brian2")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--only", metavar="NAME")
    args = parser.parse_args()
    rows = [row for case in CASES if args.only in (None, case.name) for row in compared(case, args.brian)]
    shown = Table(title=f"The same {MODEL_MS} ms beside its peers")
    for heading in ("network", "peer", "spikes", "theirs", "largest difference (ms)", "why"):
        shown.add_column(heading)
    for row in rows:
        most = row["largest_ms"]
        shown.add_row(row["network"], row["peer"], str(row["spikes"]), str(row.get("theirs", "–")),
                      "–" if most is None else f"{most:.3g}", row["why"])  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 150).print(shown)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    return int(any(row.get("failed") for row in rows))


def compared(case: Case, brian: str | None) -> list[dict[str, Any]]:
    network = build(loads(case.config, f"{case.name}.toml", {}))
    dt = network.dt_ns / 1e6
    keys = Ensemble(network, network.n_neurons).run(round(MODEL_MS / dt)).emission.keys
    ours = [(int(k) >> 32, int(k) & 0xFFFFFFFF) for k in keys.tolist()]
    ours = [(step * dt, i) for step, i in ours if i < network.n_neurons]
    rows = []
    for peer, run in (("NEST 3.10", in_nest), ("Brian2", in_brian)):
        row: dict[str, Any] = {"network": case.name, "peer": peer, "spikes": len(ours), "largest_ms": None}
        try:
            theirs = run(case, network, brian)
        except Missing as word:
            rows.append(row | {"why": str(word)})
            continue
        except Exception as error:
            rows.append(row | {"why": f"failed: {error}", "failed": True})
            continue
        row |= {"theirs": len(theirs), "largest_ms": largest(ours, theirs, dt)}
        rows.append(row | {"why": case.why if row["largest_ms"] > dt + 1e-9 else ""})
    return rows


class Missing(Exception):
    """A peer that is not there, or has no such model."""


def in_nest(case: Case, network: Network, brian: str | None) -> list[tuple[float, int]]:
    if importlib.util.find_spec("nest") is None:
        raise Missing("NEST is not installed here")
    if case.nest is None:
        raise Missing(
            "NEST has gap junctions for two other models only: hh_psc_alpha_gap, hh_cond_beta_gap_traub"
        )
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "case.toml"
        config.write_text(case.config)
        program = ROOT / "tests" / "process" / f"{case.nest}.py"
        spikes, _ = _json([sys.executable, str(program), str(config), str(MODEL_MS)])
    return [(step * network.dt_ns / 1e6, i) for step, i in spikes]


def in_brian(case: Case, network: Network, brian: str | None) -> list[tuple[float, int]]:
    if brian is None or not Path(brian).exists():
        raise Missing("Brian2 is not installed here; make peers does it")
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "network.npz"
        save(given, case, network)
        return [
            tuple(one) for one in _json([brian, str(Path(__file__).with_name("brian_side.py")), str(given)])
        ]


def save(path: Path, case: Case, net: Network) -> None:
    """The network as arrays, for Brian2."""
    dt = net.dt_ns / 1e6
    sources = range(net.n_neurons, len(net.ids))
    times = [net.times[i] * dt for i in sources]
    params = {f"p_{name}": values for name, values in net.params[0].items()}
    kind = net.kinds.names[0] if net.kinds.names else ""
    if kind:
        params |= {f"q_{name}": values[0] for name, values in net.kinds.params[0].items()}
    np.savez(path, model=net.model_names[0], model_ms=MODEL_MS, brian_dt_ms=case.brian_dt_ms,
             sources=len(times), spike_i=np.repeat(np.arange(len(times)), [t.size for t in times]),
             spike_ms=np.concatenate(times), pre=net.synapses.pre, post=net.synapses.post,
             weight=net.synapses.weight,
             delay_ms=net.synapses.delay * dt, typed=net.synapses.kind >= 0, kind=kind,
             gap_a=net.junctions.a, gap_b=net.junctions.b, gap_ns=net.junctions.ns, **params)  # fmt: skip


def _json(command: list[str]) -> Any:
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2])
    return json.loads(done.stdout.strip().rpartition("\n")[2])


def largest(ours: list[tuple[float, int]], theirs: list[tuple[float, int]], dt: float) -> float:
    """The largest difference (ms) of the n-th spikes of any neuron; infinite where one fires more often by
    more than a spike at the end of the run. A spike of theirs counts as at the end of our step it is in."""
    most = 0.0
    for i in {i for _, i in ours} | {i for _, i in theirs}:
        a = np.array(sorted(t for t, n in ours if n == i))
        b = np.array(sorted(math.ceil(round(t / dt, 6)) * dt for t, n in theirs if n == i))
        if a.size != b.size:
            late = max(a[b.size :].min(initial=math.inf), b[a.size :].min(initial=math.inf))
            if abs(a.size - b.size) > 1 or late == math.inf:
                late = min(float(x) for x in (*a[b.size :], *b[a.size :]))
            if late < MODEL_MS - 5:
                return math.inf
        n = min(a.size, b.size)
        most = max(most, float(np.abs(a[:n] - b[:n]).max(initial=0.0)))
    return round(most, 6)


if __name__ == "__main__":
    sys.exit(main())
