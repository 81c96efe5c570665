"""The kernel's part that talks: frames in, frames out, by ZeroMQ's own functions, until one comes that Python
must see. The operations are described in `kernel.layout`; the frames in `neurobus.wire.bus`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from neurobus.node.kernel import layout as T
from neurobus.node.kernel import lookahead
from neurobus.node.kernel.lookahead import advance, first_effect, looked_farther, settle, take_ahead, used_up
from neurobus.node.kernel.memory import (
    BARE,
    big_endian,
    clock_gettime,
    helper,
    msg_data,
    msg_recv,
    ppoll,
    send,
    to_big_endian,
    to_unsigned,
    unsigned,
    view,
)
from neurobus.wire.bus import NEVER

DONTWAIT, POLLIN, CLOCK_MONOTONIC = 1, 1, 1
SECOND_NS = 1_000_000_000


@helper
def look_length(length, new):  # type: ignore[no-untyped-def]
    """How far to look after a duty with or without new inputs, if it was `length` before: see `Core.duty`."""
    if not new:
        return looked_farther(length)
    length //= 2
    return length if length >= T.SHORTEST_LOOK else 0


@helper
def now_ns(t):  # type: ignore[no-untyped-def]
    """The clock on the wall, as `time.monotonic_ns`."""
    clock_gettime(t[T.CLOCK], CLOCK_MONOTONIC, t[T.WAITING])
    spec = view(t[T.WAITING], 2, np.int64)
    return spec[0] * SECOND_NS + spec[1]


@helper
def readable(t, for_ns):  # type: ignore[no-untyped-def]
    """Wait until frames may have arrived (1), or so long (0). -1: something else wants attention."""
    spec = view(t[T.WAITING], 4, np.int64)
    spec[0], spec[1] = for_ns // SECOND_NS, for_ns % SECOND_NS
    spec[2], spec[3] = (spec[2] & 0xFFFFFFFF) | POLLIN << 32, (spec[3] & 0xFFFFFFFF) | POLLIN << 32
    n = ppoll(t[T.POLL], t[T.WAITING] + 16, 2, t[T.WAITING], 0)
    if n < 0 or (spec[3] >> 48) & 0xFFFF:
        return -1
    return min(n, 1)


@helper
def hear(t, frame, size):  # type: ignore[no-untyped-def]
    """Whether a frame has spikes or samples of one neuron that are the very next of their stream, as nearly
    all are; they are booked then, and wait among the new. Else nothing was done."""
    p = view(frame, size, np.uint8)
    slots, names = view(t[T.HEARD_SLOTS], t[T.SLOT_MASK] + 1, np.int64), t[T.HEARD_NAMES]
    place, head = 0, 0
    while head < size and p[head] != 0:
        place = (place * 31 + p[head]) & 0x7FFFFFFF
        head += 1
    head += 1
    if head >= size:
        return 0
    place &= t[T.SLOT_MASK]
    while True:
        n = slots[place]
        if n < 0:
            return 0
        row = view(t[T.HEARD] + 32 * n, 4, np.int64)
        if row[1] == head:
            name, same = view(names + row[0], head, np.uint8), True
            for i in range(head):
                same = same and name[i] == p[i]
            if same:
                break
        place = (place + 1) & t[T.SLOT_MASK]
    account, of_mv = view(row[3], 3, np.int64), p[0] == ord("v")
    if p[head] != (0x96 if of_mv else 0x95):
        return 0
    epoch, at = unsigned(p, head + 1, size)
    seq, at = unsigned(p, at, size)
    if epoch != account[0] or seq != account[1] or at + 2 > size or p[at] != 0xC2:
        return 0
    n = p[at + 1] - 0x90
    at += 2
    n_new, room, keys = t[T.N_NEW], t[T.ROOM_NEW], t[T.SCALARS + T.NEW]
    if of_mv:
        n_new, room, keys = t[T.N_NEW_MV], t[T.ROOM_NEW_MV], t[T.NEW_MV_KEYS]
    if n < 0 or n > T.AT_A_TIME or n_new + n > room:
        return 0
    new = view(keys + 8 * n_new, T.AT_A_TIME, np.int64)
    for i in range(n):
        time, at = unsigned(p, at, size)
        if time < 0 or time // t[T.DT_NS] >= NEVER:
            return 0
        new[i] = (time // t[T.DT_NS]) << 32 | row[2]
    if at >= size or p[at] != 0xC0:
        return 0
    at += 1
    if of_mv:
        if at + 1 + 9 * n != size or p[at] != 0x90 | n:
            return 0
        new_mv = view(t[T.NEW_MV] + 8 * n_new, T.AT_A_TIME, np.int64)  # the bits of a float64
        for i in range(n):
            if p[at + 1 + 9 * i] != 0xCB:
                return 0
            new_mv[i] = big_endian(p, at + 2 + 9 * i, 8)
        t[T.N_NEW_MV] += n
    elif at != size:
        return 0
    else:
        t[T.N_NEW] += n
    account[1] += n
    account[2] += n
    return 1


@helper
def begin_frame(t, p, at, seq, keys, n):  # type: ignore[no-untyped-def]
    """Write `[epoch, seq, False, [times], None` at place `at`, behind the byte that says how long the row is;
    returns the place after it."""
    at = to_unsigned(p, at, t[T.EPOCH])
    at = to_unsigned(p, at, seq)
    p[at], p[at + 1] = 0xC2, 0x90 | n
    at += 2
    for j in range(n):
        at = to_unsigned(p, at, (keys[j] >> 32) * t[T.DT_NS])
    p[at] = 0xC0
    return at + 1


@helper
def publish(t):  # type: ignore[no-untyped-def]
    """Send the spikes and samples that were put out."""
    i = 0
    while i < t[T.N_OUT]:
        n, at = min(t[T.N_OUT] - i, T.AT_A_TIME), t[T.AXON_HEAD]
        p = view(t[T.AXON_FRAME], at + T.FRAME_ROOM, np.uint8)
        p[at] = 0x95
        at = begin_frame(t, p, at + 1, t[T.SEQ], view(t[T.SCALARS + 29] + 8 * i, n, np.int64), n)
        send(t[T.SEND], t[T.AXON], t[T.AXON_FRAME], at, 0)
        t[T.SEQ] += n
        t[T.N_SERVED] += n
        i += n
    i = 0
    while i < t[T.N_MV]:
        n, at = min(t[T.N_MV] - i, T.AT_A_TIME), t[T.VOICE_HEAD]
        p = view(t[T.VOICE_FRAME], at + T.FRAME_ROOM, np.uint8)
        p[at] = 0x96
        keys, mv = view(t[T.SCALARS + 30] + 8 * i, n, np.int64), view(t[T.SCALARS + 31] + 8 * i, n, np.int64)
        at = begin_frame(t, p, at + 1, t[T.SAMPLE_SEQ], keys, n)
        p[at] = 0x90 | n
        for j in range(n):
            p[at + 1 + 9 * j] = 0xCB
            to_big_endian(p, at + 2 + 9 * j, 8, mv[j])
        send(t[T.SEND], t[T.AXON], t[T.VOICE_FRAME], at + 1 + 9 * n, 0)
        t[T.SAMPLE_SEQ] += n
        t[T.N_TOLD] += n
        i += n
    t[T.N_OUT] = t[T.N_MV] = 0


def entrance() -> Any:
    """The function behind `kernel.loader.Kernel`, the same for all models: what runs a state by a
    model's own code is called by its address."""
    foresight = lookahead.compiled()
    duty, commit, look, react, due, still = (
        foresight[part] for part in ("duty", "commit", "look", "react", "due", "still")
    )

    @njit("void(int64[::1], int64, int64, int64, int64)", **BARE)
    def serve(t, head, frame, size, answer):  # type: ignore[no-untyped-def]
        """See `kernel.layout`: SERVE. The places are those of `neurobus.wire.bus.duty`, `answered`."""
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
            rests = n_new == 0 and used_up(t, t[T.AT_KEY], t[T.AT_PLAN], t[T.AT_SAMPLE])
            if rests and t[T.RESTFUL]:
                next_step = 0
        t[T.NEXT] = next_step
        n_out = t[T.N_OUT]
        if next_step == 0 or t[T.N_MV] or n_out > t[T.OUT_STEPS] * t[T.N_NEURONS]:
            return
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

    @njit("void(int64[::1], int64, int64, int64)", **BARE)
    def converse(t, topic, head, answer):  # type: ignore[no-untyped-def]
        """See `kernel.layout`: CONVERSE."""
        mine = view(topic, head, np.uint8)
        while True:
            size = msg_recv(t[T.RECEIVE], t[T.MESSAGE], t[T.DENDRITES], 0)
            if size < 0:
                t[T.SERVED] = T.NOBODY
                return
            frame = msg_data(t[T.DATA], t[T.MESSAGE])
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
            if served <= 0 or t[T.FAILED]:
                return
            send(t[T.SEND], t[T.AXON], answer, served, 0)

    @njit("int64(int64[::1])", **BARE)
    def respond(t):  # type: ignore[no-untyped-def]
        """React to what was heard, or do what is due, and publish what comes of it. 0: the longer way."""
        limit = t[T.LIMIT]
        timer = t[T.N_NEW] + t[T.N_NEW_MV] == 0
        while True:
            now = (now_ns(t) - t[T.T0_NS]) // t[T.DT_NS]
            if not timer:
                if not react(t, min(now - t[T.GRACE], limit), min(now, limit), limit):
                    return 0
            elif not due(t, now, limit):
                # Nothing came up to here: a slow decay is not run anew from where it began at every look.
                to = min(min(now - t[T.GRACE], t[T.NEAREST] - 1), limit)
                while t[T.STEP] < to and not t[T.FAILED]:
                    commit(t, to, t[T.OUT_STEPS])
                    publish(t)
                t[T.LOOK_LENGTH] = looked_farther(t[T.LOOK_LENGTH])
                look(t, 1, min(now, limit), limit)
                if t[T.ACTS] and t[T.NEAREST] <= min(now, limit):
                    take_ahead(t)
                    t[T.ACTS] = T.TAKEN
            timer = False
            if t[T.FAILED]:
                return 0
            publish(t)
            if t[T.ACTS] != T.TAKEN:
                return 1

    @njit("void(int64[::1], int64)", **BARE)
    def attend(t, until):  # type: ignore[no-untyped-def]
        """See `kernel.layout`: ATTEND."""
        alone = False
        while True:
            size = msg_recv(t[T.RECEIVE], t[T.MESSAGE], t[T.DENDRITES], DONTWAIT)
            if size >= 0:
                frame = msg_data(t[T.DATA], t[T.MESSAGE])
                if not hear(t, frame, size):
                    t[T.SIZE], t[T.FRAME], t[T.SERVED] = size, frame, T.OTHER
                    return
                # What comes alone is answered before the queue is asked for more; all else at once.
                room = t[T.ROOM_NEW] - t[T.N_NEW]
                if t[T.ROOM_NEW_MV]:
                    room = min(room, t[T.ROOM_NEW_MV] - t[T.N_NEW_MV])
                if not alone and room >= T.AT_A_TIME:
                    continue
            alone = False
            limit, step0, dt = t[T.LIMIT], t[T.T0_NS], t[T.DT_NS]
            now = now_ns(t)
            if t[T.N_NEW] or t[T.N_NEW_MV] or t[T.NEAREST] <= min((now - step0) // dt, limit):
                if not respond(t):
                    t[T.SERVED] = T.LONGER
                    return
                now = now_ns(t)
            if size >= 0:
                continue
            wake = until
            if t[T.NEAREST] <= limit:
                wake = min(until, step0 + t[T.NEAREST] * dt)
            elif limit < NEVER:
                until = min(until, step0 + (limit + t[T.GRACE]) * dt)
                wake = until
            ready = 0
            if now < until:
                ready = readable(t, max(wake - now, 0))
            if ready < 0 or now >= until:
                t[T.SERVED] = T.NOBODY
                return
            alone = ready == 1

    @njit(f"void(int64{5 * ', int64'})", **BARE)
    def call(table, op, a, b, c, d):  # type: ignore[no-untyped-def]
        t = view(table, T.SCALARS + T.ARRAYS, np.int64)
        if op == T.RUN:
            advance(t, a, b, c, d, t[T.AT_KEY], t[T.AT_PLAN], t[T.AT_SAMPLE], 0, 0)
        elif op == T.COMMIT:
            t[T.SERVED] = commit(t, a, b)
        elif op == T.LOOK:
            look(t, a, b, c)
        elif op == T.REACT:
            t[T.SERVED] = react(t, a, b, c)
        elif op == T.DUE:
            t[T.SERVED] = due(t, a, c)
        elif op == T.DUTY:
            duty(t, a, b, c, d)
        elif op == T.SERVE:
            serve(t, a, b, c, d)
        elif op == T.CONVERSE:
            converse(t, a, b, d)
        elif op == T.ATTEND:
            attend(t, a)
        elif op == T.STILL:
            t[T.ACTS] = still(t, a) == 1
        elif op == T.FIRST:
            t[T.SERVED] = first_effect(t)
        elif op == T.SETTLE:
            settle(t, a, b, c)
        if t[T.FAILED]:
            raise RuntimeError

    return call
