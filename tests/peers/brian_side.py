"""A network of `cases` in Brian2, in an environment of its own: `python brian_side.py NETWORK.npz`.

Prints `[[ms, neuron], …]` as JSON, each spike at the end of the step it was found in. Nothing of neurobus is
imported: the equations are written anew, in Brian2's notation. Brian2 says when a step begins, counts
refractoriness from there, and lets spikes act after the integration of a step; hence the shifts by one step.
"""

# ruff: noqa: E501 - an equation stands on a line
import json
import sys
import time

import brian2 as b
import numpy as np

given = np.load(sys.argv[1], allow_pickle=False)
model, h = str(given["model"]), float(given["brian_dt_ms"])
p = {key[2:]: given[key] for key in given.files if key.startswith("p_")}
b.prefs.codegen.target = "numpy"
b.defaultclock.dt = h * b.ms

SYNAPSES = """
dg_ex/dt = -g_ex / (tau_syn_ex * ms) : 1
dg_in/dt = -g_in / (tau_syn_in * ms) : 1
"""
ALPHA = """
dd_ex/dt = -d_ex / (tau_syn_ex * ms) : 1
dg_ex/dt = (d_ex - g_ex / tau_syn_ex) / ms : 1
dd_in/dt = -d_in / (tau_syn_in * ms) : 1
dg_in/dt = (d_in - g_in / tau_syn_in) / ms : 1
"""
MODELS = {
    "nodes.lif": (
        "dV/dt = (E_L - V) / (tau_m * ms) + (g_ex + g_in + I_e) / (C_m * ms) : 1 (unless refractory)" + SYNAPSES,
        "V >= V_th", "V = V_reset", "exact", "g_ex_post += w", "g_in_post += w"),
    "nodes.lif_cond": (
        "dV/dt = (-g_L * (V - E_L) - g_ex * (V - E_ex) - g_in * (V - E_in) + I_e) / (C_m * ms) : 1 (unless refractory)"
        + SYNAPSES, "V >= V_th", "V = V_reset", "rk4", "g_ex_post += w", "g_in_post -= w"),
    "nodes.adex": (
        """dV/dt = (-g_L * (below - E_L) + g_L * Delta_T * exp((below - V_T) / Delta_T) - w_a
                    - g_ex * (below - E_ex) - g_in * (below - E_in) + I_e) / (C * ms) : 1
           dw_a/dt = (a * (below - E_L) - w_a) / (tau_w * ms) : 1
           below = clip(V, -1000, V_peak) : 1""" + SYNAPSES,
        "V >= V_peak", "V = V_r; w_a += b", "rk4", "g_ex_post += w", "g_in_post -= w"),
    "nodes.hodgkin_huxley": (
        """dV/dt = (-g_Na * m**3 * H * (V - E_Na) - g_K * n**4 * (V - E_K) - g_L * (V - E_L) + g_ex + g_in + I_e
                    + I_gap) / (C * ms) : 1
           dm/dt = (0.1 * (V + 40) / (1 - exp(-(V + 40) / 10)) * (1 - m) - 4 * exp(-(V + 65) / 18) * m) / ms : 1
           dH/dt = (0.07 * exp(-(V + 65) / 20) * (1 - H) - H / (1 + exp(-(V + 35) / 10))) / ms : 1
           dn/dt = (0.01 * (V + 55) / (1 - exp(-(V + 55) / 10)) * (1 - n) - 0.125 * exp(-(V + 65) / 80) * n) / ms : 1
           I_gap : 1
           falling = V < V_before : boolean
           V_before : 1
           quiet_until : second""" + ALPHA,
        "V >= 0 and falling and t >= quiet_until", "quiet_until = t + t_ref * ms + dt", "rk4",
        "d_ex_post += w * exp(1) / tau_syn_ex_post", "d_in_post += w * exp(1) / tau_syn_in_post"),
}  # fmt: skip

equations, threshold, reset, method, excite, inhibit = MODELS[model]
used = [name for name in p if name not in ("V_m", "w_0", "tol")]
equations += "".join(f"\n{name} : 1 (constant)" for name in used)
refractory = "t_ref * ms + dt" if model in ("nodes.lif", "nodes.lif_cond") else False
n = len(p["V_m"])
cells = b.NeuronGroup(n, equations, threshold=threshold, reset=reset, method=method, refractory=refractory)
for name in used:
    setattr(cells, name, p[name])
