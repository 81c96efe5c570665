"""What a core does with time, the same for all models: inputs are admitted, time is committed, and a copy of
the state is run ahead to say what comes if nothing more arrives.

A look runs the copy from the committed state to its first emission. What it finds (an emission, rest,
neither) stands in the table, and holds until something is admitted; the committed state has not moved.

`t` is a table (`layout.FIELDS`), a *step* counts dt, a *key* is `step << 32 | neuron`, an address is of
bytes.
"""

from __future__ import annotations

import numpy as np
from numba import carray, int64, void  # type: ignore[attr-defined]

from neurobus.node.kernel import layout as T
from neurobus.node.kernel.memory import address, helper, model_run, part, view
from neurobus.wire.bus import NEVER

# -- lines of junctions -------------------------------------------------------------------------------


@helper
def line(v, slope, since, far):  # type: ignore[no-untyped-def]
    """What a junction takes a potential for (mV), `since` steps after a sample of v mV: on along the slope
    (mV a step) for `far` steps, and held then. The one who published it computes the same, bit for bit."""
    return v + slope * min(since, far)


@helper
def slope_through(before, v, span, peak):  # type: ignore[no-untyped-def]
    """The slope (mV a step) that two samples (mV), `span` steps apart, tell of; none across a spike's
    peak."""
    if span <= 0.0 or span > T.FARTHEST_LINE or before == peak or v == peak:
        return 0.0
    return (v - before) / span


@helper
def level(t, state, k):  # type: ignore[no-untyped-def]
    """Whether at step k all lines of junctions of the state at an address, own and heard, are level for
    good."""
    K, G, n_own = t.n_neurons, t.n_gaps, t.n_own
    delta, watched, zero = carray(t.gap_delta, K), carray(t.watched, t.n_watched), carray(t.zero, K)
    v = view(state + 8 * K * t.potential, K, np.float64)
    sent_mv, sent_step = (
        view(state + t.sent_mv_at, K, np.float64),
        view(state + t.sent_step_at, K, np.float64),
    )
    sent_slope = view(state + t.sent_slope_at, K, np.float64)
    sent_far, own_line = (
        view(state + t.sent_far_at, K, np.float64),
        view(state + t.own_line_at, K * n_own, np.float64),
    )
    for w in range(t.n_watched):
        i = watched[w]
        if delta[i] == np.inf:
            continue
        since = k - sent_step[i]
        taken = line(sent_mv[i], sent_slope[i], since, sent_far[i])
        if (sent_slope[i] != 0.0 and since < sent_far[i]) or not abs(v[i] + zero[i] - taken) <= delta[i]:
            return False
        for j in range(n_own):
            if own_line[i * n_own + j] != taken:
                return False
    slope, stamp = view(state + t.gap_slope_at, G, np.float64), view(state + t.gap_stamp_at, G, np.float64)
    far = view(state + t.gap_far_at, G, np.float64)
    for j in range(G):  # noqa: SIM110
        if slope[j] != 0.0 and k + 0.5 - stamp[j] < far[j]:
            return False
    return True


# -- small parts --------------------------------------------------------------------------------------


@helper
def copy(t, origin, to):  # type: ignore[no-untyped-def]
    """Copy a whole state from one address to another."""
    a, b = view(origin, t.state_size, np.float64), view(to, t.state_size, np.float64)
    for i in range(t.state_size):
        b[i] = a[i]


@helper
def next_length(length, arrived, least):  # type: ignore[no-untyped-def]
    """How far to look (steps) after a look of `length`: four times as far where nothing arrived before its
    end, half as far where something did; where that is too short to tell anything, `least`."""
    if not arrived:
        return min(max(length, T.SHORTEST_LOOK) * 4, T.LONGEST_LOOK)
    return length // 2 if length // 2 >= T.SHORTEST_LOOK else least


@helper
def earliest(first, keys, n, lag):  # type: ignore[no-untyped-def]
    """The first update in which one of n keys at an address can act, `lag` steps after its stamp; or
    `first`."""
    for key in view(keys, n, np.int64):
        first = min(first, (key >> 32) + lag)
    return first


@helper
def next_effect(t):  # type: ignore[no-untyped-def]
    """The first update in which anything that waits can act; NEVER: nothing does."""
    first = NEVER
    if t.at_key < t.n_keys:
        first = (carray(t.keys, t.n_keys)[t.at_key] >> 32) + t.lag
    if t.at_sample < t.n_samples:
        first = min(first, (carray(t.sample_keys, t.n_samples)[t.at_sample] >> 32) + t.lag_mv)
    if t.at_plan < t.n_plan:
        first = min(first, carray(t.plan_step, t.n_plan)[t.at_plan])
    return first


