"""Times as steps, against exact rational arithmetic."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurobus import units
from neurobus.bounds import LONGEST_RUN, last_step
from neurobus.cluster.join import _on_grid
from neurobus.describe import STEP_NS, describe, slower_than_real_time
from neurobus.errors import InputError
from neurobus.grid import nearest_step, off_grid_ms, steps_up, whole_ns
from neurobus.node.source_core import SourceCore
from neurobus.placement import place
from nodes.lif import Lif
from nodes.metronome import Metronome
from tests.helpers import cores_of, lock_step, net, run_table, table

DTS = ["0.001 ms", "0.01 ms", "0.025 ms", "0.1 ms", "0.3 ms", "0.7 ms", "1 ms", "1.25 ms", "3 ns", "1 s"]
dts = st.sampled_from(DTS)
steps = st.integers(1, LONGEST_RUN - 1) | st.integers(1, 2000)


def written(ns: int) -> str:
    """A time as a person writes it."""
    return f"{ns // 10**6}.{ns % 10**6:06d} ms"


@given(steps, dts)
def test_a_time_on_the_grid_is_its_step(step, dt):
    dt_ns = units.to_ns(dt)
    ms = units.parse(written(step * dt_ns), "ms")
    assert whole_ns(ms) == step * dt_ns
    assert steps_up(ms, dt_ns / 1e6) == nearest_step(ms, dt_ns / 1e6) == step
    assert off_grid_ms(ms, dt_ns / 1e6) == 0.0


@given(st.integers(0, 10**12), dts)
def test_a_time_off_the_grid_is_rounded_as_its_exact_quotient(ns, dt):
    dt_ns = units.to_ns(dt)
    ms, exact = units.parse(written(ns), "ms"), Fraction(ns, dt_ns)
    assert steps_up(ms, dt_ns / 1e6) == ceil(exact)
    assert nearest_step(ms, dt_ns / 1e6) == floor(exact + Fraction(1, 2))
    assert off_grid_ms(ms, dt_ns / 1e6) == pytest.approx((ceil(exact) - exact) * dt_ns / 1e6)


def test_arrays_of_any_shape_and_times_beyond_all_runs():
    assert steps_up([[0.55], [2.04]], 0.01).tolist() == [[55], [204]]
    assert steps_up([1e12, 1e300, np.inf], 0.1).tolist() == [10**13, *[-(-(1 << 61) // 100_000)] * 2]


@given(dts, st.integers(1, 60), st.integers(0, 300), st.integers(1, 300), st.integers(0, 200))
def test_a_metronome_ticks_from_start_on_and_not_at_stop(dt, period, start, length, k0):
    dt_ns = units.to_ns(dt)
    stop = start + length
    given_ms = {name: units.parse(written(n * dt_ns), "ms")
                for name, n in (("period", period), ("start", start), ("stop", stop))}  # fmt: skip
    expected = [k for k in range(max(start, 1), stop, period) if k0 < k <= 400]
    assert Metronome.stamps(given_ms, 0, dt_ns, k0, 400).tolist() == expected


@pytest.mark.parametrize("dt", ["0.01 ms", "0.3 ms", "0.7 ms", "0.1 ms"])
def test_sources_and_currents_stop_where_it_says_at_any_dt(dt):
    """Each from its step on, none at the step of `stop`, for many: quotients of floats are off for some."""
    dt_ns = units.to_ns(dt)
    for n in range(2, 60):
        network = net(
            run_table(dt=dt)
            + table("sources", id="m", kind="metronome", period=dt, start=dt, stop=written(n * dt_ns))
            + table("neurons", id="n", model="nodes.lif")
            + table("sources", kind="current", target="n", amplitude="1 pA", start=written((n - 1) * dt_ns),
                    stop=written(n * dt_ns))
        )  # fmt: skip
        source = next(core for core in cores_of(place(network)) if isinstance(core, SourceCore))
        assert (source.advance(200).keys >> 32).tolist() == list(range(1, n))
        assert network.currents == [(0, n - 1, n, 1.0)]


MODELS = ["lif", "lif_alpha", "lif_delta", "lif_cond", "lif_homeostatic", "chip"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("t_ref", "steps"), [("2 ms", 20), ("2.04 ms", 21), ("2.05 ms", 21), ("0.04 ms", 1),
                                              ("2.15 ms", 22), ("0 ms", 0)])  # fmt: skip
def test_a_refractory_period_off_the_grid_is_rounded_up_and_told(model, t_ref, steps):
    """As NEST does. At a current where a spike comes at once, the interval is t_ref and one step."""
    theta = ', eta = "0 mV"' if model == "lif_homeostatic" else ""
    current = "39000 pA" if model != "chip" else "19000 pA"
    params = f'{{ I_e = "{current}", t_ref = "{t_ref}"{theta} }}'
    network = net(table("neurons", id="n", model=f"nodes.{model}", params=params))
    spikes = lock_step(network, 300).keys >> 32
    if current == "39000 pA":
        assert set(np.diff(spikes)) == {steps + 1}
    told = [word for word in describe(network)["warnings"] if "t_ref" in word]
    assert bool(told) == (t_ref not in ("2 ms", "0 ms"))
    if told:
        assert f"{t_ref} acts as {steps / 10:g} ms" in told[0]


def test_what_joins_by_hand_is_refused_or_told_too(capsys):
    with pytest.raises(InputError, match=r"stop = 0\.55 ms is no multiple of dt = 0\.1 ms"):
        _on_grid(Metronome, {"period": 1.0, "start": 0.0, "stop": 0.55}, 100_000)
    _on_grid(Lif, {name: param.value for name, param in Lif.params().items()} | {"t_ref": 2.04}, 100_000)
    assert "t_ref = 2.04 ms acts as 2.1 ms" in capsys.readouterr().err


def test_a_drawn_refractory_period_is_told_by_its_largest_error():
    text = table("groups", id="n", count=50, model="nodes.lif",
                 params='{ t_ref = { uniform = ["1 ms", "3 ms"] }, I_e = "1 pA" }')  # fmt: skip
    (word,) = describe(net(text))["warnings"]
    assert "n.0 and 49 more (nodes.lif)" in word and "rounded up to steps of 0.1 ms" in word


def test_at_a_dt_that_divides_no_default_only_what_acts_is_told():
    facts = describe(net(run_table(dt="0.3 ms") + table("neurons", id="n", model="nodes.lif")))
    assert any("2 ms acts as 2.1 ms" in word for word in facts["warnings"])
    with pytest.raises(InputError, match="weight_interval '1 s' is no multiple of dt"):
        net(
            run_table(dt="0.3 ms", record_weights='["n"]')
            + table("neurons", id="n", model="nodes.lif")
            + table("synapses", pre="n", post="n", weight="1 pA", delay="0.3 ms", synapse="nodes.stdp",
                    params='{ W_max = "2 pA" }')
        )  # fmt: skip


@pytest.mark.parametrize("dt_ns", [100_000, 1000, 300_000])
def test_a_run_ends_on_the_grid_and_within_the_longest(dt_ns):
    assert last_step(0, (LONGEST_RUN - 1) * dt_ns, dt_ns) == LONGEST_RUN - 1
    assert last_step(7, 5 * dt_ns, dt_ns) == 12
    for begin, for_ns in ((0, LONGEST_RUN * dt_ns), (LONGEST_RUN - 2, 2 * dt_ns), (0, 10**30 * dt_ns)):
        with pytest.raises(ValueError, match="beyond the longest run, 1,073,741,824 steps"):
            last_step(begin, for_ns, dt_ns)
    with pytest.raises(ValueError, match="no multiple of dt"):
        last_step(0, 10 * dt_ns + 1, dt_ns)


@pytest.mark.parametrize(("key", "value"), [("duration", "250000 s"), ("potential_interval", "250000 s")])
def test_times_of_a_run_beyond_the_longest_are_refused_at_their_line(key, value):
    with pytest.raises(InputError, match=f"test.toml:2: {key} '{value}' is beyond the longest run"):
        net(run_table(**{key: value}) + table("neurons", id="n", model="nodes.lif"))


@pytest.mark.parametrize("delay", ["104857.7 ms", "250000 s"])
def test_a_delay_that_no_neuron_can_hold_is_refused(delay):
    text = table("neurons", id="n", model="nodes.lif") + table("synapses", pre="n", post="n", weight="1 pA",
                                                                delay=delay)  # fmt: skip
    with pytest.raises(InputError, match=f"delay '{delay}' is beyond the longest"):
        net(text)


def test_the_longest_run_is_one_number():
    for text, key in (
        (table("sources", id="s", kind="spikes", times='["107374182.4 ms"]'), "times"),
        (
            run_table(dt="0.001 ms") + table("sources", id="s", kind="metronome", period="1073741.824 ms"),
            "period",
        ),
    ):
        with pytest.raises(InputError, match=f"{key}.*beyond the longest run, 1,073,741,824 steps"):
            net(text)


def test_steps_too_small_for_real_time_are_told_with_their_figure() -> None:
    def words(dt: str, clock: str, count: int = 1) -> list[str]:
        text = run_table(dt=dt, clock=clock, neurons_per_process=100_000)
        network = net(text + table("groups", id="g", model="nodes.lif", count=count))
        return list(slower_than_real_time(network, place(network, 100_000), cores=2))

    assert not words("0.1 ms", "wall") and not words("1 us", "wall", 100) and not words("1 ns", "virtual")
    (word,) = words("1 ns", "wall")
    assert f"steps of 1e-06 ms alone take about {STEP_NS:g} times real time" in word
    (word,) = words("1 us", "wall", 1000)  # all in one process, which has one core
    assert f"about {STEP_NS:g} times" in word and "2 cores" in word
