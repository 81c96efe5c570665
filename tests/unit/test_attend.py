"""A neuron that attends to the bus in compiled code, in a world made of Python: wires, clock and sleep."""

from __future__ import annotations

import ctypes
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobus.events import Samples, Spikes
from neurobus.ledger import Ledger
from neurobus.node.core import Core
from neurobus.node.kernel import layout as T
from neurobus.node.streams import hash_table
from neurobus.placement import place
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.bus import NEVER
from neurobus.wire.message import Control
from tests.helpers import net, run_table, table

POINTER, INT = ctypes.c_void_p, ctypes.c_int
DT_NS, T0_NS, GRACE = 100_000, 7_000_000_000, 30
AXON, VOICE = wire.topic(wire.SPIKES, "b"), wire.topic(wire.SAMPLES, "b")
PAIR = (
    run_table()
    + table("neurons", id="a", model="nodes.lif")
    + table("neurons", id="b", model="nodes.lif", params="{{ I_e = '{} pA' }}")
    + table("neurons", id="c", model="nodes.lif")
    + table("synapses", pre="a", post="b", weight="4000 pA", delay="1 ms")
    + table("synapses", pre="c", post="b", weight="4000 pA", delay="6 ms")
)


class World:
    """The present (steps), frames with the step at which each arrives, and what was sent when."""

    def __init__(self, arrivals):
        self.now_ns, self.arrivals, self.sent, self.polls = T0_NS, list(arrivals), [], 0
        self.other_at = None
        self._kept = [
            ctypes.CFUNCTYPE(INT, POINTER, POINTER, INT)(self._receive),
            ctypes.CFUNCTYPE(POINTER, POINTER)(lambda _: ctypes.addressof(self._buffer)),
            ctypes.CFUNCTYPE(INT, POINTER, POINTER, ctypes.c_size_t, INT)(self._send),
            ctypes.CFUNCTYPE(INT, INT, POINTER)(self._clock),
            ctypes.CFUNCTYPE(INT, POINTER, ctypes.c_ulong, POINTER, POINTER)(self._poll),
        ]
        receive, data, send, clock, poll = (ctypes.cast(one, POINTER).value for one in self._kept)
        self.lines = receive, data, send, 11, 22, 33, clock, poll

    def _arrived(self):
        return bool(self.arrivals) and T0_NS + self.arrivals[0][0] * DT_NS <= self.now_ns

    def _receive(self, message, socket, flags):
        assert (message, socket, flags) == (11, 22, 1), "it must not block here"
        if not self._arrived():
            return -1
        frame = self.arrivals.pop(0)[1]
        self._buffer = ctypes.create_string_buffer(frame, max(len(frame), 1))
        return len(frame)

    def _send(self, socket, address, size, flags):
        assert (socket, flags) == (33, 0)
        self.sent.append((self.now_ns, ctypes.string_at(address, size)))
        return size

    def _clock(self, which, spec):
        assert which == 1
        ctypes.memmove(spec, struct.pack("qq", *divmod(self.now_ns, 10**9)), 16)
        return 0

    def _poll(self, fds, n, timeout, signals):
        self.polls += 1
        assert self.polls < 10_000, "it does not sleep"
        assert (n, signals) == (2, None)
        fd, events, _, other, _, _ = struct.unpack("ihhihh", ctypes.string_at(fds, 16))
        assert (fd, events, other) == (5, 1, 6)
        until = self.now_ns + int(np.dot(struct.unpack("qq", ctypes.string_at(timeout, 16)), (10**9, 1)))
        ready = [when for when in (self._when(), self.other_at) if when is not None and when <= until]
        self.now_ns = max(self.now_ns, min(ready, default=until))
        is_other = self.other_at is not None and self.other_at <= self.now_ns
        ctypes.memmove(fds, struct.pack("ihhihh", 5, 1, self._arrived(), 6, 1, 16 * is_other), 16)
        return self._arrived() + is_other

    def _when(self):
        return T0_NS + self.arrivals[0][0] * DT_NS if self.arrivals else None