@helper
def used_up(t, at_key, at_plan, at_sample):  # type: ignore[no-untyped-def]
    """Whether nothing waits from these places of the queues on."""
    return at_key == t.n_keys and at_plan == t.n_plan and at_sample == t.n_samples


@helper
def run_state(t, state, begin, end, stop, at_key, at_plan, at_sample, n_out, n_mv):  # type: ignore[no-untyped-def]
    """Run the state at an address from step `begin` to `end`, or if `stop` to its first emission, by the
    model's own code. The queues are used from these places on, and what is put out comes behind so many
    spikes and samples in `out`; `last`, `n_out` … tell how it ended."""
    here = t.table
    places = here + T.RESULT_AT, here + T.RAISED_AT
    if model_run(
        t.model, *places, here, T.MODEL_RUN, state, begin, end, stop, at_key, at_plan, at_sample, n_out, n_mv
    ):
        t.failed = T.RAISED


@helper
def stand(t, step):  # type: ignore[no-untyped-def]
    """The committed state is at `step`, as the last run left it."""
    t.step, t.at_key, t.at_plan, t.at_sample = step, t.run_at_key, t.run_at_plan, t.run_at_sample
    t.deliveries += t.run_deliveries


@helper
def take_ahead(t):  # type: ignore[no-untyped-def]
    """Commit the copy, which the last look left at its first emission. Nothing has arrived since."""
    copy(t, address(t.spare), address(t.buffer))
    stand(t, t.ahead)
    t.n_out, t.n_mv = t.look_out, t.look_mv
    t.ahead = t.rest_at = -1
    t.resting = 0


@helper
def take_due(t, now):  # type: ignore[no-untyped-def]
    """Commit what the last look met, with what was put out before it, where that is due by step `now`."""
    if t.acts > 0 and t.nearest <= now:
        t.ahead = t.nearest
        take_ahead(t)
        t.acts = T.TAKEN


@helper
def book_look(t, n_out, n_mv):  # type: ignore[no-untyped-def]
    """Note what the run of the copy met that just ended; so much had been put out before it."""
    t.look_out, t.look_mv = t.n_out, t.n_mv
    t.acts = t.n_out + t.n_mv - n_out - n_mv
    t.nearest = t.last + (t.acts == 0)
    # What is put out can be committed with the copy where it stands alone, and acts on nobody here.
    alone = n_out + n_mv == 0 and not (t.own_spikes or t.own_samples)
    t.ahead = t.last if t.acts and alone else -1
    t.rest_at = -1
    t.n_out, t.n_mv = n_out, n_mv


@helper
def run_ahead(t, begin, end, at_key, at_plan, at_sample):  # type: ignore[no-untyped-def]
    """Run the copy from step `begin` to `end` or its first emission, and note what it met."""
    n_out, n_mv = t.n_out, t.n_mv
    run_state(t, address(t.spare), begin, end, 1, at_key, at_plan, at_sample, n_out, n_mv)
    book_look(t, n_out, n_mv)


# -- inputs -------------------------------------------------------------------------------------------


@part(void)
def admit(t, new, n_new):  # type: ignore[no-untyped-def]
    """Let n_new spikes, keys at an address, wait in order with the others; there is room for twice as many.

    One that should already have been poured is late: it acts in the next update and is counted. Where
    synapses have memory, how far each delay has got among the keys follows from the step; so it is stamped
    anew.
    """
    t.ahead = t.rest_at = -1
    keys, fresh = carray(t.keys, t.room_keys), view(new, n_new, np.int64)
    poured, n_old, at_key = t.step - t.lag, t.n_keys - t.at_key, t.at_key
    if at_key:
        for i in range(n_old):
            keys[i] = keys[at_key + i]
    behind = t.room_keys - n_new  # sorted there, then merged from the back
    for j in range(n_new):
        spike = fresh[j]
        if (spike >> 32) < poured:
            t.late += 1
            if t.memory:
                spike = poured << 32 | (spike & 0xFFFFFFFF)
        i = behind + j
        while i > behind and keys[i - 1] > spike:
            keys[i] = keys[i - 1]
            i -= 1
        keys[i] = spike
    t.n_keys, t.at_key = n_old + n_new, 0
    i, j = n_old - 1, t.room_keys - 1
    for to in range(n_old + n_new - 1, -1, -1):
        if j < behind:
            break
        if i >= 0 and keys[i] > keys[j]:
            keys[to] = keys[i]
            i -= 1
        else:
            keys[to] = keys[j]
            j -= 1


