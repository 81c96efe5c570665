"""What every model's `step` is wrapped in, and its compilation to machine code by numba.

Grid semantics (NEST's): update k takes the state from step k to k + 1; a spike found in it is stamped
s = k + 1; with a delay of d steps it acts in update s + d - 1.

Order of summation. Spikes wait in `keys` (int64 `stamp << 32 | source`, ascending) and are poured into
the ring in update stamp + min_delay - 1, the first at which they could act. By then every spike of that
stamp is known, so each ring slot sums in the order (stamp, source) whatever messages brought them:
the same bits for any packing, scheduling or number of hosts.

Synapses with memory (`stateful_synapses`) act through their hooks (`kernel.synapse_codegen`), in update stamp
+ delay - 1 itself, in order (stamp, source, declaration), after the static ones. Their keys are kept until
the longest delay is over; how far each delay has got among the keys follows from k alone, so there is no such
state to save. A late spike is stamped anew, to the first stamp that is still in time.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from types import FunctionType
from typing import Any

import msgpack
import numba
import numpy as np
from numba import carray, int64, njit, uint64, void  # type: ignore[attr-defined]

from neurobus import streams
from neurobus.model import MOST_PER_STEP, Model
from neurobus.node.kernel import bus_io, synapse_codegen
from neurobus.node.kernel import layout as T
from neurobus.node.kernel.lookahead import line, slope_through
from neurobus.node.kernel.memory import BARE, TABLE, helper, table_at, view, view2
from neurobus.node.sealed import KERNEL, seal

TINY = 1e-30
"""States smaller than this become zero at every 1024th step, so that a decaying neuron comes to rest
instead of crawling through denormal numbers. Far below half an ulp of any sum that decides a spike."""


COUNTER, SMALLEST_P = streams.COUNTER, 2.0**-60
mixed = helper(streams.mixed)


@helper
def poisson_count(key, k, mean, p0):  # type: ignore[no-untyped-def]
    """Number of arrivals in update k: inversion of the Poisson distribution, p0 = exp(-mean), by the word of
    update k. It ends where doubles cannot tell the sum from 1."""
    u = (mixed(key ^ (uint64(k) * COUNTER)) >> uint64(11)) * (1.0 / 9007199254740992.0)
    n, p = 0, p0
    total = p
    while u >= total and (n < mean or p > SMALLEST_P):
        n += 1
        p *= mean / n
        total += p
    return n


@helper
def transferred(kind, threshold, slope, v):  # type: ignore[no-untyped-def]
    """What acts when the other side is at v: v itself across a junction, f(v) at a graded synapse."""
    if kind == 0.0:
        return v
    u = (v - threshold) / slope
    if kind == 1.0:
        return u
    return max(u, 0.0) if kind == 2.0 else 1.0 / (1.0 + math.exp(-u))


def jitted(function: Any, made: dict[Any, Any] | None = None) -> Any:
    """A plain function, and the plain functions it calls, as numba compiles them."""
    made = {} if made is None else made
    if not isinstance(function, FunctionType):
        return function
    if function not in made:
        names = dict(function.__globals__)
        made[function] = function
        for name in function.__code__.co_names:
            if isinstance(names.get(name), FunctionType):
                names[name] = jitted(names[name], made)
        code, defaults = function.__code__, function.__defaults__
        plain = FunctionType(code, names, function.__name__, defaults, function.__closure__)
        made[function] = njit(error_model="numpy")(plain)
    return made[function]


def entrance(name: str, model: type[Model], synapses: tuple[str, ...] = ()) -> Any:
    """A model's own code, with synapses of these types: what `lookahead` calls by its address."""
    step = jitted(model.step)
    owns, several = model.arrive is not None, model.several
    remembers = owns or bool(synapses)
    by_sign = model.by_sign and len(model.receptors) > 1
    memory = synapse_codegen.compiled(name, model, synapses, jitted)
    begin, act, rest_of_keys, owned_step = (
        memory[part] for part in ("begin", "act", "rest_of_keys", "owned_step")
    )
    fire, settle = memory["fire"], memory["settle"]
    fires, settles = fire is not None, settle is not None

    # With signatures given, or numba compiles each once for every constant it is called with.
    @njit(void(TABLE, *[int64] * 9), **BARE)
    def advance(t, state, k0, k1, stop, at_key, at_plan, at_sample, n_out, n_mv):  # type: ignore[no-untyped-def]
        """`lookahead.run_state`: run the state at an address from step k0 to k1, or if `stop` to its first
        emission; `last`, `n_out`, `run_at_key` … tell of it."""
        K, n_states, n_rec, slots = t.n_neurons, t.n_states, t.n_receptors, t.slots
        n_gaps, potential, n_watched, n_noisy = t.n_gaps, t.potential, t.n_watched, t.n_noisy
        n_keys, n_plan, n_samples = t.n_keys, t.n_plan, t.n_samples
        lag, lag_mv, interval, n_own = t.lag, t.lag_mv, t.interval, t.n_own
        keys, row = carray(t.keys, n_keys), carray(t.row, t.n_sources + 1)
        syn_target, syn_delay = carray(t.target, t.n_synapses), carray(t.delay, t.n_synapses)
        syn_weight = carray(t.weight, t.n_synapses)
        constants, key, fired = carray(t.constants, (t.n_constants, K)), carray(t.key, K), carray(t.fired, K)
        plan_step, plan_what = carray(t.plan_step, n_plan), carray(t.plan_what, n_plan)
        plan_target, plan_value = carray(t.plan_target, n_plan), carray(t.plan_value, n_plan)
        sample_keys, sample_mv = carray(t.sample_keys, n_samples), carray(t.sample_mv, n_samples)
        gap_row, gap_of = carray(t.gap_row, t.n_sources + 1), carray(t.gap_of, n_gaps)
        gap_at, gap_to, gap_ns = carray(t.gap_at, K + 1), carray(t.gap_to, n_gaps), carray(t.gap_ns, n_gaps)
        gap_f, gap_mv = carray(t.gap_f, (5, n_gaps)), carray(t.gap_mv, n_gaps)
        delta, gap_delta = carray(t.delta, K), carray(t.gap_delta, K)
        watched, zero, peak = carray(t.watched, n_watched), carray(t.zero, K), carray(t.peak, K)
        noise, noise_key = carray(t.noise, (2, n_noisy)), carray(t.noise_key, K)
        noise_weight, index = carray(t.noise_weight, K), carray(t.index, K)
        out = carray(t.out, t.out_steps * K * t.most_per_step)
        out_sample, out_mv = carray(t.out_sample, 1 << 40), carray(t.out_mv, 1 << 40)

        width = n_rec * K
        s = view2(state, n_states, K, np.float64)
        ring, own = state + t.ring_at, state + t.synapses_at
        ring_at = view(ring, slots * width, np.float64)
        electrode = view(state + t.electrode_at, K, np.float64)
        current = view(state + t.current_at, K, np.float64)
        sent_mv = view(state + t.sent_mv_at, K, np.float64)
        sent_step = view(state + t.sent_step_at, K, np.float64)
        sent_slope = view(state + t.sent_slope_at, K, np.float64)
        sent_far = view(state + t.sent_far_at, K, np.float64)
        gap_sum = view(state + t.gap_sum_at, K, np.float64)
        gap_total = view(state + t.gap_total_at, K, np.float64)
        gap_value = view(state + t.gap_value_at, n_gaps, np.float64)
        gap_slope = view(state + t.gap_slope_at, n_gaps, np.float64)
        gap_stamp = view(state + t.gap_stamp_at, n_gaps, np.float64)
        gap_far = view(state + t.gap_far_at, n_gaps, np.float64)
        own_line = view(state + t.own_line_at, K * n_own, np.float64)
        mask = slots - 1
        delivered, n_out0, n_mv0 = 0, n_out, n_mv
        k = k0
        first_key = at_key
        due = 1 << 40
        if remembers:
            due = begin(t, k, at_key)
            while at_key < n_keys and (keys[at_key] >> 32) < k - lag:
                at_key += 1
        while k < k1:
            at = (k & mask) * width
            while at_key < n_keys and (keys[at_key] >> 32) <= k - lag:
                stamp = keys[at_key] >> 32
                source = keys[at_key] & 0xFFFFFFFF
                for j in range(row[source], row[source + 1]):
                    slot = max(stamp + syn_delay[j] - 1, k) & mask
                    ring_at[slot * width + syn_target[j]] += syn_weight[j]
                delivered += row[source + 1] - row[source]
                at_key += 1
            if remembers and k >= due:
                due = act(t, own, ring + 8 * at, state, k)
            while at_plan < n_plan and plan_step[at_plan] <= k:
                if plan_what[at_plan] == 0:
                    electrode[plan_target[at_plan]] += plan_value[at_plan]
                else:
                    ring_at[at + plan_target[at_plan]] += plan_value[at_plan]
                at_plan += 1
            if n_noisy:
                for i in range(K):
                    if noise[0, i] > 0.0:
                        arrivals = poisson_count(noise_key[i], k, noise[0, i], noise[1, i])
                        w = noise_weight[i]
                        ring_at[at + (K if by_sign and w < 0.0 else 0) + i] += arrivals * w
            x = view2(ring + 8 * at, n_rec, K, np.float64)
            if n_gaps:
                while at_sample < n_samples and (sample_keys[at_sample] >> 32) <= k - lag_mv:
                    stamp, source = sample_keys[at_sample] >> 32, sample_keys[at_sample] & 0xFFFFFFFF
                    v = sample_mv[at_sample]
                    for m in range(gap_row[source], gap_row[source + 1]):
                        j = gap_of[m]
                        if gap_f[0, j] == 0.0:
                            span = stamp - gap_stamp[j]
                            gap_slope[j] = slope_through(gap_value[j], v, span, gap_f[4, j])
                            gap_value[j], gap_stamp[j], gap_far[j] = v, stamp, span + lag_mv + 0.5
                            continue
                        gap_value[j] = transferred(gap_f[0, j], gap_f[1, j], gap_f[2, j], v)
                        gap_sum[gap_to[j]] = np.nan
                    at_sample += 1
                for i in range(K):
                    if gap_sum[i] != gap_sum[i]:
                        # summed afresh, in one order: a running difference would drift with its history
                        gap_sum[i] = gap_total[i] = 0.0
                        for j in range(gap_at[i], gap_at[i + 1]):
                            if gap_f[0, j] == 0.0:
                                continue
                            acts = gap_ns[j] * gap_value[j]
                            if gap_mv[j] == gap_mv[j]:
                                gap_total[i] += acts
                                acts *= gap_mv[j]
                            gap_sum[i] += acts
                    v = s[potential, i] + zero[i]
                    across = 0.0
                    if gap_delta[i] < np.inf:
                        # Own line and partner's, both as told: cells that are alike pass no current. What V
                        # is off its own line damps, so that a pair comes to rest whatever the conductance.
                        here = own_line[i * n_own + k % n_own]
                        # Relative to `zero`, as the state is: an ulp of absolute mV would be felt for ever.
                        told_mv = line(sent_mv[i], sent_slope[i], k - sent_step[i], sent_far[i])
                        off = s[potential, i] - (told_mv - zero[i])
                        if not abs(off) <= gap_delta[i]:
                            off = 0.0
                        for j in range(gap_at[i], gap_at[i + 1]):
                            if gap_f[0, j] == 0.0:
                                there = line(gap_value[j], gap_slope[j], k + 0.5 - gap_stamp[j], gap_far[j])
                                across += gap_ns[j] * (there - here - off)
                    current[i] = electrode[i] + (gap_sum[i] - gap_total[i] * v) + across
                if owns:
                    hits = owned_step(t, own, k, s, constants, x, current, key, fired)
                else:
                    hits = step(k, s, constants, x, current, key, fired)
            elif owns:
                hits = owned_step(t, own, k, s, constants, x, electrode, key, fired)
            else:
                hits = step(k, s, constants, x, electrode, key, fired)
            for i in range(width):
                ring_at[at + i] = 0.0
            k += 1
            if k & 1023 == 0:
                for j in range(n_states):
                    for i in range(K):
                        if abs(s[j, i]) < TINY:
                            s[j, i] = 0.0
            if hits:
                for i in range(K):
                    n_spikes = fired[i] if several else min(fired[i], 1)
                    if n_spikes > MOST_PER_STEP:
                        t.failed, n_spikes = T.TOO_MANY, 1
                    for _ in range(n_spikes):
                        out[n_out] = (k << 32) | index[i]
                        n_out += 1
                        if fires:
                            fire(t, own, i, k)
            for w in range(n_watched):
                i = watched[w]
                v = s[potential, i] + zero[i]
                coupled, told = gap_delta[i] < np.inf, fired[i] != 0
                if told:
                    v = peak[i] if peak[i] == peak[i] else v
                else:
                    young = k - sent_step[i] < interval
                    told = not (abs(v - sent_mv[i]) <= delta[i] or young)
                    if coupled and not (told or (young and sent_mv[i] == peak[i])):
                        taken = line(sent_mv[i], sent_slope[i], k - sent_step[i], sent_far[i])
                        told = abs(v - taken) > gap_delta[i]
                if told:
                    if coupled:
                        span = k - sent_step[i]
                        sent_slope[i] = slope_through(sent_mv[i], v, span, peak[i])
                        sent_far[i] = span + lag_mv + 0.5
                    sent_mv[i], sent_step[i] = v, k
                    out_sample[n_mv] = (k << 32) | index[i]
                    out_mv[n_mv] = v
                    n_mv += 1
                if coupled:
                    since = k + lag_mv + 0.5 - sent_step[i]
                    at_line = i * n_own + (k + lag_mv) % n_own
                    own_line[at_line] = line(sent_mv[i], sent_slope[i], since, sent_far[i])
            if stop and (n_out > n_out0 or n_mv > n_mv0):
                break
        if remembers:
            delivered += rest_of_keys(t)
            at_key = max(first_key, min(at_key, t.run_at_key))
        t.last, t.n_out, t.n_mv = k, n_out, n_mv
        t.run_at_key, t.run_at_plan, t.run_at_sample = at_key, at_plan, at_sample
        t.run_deliveries = delivered

    @njit(void(*[int64] * 11), **BARE)
    def run(table, operation, state, k0, k1, stop, at_key, at_plan, at_sample, n_out, n_mv):  # type: ignore[no-untyped-def]
        """MODEL_RUN: `advance`. MODEL_SETTLE: `settle` the synapses of the state at an address at step k0;
        k1: bring their weights to then."""
        t = table_at(table)
        if operation == T.MODEL_RUN:
            advance(t, state, k0, k1, stop, at_key, at_plan, at_sample, n_out, n_mv)
        elif settles and operation == T.MODEL_SETTLE:
            settle(t, state + t.synapses_at, k0, k1)

    return run


def compile_model(path: Path, name: str, model: type[Model], synapses: tuple[str, ...] = ()) -> None:
    """Compile a model with synapses of these types, and write its object file, atomically.

    Raises what numba raises.
    """
    write(path, name, entrance(name, model, synapses))


def compile_common(path: Path) -> None:
    """Compile what all models have in common, and write its object file, atomically."""
    write(path, "all models", bus_io.entrance())


def write(path: Path, name: str, function: Any) -> None:
    (compiled,) = function.overloads.values()
    functions = compiled.library._final_module.functions
    declared = {function.name for function in functions if function.is_declaration}
    code = {
        "model": name,
        "numba": numba.__version__,
        "symbol": compiled.fndesc.llvm_func_name,
        "object": bytes(compiled.library._get_compiled_object()),
        "helpers": sorted(one for one in declared if one.startswith(("NRT_", "numba_"))),
    }
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    scratch.write_bytes(seal(KERNEL, msgpack.packb(code)))
    scratch.replace(path)


def provide_helpers() -> None:
    """Make the helper functions of numba's runtime known to LLVM."""
    from numba.core.registry import cpu_target

    cpu_target.target_context.refresh()
