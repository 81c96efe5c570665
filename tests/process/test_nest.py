"""Spike for spike against NEST 3.10, through real processes: config, bus, conductor and log included."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from neurobus.config import load
from neurobus.log import read
from neurobus.network import build
from neurobus.node.snapshot import read_snapshot
from neurobus.placement import place
from tests.helpers import run_table, table

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.nest,
    pytest.mark.skipif(find_spec("nest") is None, reason="NEST is not installed"),
]

MODEL_MS = 600
EXP = {
    "model": "nodes.lif",
    "params": '{ tau_syn_in = "5 ms", I_e = { uniform = ["250 pA", "420 pA"] } }',
}
EQUAL = {
    "model": "nodes.lif",
    "params": '{ tau_syn_ex = "10 ms", tau_syn_in = "5 ms", I_e = { uniform = ["250 pA", "420 pA"] } }',
}
ALPHA = {**EXP, "model": "nodes.lif_alpha"}
ALPHA_EQUAL = {**EQUAL, "model": "nodes.lif_alpha"}
DELTA = {
    "model": "nodes.lif_delta",
    "params": '{ tau_m = "20 ms", I_e = { uniform = ["100 pA", "210 pA"] } }',
}
COND = {
    "model": "nodes.lif_cond",
    "params": '{ tau_syn_ex = "2 ms", I_e = { uniform = ["150 pA", "240 pA"] } }',
}
ADEX = {
    "model": "nodes.adex",
    "params": '{ tau_syn_ex = "2 ms", I_e = { uniform = ["300 pA", "700 pA"] } }',
}
ADEX_REF = {
    "model": "nodes.adex",
    "params": '{ C = "200 pF", g_L = "12 nS", V_r = "-58 mV", a = "2 nS", b = "60 pA", tau_w = "300 ms", '
    't_ref = "2 ms", tau_syn_ex = "2 ms", I_e = { uniform = ["200 pA", "400 pA"] } }',
}
HH = {
    "model": "nodes.hodgkin_huxley",
    "params": '{ I_e = { uniform = ["300 pA", "800 pA"] } }',
}
RANDOM_DELAY = '{ uniform = ["1 ms", "3 ms"] }'


def random_network(seed, kind, weight, unit, delay, scattered):
    """100 neurons, a tenth of all pairs joined, 80 excitatory, each with a spike train of its own."""

    def w(value):
        sign = "" if value > 0 else "-"
        choices = [f"{sign}{abs(value) * f:.9g} {unit}" for f in (0.31, 0.77, 1.013, 1.4)]
        return f"{{ choice = {choices} }}".replace("'", '"') if scattered else f"{value} {unit}"

    rule = {"rule": "fixed_probability", "probability": 0.1, "delay": delay}
    return (
        run_table(seed=seed, neurons_per_process=25, snapshot_every="0 s")
        + table("groups", id="e", count=80, **kind)
        + table("groups", id="i", count=20, **kind)
        + table("sources", id="x", kind="spikes", count=100, file="ext.csv")
        + "".join(table("synapses", pre="e", post=post, weight=w(weight), **rule) for post in "ei")
        + "".join(table("synapses", pre="i", post=post, weight=w(-5 * weight), **rule) for post in "ei")
        + table("synapses", csv="drive.csv")
    )


def drive(tmp_path: Path, seed: int, weight: float, unit: str, rate_hz: float, first: int = 1) -> None:
    """A Poisson train for each neuron, as lists of spikes."""
    rng = np.random.default_rng(seed)
    trains = ["id,time_ms"]
    wires = [f"pre,post,weight [{unit}],delay [ms]"]
    for n in range(100):
        steps = np.unique(rng.integers(first, MODEL_MS * 10 - 40, rng.poisson(rate_hz * MODEL_MS / 1000)))
        trains += [f"x.{n},{step / 10}" for step in steps]
        name = f"e.{n}" if n < 80 else f"i.{n - 80}"
        wires.append(f"x.{n},{name},{weight * rng.lognormal(0, 0.3)!r},{rng.integers(10, 31) / 10}")
    (tmp_path / "ext.csv").write_text("\n".join(trains))
    (tmp_path / "drive.csv").write_text("\n".join(wires))


def nest_spikes(config: Path, model_ms: float) -> list[list[int]]:
    return in_nest(config, model_ms)[0]


def in_nest(config: Path, model_ms: float) -> tuple[list[list[int]], list[float]]:
    """Spikes, and weights by synapse."""
    program = Path(__file__).with_name("nest_reference.py")
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(config.parent)}
    done = subprocess.run(
        [sys.executable, str(program), str(config), str(model_ms)],
        capture_output=True, text=True, timeout=100, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    spikes, weights = json.loads(done.stdout.strip().rpartition("\n")[2])
    return spikes, weights


def neurobus_spikes(run, config: Path, model_ms: float) -> list[list[int]]:
    log = config.with_suffix(".mcap")
    done = run(config, "--clock", "virtual", "--for", f"{model_ms} ms", "--record", log)
    assert done.summary["lost"] == done.summary["late"] == done.summary["duplicates"] == 0
    recorded = read(log)
    neurons = recorded.spikes_i < recorded.header.n_neurons
    steps = recorded.spikes_t[neurons] // recorded.header.dt_ns
    return sorted(
        [step, i] for step, i in zip(steps.tolist(), recorded.spikes_i[neurons].tolist(), strict=True)
    )


@pytest.mark.parametrize(
    ("seed", "kind", "weight", "unit", "rate_hz", "delay", "scattered"),
    [
        pytest.param(1, EXP, 20.0, "pA", 4000, "1.5 ms", False, id="exp"),
        pytest.param(2, EXP, 20.0, "pA", 4000, RANDOM_DELAY, True, id="exp-random"),
        pytest.param(3, EQUAL, 8.0, "pA", 2000, RANDOM_DELAY, False, id="exp-tau_syn=tau_m"),
        pytest.param(7, ALPHA, 8.0, "pA", 4000, RANDOM_DELAY, True, id="alpha"),
        pytest.param(8, ALPHA_EQUAL, 3.0, "pA", 2000, RANDOM_DELAY, False, id="alpha-tau_syn=tau_m"),
        pytest.param(4, DELTA, 0.25, "mV", 2000, "1.5 ms", True, id="delta"),
        pytest.param(5, DELTA, 0.25, "mV", 2000, RANDOM_DELAY, False, id="delta-random"),
        pytest.param(6, DELTA, 0.25, "mV", 2000, RANDOM_DELAY, True, id="delta-random-weights"),
        pytest.param(7, COND, 0.5, "nS", 3000, RANDOM_DELAY, True, id="conductances"),
        pytest.param(8, ADEX, 1.0, "nS", 3000, RANDOM_DELAY, False, id="adex"),
        pytest.param(9, ADEX_REF, 1.0, "nS", 2000, "1.5 ms", True, id="adex-refractory"),
        pytest.param(10, HH, 80.0, "pA", 1000, RANDOM_DELAY, True, id="hodgkin-huxley"),
    ],
)
def test_random_networks(config, run, tmp_path, seed, kind, weight, unit, rate_hz, delay, scattered):
    path = config(random_network(seed, kind, weight, unit, delay, scattered))
    drive(tmp_path, seed, weight, unit, rate_hz)
    expected = nest_spikes(path, MODEL_MS)
    assert len(expected) > 200
    assert neurobus_spikes(run, path, MODEL_MS) == expected


@pytest.mark.parametrize("model", ["nodes.lif", "nodes.lif_delta"])
def test_a_constant_current_from_start_to_stop(config, run, model):
    """Parameters unlike the defaults too: a reset below rest, a threshold, a potential to start from."""
    params = (
        '{ V_reset = "-75 mV", V_th = "-52 mV", V_m = "-61 mV", t_ref = "3.3 ms", '
        'C_m = "200 pF", tau_m = "13 ms" }'
    )
    currents = [
        {"amplitude": "400 pA", "start": "3 ms", "stop": "80 ms"},
        {"amplitude": "150 pA", "start": "41.7 ms", "stop": "90.1 ms"},
        {"amplitude": "500 pA", "start": "110 ms"},
    ]
    weight = {"nodes.lif": "1 pA", "nodes.lif_delta": "1 mV"}[model]
    path = config(
        run_table(snapshot_every="0 s"),
        table("groups", id="n", count=2, model=model, params=params),
        table("synapses", pre="n.0", post="n.1", weight=weight, delay="1 ms"),
        *(table("sources", kind="current", target="n", **keys) for keys in currents),
    )
    expected = nest_spikes(path, 150)
    assert len(expected) > 10
    assert neurobus_spikes(run, path, 150) == expected


def test_several_spikes_in_a_step(config, run):
    """aeif_cond_exp with 20 nA at dt = 1 ms fires up to four times a step; each acts, and each teaches."""
    params = '{ tau_syn_ex = "2 ms", I_e = { choice = ["20000 pA", "30000 pA", "500 pA"] } }'
    synapse = {"synapse": "nodes.stdp", "params": '{ W_max = "40 nS", lambda_ = 0.05, alpha = 0.6 }'}
    path = config(
        run_table(seed=3, dt="1 ms", snapshot_every="0 s"),
        table("groups", id="n", count=6, model="nodes.adex", params=params),
        table("synapses", pre="n", post="n", rule="fixed_probability", probability=0.5,
              delay='{ uniform = ["1 ms", "4 ms"] }', weight="10 nS", **synapse),
    )  # fmt: skip
    expected = nest_spikes(path, 200)
    assert max(np.unique(expected, axis=0, return_counts=True)[1]) > 3
    assert neurobus_spikes(run, path, 200) == expected


@pytest.mark.parametrize("t_ref", ["2.04 ms", "0.04 ms", "2.15 ms"])
def test_refractory_periods_off_the_grid(config, run, t_ref):
    """Rounded up to whole steps, in every model that has one."""
    kinds = {"lif": 1000, "lif_alpha": 1000, "lif_delta": 1000, "lif_cond": 1000, "adex": 2000,
             "hodgkin_huxley": 2000}  # fmt: skip
    path = config(
        run_table(snapshot_every="0 s", neurons_per_process=6),
        *(
            table(
                "neurons", id=name, model=f"nodes.{name}", params=f'{{ I_e = "{pA} pA", t_ref = "{t_ref}" }}'
            )
            for name, pA in kinds.items()
        ),
    )
    expected = nest_spikes(path, 100)
    assert len({i for _, i in expected}) == len(kinds)
    assert neurobus_spikes(run, path, 100) == expected


STDP = """W_max = "3 mV", lambda_ = 0.05, alpha = 1.05, mu_plus = {mu}, mu_minus = {mu}, \
tau_minus = "25 ms\""""
TYPES = {
    "additive": ("nodes.stdp", STDP.format(mu=0.0)),
    "multiplicative": ("nodes.stdp", STDP.format(mu=1.0)),
    "between": ("nodes.stdp", STDP.format(mu=0.4)),
    "triplet": ("nodes.stdp_triplet", 'W_max = "3 mV", A3_plus = "0.03 mV", A2_minus = "0.02 mV"'),
    "depressing": ("nodes.tsodyks", 'tau_rec = "300 ms"'),
    "facilitating": ("nodes.tsodyks", 'U = 0.1, tau_psc = "1.5 ms", tau_rec = "130 ms", tau_fac = "530 ms"'),
}