cells.V = p["V_m"]
parts = [cells]
if model == "nodes.hodgkin_huxley":
    V = p["V_m"]
    rates = {"m": (0.1 * (V + 40) / (1 - np.exp(-(V + 40) / 10)), 4 * np.exp(-(V + 65) / 18)),
             "H": (0.07 * np.exp(-(V + 65) / 20), 1 / (1 + np.exp(-(V + 35) / 10))),
             "n": (0.01 * (V + 55) / (1 - np.exp(-(V + 55) / 10)), 0.125 * np.exp(-(V + 65) / 80))}  # fmt: skip
    for gate, (alpha, beta) in rates.items():
        setattr(cells, gate, alpha / (alpha + beta))
    cells.V_before = V
    parts.append(cells.run_regularly("V_before = V", when="before_groups"))

sources = b.SpikeGeneratorGroup(int(given["sources"]), given["spike_i"], (given["spike_ms"] - h) * b.ms)
parts.append(sources)


def join(origin, first, chosen, on_pre, **more):
    """Synapses `chosen` whose sources are neurons of `origin`, which begin at index `first`."""
    if not chosen.any():
        return None
    pathways = on_pre if isinstance(on_pre, dict) else {"pre": on_pre}
    made = b.Synapses(origin, cells, more.pop("model", "w : 1"), on_pre=pathways, **more)
    made.connect(i=given["pre"][chosen] - first, j=given["post"][chosen])
    made.w = given["weight"][chosen]
    for name in pathways:
        if name != "plastic":
            getattr(made, name).delay = given["delay_ms"][chosen] * b.ms
    parts.append(made)
    return made


plain = ~given["typed"]
inside = given["pre"] < n
for chosen, effect in ((given["weight"] >= 0, excite), (given["weight"] < 0, inhibit)):
    join(cells, 0, chosen & plain & inside, effect)
    join(sources, n, chosen & plain & ~inside, effect)
kind = str(given["kind"])
q = {key[2:]: float(given[key]) for key in given.files if key.startswith("q_")}
if kind == "nodes.stdp":
    # The weight is updated when the spike is sent, and what was sent acts a delay later; a spike of the
    # neuron reaches the synapse a delay later.
    made = join(
        sources, n, given["typed"],
        {"plastic": """w = clip(w / W_max - alpha * lambda_ * (w / W_max)**mu_minus * K_minus, 0, 1) * W_max
                       K_plus += 1
                       sent = w""",
         "pre": "g_ex_post += sent"},
        model="""w : 1
                 sent : 1
                 dK_plus/dt = -K_plus / (tau_plus * ms) : 1 (event-driven)
                 dK_minus/dt = -K_minus / (tau_minus * ms) : 1 (event-driven)""",
        on_post={"up": "w = clip(w / W_max + lambda_ * (1 - w / W_max)**mu_plus * K_plus, 0, 1) * W_max",
                 "trace": "K_minus += 1"}, namespace=q)  # fmt: skip
    # Of what is simultaneous: potentiation, then depression by earlier spikes only, then the trace.
    for name, order in (("up", -2), ("trace", 1)):  # on_pre has -1
        getattr(made, name).order = order
        getattr(made, name).delay = given["delay_ms"][given["typed"]] * b.ms
elif kind == "nodes.tsodyks":
    made = join(
        sources, n, given["typed"],
        {"plastic": """u += U * (1 - u)
                       sent = u * x * w
                       y += u * x
                       x -= u * x""",
         "pre": "g_ex_post += sent"},
        model="""w : 1
                 sent : 1
                 dx/dt = (1 - x - y) / (tau_rec * ms) : 1 (clock-driven)
                 dy/dt = -y / (tau_psc * ms) : 1 (clock-driven)
                 du/dt = -u / (tau_fac * ms) : 1 (clock-driven)""",
        method="exact", namespace=q)  # fmt: skip
    made.x = 1
if len(given["gap_a"]):
    gap = b.Synapses(cells, cells, "g : 1\nI_gap_post = g * (V_pre - V_post) : 1 (summed)")
    a, c = given["gap_a"], given["gap_b"]
    gap.connect(i=np.concatenate([a, c]), j=np.concatenate([c, a]))
    gap.g = np.concatenate([given["gap_ns"], given["gap_ns"]])
    parts.append(gap)
spikes = b.SpikeMonitor(cells)
network = b.Network(*parts, spikes)
if "timed" in given.files:  # by the bench: what a millisecond takes, once all is compiled
    network.run(20 * b.ms)
    begun = time.perf_counter()
    network.run(float(given["model_ms"]) * b.ms)
    print(json.dumps({"us_per_ms": (time.perf_counter() - begun) * 1e6 / float(given["model_ms"])}))
    sys.exit()
network.run(float(given["model_ms"]) * b.ms)
found = zip((np.asarray(spikes.t / b.ms) + h).tolist(), np.asarray(spikes.i).tolist(), strict=True)
print(json.dumps([[round(t, 4), i] for t, i in found]))