def neuron(current_pa=0, config=PAIR):
    core = Core(place(net(config.format(current_pa))).neuron_part(1))
    ledger = Ledger(True)
    for name in ("a", "c"):
        ledger.expect(name)
    return core, ledger


def attending(world, core, ledger, potentials=None):
    streams = [
        (wire.topic(kind, name), "abc".index(name), account)
        for kind, book in ((wire.SPIKES, ledger), (wire.SAMPLES, potentials))
        if book
        for name, account in book.accounts.items()
    ]
    core.set_streams(AXON, VOICE, streams)
    core.bind_clock(world.lines, (5, 6), (T0_NS, DT_NS, GRACE))
    core.look()
    return core


def samples_sent(world):
    """The same of samples, with their mV."""
    samples = []
    for when_ns, frame in world.sent:
        event = wire.decode(frame)
        if isinstance(event, Samples):
            assert (event.stream, event.epoch, event.seq) == ("b", 0, len(samples))
            assert frame == wire.encode(Samples("b", 0, len(samples), event.t_ns, event.v_mv))
            assert all(T0_NS + t <= when_ns for t in event.t_ns)
            samples += [(t // DT_NS, mv) for t, mv in zip(event.t_ns, event.v_mv, strict=True)]
    return samples


def spikes_sent(world):
    """Steps of the spikes that were sent, each frame as `neurobus.wire` writes it, none before its time."""
    steps, seq = [], 0
    for when_ns, frame in world.sent:
        event = wire.decode(frame)
        if isinstance(event, Samples):
            continue
        assert (event.stream, event.epoch, event.seq) == ("b", 0, seq)
        assert frame == wire.encode(Spikes("b", 0, seq, event.t_ns))
        assert all(T0_NS + t <= when_ns for t in event.t_ns)
        seq += len(event.t_ns)
        steps += [t // DT_NS for t in event.t_ns]
    return steps


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 900), st.sampled_from("ac"), st.integers(0, 30)),
        max_size=25,
        unique_by=lambda x: x[:2],
    ),
    st.sampled_from([0, 300, 900]),
    st.integers(1, 400),
)
def test_what_is_sent_is_what_the_neuron_does(spikes, current_pa, stay):
    """However spikes are spread, late or together, and whenever it is asked to come out: the spikes of a core
    that is told of all of them at once; unless one comes too late to act in time, which is counted."""
    core, ledger = neuron(current_pa)
    whole, _ = neuron(current_pa)
    seq, arrivals = {"a": 0, "c": 0}, []
    came = {"a": 0, "c": 0}
    keys = []
    for stamp, name, lag in sorted(spikes):
        came[name] = max(came[name], stamp + (lag % 10 if name == "a" else lag))  # a stream keeps its order
        arrivals.append((came[name], wire.encode(Spikes(name, 0, seq[name], [stamp * DT_NS]))))
        seq[name] += 1
        keys.append(stamp << 32 | "abc".index(name))
    world = World(sorted(arrivals, key=lambda arrival: arrival[0]))
    attending(world, core, ledger)
    while world.now_ns < T0_NS + 1000 * DT_NS:
        outcome = core.attend(min(world.now_ns + stay * DT_NS, T0_NS + 1000 * DT_NS))
        if outcome == T.LONGER:
            core.admit(np.array(core.unadmitted()[0], np.int64))
            core.look()
        else:
            assert outcome == T.NOBODY
    whole.admit(np.array(keys, np.int64))
    expected = whole.advance(1000)
    sent = spikes_sent(world)
    if core.late == 0:
        assert [step for step in sent if step < 1000] == [
            step for step in (expected.keys >> 32).tolist() if step < 1000
        ]
    for name, account in ledger.accounts.items():
        assert (account.received, account.expected, account.lost) == (seq[name], seq[name], 0)


