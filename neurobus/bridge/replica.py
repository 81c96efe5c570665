"""The neuron on its board: what it is fed from the bus, and what is read back. Sans-IO.

Between our question for the state and the answer nothing can be fed yet; it is kept, and follows the image.
"""

from __future__ import annotations

import numpy as np

from neurobus.bridge.figures import Figures
from neurobus.bridge.image import Chip, State
from neurobus.bridge.lease import Lease
from neurobus.bridge.session import Session
from neurobus.events import Spikes
from neurobus.ledger import Ledger
from neurobus.wire import lease as messages
from neurobus.wire import link

STEP_BITS = 32
Stamped = list[tuple[int, int]]
"""Spikes: (stamp, index of the source), in steps."""


class Replica:
    """`base`: the state that the board was given last, None before there is one."""

    def __init__(self, lease: Lease, session: Session):
        self.lease, self.session = lease, session
        self.figures = Figures()
        self.ledger = Ledger(from_start=False)
        self.base: State | None = None
        self.marked = False
        """Our question for the state has come back to us: all that follows is not in the answer."""
        self._spikes_since: Stamped = []
        self._pokes_since: list[tuple[int, float]] = []

    @property
    def chip(self) -> Chip:
        return self.lease.granted.chip

    def drop(self) -> None:
        """There is no board, or none that has a state."""
        self.base, self.marked = None, False

    def mark(self) -> None:
        self.marked, self.base = True, None
        self._spikes_since, self._pokes_since = [], []

    # -- the state --------------------------------------------------------------------------------------

    def pack(self, copy: messages.StateCopy) -> bytes:
        """The image of the state at t0. Raises KeyError or ValueError where the chip cannot hold it."""
        assert copy.step is not None
        rows, weight, marks = (np.frombuffer(data) for data in (copy.state, copy.weight, copy.synapses))
        self.lease.granted.errors.update(copy.errors)
        state = State(copy.step, rows, weight, marks[: self.chip.n])
        image = self.chip.pack(state)
        self.base = state
        return image

    def load(self, image: bytes, copy: messages.StateCopy, now: float) -> None:
        """Give the board its image, what it has yet to feel, and what has come since."""
        assert self.base is not None
        self.session.load(image, link.CHIP[self.chip.kind], now)
        self.feed(of_keys(copy.keys))
        for update, _, weight in copy.pokes:
            self.kick(int(update), float(weight))
        self.feed(self._spikes_since)
        for update, weight in self._pokes_since:
            self.kick(update, weight)
        self._spikes_since, self._pokes_since = [], []

    def read(self, now: float) -> None:
        """Ask the board for its state; `Image` follows."""
        self.session.read(self.chip.state_at, self.chip.size - self.chip.state_at, now)

    def unpack(self, image: bytes) -> State:
        """The board's state, as it has told it."""
        assert self.base is not None
        return self.chip.unpack(image, self.base.weight)

    # -- what it feels ----------------------------------------------------------------------------------

    def spikes(self, event: Spikes, now: float) -> None:
        """A batch of a stream, which may be one that this neuron does not listen to."""
        terms, port = self.lease.terms, self.lease.port
        if terms is None or event.stream not in terms.heard:
            return
        known = self.ledger.accept(event.stream, event.epoch, event.seq, len(event.t_ns), event.last)
        if known < 0 or known >= len(event.t_ns):
            return
        stamps = [int(t) // port.dt_ns for t in event.t_ns[known:]]
        if event.neurons is None:
            source = port.streams[event.stream]
            rows = [(stamp, source) for stamp in stamps]
        else:
            rows = list(zip(stamps, map(int, event.neurons[known:]), strict=True))
        if self.base is not None:
            self.feed(rows)
            self.session.release(now)
        elif self.marked:
            self._spikes_since += rows

    def feed(self, rows: Stamped) -> None:
        """To every synapse of each spike, with the update in which it acts there."""
        at = self.base.tick if self.base else 0
        synapses, inputs = self.lease.granted.synapses, self.session.inputs
        for stamp, source in rows:
            for acts_after, synapse in synapses.get(source, ()):
                if stamp + acts_after >= at:
                    self.figures.inputs += 1
                    inputs.spike(stamp + acts_after, synapse)

    def poke(self, update: int, weight: float) -> None:
        """A stimulus that acts in this update, or as soon as it can."""
        if self.base is not None:
            self.kick(update, weight)
        elif self.marked:
            self._pokes_since.append((update, weight))

    def kick(self, update: int, weight: float) -> None:
        assert self.base is not None
        self.session.inputs.kick(max(update, self.base.tick), self.chip.kick(weight))


def of_keys(keys: bytes) -> Stamped:
    """Of int64 `step << 32 | source`."""
    return [(key >> STEP_BITS, key & 0xFFFFFFFF) for key in np.frombuffer(keys, np.int64).tolist()]
