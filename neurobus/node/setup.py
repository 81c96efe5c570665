"""A core at step 0: its state, and all in its table that does not change, from the part of a network it
hosts."""

from __future__ import annotations

import numpy as np

from neurobus.exact import exp
from neurobus.model import MOST_PER_STEP, Array
from neurobus.node.interface import NO_MV
from neurobus.node.kernel import layout as T
from neurobus.parts import NeuronPart
from neurobus.wire.bus import NEVER

LOOK_AHEAD_NEURONS = 32
"""More neurons than this in one core are advanced window by window: some neuron always acts soon, and
running a copy of all ahead would double the work."""
MORE_NEURONS = 128
"""The same for models that own their synapses: those wait for a stimulus that is told far ahead."""


def ring_slots(max_delay: int) -> int:
    """Slots of the input ring: the power of two that holds the longest delay and the slot in use."""
    return 1 << int(max_delay + 1).bit_length()


def _zero(part: NeuronPart) -> Array:
    """mV (K,) to be added to the potential."""
    zero = part.model.potential_zero
    return part.params[zero] if zero else np.zeros(len(part.index))


def _deltas(part: NeuronPart) -> tuple[Array, Array]:
    """(K,) each, in the unit of the potential: how far it moves before a sample is published, and how far
    the line of a neuron with junctions may be off; infinity: it has none."""
    own, coupled = part.model.potential_delta, np.isfinite(part.coupling.delta_mv)
    if own:
        return part.params[own], np.where(coupled, part.params[own], np.inf)
    return np.full(len(part.index), part.potential_delta_mv), part.coupling.delta_mv


def start_state(part: NeuronPart) -> T.State:
    """The state at step 0."""
    K, model, n_gaps = len(part.index), part.model, len(part.coupling.weight)
    names, slots, width = list(model.states()), ring_slots(part.max_delay), len(model.receptors) * K
    n_own = part.sample_delay if n_gaps and np.any(np.isfinite(_deltas(part)[1])) else 0
    start = part.stateful.start if part.stateful else NO_MV
    state = T.State({
        "states": (len(names), K), "ring": (slots, width), "electrode": (K,), "gap_sum": (K,),
        "sent_mv": (K,), "sent_step": (K,), "gap_value": (n_gaps,), "current": (K,), "gap_total": (K,),
        "sent_slope": (K,), "sent_far": (K,), "gap_slope": (n_gaps,), "gap_stamp": (n_gaps,),
        "gap_far": (n_gaps,), "own_line": (K, n_own), "synapses": start.shape,
    })  # fmt: skip
    for name, values in model.initial(part.params).items():
        state.part["states"][names.index(name)] = values
    if n_gaps:
        state.part["gap_sum"][:] = np.nan  # to be summed by the first update
    state.part["gap_value"][:] = part.coupling.transfer[3]
    state.part["gap_stamp"][:] = -NEVER
    state.part["synapses"][:] = start
    potential = state.part["states"][names.index(model.potential)] + _zero(part)
    state.part["sent_mv"][:] = potential
    state.part["sent_step"][:] = -NEVER
    state.part["own_line"][:] = potential[:, None]
    return state


def fill(t: T.Table, part: NeuronPart, state: T.State) -> None:
    """Write into a table all that does not change, and where a core begins."""
    K, model, across = len(part.index), part.model, part.coupling
    noisy, noise, weight = _background(part)
    constants = [np.broadcast_to(v, K) for v in model.prepare(part.params, part.dt_ns / 1e6).values()]
    delta, gap_delta = _deltas(part)
    t.bind(
        buffer=state.buffer, spare=state.buffer.copy(), scratch=np.empty_like(state.buffer),
        constants=np.ascontiguousarray(constants, np.float64), delta=delta, key=part.key,
        fired=np.zeros(K, np.uint8), row=part.row, target=part.target, delay=part.delay, weight=part.weight,
        gap_row=across.row, gap_of=across.order, gap_at=across.at, gap_ns=across.weight,
        gap_mv=across.reversal_mv, gap_to=across.target, gap_f=across.transfer, gap_delta=gap_delta,
        watched=part.watched, zero=_zero(part), noise=noise, noise_key=part.background.key,
        noise_weight=weight, index=part.index,
        peak=part.params[model.peak] if model.peak else np.full(K, np.nan),
    )  # fmt: skip
    if part.stateful:
        t.bind(own_integers=part.stateful.integers, own_constants=part.stateful.constants)
    own_spikes = bool(np.any(part.row[part.index + 1] > part.row[part.index])) or bool(
        part.stateful and np.isin(part.stateful.source, part.index).any()
    )
    own_samples = bool(np.any(across.row[part.index + 1] > across.row[part.index]))
    owner = model.arrive is not None
    t.put(
        n_neurons=K, n_states=len(state.part["states"]), n_receptors=len(model.receptors),
        slots=len(state.part["ring"]), n_gaps=len(across.weight),
        potential=list(model.states()).index(model.potential), n_synapses=len(part.weight),
        n_sources=len(part.row) - 1, n_watched=len(part.watched), n_noisy=K * noisy,
        interval=part.potential_interval, lag=part.min_delay - 1, lag_mv=part.sample_delay - 1,
        n_constants=len(constants), n_own=state.part["own_line"].shape[1],
        most_per_step=MOST_PER_STEP if model.several else 1, state_size=len(state.buffer),
        memory=owner or bool(part.types), owner=owner, restful=not noisy and not model.stochastic,
        looks_ahead=(MORE_NEURONS if owner else LOOK_AHEAD_NEURONS) >= K, own_spikes=own_spikes,
        own_samples=own_samples, look_length=T.FIRST_LOOK, ahead=-1, rest_at=-1, limit=NEVER,
        at_most=min(part.min_delay if own_spikes else NEVER, part.sample_delay if own_samples else NEVER),
        **{f"{name}_at": 8 * first for name, first in state.first.items() if first},
    )  # fmt: skip


def _background(part: NeuronPart) -> tuple[bool, Array, Array]:
    """Whether there is any; (2 K,) or none: the mean of arrivals in an update, and exp(-mean); weights
    (K,)."""
    given, grain = part.background, part.model.grain(part.params)
    weight = given.weight if grain is None else grain.stimulus(given.weight)
    mean = given.rate_hz * (part.dt_ns / 1e6) * 1e-3
    noisy = bool(np.any(given.rate_hz > 0))
    return noisy, np.concatenate([mean, exp(-mean)]) if noisy else NO_MV, weight