@part(void)
def admit_samples(t, new, new_mv, n_new):  # type: ignore[no-untyped-def]
    """The same of n_new samples, keys and mV at addresses; equal keys stay in the order in which they
    came."""
    t.ahead = t.rest_at = -1
    n, at, poured = t.n_samples - t.at_sample, t.at_sample, t.step - t.lag_mv
    keys, mv = carray(t.sample_keys, t.room_samples), carray(t.sample_mv, t.room_samples)
    fresh, fresh_mv = view(new, n_new, np.int64), view(new_mv, n_new, np.float64)
    if at:
        for i in range(n):
            keys[i], mv[i] = keys[at + i], mv[at + i]
    for j in range(n_new):
        t.late += (fresh[j] >> 32) < poured
        i = n + j
        while i > 0 and keys[i - 1] > fresh[j]:
            keys[i], mv[i] = keys[i - 1], mv[i - 1]
            i -= 1
        keys[i], mv[i] = fresh[j], fresh_mv[j]
    t.n_samples, t.at_sample = n + n_new, 0


# -- time ---------------------------------------------------------------------------------------------


@part(int64)
def commit(t, to):  # type: ignore[no-untyped-def]
    """Commit up to step `to`, over a rest if there is one; what is put out acts on neurons here on the way.

    0: there was no room for more. What has been put out must be taken, then commit again.
    """
    t.n_out = t.n_mv = 0
    if to <= t.step:
        return 1
    if t.ahead == to:
        take_ahead(t)
        return 1
    if t.rest_at >= 0 and to >= t.rest_at:
        copy(t, address(t.spare), address(t.buffer))
        t.step, t.at_key, t.at_plan, t.at_sample = t.rest_at, t.n_keys, t.n_plan, t.n_samples
        t.deliveries += t.rest_deliveries
        t.ahead = t.rest_at = -1
        t.resting = 1
    if t.resting:
        first = next_effect(t)
        t.step = max(t.step, min(first, to))
        if to <= first:
            return 1
        t.resting = 0
    t.ahead = t.rest_at = -1
    left = t.out_steps - 2  # of the two, one is for a look, one for `Core.potential_mv`
    while t.step < to and not t.failed:
        n = min(to - t.step, t.at_most, left)
        most = n * t.n_neurons * t.most_per_step
        if n <= 0 or (t.own_spikes and t.n_keys - t.at_key + 2 * most > t.room_keys):
            return 0
        if t.own_samples and t.n_samples - t.at_sample + n * t.n_watched > t.room_samples:
            return 0
        left -= n
        n_out, n_mv = t.n_out, t.n_mv
        run_state(t, address(t.buffer), t.step, t.step + n, 0, t.at_key, t.at_plan, t.at_sample, n_out, n_mv)
        stand(t, t.step + n)
        if t.own_spikes and t.n_out > n_out:
            admit(t, address(t.out) + 8 * n_out, t.n_out - n_out)
        if t.own_samples and t.n_mv > n_mv:
            admit_samples(t, address(t.out_sample) + 8 * n_mv, address(t.out_mv) + 8 * n_mv, t.n_mv - n_mv)
    return 1


