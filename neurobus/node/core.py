"""The neuron's core, sans-IO: stimuli in, effects out, time is an argument (integer steps).

A core hosts K neurons of one model (K = 1 by default) and holds one *committed* state at step `k`:
everything stamped up to `k` has been emitted and cannot be taken back. `look` runs a copy ahead to
say when the core will act if nothing more arrives; an input simply outdates that answer, because
the copy is thrown away and the committed state has not moved. So nothing ticks, and an input that
comes late by the wall clock is still exact as long as its effect lies after the committed step.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from neurobus.config.schema import STATIC
from neurobus.errors import InputError
from neurobus.exact import exp
from neurobus.ledger import Account
from neurobus.loading import load_synapse
from neurobus.model import MOST_PER_STEP, Array
from neurobus.node.kernel import layout as T
from neurobus.node.kernel import loader
from neurobus.node.kernel.loader import RAISED, RESULT
from neurobus.parts import NeuronPart, SourcePart
from neurobus.wire.bus import EPOCH_BITS, NEVER

Keys = npt.NDArray[np.int64]

NO_KEYS: Keys = np.empty(0, np.int64)
NO_MV: Array = np.empty(0)
LOOK_AHEAD_NEURONS = 32
"""More neurons than this in one core are advanced window by window: some neuron always acts soon, and
running a copy of all ahead would double the work."""
MORE_NEURONS = 128
"""The same for models that own their synapses: those wait for a stimulus that is told far ahead."""
FEW_SPIKES, FAR_DELAYS, FARTHEST_LOOK = 16, 8, 1000
"""A duty with more than `FEW_SPIKES` may be a stimulus told ahead; where it reaches farther than `FAR_DELAYS`
smallest delays, a look goes on to its end, but no farther than `FARTHEST_LOOK` steps."""
MORE_THAN_A_FEW = 36 + 8 * FEW_SPIKES
"""Bytes of such a duty."""
SOURCE_BLOCK = 1000
"""Steps that sources are asked for at a time, at least."""
STEP_BITS = 32
NEURON_MASK = 0xFFFFFFFF


@dataclass(slots=True)
class Emission:
    """What a core emitted: spikes as keys `step << 32 | neuron`, samples likewise with mV; ascending."""

    keys: Keys = field(default_factory=lambda: NO_KEYS)
    sample_keys: Keys = field(default_factory=lambda: NO_KEYS)
    sample_mv: Array = field(default_factory=lambda: NO_MV)

    @property
    def first(self) -> int:
        """Step of the earliest emission, -1 for none."""
        steps = [int(keys[0]) >> STEP_BITS for keys in (self.keys, self.sample_keys) if len(keys)]
        return min(steps, default=-1)

    def __bool__(self) -> bool:
        return bool(len(self.keys) or len(self.sample_keys))


@dataclass(frozen=True, slots=True)
class Weights:
    """Synapses in columns: wire index of both neurons, row of the receptor, delay in steps, weight in the
    neuron's unit, and which of `types` it is (-1: the last). Where the delay is dendritic, a
    synapse's own time is that delay behind."""

    pre: Keys
    post: Keys
    receptor: Keys
    delay: Keys
    weight: Array
    kind: Keys
    types: tuple[str, ...]


NOTHING = Emission()


def hash_table(topics: list[bytes]) -> list[int]:
    """Open addressing with a polynomial of the bytes, as `kernel.bus_io.hear` reads it: the places of
    topics in their list, -1 for none."""
    slots = [-1] * (1 << (2 * len(topics)).bit_length())
    for n, topic in enumerate(topics):
        place = 0
        for byte in topic[:-1]:
            place = (place * 31 + byte) & 0x7FFFFFFF
        while slots[place % len(slots)] >= 0:
            place += 1
        slots[place % len(slots)] = n
    return slots


def joined(parts: list[Emission]) -> Emission:
    """Emissions of successive stretches of time as one."""
    if not parts:
        return NOTHING
    return Emission(
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.sample_keys for part in parts]),
        np.concatenate([part.sample_mv for part in parts]),
    )


def ring_slots(max_delay: int) -> int:
    """Slots of the input ring: the power of two that holds the longest delay and the slot in use."""
    return 1 << int(max_delay + 1).bit_length()


def _in_table(place: int) -> Any:
    """An attribute of a core that lives in the kernel's table."""

    def get(self: Core) -> int:
        return int(self._table[place])

    def put(self: Core, value: int) -> None:
        self._table[place] = value

    return property(get, put)


