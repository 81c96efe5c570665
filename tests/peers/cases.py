"""Networks that neurobus, NEST and Brian2 are all given: configs, and what to know of each comparison.

All have twenty neurons, forty spike trains drawn from one seed, and sparse recurrence, 500 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.helpers import run_table, table

N, MODEL_MS, APART = 20, 500, 16


@dataclass(frozen=True)
class Case:
    """`brian_dt_ms`: Brian2's step; where it is finer than ours, its spikes stand between our steps.
    `why`: what explains a difference above one step."""

    name: str
    config: str
    brian_dt_ms: float
    why: str
    nest: str | None = "nest_reference"


def trains(rate_hz: float, seed: int = 1) -> str:
    rng = np.random.default_rng(seed)
    text = ""
    for n in range(2 * N):
        steps = np.unique(rng.integers(1, MODEL_MS * 10 - 40, rng.poisson(rate_hz * MODEL_MS / 1000)))
        # None while another is under way: Brian2's synapses remember one weight that was sent, not several.
        steps = steps[np.diff(steps, prepend=-APART) >= APART]
        text += table("sources", id=f"x.{n}", kind="spikes",
                      times="[" + ", ".join(f'"{step / 10} ms"' for step in steps) + "]")  # fmt: skip
    return text


def case(
    name: str,
    model: str,
    params: str,
    weights: tuple[str, str, str],
    rate_hz: float,
    brian_dt_ms: float,
    why: str,
    synapse: str = "",
    extra: str = "",
    nest: str | None = "nest_reference",
    **run: str,
) -> Case:
    """`weights`: exciting, inhibiting, recurrent. `synapse`: type and its params, for the exciting trains."""
    plastic: dict[str, object] = {}
    if synapse:
        kind, _, given = synapse.partition(" ")
        plastic = {"synapse": kind, "params": given}
    text = run_table(seed=1, **run) + table("groups", id="n", count=N, model=model, params=params)
    text += trains(rate_hz)
    for n in range(N):
        text += table(
            "synapses", pre=f"x.{2 * n}", post=f"n.{n}", weight=weights[0], delay="1.5 ms", **plastic
        )
        text += table("synapses", pre=f"x.{2 * n + 1}", post=f"n.{n}", weight=weights[1], delay="1 ms")
    text += table("synapses", pre="n", post="n", rule="fixed_probability", probability=0.1, weight=weights[2],
                  delay='{ uniform = ["1 ms", "3 ms"] }')  # fmt: skip
    return Case(name, text + extra, brian_dt_ms, why, nest)


RING = "".join(table("electrical", a=f"n.{n}", b=f"n.{(n + 1) % N}", conductance="0.5 nS") for n in range(N))
FINE = "Brian2 steps ten times as fine, and a spike acts when it happens, not at the end of our step"
CASES = [
    case("conductance LIF", "nodes.lif_cond",
         '{ tau_syn_ex = "2 ms", I_e = { uniform = ["180 pA", "300 pA"] } }', ("1.5 nS", "-1 nS", "0.2 nS"),
         400, 0.1, "Runge-Kutta of fourth order at a fixed step against adaptive steps"),
    case("AdEx", "nodes.adex", '{ tau_syn_ex = "2 ms", I_e = { uniform = ["500 pA", "900 pA"] } }',
         ("2 nS", "-2 nS", "0.2 nS"), 300, 0.01, FINE),
    case("Hodgkin-Huxley", "nodes.hodgkin_huxley", '{ I_e = { uniform = ["300 pA", "900 pA"] } }',
         ("100 pA", "-50 pA", "10 pA"), 200, 0.01, FINE),
    case("gap junctions", "nodes.hodgkin_huxley", '{ I_e = { uniform = ["300 pA", "900 pA"] } }',
         ("100 pA", "-50 pA", "0 pA"), 200, 0.01,
         "partners follow a potential on a line that is off by 0.01 mV at most; Brian2 has it at each step",
         extra=RING, nest=None, potential_delay="0.1 ms", junction_delta="0.01 mV"),
    case("STDP", "nodes.lif", '{ I_e = { uniform = ["300 pA", "400 pA"] } }', ("300 pA", "-100 pA", "20 pA"),
         60, 0.1, "order of summation", 'nodes.stdp { W_max = "600 pA", lambda_ = 0.05, alpha = 1.1 }'),
    case("Tsodyks-Markram", "nodes.lif", '{ tau_syn_ex = "3 ms", I_e = { uniform = ["300 pA", "400 pA"] } }',
         ("600 pA", "-100 pA", "20 pA"), 60, 0.1, "order of summation",
         'nodes.tsodyks { U = 0.3, tau_psc = "3 ms", tau_rec = "200 ms", tau_fac = "100 ms" }'),
]  # fmt: skip