THREE = table(
    "neurons", id="b", model="nodes.{model}", params="{{ tau_m = '2 ms', t_ref = '0.3 ms', I_e = '{pa} pA' }}"
) + "".join(
    table("sources", id=f"s{i}", kind="metronome", period="1 s")
    + table("synapses", pre=f"s{i}", post="b", weight="(weight)", delay=delay)
    for i, delay in enumerate(("1 ms", "1.3 ms", "4 ms"))
)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([("lif", "900 pA"), ("lif_delta", "9 mV")]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=25,
             unique_by=lambda spike: spike[:2]),
    st.sampled_from([0, 30, 10_000]),
    st.sampled_from([0, 28_000]),
    st.booleans(),
    st.integers(1, 400),
)  # fmt: skip
def test_reacting_to_spikes_as_they_come_is_advancing_over_them_all(
    kind, spikes, grace, current_pa, watched, stay
):
    """Whatever the wall clock says when they come, if only they come before they act."""
    network = net(THREE.replace("(weight)", kind[1]).format(model=kind[0], pa=current_pa))
    plan = place(network)
    part = plan.neuron_part(plan.number_of["b"])
    whole, core, ledger = Core(part), Core(part), Ledger(True)
    index = [network.ids.index(f"s{i}") for i in range(3)]
    arrivals, seq, came = [], [0] * 3, [0] * 3
    for stamp, i, lag in sorted(spikes):
        came[i] = max(came[i], stamp + lag)  # a stream keeps its order
        arrivals.append((came[i], wire.encode(Spikes(f"s{i}", 0, seq[i], [stamp * DT_NS]))))
        seq[i] += 1
    for i in range(3):
        ledger.expect(f"s{i}")
    world = World(sorted(arrivals, key=lambda arrival: arrival[0]))
    core.set_streams(AXON, VOICE, [(wire.topic(wire.SPIKES, f"s{i}"), index[i], ledger.accounts[f"s{i}"])
                                   for i in range(3)])  # fmt: skip
    core.bind_clock(world.lines, (5, 6), (T0_NS, DT_NS, grace))
    core.look()
    while world.now_ns < T0_NS + 1000 * DT_NS:
        outcome = core.attend(min(world.now_ns + stay * DT_NS, T0_NS + 1000 * DT_NS))
        if watched:
            core.potential_mv((world.now_ns - T0_NS) // DT_NS)
        if outcome == T.LONGER:
            core.admit(np.array(core.unadmitted()[0], np.int64))
            core.look()
    whole.admit(np.array([stamp << 32 | index[i] for stamp, i, _ in spikes], np.int64))
    expected = (whole.advance(1000).keys >> 32).tolist()
    found = spikes_sent(world) + (core.advance(1000).keys >> 32).tolist()
    assert [step for step in found if step <= 1000] == expected
    assert (core.late, core.deliveries) == (0, whole.deliveries)


JUNCTION = PAIR + table("electrical", a="a", b="b", conductance="20 nS")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.floats(-80, -30)), max_size=25, unique_by=lambda told: told[0]
    ),
    st.lists(st.integers(0, 400), max_size=8, unique=True),
    st.integers(0, 12),
    st.sampled_from([0, 300, 900]),
    st.integers(1, 400),
)
def test_potentials_are_heard_and_told_as_spikes_are(told, spikes, lag, current_pa, stay):
    core, ledger = neuron(current_pa, JUNCTION)
    whole, _ = neuron(current_pa, JUNCTION)
    potentials = Ledger(True)
    potentials.expect("a")
    told, spikes = sorted(told), sorted(spikes)
    arrivals = [
        *((t + lag, wire.encode(Samples("a", 0, n, [t * DT_NS], [mv]))) for n, (t, mv) in enumerate(told)),
        *((t + lag, wire.encode(Spikes("a", 0, n, [t * DT_NS]))) for n, t in enumerate(spikes)),
    ]
    world = World(sorted(arrivals, key=lambda arrival: arrival[0]))
    attending(world, core, ledger, potentials)
    while world.now_ns < T0_NS + 600 * DT_NS:
        outcome = core.attend(min(world.now_ns + stay * DT_NS, T0_NS + 600 * DT_NS))
        assert outcome in (T.LONGER, T.NOBODY)
        if outcome == T.LONGER:
            left, keys, mv = core.unadmitted()
            core.admit(np.array(left, np.int64))
            core.admit_samples(np.array(keys, np.int64), np.array(mv))
            core.look()
    whole.admit(np.array([t << 32 for t in spikes], np.int64))
    whole.admit_samples(np.array([t << 32 for t, _ in told], np.int64), np.array([mv for _, mv in told]))
    expected = whole.advance(599)
    if core.late == 0:
        assert [t for t in spikes_sent(world) if t < 600] == (expected.keys >> 32).tolist()
        found = [sample for sample in samples_sent(world) if sample[0] < 600]
        assert found == list(
            zip((expected.sample_keys >> 32).tolist(), expected.sample_mv.tolist(), strict=True)
        )
        assert found or not current_pa
    assert potentials.accounts["a"].received == len(told)
    assert core.samples_sent == core.sample_seq == len(samples_sent(world))