class SourceCore:
    """K sources: what they emit is known without inputs, as far ahead as one likes; a poke makes one fire."""

    looks_ahead = True

    def __init__(self, part: SourcePart):
        self.part, self.k, self.late, self.deliveries = part, 0, 0, 0
        self.acts, self.seq, self.sample_seq, self.spikes_sent, self.samples_sent = False, 0, 0, 0, 0
        self.duty_number, self.epoch, self.limit = 0, 0, NEVER
        self._poked = NO_KEYS
        self._block = 0, 0, NO_KEYS

    def _stamps(self, k0: int, k1: int) -> Keys:
        """What is emitted at steps k0 < s <= k1, by plan and by pokes."""
        first, last, keys = self._block
        if k0 < first or k1 > last:
            # Looked at again and again while time goes on, and each source costs some 30 µs a question.
            first, last = min(k0, self.k), max(k1, self.k + SOURCE_BLOCK)
            keys = self._planned(first, last)
            self._block = first, last, keys
        lo, hi = np.searchsorted(keys, ((k0 + 1) << STEP_BITS, (k1 + 1) << STEP_BITS))
        keys = keys[lo:hi]
        if len(self._poked):
            stamps = self._poked >> STEP_BITS
            keys = np.sort(np.concatenate([keys, self._poked[(stamps > k0) & (stamps <= k1)]]))
        return keys

    def _planned(self, k0: int, k1: int) -> Keys:
        part, found = self.part, []
        for n, index in enumerate(part.index.tolist()):
            p: dict[str, Any] = {name: float(values[n]) for name, values in part.params.items()}
            if n in part.times:
                p["times"] = part.times[n]
            if n in part.shown:
                p["shown"] = part.shown[n]
            steps = part.model.stamps(p, part.keys[n], part.dt_ns, k0, k1)
            found.append(steps << STEP_BITS | index)
        return found[0] if len(found) == 1 else np.sort(np.concatenate(found))

    def poke(self, step: int, neuron: int, weight: float) -> bool:
        """A stimulus: the source fires in update `step`, its weight aside. False: late, it fires at once."""
        late = step < self.k
        self.late += late
        self._poked = np.append(self._poked, (max(step, self.k) + 1) << STEP_BITS | neuron)
        return not late

    def advance(self, to: int) -> Emission:
        """Commit up to step `to`."""
        if to <= self.k:
            return NOTHING
        emission = Emission(self._stamps(self.k, to))
        self.k = to
        if len(self._poked):
            self._poked = self._poked[self._poked >> STEP_BITS > to]
        return emission

    def duty(
        self,
        to: int,
        keys: bytes,
        sample_keys: bytes,
        sample_mv: bytes,
        stimuli: list[list[float]] | None,
        limit: int = NEVER,
    ) -> tuple[Emission, int]:
        """As `Core.duty`; nothing but a stimulus acts on a source."""
        for step, neuron, weight in stimuli or ():
            self.poke(int(step), int(neuron), weight)
        return self.advance(to), self.look(limit=limit)

    def answers_as(self, head: bytes, epoch: int) -> None:
        """As `Core.answers_as`."""
        self.duty_number = epoch << EPOCH_BITS

    answer = b""

    def predicts(self, step: int) -> bool:
        """As `Core.predicts`."""
        return False

    def served(self) -> tuple[Emission, int]:
        """As `Core.served`; never asked for."""
        raise NotImplementedError

    def serve(self, frame: bytes, head: int) -> int:
        """As `Core.serve`: a source's duties are all told in Python."""
        return T.OTHER

    def look(self, again: bool = False, through: int = 0, limit: int = NEVER) -> int:
        """As `Core.look`."""
        k0, length = self.k, T.FIRST_LOOK
        while k0 < min(limit, max(through, self.k + 64 * T.LONGEST_LOOK)):
            keys = self._stamps(k0, k0 + length)
            if len(keys):
                self.acts = True
                return int(keys[0]) >> STEP_BITS
            k0, length = k0 + length, length * 4
        self.acts = False
        return min(k0 + 1, NEVER)

    def potential_mv(self, at: int = 0) -> Array:
        return np.zeros(len(self.part.index))

    def dump(self) -> dict[str, Any]:
        return {"k": self.k, "poked": self._poked.tobytes()}

    def restore(self, saved: dict[str, Any]) -> None:
        self.k, self._poked = saved["k"], np.frombuffer(saved["poked"], np.int64).copy()


