"""What holds for every synapse type in `nodes/`: a new file there is taken up and tested as it is.

`test_synapses.py` has several types beside each other, packed at random; `test_plasticity.py` has equations.
"""

from __future__ import annotations

import sys
from functools import cache

import msgpack
import numpy as np
import pytest

from neurobus import units
from neurobus.errors import InputError
from neurobus.loading import load_synapse
from neurobus.network import Network
from neurobus.node.core import Core
from neurobus.placement import place
from tests.helpers import (
    SYNAPSE_TYPES,
    Ensemble,
    in_order,
    lock_step,
    net,
    run_table,
    same,
    synapses_now,
    table,
)

STEPS = 2000
DRIVEN = '{ tau_m = "20 ms", I_e = "200 pA" }'


def test_the_shipped_types_are_found():
    assert {"nodes.stdp", "nodes.tsodyks", "nodes.stdp_dopamine"} <= set(SYNAPSE_TYPES)
    assert "nodes.lif" not in SYNAPSE_TYPES


@pytest.mark.parametrize("name", SYNAPSE_TYPES)
def test_it_is_declared_whole(name):
    kind = load_synapse(name)
    assert sys.modules[kind.__module__].__doc__, "the equations stand in the module's docstring"
    for param_name, param in kind.params().items():
        assert param.admits(param.value) and param.doc, param_name
        units.parse(f"1 {param.unit}", param.unit)
    assert all(state.doc for state in (*kind.states().values(), *kind.traces().values()))
    p = {key: np.full(3, param.value) for key, param in kind.params().items()}
    w = np.full(3, 0.5)
    for dt_ms in (0.025, 0.1, 1.0):
        made = kind.prepare(p, dt_ms)
        assert all(np.shape(value) == (3,) and np.all(np.isfinite(value)) for value in made.values())
    assert kind.initial(p, w).keys() <= kind.states().keys()
    assert kind.initial_traces(p).keys() <= kind.traces().keys()
    assert all(np.shape(value) == (3,) for value in kind.initial(p, w).values())
    assert all(np.shape(value) == (3,) for value in kind.initial_traces(p).values())
    assert kind.check_weights(p, w) is None


def out_of_bounds():
    for name in SYNAPSE_TYPES:
        for key, param in load_synapse(name).params().items():
            for bound, beyond in ((param.above, 0), (param.low, -1), (param.high, 1)):
                if bound is not None:
                    yield pytest.param(name, key, bound + beyond, id=f"{name} {key} {bound + beyond:g}")


@pytest.mark.parametrize(("name", "key", "value"), list(out_of_bounds()))
def test_a_parameter_out_of_bounds_is_one_clear_line(name, key, value):
    param = load_synapse(name).params()[key]
    unit = "mV" if param.weight else param.unit
    with pytest.raises(InputError) as caught:
        network(name, f'{{ {key} = "{value:g} {unit}" }}' if unit else f"{{ {key} = {value:g} }}")
    line = str(caught.value)
    assert line.startswith("test.toml:") and "\n" not in line
    assert key in line and "out of bounds" in line


def network(name: str, params: str = "{}") -> Network:
    """Three neurons with synapses of this type from five sources and from each other; modulators come too."""
    kind = load_synapse(name)
    typed = {"rule": "all_to_all", "synapse": name, "params": params}
    heard = {"rule": "all_to_all", "weight": 1, "delay": "1 ms"}
    return net(
        run_table(seed=5)
        + table("groups", id="e", count=3, model="nodes.lif_delta", params=DRIVEN)
        + table("sources", id="p", kind="poisson", count=5, rate="80 Hz")
        + table("sources", id="m", kind="metronome", period="17 ms")
        + table("synapses", pre="p", post="e", weight="3 mV", delay='{ uniform = ["1 ms", "3 ms"] }', **typed)
        + table("synapses", pre="e", post="e", weight="1 mV", delay="1.5 ms", **typed)
        + "".join(table("synapses", pre="m", post="e", receptor=name, **heard) for name in kind.modulators)
    )


@cache
def lively(name: str) -> Network:
    """With its parameters as they are by default; a bound on weights in mV, in which this model counts."""
    params = load_synapse(name).params()
    bounds = [f'{key} = "6 mV"' for key, param in params.items() if param.weight and key == "W_max"]
    return network(name, f"{{ {', '.join(bounds)} }}")


@cache
def expected(name: str):
    return Ensemble(lively(name), 1).run(STEPS)


@pytest.mark.parametrize("name", SYNAPSE_TYPES)
def test_its_network_is_lively_and_its_numbers_finite(name):
    ensemble = expected(name)
    fired = ensemble.emission.keys & 0xFFFFFFFF
    assert np.sum(fired < lively(name).n_neurons) > 5
    before, after = synapses_now(Ensemble(lively(name)).cores), synapses_now(ensemble.cores)
    assert before.keys() == after.keys() and before != after, "no synapse of it remembers anything"
    assert all(np.all(np.isfinite(row)) for rows in after.values() for row in rows)
    assert same(ensemble.emission, lock_step(lively(name), STEPS))


@pytest.mark.parametrize("per_process", [2, 3])
@pytest.mark.parametrize("name", SYNAPSE_TYPES)
def test_any_packing_gives_the_same_spikes_and_weights(name, per_process):
    ensemble = Ensemble(lively(name), per_process).run(STEPS)
    assert same(ensemble.emission, expected(name).emission)
    assert synapses_now(ensemble.cores) == synapses_now(expected(name).cores)


@pytest.mark.parametrize("cut", [1, 777])
@pytest.mark.parametrize("name", SYNAPSE_TYPES)
def test_a_snapshot_in_mid_run_goes_on_with_the_same_spikes_and_weights(name, cut):
    first = Ensemble(lively(name), 2).run(cut)
    second = Ensemble(lively(name), 2, msgpack.unpackb(msgpack.packb(first.states()))).run(STEPS)
    assert same(in_order([first.emission, second.emission]), expected(name).emission)
    assert synapses_now(second.cores) == synapses_now(expected(name).cores)


@pytest.mark.parametrize("name", SYNAPSE_TYPES)
def test_looking_at_weights_changes_nothing(name):
    """One core is asked for its weights and looks ahead all the time, its twin never."""
    plan = place(lively(name), 3)
    (number,) = (p.number for p in plan.processes if not plan.is_source(p.number))
    looked, blind = Core(plan.neuron_part(number)), Core(plan.neuron_part(number))
    sources = np.flatnonzero(np.isin(np.arange(len(plan.network.ids)), plan.network.synapses.pre)).tolist()
    for n in range(40):
        keys = np.array([looked.k + 1 + n % 5 << 32 | sources[n % len(sources)]], np.int64)
        looked.admit(keys)
        blind.admit(keys)
        looked.look()
        looked.weights()
        assert same(looked.advance(looked.k + 37), blind.advance(blind.k + 37))
    assert synapses_now([looked]) == synapses_now([blind])
