"""How well the junctions and graded conductances of a network can be followed from step to step, pure.

A junction's current in an update is g (V_b - V_a), both as lines through the last two samples that are
told, seen `delay` steps after they were told at the earliest. For the difference x of two cells that is

    x[k+1] = x[k] - a (x[k-m] + (m + 1/2) (x[k-m] - x[k-m-1])),   m = delay - 1,   a = lambda dt,

lambda the largest rate at which charge is shared out, the greatest eigenvalue of C^-1 L with L the Laplacian
of the conductances (2 g / C for two equal cells). On the boundary of stability x[k] = z^k with |z| = 1; the
first such a is `largest_rate(delay)`: 1 for one step (Adams-Bashforth), about 0.94 / delay for many.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from neurobus.config.locate import Place
from neurobus.errors import InputError
from neurobus.model import Array, Model
from neurobus.network.electrical import Junctions
from neurobus.network.graded import Graded
from neurobus.network.population import Population

Int32s = npt.NDArray[np.int32]

SLOW_PER_MS = 0.1
"""Where junctions move a membrane faster than this, lines must be nearer in proportion: the error of a line
then does no more to a partner, which would come to rest beside its place."""
OPEN_MV = 50.0
"""Where a linear or rectified graded synapse is taken to be, whose presynaptic model has no peak."""


def largest_rate(delay: int) -> float:
    """The largest a at which junctions whose samples act after `delay` steps are stable: see the module."""
    m = delay - 1
    theta = np.linspace(0.0, np.pi, 4001)[1:] / (1 if m == 0 else m)
    z = np.exp(1j * theta)
    a = -(z - 1) * z**m / (1 + (m + 0.5) * (1 - 1 / z))
    crossing = np.flatnonzero(np.diff(np.sign(a.imag)) != 0)
    real = [float(a.real[n]) for n in crossing.tolist() if a.real[n] > 0]
    return real[0] if real else float(a.real[-1])


def gain(who: Population, members: Int32s) -> Array:
    """How far 1 pA moves the potential of each neuron within one step, mV; shape (members,)."""
    found = np.zeros(len(members))
    dt_ms = who.read.dt_ns / 1e6
    for number, model in enumerate(who.models):
        mine = np.flatnonzero(who.model_of[members] == number)
        if not len(mine) or not issubclass(model, Model):
            continue
        place = np.searchsorted(np.flatnonzero(who.model_of == number), members[mine])
        p = {name: values[place] for name, values in who.params[number].items()}
        farads = [name for name, param in model.params().items() if param.unit == "pF"]
        found[mine] = dt_ms / p[farads[0]] if len(farads) == 1 else _tried(model, p, dt_ms)
    return found


def _tried(model: type[Model], p: dict[str, Array], dt_ms: float) -> Array:
    """The same of a model that has no capacitance, by trying: a step with 1 pA and one without."""
    if not p:
        return np.full(1, _one(model, {}, dt_ms))
    rows, of = np.unique(np.array(list(p.values())), axis=1, return_inverse=True)
    each = [_one(model, dict(zip(p, row[:, None], strict=True)), dt_ms) for row in rows.T]
    return np.array(each)[of.ravel()]


def _one(model: type[Model], p: dict[str, Array], dt_ms: float) -> float:
    states = list(model.states())
    constants = np.array([np.broadcast_to(v, 1) for v in model.prepare(p, dt_ms).values()], np.float64)
    more: tuple[npt.NDArray[np.generic], ...] = ()
    if model.arrive is not None:
        z = np.empty((len(model.synapse_states()), 0))
        more = (np.zeros(2, np.int64), np.empty(0, np.int64), np.empty(0), z)
    after = []
    for pa in (0.0, 1.0):
        s = np.zeros((len(states), 1))
        for name, values in model.initial(p).items():
            s[states.index(name)] = values
        fired, x = np.zeros(1, np.uint8), np.zeros((len(model.receptors), 1))
        with np.errstate(all="ignore"):
            model.step(0, s, constants, x, np.full(1, pa), np.zeros(1, np.uint64), fired, *more)
        after.append(float(s[states.index(model.potential), 0]))
    moved = after[1] - after[0]
    return moved if np.isfinite(moved) and moved > 0 else 0.0


def fastest(a: Int32s, b: Int32s, g: Array) -> float:
    """The greatest eigenvalue of `C^-1 L`; `g` (junctions, 2): each conductance over the capacitance of
    either end. A percent above what the power method finds."""
    n = int(max(a.max(), b.max())) + 1
    total = np.bincount(a, g[:, 0], n) + np.bincount(b, g[:, 1], n)
    x, rate = np.where(total > 0, np.cos(np.arange(n) * 2.4) * total, 0.0), 0.0
    for _ in range(300):
        y = total * x - np.bincount(a, g[:, 0] * x[b], n) - np.bincount(b, g[:, 1] * x[a], n)
        rate = float(np.abs(y).max())
        if rate == 0:
            return float(2 * total.max())
        x = y / rate
    return min(1.01 * rate, float(2 * total.max()))


def followed(who: Population, junctions: Junctions, graded: Graded, delay: int,
             tables: list[tuple[Place, int]]) -> Array:  # fmt: skip
    """How far what partners take each neuron's potential for may be off: (N,) mV, infinity: no junction.

    `tables`: place and number of junctions of each [[electrical]], in their order. Raises
    InputError where conductances are so large that the currents of junctions or graded synapses would swing.
    """
    delta = np.full(len(who.ids), np.inf)
    _open(who, graded)
    a, b, ns = junctions
    if not a.size:
        return delta
    ends = np.unique(np.concatenate([a, b])).astype(np.int32)
    moves = np.zeros(len(who.ids))
    moves[ends] = gain(who, ends)
    per_step = np.stack([ns * moves[a], ns * moves[b]], axis=1)
    most, rate = largest_rate(delay), 0.0
    if per_step.max() > 0:
        total = _sum(a, b, per_step, len(who.ids))
        rate = float(2 * total.max()) if 2 * total.max() < most else fastest(a, b, per_step)
    if rate >= most:
        raise _swings(who, a, b, ns, per_step, most / rate, delay, tables)
    dt_ms = who.read.dt_ns / 1e6
    per_ms = _sum(a, b, per_step, len(who.ids))[ends] / dt_ms
    delta[ends] = who.config.run.junction_delta_mv * SLOW_PER_MS / np.maximum(per_ms, SLOW_PER_MS)
    return delta


def _sum(a: Int32s, b: Int32s, of_ends: Array, n: int) -> Array:
    return np.asarray(np.bincount(a, of_ends[:, 0], n) + np.bincount(b, of_ends[:, 1], n), np.float64)


def _swings(who: Population, a: Int32s, b: Int32s, ns: Array, per_step: Array, of_it: float, delay: int,
            tables: list[tuple[Place, int]]) -> InputError:  # fmt: skip
    total = _sum(a, b, per_step, len(who.ids))
    worst = int(np.argmax(total))
    sum_ns = float(ns[(a == worst) | (b == worst)].sum())
    strongest = int(np.argmax(np.where((a == worst) | (b == worst), ns, 0.0)))
    place = tables[int(np.searchsorted(np.cumsum([n for _, n in tables]), strongest, side="right"))][0]
    after_ms = delay * who.read.dt_ns / 1e6
    return who.error(
        place,
        f"junctions of {sum_ns:g} nS on '{who.ids[worst]}' are unstable with potentials that act after "
        f"{after_ms:g} ms (run.potential_delay); at most {_down(sum_ns * of_it):g} nS, or a smaller dt",
    )


def _down(x: float) -> float:
    """Three digits, rounded down: a bound that is written must hold."""
    unit = 10.0 ** (np.floor(np.log10(x)) - 2)
    return float(np.floor(x / unit) * unit)


def _open(who: Population, graded: Graded) -> None:
    """Whether conductances stay below what moves a membrane past their reversal potential in one step."""
    conducting = graded.only(np.isfinite(graded.reversal))
    if not conducting.post.size:
        return
    u = (_peaks(who, conducting.pre) - conducting.threshold) / conducting.slope
    largest = np.where(conducting.transfer == 2, 1.0, np.maximum(u, 0.0))
    total = np.bincount(conducting.post, conducting.weight * largest, len(who.ids))
    ends = np.unique(conducting.post).astype(np.int32)
    moves = gain(who, ends)
    over = ends[total[ends] * moves >= 1.0]
    for i in over[:1].tolist():
        most = _down(float(1.0 / moves[np.searchsorted(ends, i)]))
        place = next(_graded_tables(who))
        raise who.error(
            place,
            f"graded conductances on '{who.ids[i]}' can reach {total[i]:g} nS and are unstable at "
            f"dt = {who.config.run.dt}; at most {most:g} nS, or a smaller dt",
        )


def _graded_tables(who: Population) -> Iterator[Place]:
    return (place for place, table in who.config.active("graded") if table.conductance or table.csv)


def _peaks(who: Population, members: Int32s) -> Array:
    """The highest potential (mV) that a spike of each neuron shows."""
    found = np.full(len(members), OPEN_MV)
    for number, model in enumerate(who.models):
        mine = np.flatnonzero(who.model_of[members] == number)
        if len(mine) and issubclass(model, Model) and model.peak:
            place = np.searchsorted(np.flatnonzero(who.model_of == number), members[mine])
            found[mine] = who.params[number][model.peak][place]
    return found