def test_a_spike_is_sent_when_it_is_due_and_the_process_sleeps_till_then():
    core, ledger = neuron(900)
    world = World([])
    attending(world, core, ledger)
    assert core.attend(T0_NS + 10**8) == T.NOBODY
    steps = spikes_sent(world)
    assert steps == (neuron(900)[0].advance(999).keys >> 32).tolist()
    assert 10 < world.polls < 3 * len(steps)
    assert [when - T0_NS for when, _ in world.sent] == [step * DT_NS for step in steps]
    assert (core.seq, core.spikes_sent) == (len(steps), len(steps))


def test_nobody_comes_out_before_time_without_a_reason():
    core, ledger = neuron()
    world = World([])
    attending(world, core, ledger)
    for _ in range(3):
        core.look(True)
    assert core.attend(T0_NS + 10**9) == T.NOBODY
    assert (world.now_ns, world.polls) == (T0_NS + 10**9, 1)


def test_another_matter_calls_it_out():
    core, ledger = neuron()
    world = World([])
    world.other_at = T0_NS + 5_000_000
    attending(world, core, ledger)
    assert core.attend(T0_NS + 10**9) == T.NOBODY
    assert world.now_ns == world.other_at


def test_it_comes_out_at_the_end_of_the_run_and_sends_nothing_after():
    core, ledger = neuron(900)
    core.limit = 200
    world = World([])
    attending(world, core, ledger)
    assert core.attend(T0_NS + 10**9) == T.NOBODY
    assert world.now_ns == T0_NS + (200 + GRACE) * DT_NS
    assert 0 < max(spikes_sent(world)) <= 200 < core.nearest


