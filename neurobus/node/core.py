"""The neuron's core, sans-IO: stimuli in, effects out, time is an argument (integer steps).

A core hosts K neurons of one model (K = 1 by default) and holds one *committed* state at step `k`:
everything stamped up to `k` has been emitted and cannot be taken back. `look` runs a copy ahead to
say when the core will act if nothing more arrives; an input simply outdates that answer, because
the copy is thrown away and the committed state has not moved. So nothing ticks, and an input that
comes late by the wall clock is still exact as long as its effect lies after the committed step.

All that happens in time is compiled (`kernel.lookahead`, `kernel.bus_io`); it works on the core's table.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from neurobus.errors import InputError
from neurobus.ledger import Account
from neurobus.loading import load_synapse
from neurobus.model import MOST_PER_STEP, Array
from neurobus.node import streams
from neurobus.node.interface import (
    NEURON_MASK,
    NO_KEYS,
    NO_MV,
    NOTHING,
    STEP_BITS,
    Emission,
    Keys,
    Poke,
    joined,
)
from neurobus.node.kernel import layout as T
from neurobus.node.kernel import loader
from neurobus.node.kernel.loader import RAISED, RESULT
from neurobus.node.setup import fill, start_state
from neurobus.node.waiting import CURRENT, INPUT, Waiting
from neurobus.node.weights import Weights, columns
from neurobus.parts import NeuronPart
from neurobus.wire.bus import EPOCH_BITS, NEVER

LONGEST_DUTY = 36 + 8 * T.FEW_SPIKES
"""Bytes of a duty, behind its topic, that `converse` takes."""
OUT_STEPS = 64
_NONE = (0,) * T.MOST_ARGUMENTS


def _in_table(name: str) -> Any:
    """An attribute of a core that lives in its table."""

    def put(self: Core, value: int) -> None:
        setattr(self.t, name, value)

    return property(lambda self: getattr(self.t, name), put)


class Core:
    """K neurons of one model with their synapses, as `interface.AnyCore`. See the module's docstring.

    Large because: twelve of its fields are names for entries of the table that it shares with compiled code.
    """

    k: int = _in_table("step")
    limit: int = _in_table("limit")
    acts: int = _in_table("acts")
    nearest: int = _in_table("nearest")
    late: int = _in_table("late")
    deliveries: int = _in_table("deliveries")
    epoch: int = _in_table("epoch")
    seq: int = _in_table("seq")
    sample_seq: int = _in_table("sample_seq")
    duty_number: int = _in_table("duty_number")
    spikes_sent: int = _in_table("spikes_sent")
    samples_sent: int = _in_table("samples_sent")

    def __init__(self, part: NeuronPart):
        self.part, self.K, self.t = part, len(part.index), T.Table()
        self._local = {int(g): n for n, g in enumerate(part.index)}
        self._grain = part.model.grain(part.params)
        kinds = [load_synapse(name) for name in part.types]
        self._settles = any(kind.post is not None for kind in kinds)
        self._drifts = any(kind.until is not None for kind in kinds)
        self._state = start_state(part)
        self.state, self.buffer = self._state.part["states"], self._state.buffer
        self._waiting = Waiting(self.t, part.currents, self.has_junctions)
        fill(self.t, part, self._state)
        kernel = loader.kernel(part.model_name, part.model, part.types)
        self._run, self._wait = kernel.run, kernel.wait
        self.t.model = kernel.model
        self._answer_head = b""
        self._make_room(OUT_STEPS)

    # -- inputs ---------------------------------------------------------------------------------

    def deliver(self, keys: Keys, sample_keys: Keys, sample_mv: Array, pokes: Sequence[Poke]) -> None:
        self.admit(keys)
        self.admit_samples(sample_keys, sample_mv)
        for poke in pokes:
            self.poke(*poke)

    def admit(self, keys: Keys) -> None:
        """Spikes from elsewhere, in any order. One that should already have been poured is late: it acts in
        the next update and is counted."""
        if len(keys):
            keys = np.sort(keys)
            self._waiting.room_for(2 * len(keys), 0)
            self._call(T.ADMIT, keys.ctypes.data, len(keys))

    def admit_samples(self, keys: Keys, mv: Array) -> None:
        """Membrane potentials (mV) of electrical partners, as `admit`."""
        if len(keys):
            order = np.argsort(keys, kind="stable")
            keys, mv = keys[order], mv[order]
            self._waiting.room_for(0, len(keys))
            self._call(T.ADMIT_SAMPLES, keys.ctypes.data, mv.ctypes.data, len(keys))

    def poke(self, step: int, neuron: int, weight: float) -> bool:
        """A stimulus: `weight` acts on neuron (wire index) in update `step`. False: late, acts at once."""
        late = step < self.k
        self.late += late
        local = self._local[neuron]
        if self._grain is not None:
            weight = float(self._grain.stimulus(weight, local))
        if len(self.part.model.receptors) > 1 and self.part.model.by_sign and weight < 0:
            local += self.K
        # Equal steps in the order (neuron, weight), so that two pokes sum the same whichever came first.
        self._waiting.put_plan(sorted([*self._waiting.plan, (max(step, self.k), INPUT, local, weight)]))
        self._outdate()
        return not late

    def in_time(self, keys: Keys, k: int) -> Keys:
        """Keys as they can be admitted at step `k`. Where synapses have memory, how far each delay has got
        among the keys follows from k; so a late spike is stamped anew, and all it does is as late."""
        if not self.part.stateful:
            return keys
        first = k - self.part.min_delay + 1
        return np.sort(np.maximum(keys >> STEP_BITS, first) << STEP_BITS | keys & NEURON_MASK)

    def _outdate(self) -> None:
        """What the last look found, rest or an emission, holds no more."""
        self.t.rest_at = self.t.ahead = -1

    # -- time -----------------------------------------------------------------------------------

    @property
    def recurrent(self) -> bool:
        """Whether spikes of neurons here act on neurons here."""
        return bool(self.t.own_spikes)

    @property
    def has_junctions(self) -> bool:
        """Whether potentials act here."""
        return len(self.part.coupling.weight) > 0

    @property
    def looks_ahead(self) -> bool:
        return bool(self.t.looks_ahead)

    @property
    def kernel_only(self) -> bool:
        return bool(self.t.looks_ahead and not (self.t.own_spikes or self.t.own_samples))

    @property
    def window(self) -> int:
        part = self.part
        return min(part.min_delay, part.sample_delay) if len(part.watched) else part.min_delay

    def advance(self, to: int) -> Emission:
        return self._emissions(to, self._call(T.COMMIT, to), T.COMMIT)

    def look(self, again: bool = False, through: int = 0, limit: int = NEVER) -> int:
        self._call(T.LOOK, again, through, limit)
        return self.nearest

    def predicts(self, step: int) -> bool:
        return self.t.ahead == step

    def duty(
        self, to: int, keys: bytes, sample_keys: bytes, sample_mv: bytes, stimuli: list[list[float]] | None
    ) -> tuple[Emission, int]:
        spikes = np.sort(np.frombuffer(keys, np.int64))
        if sample_keys or stimuli:
            samples, pokes = (
                np.frombuffer(sample_keys, np.int64),
                [(int(s), int(n), w) for s, n, w in stimuli or ()],
            )
            if self.t.rest_at >= 0:
                effects = [(spikes, self.t.lag), (samples, self.t.lag_mv)]
                firsts = [(int(k.min()) >> STEP_BITS) + lag for k, lag in effects if len(k)]
                self.advance(min([to, *firsts, *(poke[0] for poke in pokes)]))
            self.deliver(NO_KEYS, samples, np.frombuffer(sample_mv), pokes)
        self._waiting.room_for(2 * len(spikes), 0)
        news = T.NEWS * bool(keys or sample_keys or stimuli)
        done = self._call(T.DUTY, to, spikes.ctypes.data, len(spikes), news)
        return self._emissions(to, done, T.DUTY, 0, 0, news | T.CONTINUED), self.nearest

    def _emissions(self, to: int, done: int, operation: int, *arguments: int) -> Emission:
        """What an operation has put out, gone on with until it is done."""
        parts = [self._emitted()]
        while not done:
            self._make_room(to - self.k)
            done = self._call(operation, to, *arguments)
            parts.append(self._emitted())
        return parts[0] if len(parts) == 1 else joined(parts)

    def _emitted(self) -> Emission:
        """What the last call put out."""
        t, out = self.t, self.t.bound
        n, n_mv = t.n_out, t.n_mv
        if not (n or n_mv):
            return NOTHING
        t.n_out = t.n_mv = 0
        return Emission(out["out"][:n].copy(), out["out_sample"][:n_mv].copy(), out["out_mv"][:n_mv].copy())

    def _make_room(self, steps: int) -> None:
        """Space for what so many updates can put out, and for what of that waits to act here."""
        t = self.t
        if steps + 2 > t.out_steps:
            steps = max(2 * steps, OUT_STEPS)
            n, n_mv = steps * self.K * t.most_per_step, steps * max(1, t.n_watched)
            # pages that nobody writes to cost nothing
            t.bind(out=np.empty(n, np.int64), out_sample=np.empty(n_mv, np.int64), out_mv=np.empty(n_mv))
            t.out_steps, t.ahead = steps, -1
            self._put_answer()
        most = min(t.at_most, t.out_steps)
        keys, samples = 2 * most * self.K * t.most_per_step * t.own_spikes, most * t.n_watched * t.own_samples
        self._waiting.room_for(keys, samples)

    def _call(self, operation: int, *arguments: int) -> int:
        t = self.t
        if self._run(RESULT, RAISED, t.table, operation, *arguments, *_NONE[len(arguments) :]):
            raise self._failure()
        return t.served

    def _failure(self) -> Exception:
        """What the kernel could not go on with."""
        if self.t.failed != T.TOO_MANY:
            return RuntimeError(f"the step of {self.part.model_name} raised an exception")
        of = self.part.ids[0] if self.K == 1 else "a neuron"
        dt = f"{self.part.dt_ns / 1e6:g} ms"
        return InputError(
            f"{of} ({self.part.model_name}) fires too often: more than {MOST_PER_STEP} spikes in a step of "
            f"{dt}, or more within two delays than its synapses remember; a smaller run.dt would be right"
        )

    # -- the bus, in compiled code ----------------------------------------------------------------

    def answers_as(self, head: bytes, epoch: int) -> None:
        self._answer_head, self.epoch, self.duty_number = head, epoch, epoch << EPOCH_BITS
        self._put_answer()

    def _put_answer(self) -> None:
        """The frame that `converse` writes, with room for the spikes of `out_steps` updates."""
        self.t.room_answer = self.t.out_steps * self.K if self.kernel_only else 0
        self._answer = ctypes.create_string_buffer(
            self._answer_head, len(self._answer_head) + 80 + 8 * self.t.room_answer
        )
        self.t.answer, self.t.answer_head = ctypes.addressof(self._answer), len(self._answer_head)

    def bind_duties(self, topic: bytes, lines: tuple[int, ...]) -> None:
        """From here on `converse` takes duties of this topic by these addresses: `streams.LINES`."""
        self._duty_topic = ctypes.create_string_buffer(topic, len(topic))
        self.t.duty_topic, self.t.duty_head = ctypes.addressof(self._duty_topic), len(topic)
        self.t.put(**dict(zip(streams.LINES, lines, strict=True)))

    def converse(self, plain: bool) -> int:
        """Receive and carry out plain duties and send the answers, in one call of the kernel, until a frame
        comes that is none, or no frame came for as long as the socket is patient.

        Returns `T.NOBODY`; or `T.TELL`: see `served`; or `T.OTHER`: the frame is `frame()`. `plain` False:
        every frame is another one.
        """
        t = self.t
        t.longest_duty = t.duty_head + LONGEST_DUTY if plain and self.kernel_only else 0
        return self._await(T.CONVERSE)

    def served(self) -> tuple[Emission, int]:
        """What the duty came to that `converse` carried out last, as `duty` returns it."""
        return self._emitted(), self.nearest

    def frame(self) -> bytes:
        """The frame that `converse` or `attend` received last."""
        return ctypes.string_at(self.t.frame, self.t.size)

    def set_streams(self, axon: bytes, voice: bytes, heard: list[tuple[bytes, int, Account]]) -> None:
        """From here on `attend` hears these streams (topic, wire index, account), and sends spikes and
        samples under the topics `axon` and `voice`."""
        self._accounts = streams.bind(self.t, axon, voice, heard)

    def bind_clock(self, lines: tuple[int, ...], fds: tuple[int, int], clock: tuple[int, int, int]) -> None:
        """From here on `attend` works by these addresses: `streams.LINES`.

        `fds`: readable when frames may have arrived, and when something else wants attention (-1: nothing
        does). `clock`: step 0 by the clock on the wall (ns), the length of a step (ns), and how many of them
        the committed state stays behind the present.
        """
        self._pollfds = (ctypes.c_int64 * 4)(0, 0, *(fd & 0xFFFFFFFF for fd in fds))
        self.t.put(**dict(zip((*streams.LINES, "t0_ns", "dt_ns", "grace"), (*lines, *clock), strict=True)))
        self.t.waiting = ctypes.addressof(self._pollfds)

    def attend(self, until_ns: int) -> int:
        """Receive spikes, react to them as they come, do what is due as time goes on, and send what comes of
        it, in one call of the kernel, until a time by the clock on the wall (ns).

        Returns `T.NOBODY`: look at `nearest` for when to act again; `T.OTHER`: a frame of another kind came,
        `frame()`; or `T.LONGER`. In both cases what `unadmitted` returns has not been admitted.
        """
        return self._await(T.ATTEND, until_ns)

    def unadmitted(self) -> tuple[list[int], list[int], list[float]]:
        """What `attend` booked and left to be admitted: keys of spikes, keys of samples, and their mV."""
        n, n_mv, new = self.t.n_new, self.t.n_new_mv, self.t.bound
        self.t.n_new = self.t.n_new_mv = 0
        return new["new"][:n].tolist(), new["new_mv_keys"][:n_mv].tolist(), new["new_mv"][:n_mv].tolist()

    def _await(self, operation: int, until_ns: int = 0) -> int:
        if self._wait(RESULT, RAISED, self.t.table, operation, until_ns, *_NONE[1:]):
            raise self._failure()
        return self.t.served

    # -- another state ----------------------------------------------------------------------------

    def resume_at(self, step: int) -> None:
        """Carry the state over to `step` as if no time had passed: a neuron back from the dead. What was
        under way to it meanwhile is gone, and its potential is sent anew."""
        self._state.part["ring"][:] = 0.0
        self._publish_anew()
        plan = self._waiting.plan
        for at, what, neuron, pa in plan:
            if at < step and what == CURRENT:
                self._state.part["electrode"][neuron] += pa
        self._put(max(self.k, step), NO_KEYS, NO_KEYS, NO_MV, [row for row in plan if row[0] >= step])

    def load_state(
        self, step: int, state: Array, weight: Array, synapses: Array, keys: Keys, pokes: Sequence[Poke]
    ) -> None:
        """Be a neuron that stands at `step` with this state, whatever came before. For a core of one neuron
        whose synapses all have memory, or none; `weight` and `synapses` as `weights` and `synapse_states`.

        `keys`: every spike stamped after `step - max_delay`; the effects of some of them are past. `pokes`
        from `step` on.
        """
        part = self.part
        self.state[:] = state
        (self.learnt() if part.stateful else part.weight)[:] = weight
        self.synapse_states()[:] = synapses
        ring = self._state.part["ring"]
        ring[:] = 0.0
        keys = np.sort(keys)
        poured = int(np.searchsorted(keys, (step - part.min_delay + 1) << STEP_BITS))
        for key in keys[:poured].tolist():
            stamp, source = key >> STEP_BITS, key & NEURON_MASK
            for j in range(part.row[source], part.row[source + 1]):
                update = stamp + int(part.delay[j]) - 1
                if update >= step:
                    ring[update & (len(ring) - 1), part.target[j]] += part.weight[j]
        self._publish_anew()
        # Where synapses have memory, how far each delay has got among the keys follows from the step.
        self._put(step, keys if part.stateful else keys[poured:], NO_KEYS, NO_MV, [])
        for poke in pokes:
            self.poke(*poke)

    def _publish_anew(self) -> None:
        """What was published of the potentials here holds no more: the next update publishes them, and until
        then partners take each for being where it is, and staying there."""
        part = self._state.part
        part["sent_mv"][:] = np.inf
        part["sent_step"][:] = -NEVER
        part["sent_slope"][:] = part["sent_far"][:] = 0.0
        part["own_line"][:] = (self.state[self.t.potential] + self.t.bound["zero"])[:, None]

    def _put(self, step: int, keys: Keys, sample_keys: Keys, sample_mv: Array, plan: Sequence[Any]) -> None:
        """Stand at `step`, with this that waits."""
        self.k, self.t.resting = step, 0
        self._outdate()
        self._waiting.put_keys(keys)
        self._waiting.put_samples(sample_keys, sample_mv)
        self._waiting.put_plan([tuple(row) for row in plan])

    # -- views and snapshots --------------------------------------------------------------------

    def overflown(self) -> Array:
        """Which neurons have a state that is no number any more, or infinite. Shape (K,)."""
        return np.asarray(~np.isfinite(self.state).all(axis=0))

    def potential_mv(self, at: int = 0) -> Array:
        """As `interface.AnyCore`; no farther than LONGEST_LOOK steps ahead where the neuron is not known to
        come to rest."""
        buffer, K = self.buffer, self.K
        if at > self.k and self.looks_ahead:
            if 0 <= self.t.rest_at <= at:
                buffer = self.t.bound["spare"]
            else:
                buffer = buffer.copy()
                self._call(T.FORESEE, buffer.ctypes.data, at)
        return np.asarray(buffer[self.t.potential * K :][:K] + self.t.bound["zero"])

    def settle(self) -> None:
        """Tell the synapses of all spikes of their neurons that they can know of by now. It changes when they
        are told, never what comes of it; so weights are the same whenever they are looked at."""
        if self._settles:
            self._call(T.SETTLE, self.buffer.ctypes.data, self.k, 0)

    def _weights_now(self) -> Array:
        """Weights of the synapses with memory at the committed step, in the order of `part.stateful`."""
        self.settle()
        if not self._drifts:
            return self.learnt()
        # On a copy: to be brought to now on the way would change the last bit of what comes of it.
        buffer = self.buffer.copy()
        self._call(T.SETTLE, buffer.ctypes.data, self.k, 1)
        return T.synapse_part(buffer, len(self._state.part["synapses"]))[: len(self.learnt())]

    def weights(self) -> Weights:
        """Every synapse of the neurons here, at the committed step, in the order (post, pre, declaration)."""
        return columns(self.part, self._weights_now())

    def learnt(self) -> Array:
        """Weights of the synapses with memory, as of the committed step: a view."""
        return self._state.part["synapses"][: self.part.stateful.n if self.part.stateful else 0]

    def synapse_states(self) -> Array:
        """States of the synapses with memory, in the order of `part.stateful`: a view, (states, synapses)."""
        n, n_z = self.part.stateful.integers[:2] if self.part.stateful else (0, 0)
        return self._state.part["synapses"][n : n + n_z * n].reshape(n_z, n)

    def dump(self) -> dict[str, Any]:
        self.settle()
        sample_keys, sample_mv = self._waiting.samples
        return {
            "k": self.k,
            "buffer": self.buffer.tobytes(),
            "keys": self._waiting.keys.tobytes(),
            "sample_keys": sample_keys.tobytes(),
            "sample_mv": sample_mv.tobytes(),
            "plan": [list(row) for row in self._waiting.plan],
            "weight": self.part.weight.tobytes(),
            "weight_now": self._weights_now().tobytes(),
            "late": self.late,
            "deliveries": self.deliveries,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        buffer = np.frombuffer(saved["buffer"], np.float64)
        if buffer.shape != self.buffer.shape or len(saved["weight"]) != self.part.weight.nbytes:
            raise ValueError("the snapshot is of another network")
        self.buffer[:] = buffer
        self.part.weight[:] = np.frombuffer(saved["weight"], np.float64)
        self.late, self.deliveries = saved["late"], saved["deliveries"]
        keys, sample_keys = (np.frombuffer(saved[name], np.int64) for name in ("keys", "sample_keys"))
        self._put(saved["k"], keys, sample_keys, np.frombuffer(saved["sample_mv"]), saved["plan"])
