"""The kernel's part that looks ahead: what a neuron does, and when, if nothing more arrives.

A look runs a copy of the committed state. What it finds (an emission, rest, neither) is written in the table,
and holds until something arrives; then the committed state, which has not moved, is where the next look
begins. The operations are described in `kernel.layout`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from neurobus.node.kernel import layout as T
from neurobus.node.kernel.memory import BARE, helper, outside, view
from neurobus.wire.bus import NEVER

model_run = outside(False, 13)


@helper
def state_size(t):  # type: ignore[no-untyped-def]
    """Numbers in the state of a core, without those of its synapses, which come behind it."""
    K = t[T.N_NEURONS]
    return (t[T.SLOTS] * t[T.N_RECEPTORS] + t[T.N_STATES] + 8 + t[T.N_OWN]) * K + 4 * t[T.N_GAPS]


@helper
def copy(t, origin, to):  # type: ignore[no-untyped-def]
    """Copy a whole state, from and to places of the table's addresses."""
    n = state_size(t) + t[T.N_OWNED]
    a, b = view(t[T.SCALARS + origin], n, np.float64), view(t[T.SCALARS + to], n, np.float64)
    for i in range(n):
        b[i] = a[i]


@helper
def line(v, slope, since, far):  # type: ignore[no-untyped-def]
    """What a junction takes a potential for, `since` steps after a sample of v: on along the slope (mV a
    step) for `far` steps, and held then. The one who told it computes the same, bit for bit."""
    return v + slope * min(since, far)


@helper
def slope_through(before, v, span, peak):  # type: ignore[no-untyped-def]
    """The slope (mV a step) that two samples `span` steps apart tell of; none across a spike's peak."""
    if span <= 0.0 or span > T.FARTHEST_LINE or before == peak or v == peak:
        return 0.0
    return (v - before) / span


@helper
def held(t, b, k):  # type: ignore[no-untyped-def]
    """Whether at step k all lines of junctions, own and heard, are level for good; `b`: the state from the
    electrodes' currents on, as `kernel.codegen` lays it out."""
    K, G, n_own, potential = t[T.N_NEURONS], t[T.N_GAPS], t[T.N_OWN], t[T.POTENTIAL]
    delta, watched = (
        view(t[T.SCALARS + T.GAP_DELTA], K, np.float64),
        view(t[T.SCALARS + 22], t[T.N_WATCHED], np.int32),
    )
    spare = view(t[T.SCALARS + T.SPARE], (potential + 1) * K, np.float64)
    zero, own = view(t[T.SCALARS + 23], K, np.float64), 8 * K + 4 * G
    for w in range(t[T.N_WATCHED]):
        i = watched[w]
        if delta[i] == np.inf:
            continue
        sent, slope, since, far = b[2 * K + i], b[6 * K + G + i], k - b[3 * K + i], b[7 * K + G + i]
        level = line(sent, slope, since, far)
        if (slope != 0.0 and since < far) or not abs(spare[potential * K + i] + zero[i] - level) <= delta[i]:
            return False
        for j in range(n_own):
            if b[own + i * n_own + j] != level:
                return False
    for j in range(G):
        slope, stamp, far = b[8 * K + G + j], b[8 * K + 2 * G + j], b[8 * K + 3 * G + j]
        if slope != 0.0 and k + 0.5 - stamp < far:
            return False
    return True


@helper
def looked_farther(length):  # type: ignore[no-untyped-def]
    """How far to look when nothing came before the end of the last look, which went so far."""
    return min(max(length, T.SHORTEST_LOOK) * 4, T.LONGEST_LOOK)


@helper
def first_effect(t):  # type: ignore[no-untyped-def]
    """The first update in which anything that waits can act."""
    first, lag, at_key, at_sample, at_plan = NEVER, t[T.LAG], t[T.AT_KEY], t[T.AT_SAMPLE], t[T.AT_PLAN]
    if at_key < t[T.N_KEYS]:
        first = (view(t[T.SCALARS], t[T.N_KEYS], np.int64)[at_key] >> 32) + lag
    if at_sample < t[T.N_SAMPLES]:
        stamp = view(t[T.SCALARS + 15], t[T.N_SAMPLES], np.int64)[at_sample] >> 32
        first = min(first, stamp + t[T.LAG_MV])
    if at_plan < t[T.N_PLAN]:
        first = min(first, view(t[T.SCALARS + 11], t[T.N_PLAN], np.int64)[at_plan])
    return first