NEXT = wire.encode(Spikes("a", 0, 1, [DT_NS]))


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"s",
        b"s/a\0",
        b"s/a\0\x95",
        NEXT[:-1],
        NEXT + b"\0",
        NEXT[:-1] + b"\xc3",
        wire.encode(Control("*", verbs.Exit())),
        wire.encode(Spikes("stranger", 0, 0, [DT_NS])),
        wire.encode(Spikes("a", 1, 0, [DT_NS])),
        wire.encode(Spikes("a", 0, 0, [DT_NS])),
        wire.encode(Spikes("a", 0, 2, [DT_NS])),
        wire.encode(Spikes("a", 0, 1, [DT_NS], None, True)),
        wire.encode(Spikes("a", 0, 1, [NEVER * DT_NS])),
        wire.encode(Spikes("a", 0, 1, [DT_NS] * 16)),
        wire.encode(Spikes("a", 0, 1, np.array([DT_NS]), np.array([0], np.uint32))),
        wire.topic(wire.SPIKES, "a") + wire.pack([0, 1, False, [-1], None]),
        wire.topic(wire.SPIKES, "a") + wire.pack([0, 1, False, [1.5], None]),
        wire.topic(wire.SPIKES, "a") + wire.pack([0, 1, False, [2**63], None]),
        wire.topic(wire.SPIKES, "a") + wire.pack([0, 1, False, [DT_NS]]),
        wire.topic(wire.SPIKES, "a") + wire.pack([0, 1, False, [DT_NS, "x"], None]),
    ],
    ids=lambda frame: repr(frame[:24]),
)
def test_what_is_no_plain_next_spike_is_handed_out_whole_and_not_booked(frame):
    core, ledger = neuron()
    first = wire.encode(Spikes("a", 0, 0, [0]))
    world = World([(3, first), (3, frame)])
    attending(world, core, ledger)
    assert core.attend(T0_NS + 10**9) == T.OTHER
    assert core.frame() == frame
    account = ledger.accounts["a"]
    assert (account.epoch, account.expected, account.received) == (0, 1, 1)
    assert core.unadmitted() in (([], [], []), ([0], [], []))
    assert core.unadmitted() == ([], [], [])


def test_more_spikes_than_there_is_room_for_are_all_felt():
    core, ledger = neuron()
    world = World([(1, wire.encode(Spikes("a", 0, n, [0]))) for n in range(3 * T.ROOM)])
    attending(world, core, ledger)
    while (outcome := core.attend(T0_NS + 10**8)) != T.NOBODY:
        assert outcome == T.LONGER
        core.admit(np.array(core.unadmitted()[0], np.int64))
        core.look()
    core.advance(900)
    assert core.deliveries == ledger.accounts["a"].received == 3 * T.ROOM


def test_two_that_come_to_a_resting_neuron_before_either_acts():
    """The second must not make it forget the first."""
    core, ledger = neuron()
    whole, _ = neuron()
    world = World([(2001, wire.encode(Spikes("c", 0, 0, [2000 * DT_NS]))),
                   (2031, wire.encode(Spikes("a", 0, 0, [2030 * DT_NS])))])  # fmt: skip
    world.now_ns += 1995 * DT_NS
    attending(world, core, ledger)
    for _ in range(3):
        core.look(True)
    core.advance(1960)
    assert core.attend(T0_NS + 4000 * DT_NS) == T.NOBODY
    whole.admit(np.array([2000 << 32 | 2, 2030 << 32 | 0], np.int64))
    assert spikes_sent(world) == (whole.advance(4000).keys >> 32).tolist() != []
    core.advance(4000)
    assert core.deliveries == whole.deliveries == 2


def test_streams_are_found_among_many():
    topics = [wire.topic(wire.SPIKES, f"n{n}") for n in range(300)]
    slots = hash_table(topics)
    assert sorted(n for n in slots if n >= 0) == list(range(300))
    assert len(slots) & len(slots) - 1 == 0 and len(slots) >= 600
    assert -1 in hash_table([])


@pytest.mark.parametrize("seq", [0, 1, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**53 - 1])
def test_integers_of_any_size_are_written_and_read_as_msgpack_does(seq):
    core, ledger = neuron(900)
    ledger.accounts["a"].expected = seq
    frame = wire.encode(Spikes("a", 0, seq, [DT_NS]))
    world = World([(2, frame)])
    attending(world, core, ledger)
    core.seq = seq
    assert core.attend(T0_NS + 500 * DT_NS) == T.NOBODY
    assert ledger.accounts["a"].expected == seq + 1
    sent = wire.decode(world.sent[0][1])
    assert world.sent[0][1] == wire.encode(Spikes("b", 0, seq, sent.t_ns))
    for cut in range(len(frame)):
        ledger.accounts["a"].expected = seq
        world.arrivals = [(2, frame[:cut])]
        assert core.attend(T0_NS + 10**9) == T.OTHER
