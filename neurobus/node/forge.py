"""The forge: what every model's `step` is wrapped in, and its compilation to machine code by numba.

Grid semantics (NEST's): update k takes the state from step k to k + 1; a spike found in it is stamped
s = k + 1; with a delay of d steps it acts in update s + d - 1.

Order of summation. Spikes wait in `keys` (int64 `stamp << 32 | source`, ascending) and are poured into
the ring in update stamp + min_delay - 1, the first at which they could act. By then every spike of that
stamp is known, so each ring slot sums in the order (stamp, source) whatever messages brought them:
the same bits for any packing, scheduling or number of hosts.

Synapses with memory (`neurobus.owned`) act through their hooks (`neurobus.node.hooks`), in update stamp +
delay - 1 itself, in the order (stamp, source, declaration), after the static ones. Their keys are kept until
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
from llvmlite import ir
from numba import carray, njit, types, uint64  # type: ignore[attr-defined]
from numba.core import cgutils
from numba.extending import intrinsic

from neurobus.model import Model
from neurobus.node import hooks
from neurobus.node import table as T
from neurobus.node.cache import cache_dir

# Beside the kernels: where one process at a time compiles, one at a time writes here.
_config: Any = numba.config
_config.CACHE_DIR = _config.CACHE_DIR or str(cache_dir() / "numba")

TINY = 1e-30
"""States smaller than this become zero at every 1024th step, so that a decaying neuron comes to rest
instead of crawling through denormal numbers. Far below half an ulp of any sum that decides a spike."""


BARE: Any = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Options of functions that only other compiled functions call."""


def helper(function: Any) -> Any:
    """Compile a function that all kernels share; numba keeps it on disk, which saves a third of the time."""
    return njit(cache=True, **BARE)(function)


@helper
def mixed(x):  # type: ignore[no-untyped-def]
    """splitmix64, as `neurobus.model.splitmix64`."""
    x = x + uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> uint64(27))) * uint64(0x94D049BB133111EB)
    return x ^ (x >> uint64(31))


@helper
def poisson_count(key, k, mean, p0):  # type: ignore[no-untyped-def]
    """Number of arrivals in update k: inversion of the Poisson distribution, p0 = exp(-mean)."""
    u = (mixed(key ^ (uint64(k) * uint64(0xD1B54A32D192ED03))) >> uint64(11)) * (1.0 / 9007199254740992.0)
    n, p = 0, p0
    total = p
    while u >= total and n < 1000:
        n += 1
        p *= mean / n
        total += p
    return n


@intrinsic
def _pointer(typingctx, address):  # type: ignore[no-untyped-def]
    def cast(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), cast


def _outside(results_pointer: bool, *narrow: int) -> Any:
    """A function that calls one of C at an address, with three or four integers or pointers; those at the
    places `narrow` are C ints, and so is the result unless it is a pointer."""

    @intrinsic
    def call(typingctx, address, a, b, c, d):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            wide, short = ir.IntType(64), ir.IntType(32)
            kinds = [short if place in narrow else wide for place in range(4)]
            given = [
                builder.trunc(one, kind) if kind is short else one
                for one, kind in zip(arguments[1:], kinds, strict=True)
            ]
            kind = ir.FunctionType(wide if results_pointer else short, kinds)
            result = builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), given)
            return result if results_pointer else builder.sext(result, wide)

        return types.int64(*[types.int64] * 5), generate

    return call


_msg_recv, _msg_data, _send = _outside(False, 2, 3), _outside(True), _outside(False, 3)


@helper
def view(address, n, dtype):  # type: ignore[no-untyped-def]
    """The array of `n` items at an address. Its owner must live."""
    return carray(_pointer(address), n, dtype)  # type: ignore[call-arg]


@helper
def view2(address, n, m, dtype):  # type: ignore[no-untyped-def]
    return carray(_pointer(address), (n, m), dtype)  # type: ignore[call-arg]


@helper
def big_endian(p, at, n):  # type: ignore[no-untyped-def]
    """The integer in `n` bytes at place `at`."""
    value = 0
    for i in range(n):
        value = value << 8 | p[at + i]
    return value


@helper
def to_big_endian(p, at, n, value):  # type: ignore[no-untyped-def]
    for i in range(n):
        p[at + n - 1 - i] = value & 0xFF
        value >>= 8