@helper
def used_up(t, at_key, at_plan, at_sample):  # type: ignore[no-untyped-def]
    """Whether nothing waits any more."""
    return at_key == t[T.N_KEYS] and at_plan == t[T.N_PLAN] and at_sample == t[T.N_SAMPLES]


@helper
def take_ahead(t):  # type: ignore[no-untyped-def]
    """Commit the copy, which the last look left at its first emission. Nothing has arrived since."""
    copy(t, T.SPARE, T.BUFFER)
    t[T.STEP], t[T.AT_KEY], t[T.AT_PLAN] = t[T.AHEAD], t[T.RUN_AT_KEY], t[T.RUN_AT_PLAN]
    t[T.AT_SAMPLE] = t[T.RUN_AT_SAMPLE]
    t[T.DELIVERIES] += t[T.RUN_DELIVERIES]
    t[T.N_OUT], t[T.N_MV] = t[T.LOOK_OUT], t[T.LOOK_MV]
    t[T.AHEAD] = t[T.REST_AT] = -1
    t[T.RESTING] = 0


@helper
def advance(t, state, k0, k1, stop, at_key, at_plan, at_sample, n_out, n_mv):  # type: ignore[no-untyped-def]
    """Run a state by the model's own code, `kernel.codegen`."""
    here, op = t[T.TABLE], T.RUN
    places = here + 8 * T.RESULT, here + 8 * T.RAISED
    if model_run(t[T.MODEL], *places, here, op, state, k0, k1, stop, at_key, at_plan, at_sample, n_out, n_mv):
        t[T.FAILED] = 1


@helper
def settle(t, state, k, drift):  # type: ignore[no-untyped-def]
    """Tell the synapses of a state what they can know of at step k, and if `drift` bring them to then."""
    here, op, none = t[T.TABLE], T.SETTLE, 0
    places = here + 8 * T.RESULT, here + 8 * T.RAISED
    if model_run(t[T.MODEL], *places, here, op, state, k, drift, none, none, none, none, none, none):
        t[T.FAILED] = 1