class Core:
    """K neurons of one model with their synapses. See the module's docstring."""

    k: int = _in_table(T.STEP)
    """The committed step."""
    deliveries: int = _in_table(T.DELIVERIES)
    late: int = _in_table(T.LATE)
    _n_keys: int = _in_table(T.N_KEYS)
    _at_key: int = _in_table(T.AT_KEY)
    _at_plan: int = _in_table(T.AT_PLAN)
    _at_sample: int = _in_table(T.AT_SAMPLE)
    _look_length: int = _in_table(T.LOOK_LENGTH)
    seq: int = _in_table(T.SEQ)
    sample_seq: int = _in_table(T.SAMPLE_SEQ)
    """Spikes and samples sent in this epoch."""
    epoch: int = _in_table(T.EPOCH)
    spikes_sent: int = _in_table(T.N_SERVED)
    """Spikes that left by `serve` or `react`."""
    _n_new: int = _in_table(T.N_NEW)
    _n_new_mv: int = _in_table(T.N_NEW_MV)
    _n_samples: int = _in_table(T.N_SAMPLES)
    samples_sent: int = _in_table(T.N_TOLD)
    """Samples that left by `attend`."""
    duty_number: int = _in_table(T.NUMBER)
    """Number of the last duty carried out."""
    limit: int = _in_table(T.LIMIT)
    """Nobody wants to know what lies beyond this step."""
    acts: int = _in_table(T.ACTS)
    nearest: int = _in_table(T.NEAREST)
    """What the last look found: how many emissions at step `nearest`; or that there is none before it."""
    _ahead: int = _in_table(T.AHEAD)
    _rest_at: int = _in_table(T.REST_AT)
    _resting: int = _in_table(T.RESTING)
    _rest_deliveries: int = _in_table(T.REST_DELIVERIES)

    def __init__(self, part: NeuronPart):
        self.part = part
        model, dt_ms = part.model, part.dt_ns / 1e6
        K = self.K = len(part.index)
        self._table: Any = (ctypes.c_int64 * (T.SCALARS + T.ARRAYS))()
        self._address = ctypes.addressof(self._table)
        states = list(model.states())
        self.potential_row = states.index(model.potential)
        self._receptors = len(model.receptors)
        slots = ring_slots(part.max_delay)
        constants = model.prepare(part.params, dt_ms)
        self._constants = np.ascontiguousarray(
            np.array([np.broadcast_to(v, K) for v in constants.values()], np.float64)
        )
        n_gaps = len(part.coupling.weight)
        self._zero = part.params[model.potential_zero] if model.potential_zero else np.zeros(K)
        self._peak = part.params[model.peak] if model.peak else np.full(K, np.nan)
        self._shape = (len(states), K, self._receptors, slots, n_gaps, self.potential_row)
        body = len(states) * K
        self._ring_end = body + slots * self._receptors * K
        owned = part.stateful
        self._gap_delta = np.where(np.isfinite(part.coupling.delta_mv), self._delta_of(part), np.inf)
        self._n_own = part.sample_delay if n_gaps and np.any(np.isfinite(self._gap_delta)) else 0
        self._lines_at = self._ring_end + 8 * K + 4 * n_gaps
        self._owned_at = self._lines_at + K * self._n_own
        self.buffer = np.zeros(self._owned_at + (len(owned.start) if owned else 0))
        if owned:
            self.buffer[self._owned_at :] = owned.start
        kinds = [load_synapse(name) for name in part.types]
        self._tells = any(kind.post is not None for kind in kinds)
        self._drifts = any(kind.until is not None for kind in kinds)
        self._own = (owned.integers, owned.constants) if owned else ()
        self.state = self.buffer[:body].reshape(len(states), K)
        for name, values in model.initial(part.params).items():
            self.state[states.index(name)] = values
        at = self._ring_end
        if n_gaps:
            self.buffer[at + K : at + 2 * K] = np.nan  # to be summed by the first update
        self.buffer[at + 2 * K : at + 3 * K] = self.state[self.potential_row] + self._zero
        self.buffer[at + 3 * K : at + 4 * K] = -NEVER
        self.buffer[at + 4 * K : at + 4 * K + n_gaps] = part.coupling.transfer[3]
        self.buffer[at + 8 * K + 2 * n_gaps : at + 8 * K + 3 * n_gaps] = -NEVER
        self._level_lines()
        noisy = np.any(part.background.rate_hz > 0)
        mean = part.background.rate_hz * dt_ms * 1e-3
        across = part.coupling
        self._gaps = (across.row, across.order, across.at, across.weight, across.reversal_mv)
        told_at = model.potential_delta
        self._delta = part.params[told_at] if told_at else np.full(K, part.potential_delta_mv)
        grain = self._grain = model.grain(part.params)
        background = part.background.weight if grain is None else grain.stimulus(part.background.weight)
        told = np.concatenate([mean, exp(-mean)]) if noisy else NO_MV
        self._noise = (told, part.background.key, background)
        self._spare, self._scratch = self.buffer.copy(), np.empty_like(self.buffer)
        self._fired = np.zeros(K, np.uint8)
        self._new: Any = (ctypes.c_int64 * T.ROOM)()
        self._table[T.ROOM_NEW] = T.ROOM
        self._answer_head = b""
        self._room(64)
        self.limit = NEVER
        kernel = loader.kernel(part.model_name, model, part.types)
        self._kernel_run, self._kernel_duty, self._kernel_wait = kernel.run, kernel.duty, kernel.wait
        self._table[T.TABLE], self._table[T.MODEL] = self._address, kernel.model
        self._table[T.LAG_MV], self._table[T.N_OWN] = part.sample_delay - 1, self._n_own
        self._table[T.REMEMBERS] = model.arrive is not None or bool(part.types)
        self._restful = not noisy and not model.stochastic
        self._table[T.RESTFUL] = self._restful
        self._local = {int(g): n for n, g in enumerate(part.index)}
        self.recurrent = bool(np.any(part.row[part.index + 1] > part.row[part.index])) or bool(
            owned and np.isin(owned.source, part.index).any()
        )
        self.has_junctions = bool(n_gaps)
        self._recurrent_gaps = bool(n_gaps and np.any(across.row[part.index + 1] > across.row[part.index]))

        # The kernel's other entrance hands back what was emitted; it does not feed it to the neurons here.
        self._kernel_only = self.looks_ahead and not (self.recurrent or self._recurrent_gaps)

        self._keys = np.empty(64, np.int64)
        room = T.ROOM if n_gaps else 0
        self._sample_keys, self._sample_mv = np.empty(room, np.int64), np.empty(room)
        self._new_sample_keys: Any = (ctypes.c_int64 * room)()
        self._new_sample_mv: Any = (ctypes.c_double * room)()
        self._table[T.ROOM_NEW_MV] = room
        self._plan_k = part.currents.step
        self._plan_what = np.zeros(len(part.currents.step), np.uint8)
        self._plan_i, self._plan_value = part.currents.neuron, part.currents.pa
        self._look_length, self._far = T.FIRST_LOOK, 0
        self._outdate()
        self._table[T.FEEDS_ITSELF] = self.recurrent or self._recurrent_gaps

    def _delta_of(self, part: NeuronPart) -> Array:
        """How far the line of each neuron with junctions may be off, in the unit of its potential."""
        return (
            part.params[part.model.potential_delta] if part.model.potential_delta else part.coupling.delta_mv
        )

    def _level_lines(self) -> None:
        """Partners take every neuron here for being where it is, and staying there."""
        K, at, n_gaps = self.K, self._ring_end, len(self.part.coupling.weight)
        self.buffer[at + 6 * K + n_gaps : at + 8 * K + n_gaps] = 0.0
        lines = self.buffer[self._lines_at : self._owned_at].reshape(K, self._n_own)
        lines[:] = (self.state[self.potential_row] + self._zero)[:, None]

    def _tell_anew(self) -> None:
        """What was told of the potentials here holds no more: the next update tells them."""
        K, at = self.K, self._ring_end
        self.buffer[at + 2 * K : at + 3 * K] = np.inf
        self.buffer[at + 3 * K : at + 4 * K] = -NEVER
        self._level_lines()

    # -- inputs ---------------------------------------------------------------------------------

    def _outdate(self) -> None:
        """What the last look found, rest or an emission, holds no more."""
        self._rest_at = self._ahead = -1

    def admit(self, keys: Keys) -> None:
        """Spikes from elsewhere: int64 `stamp << 32 | source`, in any order.

        One that should already have been poured is late: it acts in the next update and is counted.
        """
        if not len(keys):
            return
        keys = np.sort(keys)
        poured = self.k - self.part.min_delay
        if int(keys[0]) >> STEP_BITS <= poured:
            self.late += int(np.searchsorted(keys, (poured + 1) << STEP_BITS))
            keys = self.in_time(keys, self.k)
        self._outdate()
        merged = np.concatenate([self._keys[self._at_key : self._n_keys], keys])
        merged.sort(kind="stable")
        if len(merged) > len(self._keys):
            self._keys = np.empty(2 * len(merged), np.int64)
            self._stale = True
        self._keys[: len(merged)] = merged
        self._n_keys, self._at_key = len(merged), 0

    def in_time(self, keys: Keys, k: int) -> Keys:
        """Keys as they can be admitted at step `k`. Where synapses have memory, how far each delay has got
        among the keys follows from k; so a late spike is stamped anew, and all it does is as late."""
        if not self.part.stateful:
            return keys
        first = k - self.part.min_delay + 1
        return np.sort(np.maximum(keys >> STEP_BITS, first) << STEP_BITS | keys & NEURON_MASK)

    def admit_samples(self, keys: Keys, mv: Array) -> None:
        """Membrane potentials of electrical partners, keys as in `admit`."""
        if not len(keys):
            return
        self._outdate()
        # Only what is new can be late; what waits was counted when it came.
        self.late += int(np.sum(keys >> STEP_BITS <= self.k - self.part.sample_delay))
        if self._at_sample < self._n_samples:
            keys = np.concatenate([self._sample_keys[self._at_sample : self._n_samples], keys])
            mv = np.concatenate([self._sample_mv[self._at_sample : self._n_samples], mv])
        order = np.argsort(keys, kind="stable")
        self._wait(keys[order], mv[order])

    def _wait(self, keys: Keys, mv: Array) -> None:
        """These samples wait, and no others."""
        n = self._n_samples = len(keys)
        if n > len(self._sample_keys):
            self._sample_keys, self._sample_mv, self._stale = np.empty(2 * n, np.int64), np.empty(2 * n), True
        self._sample_keys[:n], self._sample_mv[:n], self._at_sample = keys, mv, 0

    def poke(self, step: int, neuron: int, weight: float) -> bool:
        """A stimulus: `weight` acts on neuron (wire index) in update `step`. False: late, acts at once."""
        late = step < self.k
        self.late += late
        self._outdate()
        local = self._local[neuron]
        if self._grain is not None:
            weight = float(self._grain.stimulus(weight, local))
        if self._receptors > 1 and self.part.model.by_sign and weight < 0:
            local += self.K
        # Equal steps in the order (neuron, weight), so that two pokes sum the same whichever came first.
        waiting = [
            (int(self._plan_k[j]), int(self._plan_what[j]), int(self._plan_i[j]), float(self._plan_value[j]))
            for j in range(self._at_plan, len(self._plan_k))
        ]
        waiting.append((max(step, self.k), 1, local, weight))
        waiting.sort()
        self._set_plan(waiting)
        return not late

    def _set_plan(self, rows: list[tuple[int, int, int, float]]) -> None:
        self._plan_k = np.array([row[0] for row in rows], np.int64)
        self._plan_what = np.array([row[1] for row in rows], np.uint8)
        self._plan_i = np.array([row[2] for row in rows], np.int32)
        self._plan_value = np.array([row[3] for row in rows], np.float64)
        self._at_plan = 0
        self._stale, self._ahead = True, -1

    # -- time -----------------------------------------------------------------------------------

    def _room(self, steps: int) -> None:
        """Space for what `steps` updates can emit at most."""
        most = MOST_PER_STEP if self.part.model.several else 1
        self._out = np.empty(steps * self.K * most, np.int64)  # pages that nobody writes to cost nothing
        watched = max(1, len(self.part.watched))
        self._out_sample, self._out_mv = np.empty(steps * watched, np.int64), np.empty(steps * watched)
        self._out_steps = steps
        self._out_ints = (ctypes.c_int64 * len(self._out)).from_address(self._out.ctypes.data)
        room = 8 * steps * self.K if self.looks_ahead else 0
        self.answer = bytearray(len(self._answer_head) + 80 + room)
        """The frame that `serve` writes."""
        self.answer[: len(self._answer_head)] = self._answer_head
        self._answer_address = ctypes.addressof(ctypes.c_char.from_buffer(self.answer))
        self._stale, self._ahead = True, -1

    def _call(self, op: int, a: int, b: int, c: int, d: int) -> None:
        if self._stale:
            self._fill_table()
        if self._kernel_run(RESULT, RAISED, self._address, op, a, b, c, d):
            raise self._failure()

    def _failure(self) -> Exception:
        """What the kernel could not go on with."""
        if self._table[T.FAILED] != T.TOO_MANY:
            return RuntimeError(f"the step of {self.part.model_name} raised an exception")
        of = self.part.ids[0] if self.K == 1 else "a neuron"
        dt = f"{self.part.dt_ns / 1e6:g} ms"
        return InputError(
            f"{of} ({self.part.model_name}) fires too often: more than {MOST_PER_STEP} spikes in a step of "
            f"{dt}, or more within two delays than its synapses remember; a smaller run.dt would be right"
        )

    def _run(self, buffer: Array, k0: int, k1: int, stop: bool) -> int:
        """Run a state from step k0 to k1, or to the first emission. Returns the step reached; the table
        tells the rest."""
        if k1 - k0 > self._out_steps and not stop:
            self._room(2 * (k1 - k0))
        self._call(T.RUN, buffer.ctypes.data, k0, k1, stop)
        return int(self._table[T.LAST])

    def _emitted(self) -> Emission:
        """What the last call put out."""
        n, n_mv = self._table[T.N_OUT], self._table[T.N_MV]
        if not (n or n_mv):
            return NOTHING
        return Emission(self._out[:n].copy(), self._out_sample[:n_mv].copy(), self._out_mv[:n_mv].copy())

    def advance(self, to: int) -> Emission:
        """Commit up to step `to` and return what was emitted on the way, own recurrence included."""
        if not (self.recurrent or self._recurrent_gaps):
            return self._commit(to, NEVER)
        # What is put out here acts here after so long at the earliest, so no more than that at a time.
        delays = ((self.recurrent, self.part.min_delay), (self._recurrent_gaps, self.part.sample_delay))
        at_most = min(delay for acts, delay in delays if acts)
        parts = []
        while self.k < to:
            part = self._commit(to, at_most)
            if part:
                parts.append(part)
                if self.recurrent:
                    self.admit(part.keys)
                if self._recurrent_gaps:
                    self.admit_samples(part.sample_keys, part.sample_mv)
        return parts[0] if len(parts) == 1 else joined(parts)

    @property
    def window(self) -> int:
        """Steps after which something that is put out now can act elsewhere, at the earliest."""
        part = self.part
        return min(part.min_delay, part.sample_delay) if len(part.watched) else part.min_delay

    def predicts(self, step: int) -> bool:
        """Whether the last look ended with an emission at this step, and nothing has arrived since."""
        return self._ahead == step

    def _commit(self, to: int, at_most: int) -> Emission:
        self._call(T.COMMIT, to, at_most, 0, 0)
        if not self._table[T.SERVED]:
            self._room(2 * (to - self.k))
            self._call(T.COMMIT, to, at_most, 0, 0)
        return self._emitted()

    @property
    def looks_ahead(self) -> bool:
        return (LOOK_AHEAD_NEURONS if self.part.model.arrive is None else MORE_NEURONS) >= self.K

    def look(self, again: bool = False, through: int = 0, limit: int = NEVER) -> int:
        """The step of the next emission if nothing more arrives; `acts` tells whether there is one.

        Where `acts` is False, nothing is emitted before the step returned, which lies beyond `through`;
        ask once more then. `NEVER`: at rest for good. `again`: nothing arrived since the last look, so
        look farther. Nobody wants to know of what lies beyond `limit`.
        """
        if again:
            self._look_length = min(max(self._look_length, T.SHORTEST_LOOK) * 4, T.LONGEST_LOOK)
        else:
            self._look_length = max(self._look_length // 2, T.SHORTEST_LOOK)
        return self._look(again, through, limit)

    def _look(self, again: bool, through: int, limit: int) -> int:
        if not self.looks_ahead:
            self.acts, self.nearest = 0, self.k + 1
        else:
            self._call(T.LOOK, again, through, limit, 0)
        return self.nearest

    def _first_effect(self) -> int:
        """The first update in which anything that waits can act."""
        self._call(T.FIRST, 0, 0, 0, 0)
        return int(self._table[T.SERVED])

    def _still(self, k: int) -> bool:
        """Whether the copy, which stands at step `k` with nothing waiting, is a fixed point of the update.

        Bit for bit: then it may stand for every later step, and time may jump over the silence.
        """
        self._call(T.STILL, k, 0, 0, 0)
        if self._table[T.ACTS]:
            self._rest_at, self._rest_deliveries = k, 0
        return bool(self._table[T.ACTS])

    # -- virtual clock ----------------------------------------------------------------------------

    def duty(
        self,
        to: int,
        keys: bytes,
        sample_keys: bytes,
        sample_mv: bytes,
        stimuli: list[list[float]] | None,
        limit: int = NEVER,
    ) -> tuple[Emission, int]:
        """Take all inputs that act before `to`, perhaps later ones too, commit to `to`, and look ahead.

        Returns what was emitted and the step before which nothing more will be. Where inputs came often
        of late the look is left out: the next duty comes anyhow before it could tell anything.
        """
        new = bool(keys or sample_keys or stimuli)
        if not new:
            self._look_length = min(max(self._look_length, T.SHORTEST_LOOK) * 4, T.LONGEST_LOOK)
        elif self._look_length:
            self._look_length //= 2
            if self._look_length < T.SHORTEST_LOOK:
                self._look_length = 0
        if len(keys) > 8 * FEW_SPIKES:
            self._far = max(self._far, int(np.frombuffer(keys, np.int64).max()) >> STEP_BITS)
        if self._far - to > FAR_DELAYS * self.part.min_delay:
            # Sources have run ahead: what is known of the time to come is worth looking at.
            self._look_length = max(self._look_length, min(self._far - to, FARTHEST_LOOK))
        elif self._far and not new and self.part.model.arrive is not None:
            # All that was told is over, and a neuron that answers what it is told has come to rest.
            self._look_length = min(self._look_length, T.FIRST_LOOK)
        swift = (
            self._kernel_only
            and not (sample_keys or stimuli or self._resting)
            and self._rest_at < 0
            and to - self.k < self._out_steps
        )
        if swift:
            return self._swift_duty(to, keys, new, limit)
        emission = self._duty(
            to,
            np.frombuffer(keys, np.int64),
            np.frombuffer(sample_keys, np.int64),
            np.frombuffer(sample_mv),
            stimuli,
        )
        if not self._look_length and not self._resting:
            return emission, self.k + 1
        return emission, self._look(not new, 0, limit)

    def answers_as(self, head: bytes, epoch: int) -> None:
        """Answers begin with `head`, their topic, and are of this epoch, as are the duties."""
        self._answer_head, self.epoch, self.duty_number = head, epoch, epoch << EPOCH_BITS
        self._table[T.HEAD] = len(head)
        self._room(self._out_steps)

    def serve(self, frame: bytes, head: int) -> int:
        """Carry out the duty in a frame whose topic has `head` bytes, in one call of the kernel.

        Returns the length of the answer, which stands in `answer` and is counted in `seq`; or `T.OTHER`,
        `T.OLD` or `T.TELL`.
        """
        plain = self._kernel_only and not (self._resting or self._far) and self._rest_at < 0
        if not plain or len(frame) > head + MORE_THAN_A_FEW:
            return T.OTHER
        self._ahead = -1
        if self._stale:
            self._fill_table()
        if self._kernel_duty(
            RESULT, RAISED, self._address, T.SERVE, head, frame, len(frame), self._answer_address
        ):
            raise self._failure()
        return self._table[T.SERVED]  # type: ignore[no-any-return]

    def bind_duties(self, topic: bytes, lines: tuple[int, ...]) -> None:
        """From here on `converse` takes duties of this topic by these addresses, `T.RECEIVE` to `T.POLL`."""
        self._duty_topic = ctypes.create_string_buffer(topic, len(topic))
        self._table[T.RECEIVE : T.POLL + 1] = lines

    def converse(self, plain: bool) -> int:
        """Receive and carry out plain duties and send the answers, in one call of the kernel, until a frame
        comes that is none, or no frame came for as long as the socket is patient.

        Returns `T.NOBODY`; or `T.TELL`: see `served`; or `T.OTHER`: the frame is `frame()`. `plain` False:
        every frame is another one.
        """
        head = len(self._duty_topic)
        plain = plain and self._kernel_only and not (self._resting or self._far) and self._rest_at < 0
        self._table[T.PLAIN] = head + MORE_THAN_A_FEW if plain else 0
        if plain:
            self._ahead = -1
        if self._stale:
            self._fill_table()
        topic = ctypes.addressof(self._duty_topic)
        if self._kernel_wait(
            RESULT,
            RAISED,
            self._address,
            T.CONVERSE,
            topic,
            head,
            0,
            self._answer_address,
        ):
            raise self._failure()
        return self._table[T.SERVED]  # type: ignore[no-any-return]

    def frame(self) -> bytes:
        """The frame that `converse` received last."""
        return ctypes.string_at(self._table[T.FRAME], self._table[T.SIZE])

    def served(self) -> tuple[Emission, int]:
        """What the duty just served came to, as `duty` returns it, when `serve` left that to be told."""
        emission, next_step, last = self._emitted(), int(self._table[T.NEXT]), int(self._table[T.LAST])
        if next_step:
            return emission, next_step
        if self._still(last):
            return emission, NEVER
        return emission, last + 1

    def react(self, keys: list[int], to: int, now: int, limit: int) -> tuple[list[int], bool] | None:
        """Admit spikes, commit up to `to`, and on to the next emission where that is due by `now`: in one
        call of the kernel.

        Returns the keys of the spikes emitted, and whether more may be due; if not, `nearest` and `acts` say
        what `look` says. None, and nothing done, where one call is not enough, or where more than spikes are
        emitted. Nothing beyond `limit` is of interest.
        """
        n_new = len(keys)
        if not self._kernel_only or len(self.part.watched) or n_new > T.ROOM:
            return None
        if self._n_keys + n_new > len(self._keys):
            self._make_room(n_new)
        if to - self.k >= self._out_steps and not self._resting and self._rest_at < 0:
            self._room(2 * (to - self.k))
        self._new[:n_new] = keys
        self._n_new = n_new
        self._call(T.REACT, to, now, limit, 0)
        self._n_new = 0
        return self._reacted()

    def due(self, now: int, limit: int) -> tuple[list[int], bool] | None:
        """As `react` when nothing has arrived: what the last look saw coming, once the clock has come to it.
        None where it saw nothing."""
        if not self._kernel_only or len(self.part.watched):
            return None
        self._call(T.DUE, now, 0, limit, 0)
        return self._reacted()

    def _reacted(self) -> tuple[list[int], bool] | None:
        table = self._table
        if not table[T.SERVED]:
            return None
        return self._out_ints[: table[T.N_OUT]], table[T.ACTS] == T.TAKEN

    def set_streams(self, axon: bytes, voice: bytes, streams: list[tuple[bytes, int, Account]]) -> None:
        """From here on `attend` hears these streams (topic, wire index, account), and sends spikes and
        samples under the topics `axon` and `voice`."""
        topics, indices, accounts = [list(column) for column in zip(*streams, strict=True)] or [[], [], []]
        lengths = [len(topic) for topic in topics]
        places = np.cumsum([0, *lengths])[:-1].tolist()
        rows = list(zip(places, lengths, indices, map(ctypes.addressof, accounts), strict=True))
        slots = hash_table(topics)
        arrays: tuple[npt.NDArray[Any], ...] = (
            np.array(rows, np.int64), np.array(slots, np.int64),
            np.frombuffer(bytearray(b"".join(topics)) or b"\0", np.uint8),
            *(np.frombuffer(bytearray(head + bytes(T.FRAME_ROOM)), np.uint8) for head in (axon, voice)),
        )  # fmt: skip
        self._hearing = arrays, accounts
        table = self._table
        table[T.SLOT_MASK : T.VOICE_HEAD + 1] = len(slots) - 1, len(axon), len(voice)
        table[T.HEARD : T.VOICE_FRAME + 1] = [array.ctypes.data for array in arrays]

    def bind_clock(self, lines: tuple[int, ...], fds: tuple[int, int], clock: tuple[int, int, int]) -> None:
        """From here on `attend` works by these addresses, `T.RECEIVE` to `T.POLL`.

        `fds`: readable when frames may have arrived, and when something else wants attention (-1: nothing
        does). `clock`: step 0 by the clock on the wall (ns), the length of a step (ns), and how many of them
        the committed state stays behind the present.
        """
        self._waiting = (ctypes.c_int64 * 4)(0, 0, *(fd & 0xFFFFFFFF for fd in fds))
        self._table[T.RECEIVE : T.POLL + 1] = lines
        self._table[T.T0_NS : T.GRACE + 1] = clock
        self._table[T.WAITING] = ctypes.addressof(self._waiting)

    @property
    def kernel_only(self) -> bool:
        """Whether `attend` can do what there is to do."""
        return self._kernel_only

    def attend(self, until_ns: int) -> int:
        """Receive spikes, react to them as they come, do what is due as time goes on, and send what comes of
        it, in one call of the kernel, until a time by the clock on the wall (ns).

        Returns `T.NOBODY`: look at `nearest` for when to act again; `T.OTHER`: a frame of another kind came,
        `frame()`; or `T.LONGER`. In both cases what `unadmitted` returns has not been admitted.
        """
        if self._stale:
            self._fill_table()
        if self._kernel_wait(RESULT, RAISED, self._address, T.ATTEND, until_ns, 0, 0, 0):
            raise self._failure()
        return self._table[T.SERVED]  # type: ignore[no-any-return]

    def unadmitted(self) -> tuple[list[int], list[int], list[float]]:
        """What `attend` booked and left to be admitted: keys of spikes, keys of samples, and their mV."""
        n, n_mv = self._n_new, self._n_new_mv
        self._n_new = self._n_new_mv = 0
        return self._new[:n], self._new_sample_keys[:n_mv], self._new_sample_mv[:n_mv]

    def _swift_duty(self, to: int, keys: bytes, new: bool, limit: int) -> tuple[Emission, int]:
        """`duty` in one call of the kernel."""
        table, n_new = self._table, len(keys) >> 3
        if self._n_keys + n_new > len(self._keys):
            self._make_room(n_new)
        if self._stale:
            self._fill_table()
        end = max(min(to + self._look_length, limit), to + 1) if self._look_length else 0
        self._ahead = -1
        if self._kernel_duty(RESULT, RAISED, self._address, T.DUTY, to, keys, n_new, end):
            raise self._failure()
        emission = self._emitted()
        if not end:
            return emission, to + 1
        last = int(table[T.LAST])
        if table[T.ACTS]:
            return emission, last
        ends = [self._n_keys, len(self._plan_k), self._n_samples]
        all_used = table[T.AT_KEY : T.AT_SAMPLE + 1] == ends
        if not new and self._restful and all_used and self._still(last):
            return emission, NEVER
        return emission, last + 1

    def _make_room(self, n_new: int) -> None:
        """Space for `n_new` more spikes to wait."""
        waiting = self._keys[: self._n_keys]
        self._keys = np.empty(2 * (len(waiting) + n_new), np.int64)
        self._keys[: len(waiting)] = waiting
        self._stale = True

    def _fill_table(self) -> None:
        """Write the sizes and addresses that the kernel needs. What they point to belongs to this object."""
        part = self.part
        n_states, K, n_receptors, slots, n_gaps, potential = self._shape
        self._table[T.N_NEURONS : T.N_OWNED + 1] = [
            K, n_states, n_receptors, slots, n_gaps, potential, len(part.weight), len(part.row) - 1,
            len(part.watched), len(self._noise[0]) // 2, part.potential_interval, part.min_delay - 1,
            len(self._keys), len(self._constants), len(self._plan_k), self._n_samples, self._out_steps,
            len(self.buffer) - self._owned_at,
        ]  # fmt: skip
        arrays = (
            self._keys, self.buffer, self._spare, self._constants, self._delta, part.key, self._fired,
            part.row, part.target, part.delay, part.weight, self._plan_k, self._plan_what, self._plan_i,
            self._plan_value, self._sample_keys, self._sample_mv, *self._gaps,
            part.watched, self._zero, self._peak, *self._noise, part.index,
            self._out, self._out_sample, self._out_mv, *self._own,
        )  # fmt: skip
        assert all(array.flags.c_contiguous for array in arrays)
        self._table[T.SCALARS : T.SCALARS + len(arrays)] = [array.ctypes.data for array in arrays]
        assert len(arrays) <= T.GAP_TO
        self._table[T.SCALARS + T.GAP_DELTA] = self._gap_delta.ctypes.data
        self._table[T.SCALARS + T.GAP_TO] = part.coupling.target.ctypes.data
        self._table[T.SCALARS + T.GAP_F] = part.coupling.transfer.ctypes.data
        self._table[T.SCALARS + T.SCRATCH] = self._scratch.ctypes.data
        self._table[T.SCALARS + T.NEW] = ctypes.addressof(self._new)
        self._table[T.ROOM_SAMPLES] = len(self._sample_keys)
        self._table[T.NEW_MV_KEYS] = ctypes.addressof(self._new_sample_keys)
        self._table[T.NEW_MV] = ctypes.addressof(self._new_sample_mv)
        self._stale = False

    def _duty(
        self, to: int, keys: Keys, sample_keys: Keys, sample_mv: Array, stimuli: list[list[float]] | None
    ) -> Emission:
        """Inputs and commit of a duty, step by step."""
        if self._rest_at >= 0:
            part = self.part
            both = (keys, part.min_delay), (sample_keys, part.sample_delay)
            begin = min(
                ((int(k.min()) >> STEP_BITS) + delay - 1 for k, delay in both if len(k)), default=NEVER
            )
            self.advance(min([begin, to, *(int(s[0]) for s in stimuli or ())]))
        self.admit(keys)
        self.admit_samples(sample_keys, sample_mv)
        for step, neuron, weight in stimuli or ():
            self.poke(int(step), int(neuron), weight)
        return self.advance(to)

    def resume_at(self, step: int) -> None:
        """Carry the state over to `step` as if no time had passed: a neuron back from the dead. What was
        under way to it meanwhile is gone, and its potential is sent anew."""
        K, at = self.K, self._ring_end
        self.buffer[self._shape[0] * K : at] = 0.0
        self._tell_anew()
        self._at_key, self._at_sample = self._n_keys, self._n_samples
        self._outdate()
        self._resting = False
        while self._at_plan < len(self._plan_k) and self._plan_k[self._at_plan] < step:
            if self._plan_what[self._at_plan] == 0:
                self.buffer[at + self._plan_i[self._at_plan]] += self._plan_value[self._at_plan]
            self._at_plan += 1
        self.k = max(self.k, step)

    def load_state(
        self,
        step: int,
        state: Array,
        weight: Array,
        synapses: Array,
        keys: Keys,
        pokes: list[tuple[int, int, float]],
    ) -> None:
        """Be a neuron that stands at `step` with this state, whatever came before. For a core of one neuron
        whose synapses all have memory, or none; `weight` and `synapses` as `weights` and `synapse_states`.

        `keys`: every spike stamped after `step - max_delay`; the effects of some of them are past. `pokes`:
        (update, wire index, weight) from `step` on.
        """
        K, at, part = self.K, self._ring_end, self.part
        self.state[:] = state
        if part.stateful:
            n = part.stateful.n
            self.buffer[self._owned_at : self._owned_at + n] = weight
            self.synapse_states()[:] = synapses
        else:
            part.weight[:] = weight
        ring = self.buffer[self._shape[0] * K : at].reshape(-1, self._receptors * K)
        ring[:] = 0.0
        keys = np.sort(keys)
        poured = int(np.searchsorted(keys, (step - part.min_delay + 1) << STEP_BITS))
        for key in keys[:poured].tolist():
            stamp, source = key >> STEP_BITS, key & NEURON_MASK
            for j in range(part.row[source], part.row[source + 1]):
                update = stamp + int(part.delay[j]) - 1
                if update >= step:
                    ring[update & (len(ring) - 1), part.target[j]] += part.weight[j]
        self._tell_anew()
        # Where synapses have memory, how far each delay has got among the keys follows from the step.
        waiting = keys if part.stateful else keys[poured:]
        self._keys, self._n_keys, self._at_key = np.append(waiting, np.zeros(64, np.int64)), len(waiting), 0
        self._wait(NO_KEYS, NO_MV)
        self._outdate()
        self._resting, self.k, self._stale = False, step, True
        self._set_plan([])
        for update, neuron, value in pokes:
            self.poke(update, neuron, value)

    # -- views and snapshots --------------------------------------------------------------------

    def overflown(self) -> Array:
        """Which neurons have a state that is no number any more, or infinite. Shape (K,)."""
        return np.asarray(~np.isfinite(self.state).all(axis=0))

    def potential_mv(self, at: int = 0) -> Array:
        """Membrane potential of each neuron, absolute mV: at the committed step, or at step `at` if that is
        later, as it will be when nothing more arrives and nothing is emitted before. No farther than
        T.LONGEST_LOOK steps ahead, where the neuron is not known to come to rest."""
        buffer, k0 = self.buffer, self.k
        if at > k0 and self.looks_ahead:
            if 0 <= self._rest_at <= at:
                buffer = self._spare
            elif at > (k0 := max(k0, self._first_effect() if self._resting else 0)):
                table, buffer = self._table, self.buffer.copy()
                # What the last look found stands in the table and in `_out`, and holds on.
                known, n, n_mv = table[T.LAST : T.ACTS], table[T.LOOK_OUT], table[T.LOOK_MV]
                outs = (self._out[:n], self._out_sample[:n_mv], self._out_mv[:n_mv])
                put_out = [out.copy() for out in outs]
                self._run(buffer, k0, min(at, k0 + T.LONGEST_LOOK), True)
                table[T.LAST : T.ACTS] = known
                for out, before in zip(outs, put_out, strict=True):
                    out[:] = before
        potential = buffer[self.potential_row * self.K : (self.potential_row + 1) * self.K]
        return np.asarray(potential + self._zero)

    def settle(self) -> None:
        """Tell the synapses of all spikes of their neurons that they can know of by now. It changes when they
        are told, never what comes of it; so weights are the same whenever they are looked at."""
        if self._tells:
            self._call(T.SETTLE, self.buffer.ctypes.data, self.k, 0, 0)

    def _owned_weights(self) -> Array:
        """Weights of the synapses with memory at the committed step, in the order of `part.stateful`."""
        self.settle()
        buffer = self.buffer
        if self._drifts:
            # On a copy: to be brought to now on the way would change the last bit of what comes of it.
            buffer = self.buffer.copy()
            self._call(T.SETTLE, buffer.ctypes.data, self.k, 1, 0)
        n = self.part.stateful.n if self.part.stateful else 0
        return buffer[self._owned_at : self._owned_at + n]

    def weights(self) -> Weights:
        """Every synapse of the neurons here, at the committed step, in the order (post, pre, declaration)."""
        part, owned = self.part, self.part.stateful
        plain, remembering = len(part.weight), part.remembering
        pre = np.repeat(np.arange(len(part.row) - 1), np.diff(part.row))
        columns: list[tuple[npt.NDArray[Any], ...]] = [
            (pre, part.target % self.K, part.target // self.K, part.delay, part.weight, np.full(plain, -1))
        ]
        if owned:
            now = self._owned_weights()
            columns.append((owned.source, owned.neuron, owned.receptor, owned.delay, now, owned.type_of))
        pre, local, receptor, delay, weight, kind = (np.concatenate(c) for c in zip(*columns, strict=True))
        place = np.arange(len(pre))
        if owned and remembering is not None:
            kept = np.flatnonzero(remembering)[owned.given]
            place = np.concatenate([np.flatnonzero(~remembering), kept])
        order = np.lexsort((place, local))
        kinds = part.model_name if part.model.arrive is not None else STATIC
        return Weights(
            pre[order], part.index[local[order]], receptor[order], delay[order], weight[order], kind[order],
            (*part.types, kinds),
        )  # fmt: skip

    def learnt(self) -> Array:
        """Weights of the synapses with memory, as of the committed step."""
        n = self.part.stateful.n if self.part.stateful else 0
        return self.buffer[self._owned_at : self._owned_at + n]

    def synapse_states(self) -> Array:
        """States of the synapses with memory, in the order of `part.stateful`: (states, synapses)."""
        n, n_z = self.part.stateful.integers[:2] if self.part.stateful else (0, 0)
        at = self._owned_at + n
        return self.buffer[at : at + n_z * n].reshape(n_z, n)

    def dump(self) -> dict[str, Any]:
        """The committed state with everything that waits: plain values for a snapshot."""
        self.settle()
        keys = self._keys[self._at_key : self._n_keys]
        plan = slice(self._at_plan, None)
        return {
            "k": self.k,
            "buffer": self.buffer.tobytes(),
            "keys": keys.tobytes(),
            "sample_keys": self._sample_keys[self._at_sample : self._n_samples].tobytes(),
            "sample_mv": self._sample_mv[self._at_sample : self._n_samples].tobytes(),
            "plan": [
                [int(k), int(w), int(i), float(v)]
                for k, w, i, v in zip(
                    self._plan_k[plan],
                    self._plan_what[plan],
                    self._plan_i[plan],
                    self._plan_value[plan],
                    strict=True,
                )
            ],
            "weight": self.part.weight.tobytes(),
            "weight_now": self._owned_weights().tobytes(),
            "late": self.late,
            "deliveries": self.deliveries,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Take a state from `dump`. Raises ValueError when it is of another network."""
        buffer = np.frombuffer(saved["buffer"], np.float64)
        if buffer.shape != self.buffer.shape or len(saved["weight"]) != self.part.weight.nbytes:
            raise ValueError("the snapshot is of another network")
        self.buffer[:] = buffer
        self.part.weight[:] = np.frombuffer(saved["weight"], np.float64)
        self.k, self.late, self.deliveries = saved["k"], saved["late"], saved["deliveries"]
        self._outdate()
        self._at_key, self._resting = 0, False
        waiting = np.frombuffer(saved["keys"], np.int64)
        self._keys, self._n_keys = waiting.copy(), len(waiting)
        self._stale = True
        self._wait(np.frombuffer(saved["sample_keys"], np.int64), np.frombuffer(saved["sample_mv"]))
        self._set_plan([tuple(row) for row in saved["plan"]])