@helper
def state_size(t):  # type: ignore[no-untyped-def]
    """Numbers in the state of a core, without those of its synapses, which come behind it."""
    K = t[T.N_NEURONS]
    return t[T.SLOTS] * t[T.N_RECEPTORS] * K + (t[T.N_STATES] + 5) * K + t[T.N_GAPS]


@helper
def look_length(length, new):  # type: ignore[no-untyped-def]
    """How far to look after a duty with or without new inputs, if it was `length` before: see `Core.duty`."""
    if not new:
        return min(max(length, T.SHORTEST_LOOK) * 4, T.LONGEST_LOOK)
    length //= 2
    return length if length >= T.SHORTEST_LOOK else 0


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
    """The function behind `neurobus.node.kernels.Kernel` for a model with synapses of these types."""
    step = jitted(model.step)
    owns = model.arrive is not None
    remembers = owns or bool(synapses)
    by_sign = model.by_sign and len(model.receptors) > 1
    memory = hooks.compiled(name, model, synapses, jitted, view, view2)
    begin, act, rest_of_keys, owned_step = (
        memory[part] for part in ("begin", "act", "rest_of_keys", "owned_step")
    )
    fire, settle = memory["fire"], memory["settle"]
    fires, settles = fire is not None, settle is not None

    # With signatures given, or numba compiles each once for every constant it is called with.
    @njit(f"void(int64[::1]{9 * ', int64'})", **BARE)
    def advance(t, state, k0, k1, stop, at_key, at_plan, at_sample, n_out, n_mv):  # type: ignore[no-untyped-def]
        """Run the state at an address from step k0 to k1, or to the first emission; `T.LAST` … tell of it."""
        K, n_states, n_rec, slots = t[T.N_NEURONS], t[T.N_STATES], t[T.N_RECEPTORS], t[T.SLOTS]
        n_gaps, potential, n_watched, n_noisy = t[T.N_GAPS], t[T.POTENTIAL], t[T.N_WATCHED], t[T.N_NOISY]
        n_keys, n_plan, n_samples, lag, interval = (
            t[T.N_KEYS],
            t[T.N_PLAN],
            t[T.N_SAMPLES],
            t[T.LAG],
            t[T.INTERVAL],
        )
        n_sources, n_synapses = t[T.N_SOURCES], t[T.N_SYNAPSES]
        a = t[T.SCALARS :]
        keys = view(a[0], n_keys, np.int64)
        constants = view2(a[3], t[T.N_CONSTANTS], K, np.float64)
        delta = view(a[4], K, np.float64)
        key, fired = view(a[5], K, np.uint64), view(a[6], K, np.uint8)
        row = view(a[7], n_sources + 1, np.int64)
        syn_target, syn_delay = view(a[8], n_synapses, np.int32), view(a[9], n_synapses, np.int32)
        syn_weight = view(a[10], n_synapses, np.float64)
        plan_k, plan_what = view(a[11], n_plan, np.int64), view(a[12], n_plan, np.uint8)
        plan_i, plan_value = view(a[13], n_plan, np.int32), view(a[14], n_plan, np.float64)
        sample_keys, sample_mv = view(a[15], n_samples, np.int64), view(a[16], n_samples, np.float64)
        gap_row, gap_of = view(a[17], n_sources + 1, np.int64), view(a[18], n_gaps, np.int32)
        gap_at, gap_ns = view(a[19], K + 1, np.int64), view(a[20], n_gaps, np.float64)
        gap_to, gap_f = view(a[T.GAP_TO], n_gaps, np.int32), view2(a[T.GAP_F], 4, n_gaps, np.float64)
        gap_total, watched = view(a[21], K, np.float64), view(a[22], n_watched, np.int32)
        zero, peak = view(a[23], K, np.float64), view(a[24], K, np.float64)
        noise_mean, noise_p0 = view(a[25], n_noisy, np.float64), view(a[26], K, np.float64)
        noise_weight, index = view(a[27], K, np.float64), view(a[28], K, np.int64)
        out, out_sample = view(a[29], t[T.OUT_STEPS] * K, np.int64), view(a[30], 1 << 40, np.int64)
        out_mv = view(a[31], 1 << 40, np.float64)

        # The state, as `Core` lays it out: states, input ring, then what belongs to each neuron and junction.
        width = n_rec * K
        s = view2(state, n_states, K, np.float64)
        ring = state + n_states * K * 8
        b = ring + slots * width * 8
        electrode, gap_sum = view(b, K, np.float64), view(b + 8 * K, K, np.float64)
        v_sent, k_sent = view(b + 16 * K, K, np.float64), view(b + 24 * K, K, np.float64)
        gap_last = view(b + 32 * K, n_gaps, np.float64)
        current = view(b + 32 * K + 8 * n_gaps, K, np.float64)
        mask = slots - 1
        ring_at = view(ring, slots * width, np.float64)
        delivered, n_out0, n_mv0 = 0, n_out, n_mv
        k = k0
        own = b + 40 * K + 8 * n_gaps
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
            while at_plan < n_plan and plan_k[at_plan] <= k:
                if plan_what[at_plan] == 0:
                    electrode[plan_i[at_plan]] += plan_value[at_plan]
                else:
                    ring_at[at + plan_i[at_plan]] += plan_value[at_plan]
                at_plan += 1
            if n_noisy:
                for i in range(K):
                    if noise_mean[i] > 0.0:
                        arrivals = poisson_count(key[i], k, noise_mean[i], noise_p0[i])
                        w = noise_weight[i]
                        ring_at[at + (K if by_sign and w < 0.0 else 0) + i] += arrivals * w
            x = view2(ring + 8 * at, n_rec, K, np.float64)
            if n_gaps:
                while at_sample < n_samples and (sample_keys[at_sample] >> 32) <= k - lag:
                    source = sample_keys[at_sample] & 0xFFFFFFFF
                    v = sample_mv[at_sample]
                    for m in range(gap_row[source], gap_row[source + 1]):
                        j = gap_of[m]
                        gap_last[j] = transferred(gap_f[0, j], gap_f[1, j], gap_f[2, j], v)
                        gap_sum[gap_to[j]] = np.nan
                    at_sample += 1
                for i in range(K):
                    if gap_sum[i] != gap_sum[i]:
                        # summed afresh, in one order: a running difference would drift with its history
                        gap_sum[i] = 0.0
                        for j in range(gap_at[i], gap_at[i + 1]):
                            gap_sum[i] += gap_ns[j] * gap_last[j]
                    current[i] = electrode[i] + (gap_sum[i] - gap_total[i] * (s[potential, i] + zero[i]))
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
                    if fired[i]:
                        out[n_out] = (k << 32) | index[i]
                        n_out += 1
                        if fires:
                            fire(t, own, i, k)
            for w in range(n_watched):
                i = watched[w]
                v = s[potential, i] + zero[i]
                if fired[i]:
                    v = peak[i] if peak[i] == peak[i] else v
                else:
                    if abs(v - v_sent[i]) <= delta[i] or k - k_sent[i] < interval:
                        continue
                v_sent[i] = v
                k_sent[i] = k
                out_sample[n_mv] = (k << 32) | index[i]
                out_mv[n_mv] = v
                n_mv += 1
            if stop and (n_out > n_out0 or n_mv > n_mv0):
                break
        if remembers:
            delivered += rest_of_keys(t)
            at_key = max(first_key, min(at_key, t[T.RUN_AT_KEY]))
        t[T.LAST], t[T.N_OUT], t[T.N_MV] = k, n_out, n_mv
        t[T.RUN_AT_KEY], t[T.RUN_AT_PLAN], t[T.RUN_AT_SAMPLE] = at_key, at_plan, at_sample
        t[T.RUN_DELIVERIES] = delivered

    @njit("void(int64[::1], int64, int64)", **BARE)
    def admit(t, new, n_new):  # type: ignore[no-untyped-def]
        """Sort `n_new` spikes at an address in among those that wait; there is room for them."""
        n_keys, at_key, poured = t[T.N_KEYS], t[T.AT_KEY], t[T.STEP] - t[T.LAG]
        keys, fresh = view(t[T.SCALARS], t[T.ROOM_KEYS], np.int64), view(new, n_new, np.int64)
        if at_key:
            for i in range(at_key, n_keys):
                keys[i - at_key] = keys[i]
            n_keys, at_key = n_keys - at_key, 0
        for j in range(n_new):
            spike = fresh[j]
            if (spike >> 32) < poured:
                t[T.LATE] += 1
                if remembers:
                    spike = poured << 32 | (spike & 0xFFFFFFFF)
            i = n_keys
            while i > 0 and keys[i - 1] > spike:
                keys[i] = keys[i - 1]
                i -= 1
            keys[i] = spike
            n_keys += 1
        t[T.N_KEYS], t[T.AT_KEY] = n_keys, at_key

    @njit("void(int64[::1], int64, int64, int64, int64)", **BARE)
    def duty(t, to, new, n_new, look):  # type: ignore[no-untyped-def]
        """See `neurobus.node.table`: DUTY."""
        k, n_out, n_mv = t[T.STEP], 0, 0
        if n_new:
            admit(t, new, n_new)
        if to > k:
            advance(t, t[T.SCALARS + 1], k, to, 0, t[T.AT_KEY], t[T.AT_PLAN], t[T.AT_SAMPLE], 0, 0)
            n_out, n_mv = t[T.N_OUT], t[T.N_MV]
            t[T.STEP], t[T.AT_KEY], t[T.AT_PLAN] = to, t[T.RUN_AT_KEY], t[T.RUN_AT_PLAN]
            t[T.AT_SAMPLE] = t[T.RUN_AT_SAMPLE]
            t[T.DELIVERIES] += t[T.RUN_DELIVERIES]
        if look > to:
            n = state_size(t) + t[T.N_OWNED]
            buffer, spare = view(t[T.SCALARS + 1], n, np.float64), view(t[T.SCALARS + 2], n, np.float64)
            for i in range(n):
                spare[i] = buffer[i]
            at_key, at_plan, at_sample = t[T.AT_KEY], t[T.AT_PLAN], t[T.AT_SAMPLE]
            advance(t, t[T.SCALARS + 2], to, look, 1, at_key, at_plan, at_sample, n_out, n_mv)
            t[T.ACTS] = t[T.N_OUT] + t[T.N_MV] - n_out - n_mv
            t[T.LOOK_OUT], t[T.LOOK_MV] = t[T.N_OUT], t[T.N_MV]
        t[T.N_OUT], t[T.N_MV] = n_out, n_mv

    @njit("void(int64[::1], int64, int64, int64, int64)", **BARE)
    def serve(t, head, frame, size, answer):  # type: ignore[no-untyped-def]
        """See `neurobus.node.table`: SERVE. The places are those of `neurobus.wire.bus.duty`, `answered`."""
        n = size - head - 36
        t[T.SERVED] = T.OTHER
        p = view(frame + head, max(size - head, 0), np.uint8)
        if n < 0 or n & 7 or p[0] != 0x97 or p[1] != 0xCF or p[10] != 0xCF or p[19] != 0xC6:
            return
        if big_endian(p, 20, 4) != n or p[size - head - 2] != 0xC0 or p[size - head - 1] != 0xC0:
            return
        for i in (24, 29):
            if p[n + i] != 0xC6 or big_endian(p, n + i + 1, 4) != 0:
                return
        number, to, n_new = big_endian(p, 2, 8), big_endian(p, 11, 8), n >> 3
        if number <= t[T.NUMBER]:
            t[T.SERVED] = T.OLD
            return
        if t[T.N_KEYS] + n_new > t[T.ROOM_KEYS] or to - t[T.STEP] >= t[T.OUT_STEPS]:
            return
        t[T.NUMBER] = number
        length = look_length(t[T.LOOK_LENGTH], n_new)
        t[T.LOOK_LENGTH] = length
        look = max(min(to + length, t[T.LIMIT]), to + 1) if length else 0
        duty(t, to, frame + head + 24, n_new, look)
        t[T.SERVED] = T.TELL
        if look == 0:
            next_step = to + 1
        elif t[T.ACTS]:
            next_step = t[T.LAST]
        else:
            next_step = t[T.LAST] + 1
            rests = t[T.AT_KEY] == t[T.N_KEYS] and t[T.AT_PLAN] == t[T.N_PLAN]
            if rests and t[T.AT_SAMPLE] == t[T.N_SAMPLES] and n_new == 0 and t[T.RESTFUL]:
                next_step = 0
        t[T.NEXT] = next_step
        if next_step == 0 or t[T.N_MV]:
            return
        n_out = t[T.N_OUT]
        out = view(t[T.SCALARS + 29], 8 * n_out, np.uint8)
        first = view(t[T.SCALARS + 29], 1, np.int64)[0] >> 32 if n_out else -1
        a = view(answer + t[T.HEAD], 66 + 8 * n_out, np.uint8)
        a[0], a[1], a[10], a[19], a[28], a[37], a[46] = 0x99, 0xCF, 0xCF, 0xCF, 0xD3, 0xCF, 0xC6
        to_big_endian(a, 2, 8, number)
        to_big_endian(a, 11, 8, t[T.EPOCH])
        to_big_endian(a, 20, 8, next_step)
        to_big_endian(a, 29, 8, first)
        to_big_endian(a, 38, 8, t[T.SEQ])
        to_big_endian(a, 47, 4, 8 * n_out)
        for i in range(8 * n_out):
            a[51 + i] = out[i]
        end = 51 + 8 * n_out
        a[end], a[end + 9], a[end + 14] = 0xCF, 0xC6, 0xC6
        to_big_endian(a, end + 1, 8, t[T.SAMPLE_SEQ])
        to_big_endian(a, end + 10, 4, 0)
        to_big_endian(a, end + 15, 4, 0)
        t[T.SEQ] += n_out
        t[T.N_SERVED] += n_out
        t[T.SERVED] = t[T.HEAD] + end + 19

    @njit("void(int64[::1])", **BARE)
    def take(t):  # type: ignore[no-untyped-def]
        """Commit the copy that stands at the first emission of a look, if that is due."""
        if t[T.ACTS] == 0 or t[T.LAST] > t[T.NOW]:
            return
        n = state_size(t) + t[T.N_OWNED]
        buffer, spare = view(t[T.SCALARS + 1], n, np.float64), view(t[T.SCALARS + 2], n, np.float64)
        for i in range(n):
            buffer[i] = spare[i]
        t[T.STEP], t[T.AT_KEY], t[T.AT_PLAN] = t[T.LAST], t[T.RUN_AT_KEY], t[T.RUN_AT_PLAN]
        t[T.AT_SAMPLE] = t[T.RUN_AT_SAMPLE]
        t[T.DELIVERIES] += t[T.RUN_DELIVERIES]
        t[T.N_OUT], t[T.N_MV], t[T.ACTS] = t[T.LOOK_OUT], t[T.LOOK_MV], T.TAKEN

    @njit("int64(int64[::1], int64)", **BARE)
    def still(t, k):  # type: ignore[no-untyped-def]
        """0: the copy at step k is no fixed point, and stands there yet. 1: it is. 2: it was not, and has
        made a step."""
        K, potential, n = t[T.N_NEURONS], t[T.POTENTIAL], state_size(t) + t[T.N_OWNED]
        spare, scratch = view(t[T.SCALARS + 2], n, np.float64), view(t[T.SCALARS + T.SCRATCH], n, np.float64)
        end = (t[T.N_STATES] + t[T.SLOTS] * t[T.N_RECEPTORS]) * K
        for i in range(t[T.N_STATES] * K, end):
            if spare[i] != 0.0:
                return 0
        delta, watched = (
            view(t[T.SCALARS + 4], K, np.float64),
            view(t[T.SCALARS + 22], t[T.N_WATCHED], np.int32),
        )
        zero = view(t[T.SCALARS + 23], K, np.float64)
        for w in range(t[T.N_WATCHED]):
            i = watched[w]
            if abs(spare[potential * K + i] + zero[i] - spare[end + 2 * K + i]) > delta[i]:
                return 0
        for i in range(n):
            scratch[i] = spare[i]
        advance(t, t[T.SCALARS + 2], k, k + 1, 1, t[T.N_KEYS], t[T.N_PLAN], t[T.N_SAMPLES], 0, 0)
        if t[T.N_OUT] or t[T.N_MV]:
            return 2
        for i in range(n):
            if scratch[i] != spare[i]:
                return 2
        return 1

    @njit("void(int64[::1], int64, int64)", **BARE)
    def on(t, soon, end):  # type: ignore[no-untyped-def]
        """See `neurobus.node.table`: ON."""
        n = state_size(t) + t[T.N_OWNED]
        buffer, spare = view(t[T.SCALARS + 1], n, np.float64), view(t[T.SCALARS + 2], n, np.float64)
        for i in range(n):
            spare[i] = buffer[i]
        k, copy = t[T.STEP], t[T.SCALARS + 2]
        advance(t, copy, k, soon, 1, t[T.AT_KEY], t[T.AT_PLAN], t[T.AT_SAMPLE], 0, 0)
        at_key, at_plan, at_sample = t[T.RUN_AT_KEY], t[T.RUN_AT_PLAN], t[T.RUN_AT_SAMPLE]
        delivered, used_up = t[T.RUN_DELIVERIES], at_key == t[T.N_KEYS] and at_plan == t[T.N_PLAN]
        used_up = used_up and at_sample == t[T.N_SAMPLES] and t[T.RESTFUL] != 0
        if not (t[T.N_OUT] or t[T.N_MV]):
            k, found = soon, 0
            if used_up:
                found = still(t, soon)
                k += found == 2
            if found == 1:
                t[T.ACTS], t[T.LAST], t[T.RUN_DELIVERIES] = T.RESTS, soon, delivered
                t[T.N_OUT] = t[T.N_MV] = 0
                return
            if k < end and not (found == 2 and (t[T.N_OUT] or t[T.N_MV])):
                advance(t, copy, k, end, 1, at_key, at_plan, at_sample, 0, 0)
                t[T.RUN_DELIVERIES] += delivered
            else:
                t[T.RUN_DELIVERIES] = delivered
        t[T.ACTS] = t[T.N_OUT] + t[T.N_MV]
        t[T.LOOK_OUT], t[T.LOOK_MV], t[T.N_OUT], t[T.N_MV] = t[T.N_OUT], t[T.N_MV], 0, 0
        take(t)

    @njit("void(int64[::1], int64, int64, int64, int64)", **BARE)
    def converse(t, topic, head, patience, answer):  # type: ignore[no-untyped-def]
        """See `neurobus.node.table`: CONVERSE."""
        mine, silent = view(topic, head, np.uint8), 0
        while True:
            size = _msg_recv(t[T.RECEIVE], t[T.MESSAGE], t[T.DENDRITES], 0, 0)
            if size < 0:
                silent += 1
                if silent >= patience:
                    t[T.SERVED] = T.NOBODY
                    return
                continue
            silent = 0
            frame = _msg_data(t[T.DATA], t[T.MESSAGE], 0, 0, 0)
            t[T.SIZE], t[T.FRAME], t[T.SERVED] = size, frame, T.OTHER
            if size <= head or size > t[T.PLAIN]:
                return
            p = view(frame, head, np.uint8)
            for i in range(head):
                if p[i] != mine[i]:
                    return
            serve(t, head, frame, size, answer)
            served = t[T.SERVED]
            if served == T.OLD:
                continue
            if served <= 0:
                return
            _send(t[T.SEND], t[T.AXON], answer, served, 0)

    @njit(f"void(int64{5 * ', int64'})", **BARE)
    def call(table, op, a, b, c, d):  # type: ignore[no-untyped-def]
        t = view(table, T.SCALARS + T.ARRAYS, np.int64)
        if op == T.RUN:
            advance(t, a, b, c, d, t[T.AT_KEY], t[T.AT_PLAN], t[T.AT_SAMPLE], 0, 0)
        elif op == T.DUTY:
            duty(t, a, b, c, d)
        elif op == T.SERVE:
            serve(t, a, b, c, d)
        elif op == T.REACT:
            duty(t, a, b, c, d)
            take(t)
        elif op == T.AWAKE:
            n_old = t[T.N_KEYS] - t[T.AT_KEY]
            admit(t, b, c)
            advance(t, t[T.SCALARS + 2], a, d, 1, n_old, t[T.N_PLAN], t[T.N_SAMPLES], 0, 0)
            t[T.ACTS] = t[T.N_OUT] + t[T.N_MV]
            t[T.LOOK_OUT], t[T.LOOK_MV], t[T.N_OUT], t[T.N_MV] = t[T.N_OUT], t[T.N_MV], 0, 0
            take(t)
        elif op == T.STILL:
            t[T.ACTS] = still(t, a) == 1
        elif op == T.ON:
            on(t, a, b)
        elif op == T.TAKE:
            take(t)
        elif op == T.CONVERSE:
            converse(t, a, b, c, d)
        elif settles and op == T.SETTLE:
            settle(t, a + 8 * state_size(t), b, c)

    return call


def forge(path: Path, name: str, model: type[Model], synapses: tuple[str, ...] = ()) -> None:
    """Compile a model with synapses of these types, and write its kernel file, atomically.

    Raises what numba raises.
    """
    (compiled,) = entrance(name, model, synapses).overloads.values()
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
    scratch.write_bytes(msgpack.packb(code))
    scratch.replace(path)


def provide_helpers() -> None:
    """Make the helper functions of numba's runtime known to LLVM."""
    from numba.core.registry import cpu_target

    cpu_target.target_context.refresh()