def compiled() -> dict[str, Any]:
    """The functions of this part."""

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
                if t[T.REMEMBERS]:
                    spike = poured << 32 | (spike & 0xFFFFFFFF)
            i = n_keys
            while i > 0 and keys[i - 1] > spike:
                keys[i] = keys[i - 1]
                i -= 1
            keys[i] = spike
            n_keys += 1
        t[T.N_KEYS], t[T.AT_KEY] = n_keys, at_key

    @njit("void(int64[::1], int64)", **BARE)
    def admit_samples(t, n_new):  # type: ignore[no-untyped-def]
        """The same of the samples that are new; equal keys in the order in which they came."""
        n, at = t[T.N_SAMPLES], t[T.AT_SAMPLE]
        poured, room = t[T.STEP] - t[T.LAG_MV], t[T.ROOM_SAMPLES]
        keys, mv = view(t[T.SCALARS + 15], room, np.int64), view(t[T.SCALARS + 16], room, np.float64)
        new, new_mv = view(t[T.NEW_MV_KEYS], n_new, np.int64), view(t[T.NEW_MV], n_new, np.float64)
        for i in range(at, n):
            keys[i - at], mv[i - at] = keys[i], mv[i]
        n -= at
        for j in range(n_new):
            t[T.LATE] += (new[j] >> 32) < poured
            i = n
            while i > 0 and keys[i - 1] > new[j]:
                keys[i], mv[i] = keys[i - 1], mv[i - 1]
                i -= 1
            keys[i], mv[i] = new[j], new_mv[j]
            n += 1
        t[T.N_SAMPLES], t[T.AT_SAMPLE] = n, 0

    @njit("void(int64[::1], int64, int64, int64, int64)", **BARE)
    def duty(t, to, new, n_new, look_to):  # type: ignore[no-untyped-def]
        """See `kernel.layout`: DUTY."""
        k, n_out, n_mv = t[T.STEP], 0, 0
        if n_new:
            admit(t, new, n_new)
        if to > k:
            advance(t, t[T.SCALARS + T.BUFFER], k, to, 0, t[T.AT_KEY], t[T.AT_PLAN], t[T.AT_SAMPLE], 0, 0)
            n_out, n_mv = t[T.N_OUT], t[T.N_MV]
            t[T.STEP], t[T.AT_KEY], t[T.AT_PLAN] = to, t[T.RUN_AT_KEY], t[T.RUN_AT_PLAN]
            t[T.AT_SAMPLE] = t[T.RUN_AT_SAMPLE]
            t[T.DELIVERIES] += t[T.RUN_DELIVERIES]
        if look_to > to:
            copy(t, T.BUFFER, T.SPARE)
            at_key, at_plan, at_sample = t[T.AT_KEY], t[T.AT_PLAN], t[T.AT_SAMPLE]
            advance(t, t[T.SCALARS + T.SPARE], to, look_to, 1, at_key, at_plan, at_sample, n_out, n_mv)
            t[T.ACTS] = t[T.N_OUT] + t[T.N_MV] - n_out - n_mv
            t[T.LOOK_OUT], t[T.LOOK_MV] = t[T.N_OUT], t[T.N_MV]
        t[T.N_OUT], t[T.N_MV] = n_out, n_mv

    @njit("int64(int64[::1], int64)", **BARE)
    def still(t, k):  # type: ignore[no-untyped-def]
        """0: the copy at step k is no fixed point, and stands there yet. 1: it is. 2: it was not, and has
        made a step."""
        K, potential, n = t[T.N_NEURONS], t[T.POTENTIAL], state_size(t) + t[T.N_OWNED]
        spare, scratch = (
            view(t[T.SCALARS + T.SPARE], n, np.float64),
            view(t[T.SCALARS + T.SCRATCH], n, np.float64),
        )
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
        if t[T.N_GAPS] and not held(t, view(t[T.SCALARS + T.SPARE] + 8 * end, n - end, np.float64), k):
            return 0
        copy(t, T.SPARE, T.SCRATCH)
        advance(t, t[T.SCALARS + T.SPARE], k, k + 1, 1, t[T.N_KEYS], t[T.N_PLAN], t[T.N_SAMPLES], 0, 0)
        if t[T.N_OUT] or t[T.N_MV]:
            return 2
        for i in range(n):
            if scratch[i] != spare[i]:
                return 2
        return 1

    @njit("int64(int64[::1], int64, int64)", **BARE)
    def commit(t, to, at_most):  # type: ignore[no-untyped-def]
        t[T.N_OUT] = t[T.N_MV] = 0
        if to <= t[T.STEP]:
            return 1
        if t[T.AHEAD] == to:
            take_ahead(t)
            return 1
        if t[T.REST_AT] >= 0 and to >= t[T.REST_AT]:
            copy(t, T.SPARE, T.BUFFER)
            t[T.STEP], t[T.AT_KEY], t[T.AT_PLAN] = t[T.REST_AT], t[T.N_KEYS], t[T.N_PLAN]
            t[T.AT_SAMPLE] = t[T.N_SAMPLES]
            t[T.DELIVERIES] += t[T.REST_DELIVERIES]
            t[T.AHEAD] = t[T.REST_AT] = -1
            t[T.RESTING] = 1
        if t[T.RESTING]:
            first = first_effect(t)
            if to <= first:
                t[T.STEP] = to
                return 1
            t[T.STEP], t[T.RESTING] = max(t[T.STEP], first), 0
        k = t[T.STEP]
        to = min(to, k + at_most)
        if to - k > t[T.OUT_STEPS]:
            return 0
        t[T.AHEAD] = t[T.REST_AT] = -1
        advance(t, t[T.SCALARS + T.BUFFER], k, to, 0, t[T.AT_KEY], t[T.AT_PLAN], t[T.AT_SAMPLE], 0, 0)
        t[T.STEP], t[T.AT_KEY], t[T.AT_PLAN] = to, t[T.RUN_AT_KEY], t[T.RUN_AT_PLAN]
        t[T.AT_SAMPLE] = t[T.RUN_AT_SAMPLE]
        t[T.DELIVERIES] += t[T.RUN_DELIVERIES]
        return 1

    @njit("void(int64[::1], int64, int64, int64)", **BARE)
    def look(t, again, through, limit):  # type: ignore[no-untyped-def]
        t[T.ACTS], t[T.AHEAD] = 0, -1
        if t[T.REST_AT] >= 0:
            t[T.NEAREST] = NEVER
            return
        k0 = t[T.STEP]
        if t[T.RESTING]:
            k0 = max(k0, first_effect(t))
            if k0 == NEVER:
                t[T.NEAREST] = NEVER
                return
        end = max(min(max(k0, through) + t[T.LOOK_LENGTH], limit), k0 + 1)
        copy(t, T.BUFFER, T.SPARE)
        at_key, at_plan, at_sample = t[T.AT_KEY], t[T.AT_PLAN], t[T.AT_SAMPLE]
        advance(t, t[T.SCALARS + T.SPARE], k0, end, 1, at_key, at_plan, at_sample, 0, 0)
        last = t[T.LAST]
        t[T.LOOK_OUT], t[T.LOOK_MV], t[T.N_OUT], t[T.N_MV] = t[T.N_OUT], t[T.N_MV], 0, 0
        t[T.ACTS], t[T.NEAREST] = t[T.LOOK_OUT] + t[T.LOOK_MV], last
        if t[T.ACTS]:
            t[T.AHEAD] = -1 if t[T.FEEDS_ITSELF] else last
            return
        t[T.NEAREST], t[T.REST_DELIVERIES] = last + 1, t[T.RUN_DELIVERIES]
        over = again and t[T.RESTFUL] and used_up(t, t[T.RUN_AT_KEY], t[T.RUN_AT_PLAN], t[T.RUN_AT_SAMPLE])
        if over and still(t, last) == 1:
            t[T.REST_AT], t[T.NEAREST] = last, NEVER

    @njit("void(int64[::1], int64)", **BARE)
    def seen(t, now):  # type: ignore[no-untyped-def]
        """What a look of `react` that met ACTS emissions, or none, comes to; what was committed before it is
        put out with it."""
        found, last = t[T.ACTS], t[T.LAST]
        t[T.NEAREST] = last + (found == 0)
        t[T.REST_AT] = -1
        if found and last <= now:
            t[T.AHEAD] = last
            take_ahead(t)
            t[T.ACTS] = T.TAKEN
        elif found and t[T.N_OUT] + t[T.N_MV] == 0:
            t[T.AHEAD] = last

    @njit("void(int64[::1], int64, int64)", **BARE)
    def look_on(t, now, limit):  # type: ignore[no-untyped-def]
        """What comes after an emission; mostly a neuron that came from rest goes back there soon."""
        k = t[T.STEP]
        end = max(min(max(k, now) + max(t[T.LOOK_LENGTH], T.SHORTEST_LOOK), limit), k + 1)
        soon, spare = min(k + T.SHORTEST_LOOK, end), t[T.SCALARS + T.SPARE]
        copy(t, T.BUFFER, T.SPARE)
        t[T.AHEAD] = -1
        advance(t, spare, k, soon, 1, t[T.AT_KEY], t[T.AT_PLAN], t[T.AT_SAMPLE], 0, 0)
        at_key, at_plan, at_sample = t[T.RUN_AT_KEY], t[T.RUN_AT_PLAN], t[T.RUN_AT_SAMPLE]
        delivered = t[T.RUN_DELIVERIES]
        if not (t[T.N_OUT] or t[T.N_MV]):
            k, found = soon, 0
            if t[T.RESTFUL] and used_up(t, at_key, at_plan, at_sample):
                found = still(t, soon)
                k += found == 2
            if found == 1:
                t[T.REST_AT], t[T.REST_DELIVERIES], t[T.NEAREST] = soon, delivered, NEVER
                t[T.ACTS] = t[T.N_OUT] = t[T.N_MV] = 0
                return
            if k < end and not (found == 2 and (t[T.N_OUT] or t[T.N_MV])):
                advance(t, spare, k, end, 1, at_key, at_plan, at_sample, 0, 0)
                t[T.RUN_DELIVERIES] += delivered
            else:
                t[T.RUN_DELIVERIES] = delivered
        t[T.ACTS] = t[T.N_OUT] + t[T.N_MV]
        t[T.LOOK_OUT], t[T.LOOK_MV], t[T.N_OUT], t[T.N_MV] = t[T.N_OUT], t[T.N_MV], 0, 0
        seen(t, now)

    @njit("int64(int64[::1], int64, int64, int64)", **BARE)
    def react(t, to, now, limit):  # type: ignore[no-untyped-def]
        n_new, n_mv, k = t[T.N_NEW], t[T.N_NEW_MV], t[T.STEP]
        if n_new + n_mv == 0:
            look_on(t, now, limit)
            return 1
        new, rest, awake = t[T.SCALARS + T.NEW], k if t[T.RESTING] else t[T.REST_AT], 0
        to = max(to, k)
        if rest >= 0:
            # Nothing happens between the rest and the first effect of what is new. The committed state
            # stays where it is until something is emitted: an earlier input may still come.
            first = NEVER
            for key in view(new, n_new, np.int64):
                first = min(first, (key >> 32) + t[T.LAG])
            for key in view(t[T.NEW_MV_KEYS], n_mv, np.int64):
                first = min(first, (key >> 32) + t[T.LAG_MV])
            if first >= rest:
                awake, to = 1, min(first, first_effect(t)) if t[T.RESTING] else first
            elif t[T.RESTING]:
                return 0
        if t[T.N_KEYS] + n_new > t[T.ROOM_KEYS] or t[T.N_SAMPLES] + n_mv > t[T.ROOM_SAMPLES]:
            return 0
        if not awake and to - k >= t[T.OUT_STEPS]:
            return 0
        t[T.LOOK_LENGTH] = max(t[T.LOOK_LENGTH] // 2, T.SHORTEST_LOOK)
        end = max(min(max(to, now) + t[T.LOOK_LENGTH], limit), to + 1)
        n_old, n_old_mv = t[T.N_KEYS] - t[T.AT_KEY], t[T.N_SAMPLES] - t[T.AT_SAMPLE]
        t[T.ACTS], t[T.AHEAD], t[T.N_NEW], t[T.N_NEW_MV] = 0, -1, 0, 0
        if n_mv:
            admit_samples(t, n_mv)
        if awake:
            if n_new:
                admit(t, new, n_new)
            # At rest the committed state has all that waits before it; the copy that came to rest has none.
            at_key, at_plan, at_sample = t[T.AT_KEY], t[T.AT_PLAN], t[T.AT_SAMPLE]
            if t[T.RESTING]:
                copy(t, T.BUFFER, T.SPARE)
                t[T.REST_DELIVERIES] = 0
            else:
                at_key, at_plan, at_sample = at_key + n_old, t[T.N_PLAN], at_sample + n_old_mv
            advance(t, t[T.SCALARS + T.SPARE], to, end, 1, at_key, at_plan, at_sample, 0, 0)
            t[T.RUN_DELIVERIES] += t[T.REST_DELIVERIES]
            t[T.ACTS] = t[T.N_OUT] + t[T.N_MV]
            t[T.LOOK_OUT], t[T.LOOK_MV], t[T.N_OUT], t[T.N_MV] = t[T.N_OUT], t[T.N_MV], 0, 0
        else:
            duty(t, to, new, n_new, end)
        seen(t, now)
        return 1

    @njit("int64(int64[::1], int64, int64)", **BARE)
    def due(t, now, limit):  # type: ignore[no-untyped-def]
        if t[T.AHEAD] < 0:
            return 0
        t[T.ACTS], t[T.NEAREST] = 1, t[T.AHEAD]
        t[T.N_OUT] = t[T.N_MV] = 0
        if t[T.AHEAD] <= min(now, limit):
            t[T.LOOK_LENGTH] = looked_farther(t[T.LOOK_LENGTH])
            take_ahead(t)
            t[T.ACTS] = T.TAKEN
        return 1

    return {"duty": duty, "still": still, "commit": commit, "look": look, "react": react, "due": due}
