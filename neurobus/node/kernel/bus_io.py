"""Frames in, frames out, by ZeroMQ's own functions, until one comes that Python must see; and the entrance.

`t` is a table (`layout.FIELDS`), a *step* counts dt, a *key* is `step << 32 | neuron`, times are in ns, an
address is of bytes. The frames are described in `neurobus.wire.bus`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, int64, njit, void  # type: ignore[attr-defined]

from neurobus.node.kernel import layout as T
from neurobus.node.kernel import lookahead
from neurobus.node.kernel.lookahead import commit, due, duty, earliest, look, next_effect, react, take_due
from neurobus.node.kernel.memory import (
    BARE,
    VOID,
    address,
    big_endian,
    clock_gettime,
    compile_parts,
    helper,
    msg_data,
    msg_recv,
    part,
    ppoll,
    send,
    table_at,
    to_big_endian,
    to_unsigned,
    unsigned,
    view,
)
from neurobus.wire.bus import NEVER

DONTWAIT, POLLIN, CLOCK_MONOTONIC = 1, 1, 1
NAME, LENGTH, INDEX, ACCOUNT = range(4)
"""Columns of a row of streams."""
EPOCH, EXPECTED, RECEIVED = range(3)
"""The first fields of a `neurobus.ledger.Account`."""
SECOND_NS = 1_000_000_000


@helper
def now_ns(t):  # type: ignore[no-untyped-def]
    """The clock on the wall (ns), as `time.monotonic_ns`."""
    clock_gettime(t.clock, CLOCK_MONOTONIC, t.waiting)
    spec = view(t.waiting, 2, np.int64)
    return spec[0] * SECOND_NS + spec[1]


@helper
def readable(t, for_ns):  # type: ignore[no-untyped-def]
    """Wait until frames may have arrived (1), or so many ns (0). -1: something else wants attention."""
    spec = view(t.waiting, 4, np.int64)
    spec[0], spec[1] = for_ns // SECOND_NS, for_ns % SECOND_NS
    spec[2], spec[3] = (spec[2] & 0xFFFFFFFF) | POLLIN << 32, (spec[3] & 0xFFFFFFFF) | POLLIN << 32
    n = ppoll(t.poll, t.waiting + 16, 2, t.waiting, 0)
    if n < 0 or (spec[3] >> 48) & 0xFFFF:
        return -1
    return min(n, 1)


@helper
def hear(t, frame, size):  # type: ignore[no-untyped-def]
    """Whether a frame of `size` bytes at an address has spikes or samples of one neuron that are the very
    next of their stream, as nearly all are; they are booked then, and wait among the new. Else nothing was
    done."""
    p = view(frame, size, np.uint8)
    slots, names, rows = (
        carray(t.stream_slots, t.slot_mask + 1),
        address(t.stream_names),
        address(t.stream_rows),
    )
    place, head = 0, 0
    while head < size and p[head] != 0:
        place = (place * 31 + p[head]) & 0x7FFFFFFF
        head += 1
    head += 1
    if head >= size:
        return 0
    place &= t.slot_mask
    while True:
        n = slots[place]
        if n < 0:
            return 0
        row = view(rows + 32 * n, 4, np.int64)
        if row[LENGTH] == head:
            name, same = view(names + row[NAME], head, np.uint8), True
            for i in range(head):
                same = same and name[i] == p[i]
            if same:
                break
        place = (place + 1) & t.slot_mask
    account, of_mv = view(row[ACCOUNT], 3, np.int64), p[0] == ord("v")
    if p[head] != (0x96 if of_mv else 0x95):
        return 0
    epoch, at = unsigned(p, head + 1, size)
    seq, at = unsigned(p, at, size)
    if epoch != account[EPOCH] or seq != account[EXPECTED] or at + 2 > size or p[at] != 0xC2:
        return 0
    n = p[at + 1] - 0x90
    at += 2
    n_new, room, keys = t.n_new, t.room_new, address(t.new)
    if of_mv:
        n_new, room, keys = t.n_new_mv, t.room_new_mv, address(t.new_mv_keys)
    if n < 0 or n > T.AT_A_TIME or n_new + n > room:
        return 0
    new = view(keys + 8 * n_new, T.AT_A_TIME, np.int64)
    for i in range(n):
        time, at = unsigned(p, at, size)
        if time < 0 or time // t.dt_ns >= NEVER:
            return 0
        new[i] = (time // t.dt_ns) << 32 | row[INDEX]
    if at >= size or p[at] != 0xC0:
        return 0
    at += 1
    if of_mv:
        if at + 1 + 9 * n != size or p[at] != 0x90 | n:
            return 0
        new_mv = view(address(t.new_mv) + 8 * n_new, T.AT_A_TIME, np.int64)  # the bits of a float64
        for i in range(n):
            if p[at + 1 + 9 * i] != 0xCB:
                return 0
            new_mv[i] = big_endian(p, at + 2 + 9 * i, 8)
        t.n_new_mv += n
    elif at != size:
        return 0
    else:
        t.n_new += n
    account[EXPECTED] += n
    account[RECEIVED] += n
    return 1


@helper
def begin_frame(t, p, at, seq, keys, n):  # type: ignore[no-untyped-def]
    """Write `[epoch, seq, False, [times], None` of n keys at place `at` of the bytes p, behind the byte that
    says how long the row is; returns the place after it."""
    at = to_unsigned(p, at, t.epoch)
    at = to_unsigned(p, at, seq)
    p[at], p[at + 1] = 0xC2, 0x90 | n
    at += 2
    for j in range(n):
        at = to_unsigned(p, at, (keys[j] >> 32) * t.dt_ns)
    p[at] = 0xC0
    return at + 1


@helper
def publish(t):  # type: ignore[no-untyped-def]
    """Send the spikes and samples that were put out; none is left."""
    i = 0
    while i < t.n_out:
        n, at = min(t.n_out - i, T.AT_A_TIME), t.axon_head
        p = carray(t.axon_frame, at + T.FRAME_ROOM)
        p[at] = 0x95
        at = begin_frame(t, p, at + 1, t.seq, view(address(t.out) + 8 * i, n, np.int64), n)
        send(t.send, t.axon, address(t.axon_frame), at, 0)
        t.seq += n
        t.spikes_sent += n
        i += n
    i = 0
    while i < t.n_mv:
        n, at = min(t.n_mv - i, T.AT_A_TIME), t.voice_head
        p = carray(t.voice_frame, at + T.FRAME_ROOM)
        p[at] = 0x96
        keys = view(address(t.out_sample) + 8 * i, n, np.int64)
        mv = view(address(t.out_mv) + 8 * i, n, np.int64)  # the bits of float64
        at = begin_frame(t, p, at + 1, t.sample_seq, keys, n)
        p[at] = 0x90 | n
        for j in range(n):
            p[at + 1 + 9 * j] = 0xCB
            to_big_endian(p, at + 2 + 9 * j, 8, mv[j])
        send(t.send, t.axon, address(t.voice_frame), at + 1 + 9 * n, 0)
        t.sample_seq += n
        t.samples_sent += n
        i += n
    t.n_out = t.n_mv = 0


@part(void)
def serve(t, frame, size):  # type: ignore[no-untyped-def]
    """Carry out the duty in a frame of `size` bytes at an address, and write the answer, its length into
    `served`; or what it is else: OTHER, OLD, TELL. The places are those of `neurobus.wire.bus.duty` and
    `answered`."""
    head = t.duty_head
    n = size - head - 36
    t.served = T.OTHER
    p = view(frame + head, max(size - head, 0), np.uint8)
    if n < 0 or n & 7 or p[0] != 0x97 or p[1] != 0xCF or p[10] != 0xCF or p[19] != 0xC6:
        return
    if big_endian(p, 20, 4) != n or p[size - head - 2] != 0xC0 or p[size - head - 1] != 0xC0:
        return
    for i in (24, 29):
        if p[n + i] != 0xC6 or big_endian(p, n + i + 1, 4) != 0:
            return
    number, to, n_new, new = big_endian(p, 2, 8), big_endian(p, 11, 8), n >> 3, frame + head + 24
    if number <= t.duty_number:
        t.served = T.OLD
        return
    begin, asleep = t.step, min(to, earliest(NEVER, new, n_new, t.lag))
    if t.resting:
        begin = max(begin, min(asleep, next_effect(t)))
    elif 0 <= t.rest_at <= asleep:
        begin = asleep
    if t.n_keys - t.at_key + 2 * n_new > t.room_keys or to - begin > t.out_steps - 2:
        return
    t.duty_number = number
    duty(t, to, new, n_new, n_new > 0)
    t.served, n_out = T.TELL, t.n_out
    if t.n_mv or n_out > t.room_answer:
        return
    out = view(address(t.out), 8 * n_out, np.uint8)
    first = carray(t.out, 1)[0] >> 32 if n_out else -1
    a = view(t.answer + t.answer_head, 66 + 8 * n_out, np.uint8)
    a[0], a[1], a[10], a[19], a[28], a[37], a[46] = 0x99, 0xCF, 0xCF, 0xCF, 0xD3, 0xCF, 0xC6
    to_big_endian(a, 2, 8, number)
    to_big_endian(a, 11, 8, t.epoch)
    to_big_endian(a, 20, 8, t.nearest)
    to_big_endian(a, 29, 8, first)
    to_big_endian(a, 38, 8, t.seq)
    to_big_endian(a, 47, 4, 8 * n_out)
    for i in range(8 * n_out):
        a[51 + i] = out[i]
    end = 51 + 8 * n_out
    a[end], a[end + 9], a[end + 14] = 0xCF, 0xC6, 0xC6
    to_big_endian(a, end + 1, 8, t.sample_seq)
    to_big_endian(a, end + 10, 4, 0)
    to_big_endian(a, end + 15, 4, 0)
    t.seq += n_out
    t.spikes_sent += n_out
    t.n_out = 0
    t.served = t.answer_head + end + 19


@part(void)
def converse(t):  # type: ignore[no-untyped-def]
    """Receive frames, serve the duties among them, and send the answers, until a frame is none or its answer
    is more than spikes (OTHER, TELL), or none came for as long as the socket is patient (NOBODY)."""
    topic, head = view(t.duty_topic, t.duty_head, np.uint8), t.duty_head
    while True:
        size = msg_recv(t.receive, t.message, t.dendrites, 0)
        if size < 0:
            t.served = T.NOBODY
            return
        frame = msg_data(t.data, t.message)
        t.size, t.frame, t.served = size, frame, T.OTHER
        if size <= head or size > t.longest_duty:
            return
        p = view(frame, head, np.uint8)
        for i in range(head):
            if p[i] != topic[i]:
                return
        serve(t, frame, size)
        served = t.served
        if served == T.OLD:
            continue
        if served <= 0 or t.failed:
            return
        send(t.send, t.axon, t.answer, served, 0)


@part(int64)
def respond(t):  # type: ignore[no-untyped-def]
    """React to what was received, or do what is due, and publish what comes of it. 0: it takes more than
    that."""
    timer = t.n_new + t.n_new_mv == 0
    while True:
        step = (now_ns(t) - t.t0_ns) // t.dt_ns
        now, behind = min(step, t.limit), min(step - t.grace, t.limit)
        if not timer:
            if not react(t, behind, now):
                return 0
        elif not due(t, step):
            # Nothing came up to here: a slow decay is not run anew from where it began at every look.
            while not commit(t, min(behind, t.nearest - 1)) and not t.failed:
                publish(t)
            publish(t)
            look(t, 1, now, t.limit)
            take_due(t, now)
        timer = False
        if t.failed:
            return 0
        publish(t)
        if t.acts != T.TAKEN:
            return 1


@part(void)
def attend(t, until):  # type: ignore[no-untyped-def]
    """Until `until` by the clock on the wall (ns), receive spikes and samples and react to them as they
    come, and do what is due as time goes on; ends before that when a frame is something else (OTHER), when
    what was received takes more than one call (LONGER), and when the end is near (NOBODY, as when nothing
    came)."""
    alone = False
    while True:
        size = msg_recv(t.receive, t.message, t.dendrites, DONTWAIT)
        if size >= 0:
            frame = msg_data(t.data, t.message)
            if not hear(t, frame, size):
                t.size, t.frame, t.served = size, frame, T.OTHER
                return
            # What comes alone is answered before the queue is asked for more; all else at once.
            room = t.room_new - t.n_new
            if t.room_new_mv:
                room = min(room, t.room_new_mv - t.n_new_mv)
            if not alone and room >= T.AT_A_TIME:
                continue
        alone = False
        limit, step0, dt = t.limit, t.t0_ns, t.dt_ns
        now = now_ns(t)
        if t.n_new or t.n_new_mv or t.nearest <= min((now - step0) // dt, limit):
            if not respond(t):
                t.served = T.LONGER
                return
            now = now_ns(t)
        if size >= 0:
            continue
        wake = until
        if t.nearest <= limit:
            wake = min(until, step0 + t.nearest * dt)
        elif limit < NEVER:
            until = min(until, step0 + (limit + t.grace) * dt)
            wake = until
        ready = 0
        if now < until:
            ready = readable(t, max(wake - now, 0))
        if ready < 0 or now >= until:
            t.served = T.NOBODY
            return
        alone = ready == 1


def entrance() -> Any:
    """The function behind `loader.Kernel`, the same for all models: `call(table, operation, …)`, where an
    operation is a number of `layout.OPERATIONS`, and takes as many of the arguments as its function has."""
    compile_parts()
    arguments = [f"x{n}" for n in range(T.MOST_ARGUMENTS)]
    scope: dict[str, Any] = {"table_at": table_at}
    text = f"def call(table, operation, {', '.join(arguments)}):\n    t = table_at(table)\n    t.served = 0\n"
    for number, name in enumerate(T.OPERATIONS):
        function = scope[name] = globals().get(name) or getattr(lookahead, name)
        given = arguments[: function.py_func.__code__.co_argcount - 1]
        text += f"    if operation == {number}:\n        result = {name}({', '.join(['t', *given])})\n"
        text += "" if name in VOID else "        t.served = result\n"
    exec(text + "    if t.failed:\n        raise RuntimeError\n", scope)
    return njit(f"void(int64{', int64' * (1 + T.MOST_ARGUMENTS)})", **BARE)(scope["call"])
