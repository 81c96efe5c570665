"""A core that converses by itself: the same answers as frame by frame, over wires made of Python."""

from __future__ import annotations

import numpy as np

from neurobus.node.core import Core
from neurobus.node.kernel import layout as T
from neurobus.placement import place
from neurobus.wire import bus as wire
from tests.helpers import ANSWER_TOPIC, DUTY_TOPIC, Wires, net, run_table, table

PAIR = (
    run_table()
    + table("neurons", id="a", model="nodes.lif")
    + table("neurons", id="b", model="nodes.lif", params='{ I_e = "300 pA" }')
    + table("synapses", pre="a", post="b", weight="900 pA", delay="1.5 ms")
)


MANY = DUTY_TOPIC + wire.duty(2, 20, bytes(8 * 100))


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
    """And what comes of them is what comes of them one by one."""
    frames = list(duties(every=1))
    alone, emitted = core(), []
    for frame in frames:
        number, horizon, keys, *rest = wire.unpack(frame[len(DUTY_TOPIC) :])
        emission, next_step = alone.duty(horizon, keys, *rest[:3])
        emitted.append((number, next_step, emission.keys.tobytes()))
    one, out, wires = by_conversation(frames)
    answers = [wire.answer(answer[len(ANSWER_TOPIC) :]) for answer in out]
    assert [(a.number, a.next_step, a.keys) for a in answers] == emitted
    assert all(answer.startswith(ANSWER_TOPIC) for answer in out)
    assert (
        one.dump() == alone.dump()
        and one.seq == one.spikes_sent == len(b"".join(a.keys for a in answers)) / 8
    )
    assert any(a.keys for a in answers), "silent"
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
