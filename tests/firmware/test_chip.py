"""nodes.chip and the C of the firmware's chip, compiled here, do the same, bit for bit."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from numba import njit

from neurobus.node.kernel import codegen
from neurobus.wire import link
from nodes.chip import RANGES, Chip
from tests.firmware.build import AVR, HOST, compile_host

NAMES = [name for name, *_ in RANGES]


@pytest.fixture(scope="module", params=[0, 1], ids=["small", "fast"])
def chip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Both ways in which a chip runs several ticks at once."""
    target = tmp_path_factory.mktemp("chip") / "chip.so"
    sources = [AVR / "chip_lif.c", HOST / "chip_host.c"]
    compile_host(target, sources, "-shared", "-fPIC", f"-DFAST={request.param}")
    library = ctypes.CDLL(str(target))
    library.chip_image.restype = ctypes.POINTER(ctypes.c_uint8)
    library.chip_snapshot.restype = ctypes.c_uint16
    library.chip_drive.restype = ctypes.c_uint32
    return library


arrive, step = codegen.jitted(Chip.arrive), codegen.jitted(Chip.step)


@njit
def run(k, end, tick, synapse, weight, s, c, at, receptor, w, z, u, stamps):
    """`chip_drive` of tests/firmware/host/chip_host.c, for the twin."""
    i = n = 0
    x, current = np.zeros((3, 1)), np.zeros(1)
    key, fired = np.zeros(1, np.uint64), np.zeros(1, np.uint8)
    while k < end:
        x[:] = 0.0
        while i < tick.size and tick[i] == k:
            j = synapse[i]
            if j == 0xFFFF:
                x[0 if weight[i] >= 0 else 1, 0] += weight[i] * u
            else:
                arrive(k, 0, receptor[j], j, w, z, s, c, x)
            i += 1
        n_fired = step(k, s, c, x, current, key, fired, at, receptor, w, z)
        k += 1
        if n_fired:
            stamps[n] = k
            n += 1
    return n


def image(params: dict[str, int], state: dict[str, int], weights: Any, marks: Any) -> bytes:
    return (
        link.LIF_PARAMS.pack(params)
        + link.LIF_STATE.pack(state)
        + np.asarray(weights, "<i2").tobytes()
        + np.asarray(marks, "u1").tobytes()
    )


class Twin:
    """One neuron of nodes.chip with its synapses, as an image and back."""

    def __init__(self, params: dict[str, int], weights: Any, u: float, V: int = 0, k: int = 0):
        self.params, self.u, self.k = params, u, k
        n, plastic = params["synapses"], params["plastic"]
        self.c = np.array([[params[name]] for name in NAMES] + [[u], [1.0]], np.float64)
        self.s = np.zeros((len(Chip.states()), 1))
        self.s[0] = V / 65536
        self.w = np.asarray(weights, np.float64) * u
        self.z = np.zeros((1, n))
        self.receptor = np.array([2] * plastic + [0] * (n - plastic), np.int64)
        self.at = np.array([0, n], np.int64)

    def run(self, tick: Any, synapse: Any, weight: Any, end: int) -> Any:
        stamps = np.zeros(end - self.k, np.int64)
        n = run(self.k, end, tick.astype(np.int64), synapse.astype(np.int64), weight.astype(np.float64),
                self.s, self.c, self.at, self.receptor, self.w, self.z, self.u, stamps)  # fmt: skip
        self.k = end
        return stamps[:n]

    def mark(self, unit: float) -> int:
        now = (self.k >> self.params["shift"]) + 1
        return (int(unit) - 1) % 255 + 1 if unit > 0 and now - unit < 128 else 0

    def image(self) -> bytes:
        V, I_ex, I_in, r, post = self.s[:, 0]
        units = self.k >> self.params["shift"]
        state = {"tick": self.k, "V": V * 65536, "I_ex": I_ex, "I_in": I_in, "r": r,
                 "unit": units % 255 + 1, "sweep": 64 - units % 64,
                 "post": self.mark(post), "x_ex": 0, "x_in": 0}  # fmt: skip
        marks = [self.mark(unit) for unit in self.z[0, : self.params["plastic"]]]
        return image(self.params, state, np.rint(self.w / self.u), marks)


