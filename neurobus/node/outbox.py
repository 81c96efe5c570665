"""What a process says: its neurons' spikes and potentials, numbered, counted, and kept for a snapshot."""

from __future__ import annotations

import numpy as np

from neurobus.model import Array
from neurobus.node import cut
from neurobus.node.core import Core
from neurobus.node.interface import NEURON_MASK, STEP_BITS, AnyCore, Emission, Keys
from neurobus.node.role import Bus, Role
from neurobus.wire import bus as wire


class Outbox:
    """Of one process. The core counts on in an epoch (`seq`), for what leaves by compiled code is numbered
    there; what compiled code has sent is counted there too, and added here."""

    bus: Bus

    def __init__(self, role: Role, core: AnyCore):
        self._role, self.core = role, core
        self.spike_topic, self.sample_topic = (
            wire.topic(kind, role.name) for kind in (wire.SPIKES, wire.SAMPLES)
        )
        self.answer_topic = wire.topic(wire.ANSWER, role.name)
        self._row = {index: n for n, index in enumerate(role.index)}
        self._spikes = self._samples = 0
        self._counts = np.zeros(len(role.ids), np.int64)
        self.sent: cut.Sent | None = None
        """What is sent while a snapshot is under way."""

    # -- onto the bus ---------------------------------------------------------------------------------

    def publish(self, keys: Keys) -> None:
        """Spikes, in the present epoch."""
        if not len(keys):
            return
        epoch, seq = self._role.epoch, self.core.seq
        self._send(self.spike_topic, seq, keys)
        self.note(epoch, seq, keys)
        self.core.seq += len(keys)

    def publish_samples(self, keys: Keys, mv: Array) -> None:
        """Potentials (mV)."""
        if not len(keys):
            return
        seq = self.core.sample_seq
        self._send(self.sample_topic, seq, keys, mv)
        if self.sent is not None:
            self.sent.samples.append((self._role.epoch, seq, keys, mv))
        self._samples += len(keys)
        self.core.sample_seq += len(keys)

    def _send(self, topic: bytes, seq: int, keys: Keys, mv: Array | None = None, last: bool = False) -> None:
        t_ns = (keys >> STEP_BITS) * self._role.dt_ns
        neurons = None if self._role.single else keys & NEURON_MASK
        self.bus.send(wire.batch(topic, self._role.epoch, seq, t_ns, neurons, mv, last))

    def end(self) -> None:
        """That was all."""
        none = np.empty(0, np.int64)
        self._send(self.spike_topic, self.core.seq, none, last=True)
        if self._role.sends_samples:
            self._send(self.sample_topic, self.core.sample_seq, none, np.empty(0), last=True)

    def answer(self, number: int, next_step: int, emission: Emission) -> None:
        """Tell the conductor what came of a duty."""
        core = self.core
        self.bus.send(self.answer_topic + wire.answered(wire.Answer(
            number, self._role.epoch, next_step, emission.first, core.seq, emission.keys.tobytes(),
            core.sample_seq, emission.sample_keys.tobytes(), emission.sample_mv.tobytes(),
        )))  # fmt: skip
        core.seq += len(emission.keys)
        core.sample_seq += len(emission.sample_keys)

    def note(self, epoch: int, seq: int, keys: Keys) -> None:
        """Somebody has published these spikes as this process: a snapshot under way may need them."""
        if self.sent is not None:
            self.sent.spikes.append((epoch, seq, keys))

    def set_epoch(self, epoch: int) -> None:
        """Speak in this epoch from here on. A new owner counts from zero."""
        self._role.epoch = self.core.epoch = epoch
        self.core.seq = self.core.sample_seq = 0

    # -- figures ------------------------------------------------------------------------------------

    @property
    def spikes_sent(self) -> int:
        """What the neurons here have emitted, in all epochs."""
        return self._spikes + self.core.spikes_sent

    @property
    def samples_sent(self) -> int:
        return self._samples + self.core.samples_sent

    def counts(self) -> list[int]:
        """Spikes of each neuron. Those that left by compiled code are of one neuron."""
        counts = self._counts.copy()
        counts[0] += self.core.spikes_sent
        return [int(n) for n in counts]

    def book(self, emission: Emission) -> None:
        """Count what a duty came to."""
        if len(emission.keys):
            self.count(emission.keys)
        self._samples += len(emission.sample_keys)

    def count(self, keys: Keys) -> None:
        self._spikes += len(keys)
        if self._role.single:
            self._counts[0] += len(keys)
        else:
            np.add.at(self._counts, [self._row[index] for index in (keys & NEURON_MASK).tolist()], 1)

    def replace_core(self, core: Core) -> None:
        """Go on as another core, which stands where the old one stood."""
        old, self.core = self.core, core
        self._spikes += old.spikes_sent
        self._samples += old.samples_sent
        self._counts[0] += old.spikes_sent
        core.answers_as(self.answer_topic, self._role.epoch)
        core.seq, core.sample_seq, core.duty_number = old.seq, old.sample_seq, old.duty_number
        core.limit = old.limit

    def restore(self, counts: list[int], spikes: int, samples: int) -> None:
        self._counts[:] = counts
        self._spikes, self._samples = spikes, samples
