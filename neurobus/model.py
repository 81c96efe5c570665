"""The contract between a neuron model and the rest: parameters, state, one step over arrays.

A model is a class. Parameters and states are class attributes in the paper's notation; `prepare`
turns parameters into the constants of one time step; `step` advances K neurons by one step. A model
knows no clock, no random generator, no socket: time step, inputs and counter-based keys are arguments.

    class Leaky(Model):
        tau_m = Param("20 ms", above=0, doc="membrane time constant")
        V_th = Param("15 mV", doc="threshold above rest")
        V = State("mV", doc="membrane potential above rest")
        weight_unit = "mV"

        def prepare(p, dt_ms):
            return {"decay": np.exp(-dt_ms / p["tau_m"]), "V_th": p["V_th"]}

        def step(k, s, c, x, I, key, fired):
            V, decay, V_th, n = s[0], c[0], c[1], 0
            for i in range(V.size):
                V[i] = V[i] * decay[i] + x[0, i]
                fired[i] = V[i] >= V_th[i]
                if fired[i]:
                    V[i] = 0.0
                    n += 1
            return n

`step` is compiled by numba, so it is plain loops over arrays; what it calls by a global name are plain
functions, compiled with it. It must neither raise nor allocate.

What a presynaptic spike does can be said in two places, both local to the postsynaptic process:

- a *synapse type* (`Synapse`), any model's: `synapse = "nodes.stdp"` in a config;
- a *model that owns its synapses*: it defines `arrive`, sees every spike at each of its synapses, and
  walks through them in `step` when it likes. Such is a chip with learning of its own.

Order, in every update k: (1) spikes that act in it, by (stamp, source, order of declaration), each through
the hook of its synapse; (2) pokes, background, electrical and graded currents; (3) `step`; (4) for each
spike of those who fired, the hooks of their synapses' types. Weights and states of synapses are part of the
neuron's state: looked ahead on a copy, in snapshots, the same for any packing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from neurobus import units
from neurobus.streams import uniforms, words

Array = npt.NDArray[np.float64]

MOST_PER_STEP = 250
"""Spikes that a neuron of a model with `several` may have in a step; more end the run. `fired` is a byte."""


@dataclass(frozen=True)
class Param:
    """A parameter with its default (which sets the unit), bounds in that unit, and meaning.

    `low`/`high` are inclusive, `above` exclusive. `"3"` or 3 is a plain number.
    """

    default: str | float
    low: float | None = None
    high: float | None = None
    above: float | None = None
    doc: str = ""
    steps: bool = False
    """A time (ms) that acts as whole steps. Of a model: rounded up to the next one, as NEST does, and `check`
    tells by how much. Of a source: a time off the grid is refused."""
    weight: bool = False
    """Of a synapse type: plain here, written in a config in the weight unit of the postsynaptic model."""

    @property
    def unit(self) -> str:
        return units.split(self.default)[1] if isinstance(self.default, str) else ""

    @property
    def value(self) -> float:
        return units.parse(self.default, self.unit)

    def bounds(self) -> str:
        """The bounds as a person writes them: `"> 0 ms and <= 5 ms"`, `""` when there are none."""
        parts = [f"{sign} {bound:g} {self.unit}".rstrip() for sign, bound in
                 ((">", self.above), (">=", self.low), ("<=", self.high)) if bound is not None]  # fmt: skip
        return " and ".join(parts)

    def admits(self, value: float) -> bool:
        return not (
            (self.above is not None and not value > self.above)
            or (self.low is not None and not value >= self.low)
            or (self.high is not None and not value <= self.high)
        )


@dataclass(frozen=True)
class State:
    """A state variable: one row of the state array, float64."""

    unit: str = ""
    doc: str = ""


@dataclass(frozen=True)
class SynapseState:
    """A state of each synapse of a model that owns them: one row of `z`, float64, 0 at the start."""

    unit: str = ""
    doc: str = ""


@dataclass(frozen=True)
class Trace:
    """A state that a neuron's synapses of one type and one set of parameters share: an entry of `g`."""

    unit: str = ""
    doc: str = ""


