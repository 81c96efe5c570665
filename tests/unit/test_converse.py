"""A core that converses by itself: the same answers as frame by frame, over wires made of Python."""

from __future__ import annotations

import ctypes

import numpy as np

from neurobus.node.core import Core
from neurobus.node.kernel import layout as T
from neurobus.placement import place
from neurobus.wire import bus as wire
from tests.helpers import ANSWER_TOPIC, DUTY_TOPIC, net, run_table, table

POINTER, INT = ctypes.c_void_p, ctypes.c_int
PAIR = (
    run_table()
    + table("neurons", id="a", model="nodes.lif")
    + table("neurons", id="b", model="nodes.lif", params='{ I_e = "300 pA" }')
    + table("synapses", pre="a", post="b", weight="900 pA", delay="1.5 ms")
)


MANY = DUTY_TOPIC + wire.duty(2, 20, bytes(8 * 100))


class Wires:
    """What ZeroMQ's functions do, with `inbox` and `outbox` for a socket each."""

    def __init__(self, inbox):
        self.inbox, self.outbox, self.recvs = list(inbox), [], 0
        self._frame = b""
        receive = ctypes.CFUNCTYPE(INT, POINTER, POINTER, INT)(self._receive)
        data = ctypes.CFUNCTYPE(POINTER, POINTER)(lambda _: ctypes.addressof(self._buffer))
        send = ctypes.CFUNCTYPE(INT, POINTER, POINTER, ctypes.c_size_t, INT)(self._send)
        self._kept = receive, data, send
        addresses = (ctypes.cast(function, POINTER).value for function in self._kept)
        self.lines = (*addresses, 11, 22, 33, 0, 0)

    def _receive(self, message, socket, flags):
        assert (message, socket, flags) == (11, 22, 0)
        self.recvs += 1
        if not self.inbox:
            return -1
        frame = self.inbox.pop(0)
        self._buffer = ctypes.create_string_buffer(frame, max(len(frame), 1))
        return len(frame)

    def _send(self, socket, address, size, flags):
        assert (socket, flags) == (33, 0)
        self.outbox.append(ctypes.string_at(address, size))
        return size


def core():
    made = Core(place(net(PAIR)).neuron_part(1))
    made.answers_as(ANSWER_TOPIC, 0)
    made.look()
    return made


def duties(n=40, every=3):
    rng = np.random.default_rng(5)
    for number in range(1, n + 1):
        keys = b""
        if number % every == 0:
            keys = np.array([(10 * number + int(rng.integers(3))) << 32], np.int64).tobytes()
        yield DUTY_TOPIC + wire.duty(number, 10 * number, keys)


def by_conversation(frames):
    one, out = core(), []
    wires = Wires(frames)
    one.bind_duties(DUTY_TOPIC, wires.lines)
    while (outcome := one.converse(True)) != T.NOBODY:
        out, wires.outbox = out + wires.outbox, []
        out.append((outcome, one.frame()))
        if outcome == T.TELL:
            emission, next_step = one.served()
            one.seq += len(emission.keys)
            out.append((emission.keys.tolist(), next_step))
        elif one.frame() == MANY:
            number, horizon, keys, *_ = wire.unpack(MANY[len(DUTY_TOPIC) :])
            one.duty_number = number
            emission, _ = one.duty(horizon, keys, b"", b"", None)
            one.seq += len(emission.keys)
    return one, out + wires.outbox, wires


def test_plain_duties_never_leave_the_kernel():
    frames = list(duties(every=1))
    alone, told = core(), []
    for frame in frames:
        size = alone.serve(frame, len(DUTY_TOPIC))
        assert size > 0
        told.append(bytes(alone.answer[:size]))
    one, out, wires = by_conversation(frames)
    assert out == told
    assert one.dump() == alone.dump() and (one.seq, one.spikes_sent) == (alone.seq, alone.spikes_sent)
    assert any(wire.answer(answer[len(ANSWER_TOPIC) :]).keys for answer in told), "silent"
    assert wires.recvs > len(frames)


def test_what_is_no_plain_duty_is_handed_out_whole_and_the_conversation_goes_on():
    first, second, *_ = duties(every=1)
    others = [b"", b"c/*\0\x93", DUTY_TOPIC, DUTY_TOPIC + b"\x97\xcf", b"d/aa\0" + second[len(DUTY_TOPIC) :],
              MANY]  # fmt: skip
    for other in others:
        _, out, _ = by_conversation([first, other, first])
        assert (T.OTHER, other) in out
        assert sum(isinstance(told, bytes) for told in out) == 1, "the old duty was answered again"


def test_no_duty_is_plain_while_somebody_looks_over_its_shoulder():
    one, wires = core(), Wires(duties())
    one.bind_duties(DUTY_TOPIC, wires.lines)
    assert one.converse(False) == T.OTHER
    assert one.frame() == next(duties())
    wires.inbox.clear()
    wires.recvs = 0
    assert one.converse(False) == T.NOBODY
    assert wires.recvs == 1