@pytest.mark.parametrize("name", TYPES)
def test_synapses_with_memory(config, run, tmp_path, name):
    """Spikes and weights, bit for bit: 60 recurrent neurons and 100 sources, delays of 1 to 3 ms."""
    synapse, params = TYPES[name]
    push = "0.65 mV" if name == "depressing" else "0.5 mV"
    group = {"model": "nodes.lif_delta", "params": DELTA["params"]}
    path = config(
        run_table(seed=7, neurons_per_process=20),
        table("groups", id="e", count=60, **group),
        table("sources", id="x", kind="spikes", count=100, file="ext.csv"),
        table("synapses", pre="e", post="e", rule="fixed_probability", probability=0.3, delay=RANDOM_DELAY,
              weight="0.5 mV", synapse=synapse, params=f"{{ {params} }}"),
        table("synapses", pre="x", post="e", rule="fixed_probability", probability=0.5, weight=push,
              delay="1.5 ms", synapse=synapse, params=f"{{ {params} }}"),
    )  # fmt: skip
    drive(tmp_path, 7, 0.25, "mV", 100, first=40)
    end = MODEL_MS * 10
    trains = (tmp_path / "ext.csv").read_text() + "".join(f"\nx.{n},{(end - 15) / 10}" for n in range(100))
    (tmp_path / "ext.csv").write_text(trains)
    spikes, weights = in_nest(path, MODEL_MS)
    assert len(spikes) > 500
    log = path.with_suffix(".mcap")
    done = run(path, "--clock", "virtual", "--for", f"{MODEL_MS} ms", "--record", log)
    recorded, net = read(log), build(load(path))
    steps = recorded.spikes_t // net.dt_ns
    both = list(zip(steps.tolist(), recorded.spikes_i.tolist(), strict=True))
    found = sorted([t, i] for t, i in both if i < net.n_neurons)
    assert found == spikes

    plan = place(net, 20)
    ours = np.full(net.synapses.pre.size, np.nan)
    for process in plan.processes:
        saved = read_snapshot(Path(done.summary["state"]), process.name)
        if not plan.is_source(process.number):
            synapses, final = plan.weights_in(process.number, saved["core"])
            ours[synapses] = final
    # NEST tells a synapse of its neuron's spikes at its own next spike only; compare those that know all.
    train = [np.array([t for t, i in both if i == n]) for n in range(len(net.ids))]
    settled = np.zeros(len(ours), bool)
    for n, (pre, post, d) in enumerate(
        zip(net.synapses.pre, net.synapses.post, net.synapses.delay, strict=True)
    ):
        last = train[pre][train[pre] <= end - d].max(initial=0)
        on_its_way = train[pre].max(initial=0) > end - d
        settled[n] = not on_its_way and not np.any((train[post] > last - d) & (train[post] <= end - 2 * d))
    assert (
        settled[net.synapses.pre >= net.n_neurons].all()
        and settled[net.synapses.pre < net.n_neurons].sum() > 20
    )
    assert np.array_equal(ours[settled], np.array(weights)[settled])
    if synapse != "nodes.tsodyks":
        assert np.mean(ours[settled] != 0.5) > 0.9