class Core:
    """The C of the chip, through ctypes."""

    def __init__(self, library: ctypes.CDLL, data: bytes):
        self.c = library
        ctypes.memmove(library.chip_image(), data, len(data))
        assert library.chip_restore(len(data)) == 1

    def run(self, tick: Any, synapse: Any, weight: Any, end: int) -> Any:
        arrays = [np.ascontiguousarray(a, t) for a, t in ((tick, "<u4"), (synapse, "<u2"), (weight, "<i2"))]
        stamps = np.zeros(max(end, 1), np.uint32)
        n = self.c.chip_drive(len(tick), *(a.ctypes.data_as(ctypes.c_void_p) for a in arrays), end,
                            stamps.ctypes.data_as(ctypes.c_void_p))  # fmt: skip
        return stamps[:n].astype(np.int64)

    def image(self) -> bytes:
        n = self.c.chip_snapshot()
        return ctypes.string_at(self.c.chip_image(), n)


def inputs(rng: np.random.Generator, start: int, end: int, n: int, synapses: int) -> tuple[Any, Any, Any]:
    """Random inputs, some in bursts and some after long silence; a tenth of them kicks."""
    busy = rng.integers(start, end, max(n // 40, 1))
    tick = np.sort(np.clip(rng.choice(busy, n) + rng.integers(0, 200, n), start, end - 1))
    synapse = rng.integers(0, synapses, n)
    synapse[rng.random(n) < 0.1] = 0xFFFF
    return tick, synapse, rng.integers(-32767, 32768, n) >> rng.integers(0, 12, n)


def ordinary(rng: np.random.Generator) -> tuple[dict[str, int], float]:
    """Constants of parameters that somebody might choose, by `Chip.prepare`."""
    p = {name: np.array([param.value]) for name, param in Chip.params().items()}
    for name, low, high in (
        ("C_m", 120, 400), ("tau_m", 5, 40), ("tau_syn_ex", 0.5, 20), ("tau_syn_in", 0.5, 20),
        ("t_ref", 0, 5),
        ("V_th", -60, -45), ("V_reset", -80, -61), ("I_e", -200, 500),
        ("tau_plus", 5, 60), ("tau_minus", 5, 60),
        ("A_plus", 0, 200), ("A_minus", 0, 200), ("w_max", 100, 4000),
    ):  # fmt: skip
        p[name] = np.array([rng.uniform(low, high)])
    constants = Chip.prepare(p, 0.1)
    return {name: int(constants[name][0]) for name in NAMES}, float(constants["u"][0])


def extreme(rng: np.random.Generator) -> tuple[dict[str, int], float]:
    """Constants anywhere in their ranges, and often at the ends."""
    params = {}
    for name, least, most, _ in RANGES:
        most = 7 if name == "shift" else most
        params[name] = int(rng.choice([least, most, rng.integers(least, most + 1)]))
    params["V_reset"] = min(params["V_reset"], params["V_th"] - 1)
    params["V_th"] = max(params["V_th"], params["V_reset"] + 1)
    params["shift"], params["bar"] = int(rng.integers(0, 8)), 0
    return params, 0.25


@pytest.mark.parametrize("kind", [ordinary, extreme])
def test_twin_and_core_agree(chip: ctypes.CDLL, kind: Any) -> None:
    """1.2 million inputs in all, to 80 neurons of random parameters, with learning, in two stretches each."""
    rng = np.random.default_rng(20 if kind is ordinary else 21)
    fired = learnt = n_inputs = 0
    for _ in range(40):
        params, u = kind(rng)
        synapses = int(rng.integers(1, 300))
        plastic = int(rng.integers(0, synapses + 1))
        params |= {"synapses": synapses, "plastic": plastic}
        weights = rng.integers(-32767, 32768, synapses) >> rng.integers(0, 10, synapses)
        weights[:plastic] = np.abs(weights[:plastic])
        start = int(rng.integers(0, 1 << 20))
        twin = Twin(params, weights, u, int(rng.integers(-(1 << 20), 1 << 20)), start)
        core = Core(chip, twin.image())
        for length in (20_000, 40_000):
            end = twin.k + length
            given = inputs(rng, twin.k, end, 7_500, synapses)
            n_inputs += 7_500
            ours, theirs = twin.run(*given, end), core.run(*given, end)
            assert ours.tolist() == theirs.tolist(), params
            assert twin.image() == core.image(), params
            core = Core(chip, core.image())
            fired += len(ours)
        learnt += int(np.sum(np.rint(twin.w / u)[:plastic] != weights[:plastic]))
    assert n_inputs == 600_000
    assert fired > 1000 and learnt > 300