@dataclass(frozen=True)
class Grain:
    """Weights are whole multiples of `unit` (K,): `most` of it at a synapse, `felt` of it in one stimulus (a
    poke, a spike of background). Each is rounded and bounded by itself, before those of an update add up."""

    unit: Array
    most: int
    felt: int

    def held(self, w: Array) -> Array:
        """Weights of synapses (K,), one on each neuron, as they act."""
        return np.clip(np.rint(w / self.unit), -self.most, self.most) * self.unit

    def stimulus(self, w: Array | float, of: Any = slice(None)) -> Array:
        """Stimuli as they act on the neurons `of`."""
        unit = self.unit[of]
        return np.asarray(np.clip(np.rint(w / unit), -self.felt, self.felt) * unit, np.float64)


def _declared(cls: type, kind: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found.update({name: value for name, value in vars(base).items() if isinstance(value, kind)})
    return found


class Node:
    """What neurons and sources share: declared parameters."""

    @classmethod
    def params(cls) -> dict[str, Param]:
        """Parameters in the order declared."""
        return _declared(cls, Param)

    @staticmethod
    def check(p: Mapping[str, Array]) -> str | None:
        """A word on parameters that contradict each other, or None. `p`: name → shape (K,)."""
        return None


class Model(Node):
    """A neuron model. See the module's docstring for the shape of a whole one.

    `receptors` name the input rows of `x`. A synapse goes to the one its config names (`receptor = "…"`).
    Where none is named, and where there are several and `by_sign`, weights >= 0 go to the first and weights
    < 0 to the second; else all go to the first. So do pokes and background.
    """

    receptors: ClassVar[tuple[str, ...]] = ("input",)
    by_sign: ClassVar[bool] = True
    weight_unit: ClassVar[str] = "pA"
    potential: ClassVar[str] = "V"
    """The state that is the membrane potential in mV: plotted, and seen through electrical synapses."""
    potential_zero: ClassVar[str | None] = None
    """A parameter to add to `potential` to get absolute mV, where the state is held relative to it."""
    current_unit: ClassVar[str] = "pA"
    """Unit of `I`, and so of the weight of a graded synapse; `""` for a model without units."""
    potential_delta: ClassVar[str | None] = None
    """A parameter: how far the potential moves before a sample is
    published. None: the run's `potential_delta`."""
    peak: ClassVar[str | None] = None
    """A parameter: absolute potential (mV) that electrical synapses see at a spike (the spikelet). None: what
    they see is the potential itself, where a model has a spike and not just its time."""
    several: ClassVar[bool] = False
    """True where `fired[i]` is a number of spikes, at most MOST_PER_STEP: equal ones, each counted, each
    delivered. Else what is not 0 is one spike."""
    stochastic: ClassVar[bool] = False
    """True where `step` uses `key`: such a neuron is never at rest for good."""

    arrive: ClassVar[Any] = None
    """Defined by a model that owns its synapses: called once per synapse and spike, in the update k in which
    the spike acts (stamp + delay - 1), before `step`.

        @staticmethod
        def arrive(k, i, receptor, j, w, z, s, c, x):
            x[receptor, i] += w[j]                   # what a static synapse would do

    i local neuron; receptor its row; j synapse; w (synapses,) weights and z (synapse states, synapses), both
    to be changed at will; s, c, x as in `step`. With it, `step` has four more arguments,

        def step(k, s, c, x, I, key, fired, at, receptor, w, z):

    where the synapses of neuron i are `at[i]` … `at[i + 1]` of `receptor`, `w` and the columns of `z`,
    in the order (source, declaration).
    """

    def __init_subclass__(cls) -> None:
        cls.potential_delta = vars(cls).get("tell", cls.potential_delta)  # its former name

    @classmethod
    def states(cls) -> dict[str, State]:
        """State variables in the order declared: the rows of `s`."""
        return _declared(cls, State)

    @classmethod
    def synapse_states(cls) -> dict[str, SynapseState]:
        """States of each synapse in the order declared: the rows of `z`."""
        return _declared(cls, SynapseState)

    @staticmethod
    def prepare(p: Mapping[str, Array], dt_ms: float) -> dict[str, Array]:
        """Constants of one step, name → shape (K,), in the order of the rows of `c`."""
        raise NotImplementedError

    @staticmethod
    def initial(p: Mapping[str, Array]) -> dict[str, Array]:
        """States that do not start at zero, name → shape (K,)."""
        return {}

    @staticmethod
    def grain(p: Mapping[str, Array]) -> Grain | None:
        """For a model that counts weights in units, as a chip does: in which. `p`: name → (K,)."""
        return None

    @staticmethod
    def current_range(p: Mapping[str, Array], dt_ms: float) -> tuple[Array, Array] | None:
        """The least and the largest current that it holds beside its own, (K,) each; None: any."""
        return None

    @staticmethod
    def check_weights(
        p: Mapping[str, Array], w: Array, receptor: npt.NDArray[Any]
    ) -> list[tuple[npt.NDArray[np.bool_], str]]:
        """Weights that these neurons cannot have: which, and what would be right. `p`: name → (n,), of the
        neuron of each; w (n,), receptor (n,). What is beyond `grain` is known without."""
        return []

    @staticmethod
    def step(k: int, s: Array, c: Array, x: Array, I: Array, key: npt.NDArray[np.uint64],
             fired: npt.NDArray[np.uint8]) -> int:  # fmt: skip
        """Advance K neurons from step k to k + 1; set `fired[i]` to 1 or 0, where `several` to the number
        of spikes; return 0 if none fired.

        s (states, K); c (constants, K); x (receptors, K) summed synaptic weights that act in this step;
        I (K,) pA from electrodes, electrical and graded synapses; key (K,) random stream of each neuron.
        """
        raise NotImplementedError


class Synapse(Node):
    """A synapse type: what a spike does at a synapse with memory, all of it local to the neuron it ends on.

    `Param`s are per [[synapses]] table (or per synapse, where drawn), `State`s per synapse, `Trace`s per
    neuron and set of parameters. Hooks are compiled and called with times t in ms:

        def arrive(t, back, j, w, z, c, g, y):       a spike at synapse j; returns what acts on the neuron
        def fire(t, c, g):                           the neuron fired: update its traces
        def post(t, j, w, z, c, g, y):               synapse j learns of a spike of its neuron
        def modulate(m, value, t, j0, j1, w, z, c, g):   `value` arrived at `modulators[m]` of this neuron
        def until(t, back, j, w, z, c, g, y):        bring w[j] to time t, to be looked at (on a copy)

    w (synapses,) weights; z (states, synapses); c constants in the order of `prepare`; g traces now; y traces
    as they were right after the neuron's last spike strictly before `back`, zeros before the first (in
    `post`: right after the spike it tells of). A type without `post` keeps no such past; its y is g. Only
    `arrive` is needed.

    Where `dendritic` (NEST's convention), all of the delay lies between synapse and soma: the synapse sees a
    presynaptic spike when it is sent, t = stamp, and a spike of its neuron a delay after, t = stamp + delay;
    so `back` = t - delay, and of what is simultaneous there `post` comes first. Else the delay is the axon's:
    t = back = stamp + delay, a spike of the neuron is seen at once, and `arrive` at that step comes first.
    `post` is called late but in order: before the next `arrive` or `modulate` of that synapse.
    """

    dendritic: ClassVar[bool] = False
    modulators: ClassVar[tuple[str, ...]] = ()
    """Names that a [[synapses]] table may give as `receptor` on a neuron with synapses of this type: spikes
    that arrive there, with their weight as `value`, reach `modulate`. Not for a dendritic type."""
    fire: ClassVar[Any] = None
    post: ClassVar[Any] = None
    modulate: ClassVar[Any] = None
    until: ClassVar[Any] = None

    @classmethod
    def states(cls) -> dict[str, State]:
        """States of a synapse in the order declared: the rows of `z`."""
        return _declared(cls, State)

    @classmethod
    def traces(cls) -> dict[str, Trace]:
        """Traces in the order declared: the entries of `g` and `y`."""
        return _declared(cls, Trace)

    @staticmethod
    def check_weights(p: Mapping[str, Array], w: Array) -> str | None:
        """A word on weights that contradict the parameters, or None. `p`: name → shape (n,); w (n,)."""
        return None

    @staticmethod
    def prepare(p: Mapping[str, Array], dt_ms: float) -> dict[str, Array]:
        """Constants, name → shape (sets of parameters,), in the order of `c`."""
        return {}

    @staticmethod
    def initial(p: Mapping[str, Array], w: Array) -> dict[str, Array]:
        """States that do not start at zero, name → shape (synapses,); `p` likewise, w the weights."""
        return {}

    @staticmethod
    def initial_traces(p: Mapping[str, Array]) -> dict[str, Array]:
        """Traces that do not start at zero, name → shape (sets of parameters,)."""
        return {}

    arrive: ClassVar[Any] = None


class Source(Node):
    """A node that only emits: its spike times follow from parameters and its random key."""

    stochastic: ClassVar[bool] = False
    """Whether its spikes depend on the key."""

    @staticmethod
    def stamps(p: Mapping[str, Any], key: int, dt_ns: int, k0: int, k1: int) -> npt.NDArray[np.int64]:
        """Sorted steps s with k0 < s <= k1 at which it fires, each as often as it fires then. `p`: name →
        number, `times` → steps."""
        raise NotImplementedError


@dataclass(frozen=True)
class Shown:
    """What one input of an encoder is shown: `delay` (S,) steps from the beginning of a sample's slot to its
    spike, -1 for none. Slots begin at step `start` and last `period`; after `slots` of them there is no more
    (-1: no end). `key`: random stream of the order of each pass; None: the order of the file.
    """

    delay: npt.NDArray[np.int64]
    start: int
    period: int
    slots: int = -1
    key: int | None = None

    def samples(self, first: int, last: int) -> npt.NDArray[np.int64]:
        """Which sample the slots first <= n < last show; shape (last - first,)."""
        n, size = np.arange(first, last, dtype=np.int64), len(self.delay)
        if self.key is None:
            return n % size
        passes = range(first // size, -(-last // size))
        orders = [order_of_pass(self.key, number, size) for number in passes]
        return np.concatenate([*orders, n[:0]])[n - (first // size) * size]


@lru_cache(maxsize=64)
def order_of_pass(key: int, number: int, size: int) -> npt.NDArray[np.int64]:
    """A permutation of `size` samples: a function of (key, number of the pass) alone."""
    (of_pass,) = words(key, np.array([number])).tolist()
    return np.argsort(uniforms(of_pass, np.arange(size)), kind="stable")


class Encoder(Source):
    """A source that turns each value of a sample into one spike or none. Only `encode` is left to write."""

    @staticmethod
    def encode(x: Array, p: Mapping[str, float]) -> Array:
        """Spike times in ms, >= 0, after the beginning of each sample's slot; inf: silent.

        `x` and the result have the shape (samples, inputs).
        """
        raise NotImplementedError

    @staticmethod
    def stamps(p: Mapping[str, Any], key: int, dt_ns: int, k0: int, k1: int) -> npt.NDArray[np.int64]:
        """As `Source.stamps`; `p["shown"]` is a `Shown`, and without it nothing is shown."""
        if "shown" not in p:
            return np.empty(0, np.int64)
        shown: Shown = p["shown"]
        longest = int(shown.delay.max(initial=0))
        first = max(0, (k0 - shown.start - longest) // shown.period)
        last = (k1 - shown.start) // shown.period + 1
        last = last if shown.slots < 0 else min(last, shown.slots)
        if last <= first:
            return np.empty(0, np.int64)
        delay = shown.delay[shown.samples(first, last)]
        steps = shown.start + np.arange(first, last, dtype=np.int64) * shown.period + delay
        return steps[(delay >= 0) & (steps > k0) & (steps <= k1)]