@part(int64)
def fixed_point(t, k):  # type: ignore[no-untyped-def]
    """Whether the copy, which stands at step k with nothing waiting, is a fixed point of the update: bit for
    bit, then it may stand for every later step.

    0: no, and it stands there yet. 1: yes. 2: no, and it has made a step, which is noted as part of the look.
    """
    K, n, n_out, n_mv, delivered = t.n_neurons, t.state_size, t.n_out, t.n_mv, t.run_deliveries
    spare = carray(t.spare, n)
    for i in range(t.ring_at // 8, t.electrode_at // 8):
        if spare[i] != 0.0:
            return 0
    delta, watched, zero = carray(t.delta, K), carray(t.watched, t.n_watched), carray(t.zero, K)
    for w in range(t.n_watched):
        i = watched[w]
        if abs(spare[t.potential * K + i] + zero[i] - spare[t.sent_mv_at // 8 + i]) > delta[i]:
            return 0
    if t.n_gaps and not level(t, address(t.spare), k):
        return 0
    copy(t, address(t.spare), address(t.scratch))
    run_state(t, address(t.spare), k, k + 1, 1, t.n_keys, t.n_plan, t.n_samples, n_out, n_mv)
    t.run_deliveries += delivered
    book_look(t, n_out, n_mv)
    if t.acts:
        return 2
    scratch = carray(t.scratch, n)
    for i in range(n):
        if scratch[i] != spare[i]:
            return 2
    return 1


@part(void)
def search(t, again, through, limit):  # type: ignore[no-untyped-def]
    """Run the copy from the committed state on, past step `through`, no farther than `limit`; `nearest` and
    `acts` tell what it met. `again`: nothing arrived since the last look, so ask whether it has come to
    rest."""
    t.acts, t.ahead = 0, -1
    if t.rest_at >= 0:
        t.nearest = NEVER
        return
    begin = t.step
    if t.resting:
        begin = max(begin, next_effect(t))
        if begin == NEVER:
            t.nearest = NEVER
            return
    end = max(min(max(begin, through) + t.look_length, limit), begin + 1)
    copy(t, address(t.buffer), address(t.spare))
    run_ahead(t, begin, end, t.at_key, t.at_plan, t.at_sample)
    if t.acts:
        return
    rest_at, delivered = t.last, t.run_deliveries
    over = again and t.restful and used_up(t, t.run_at_key, t.run_at_plan, t.run_at_sample)
    if over and fixed_point(t, rest_at) == 1:
        t.rest_at, t.rest_deliveries, t.nearest = rest_at, delivered, NEVER


@part(void)
def look(t, again, through, limit):  # type: ignore[no-untyped-def]
    """Look ahead, `look_length` steps or, where nothing arrived since the last look (`again`), farther:
    `search`."""
    t.look_length = next_length(t.look_length, again == 0, T.SHORTEST_LOOK)
    t.acts, t.nearest = 0, t.step + 1
    if t.looks_ahead:
        search(t, again, through, limit)


@part(int64)
def duty(t, to, new, n_new, news):  # type: ignore[no-untyped-def]
    """Admit n_new spikes, keys at an address, commit up to step `to`, and look ahead. `news`: bits, `NEWS`
    where anything arrived, and `CONTINUED`. 0: as `commit`; go on with it then.

    Where inputs came often of late the look is left out: the next duty comes before it could tell anything.
    """
    if not news & T.CONTINUED:
        length = next_length(t.look_length, news, 0)
        if n_new > T.FEW_SPIKES:
            for key in view(new, n_new, np.int64):
                t.far = max(t.far, key >> 32)
        if t.far - to > T.FAR_DELAYS * (t.lag + 1):
            # Sources have run ahead: what is known of the time to come is worth looking at.
            length = max(length, min(t.far - to, T.FARTHEST_LOOK))
        elif t.far and not news and t.owner:
            # All that was told is over, and a neuron that answers what it is told has come to rest.
            length = min(length, T.FIRST_LOOK)
        t.look_length = length
        if n_new:
            asleep = min(to, earliest(NEVER, new, n_new, t.lag))
            if 0 <= t.rest_at <= asleep:
                commit(t, asleep)
            admit(t, new, n_new)
    if not commit(t, to):
        return 0
    t.acts, t.nearest = 0, t.step + 1
    if t.looks_ahead and (t.look_length or t.resting):
        search(t, not news & T.NEWS, 0, t.limit)
    return 1


@part(void)
def look_after_act(t, now):  # type: ignore[no-untyped-def]
    """As `search`, past step `now`, after an emission: mostly a neuron that came from rest goes back there
    soon."""
    begin = t.step
    end = max(min(max(begin, now) + max(t.look_length, T.SHORTEST_LOOK), t.limit), begin + 1)
    soon = min(begin + T.SHORTEST_LOOK, end)
    copy(t, address(t.buffer), address(t.spare))
    run_ahead(t, begin, soon, t.at_key, t.at_plan, t.at_sample)
    if t.acts:
        return
    at_key, at_plan, at_sample, delivered = t.run_at_key, t.run_at_plan, t.run_at_sample, t.run_deliveries
    if t.restful and used_up(t, at_key, at_plan, at_sample):
        found = fixed_point(t, soon)
        if found == 1:
            t.rest_at, t.rest_deliveries, t.nearest = soon, delivered, NEVER
            return
        soon += found == 2
    if soon < end and not t.acts:
        run_ahead(t, soon, end, at_key, at_plan, at_sample)
        t.run_deliveries += delivered


@part(int64)
def react(t, to, now):  # type: ignore[no-untyped-def]
    """Admit what was received, commit up to step `to`, look ahead, and if that meets something due by step
    `now` commit it too: `acts` is TAKEN then. Where nothing was received: what comes after an emission.

    0: nothing was done, for it takes more than one call.
    """
    n_new, n_mv, k = t.n_new, t.n_new_mv, t.step
    if n_new + n_mv == 0:
        look_after_act(t, now)
        take_due(t, now)
        return 1
    new, new_mv, awake = address(t.new), address(t.new_mv_keys), 0
    rest = k if t.resting else t.rest_at
    to = max(to, k)
    if rest >= 0:
        # Nothing happens between the rest and the first effect of what is new. The committed state
        # stays where it is until something is emitted: an earlier input may still come.
        first = earliest(earliest(NEVER, new, n_new, t.lag), new_mv, n_mv, t.lag_mv)
        if first >= rest:
            awake, to = 1, min(first, next_effect(t)) if t.resting else first
        elif t.resting:
            return 0
    n_old, n_old_mv = t.n_keys - t.at_key, t.n_samples - t.at_sample
    if n_old + 2 * n_new > t.room_keys or n_old_mv + n_mv > t.room_samples:
        return 0
    if not awake and to - k > t.out_steps - 2:
        return 0
    t.look_length = next_length(t.look_length, 1, T.SHORTEST_LOOK)
    if n_mv:
        admit_samples(t, new_mv, address(t.new_mv), n_mv)
    if n_new:
        admit(t, new, n_new)
    t.n_new = t.n_new_mv = 0
    if awake:
        # At rest the committed state has all that waits before it; the copy that came to rest has none.
        at_key, at_plan, at_sample = t.at_key, t.at_plan, t.at_sample
        if t.resting:
            copy(t, address(t.buffer), address(t.spare))
            t.rest_deliveries = 0
        else:
            at_key, at_plan, at_sample = at_key + n_old, t.n_plan, at_sample + n_old_mv
        end = max(min(max(to, now) + t.look_length, t.limit), to + 1)
        run_ahead(t, to, end, at_key, at_plan, at_sample)
        t.run_deliveries += t.rest_deliveries
    else:
        commit(t, to)
        search(t, 0, now, t.limit)
    take_due(t, now)
    return 1


@part(int64)
def due(t, now):  # type: ignore[no-untyped-def]
    """Commit what the last look met, if it is due by step `now`; `acts` is TAKEN then. 0: it met nothing."""
    if t.ahead < 0:
        return 0
    t.acts, t.nearest = 1, t.ahead
    t.n_out = t.n_mv = 0
    if t.nearest <= min(now, t.limit):
        t.look_length = next_length(t.look_length, 0, 0)
    take_due(t, min(now, t.limit))
    return 1


@part(void)
def foresee(t, state, to):  # type: ignore[no-untyped-def]
    """Run a copy of the committed state, at an address, up to step `to` or its first emission, but no
    farther than LONGEST_LOOK; what the last look met holds on."""
    begin = max(t.step, next_effect(t)) if t.resting else t.step
    if to <= begin:
        return
    n_out, n_mv, last, delivered = t.n_out, t.n_mv, t.last, t.run_deliveries
    at_key, at_plan, at_sample = t.run_at_key, t.run_at_plan, t.run_at_sample
    base, base_mv = max(n_out, t.look_out), max(n_mv, t.look_mv)  # what is put out comes behind all that
    end = min(to, begin + T.LONGEST_LOOK)
    run_state(t, state, begin, end, 1, t.at_key, t.at_plan, t.at_sample, base, base_mv)
    t.n_out, t.n_mv, t.last, t.run_deliveries = n_out, n_mv, last, delivered
    t.run_at_key, t.run_at_plan, t.run_at_sample = at_key, at_plan, at_sample


@part(void)
def settle(t, state, k, drift):  # type: ignore[no-untyped-def]
    """Tell the synapses of the state at an address what they can know of at step k, and if `drift` bring
    their weights to then."""
    here, none = t.table, 0
    places = here + T.RESULT_AT, here + T.RAISED_AT
    if model_run(t.model, *places, here, T.MODEL_SETTLE, state, k, drift, none, none, none, none, none, none):
        t.failed = T.RAISED
