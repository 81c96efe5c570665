"""Board and process feel the same poke, whatever its size, and however many come in one update."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable

import numpy as np
import pytest

from neurobus.bridge.image import CHIPS, Chip, State
from neurobus.bridge.session import Session
from neurobus.bridge.session import Stage as SessionStage
from neurobus.node.core import Core
from neurobus.node.interface import STEP_BITS
from neurobus.placement import place
from tests.firmware.build import AVR, HOST, compile_host, need
from tests.firmware.race_chips import compile_chip
from tests.helpers import net, run_table, table

LIF = (
    run_table(seed=1)
    + table("neurons", id="a", model="nodes.chip", params='{ I_max = "5000 pA" }')
    + table("sources", id="p", kind="spikes", times='["1 s"]')
    + table("synapses", pre="p", post="a", weight="4999.8 pA", delay="1 ms")
    + table("synapses", pre="p", post="a", weight="-4000 pA", delay="1 ms")
)
RACE = (
    run_table(seed=1, dt="0.125 ms")
    + table("neurons", id="a", model="nodes.race")
    + table("sources", id="p", kind="spikes", times='["1 s"]')
    + table("synapses", pre="p", post="a", receptor="reset", weight="1", delay="1 ms")
)


def lif_in_c(folder):
    target = folder / "chip.so"
    compile_host(target, [AVR / "chip_lif.c", HOST / "chip_host.c"], "-shared", "-fPIC", "-DFAST=1")
    return ctypes.CDLL(str(target))


def sent(chip: Chip, pokes: list[float]) -> list[int]:
    """The KICKs that these pokes of one update become on the line."""
    said: list[int] = []
    session = Session(1)
    session.inputs.gather = chip.kicks
    session.transport.send = lambda message, now, **values: said.append(values.get("weight"))  # type: ignore
    session.stage = SessionStage.STEPPED
    for poke in pokes:
        session.inputs.kick(3, chip.kick(poke))
    session.go(10, 0.0)
    return [weight for weight in said if weight is not None]


CHIPS_IN_C = [("lif", LIF, lif_in_c), ("race", RACE, compile_chip)]


@pytest.mark.parametrize(("kind", "config", "compiled"), CHIPS_IN_C, ids=["lif", "race"])
def test_a_thousand_pokes_of_any_size(
    kind: str, config: str, compiled: Callable[..., ctypes.CDLL], tmp_path
) -> None:
    need("gcc", "gcc")
    rng = random.Random(12)
    core = Core(place(net(config)).neuron_part(0))
    synapses = core.weights()
    chip = CHIPS[kind](core.part.model.prepare(core.part.params, core.part.dt_ns * 1e-6), synapses.receptor)
    c = compiled(tmp_path)
    c.chip_image.restype = ctypes.POINTER(ctypes.c_uint8)

    def state() -> bytes:
        marks = core.synapse_states()[0] if len(core.synapse_states()) else np.zeros(chip.n)
        return chip.pack(State(core.k, core.state[:, 0].copy(), core.weights().weight, marks))

    def board() -> bytes:
        n = c.chip_snapshot() & 0xFFFF
        return ctypes.string_at(c.chip_image(), n)

    whole = state()
    ctypes.memmove(c.chip_image(), whole, len(whole))
    assert c.chip_restore(ctypes.c_uint16(len(whole)))
    pokes = fired = 0
    while pokes < 1000:
        here: list[float] = []
        for _ in range(rng.choice((0, 0, 1, 1, 2, 5))):
            size = rng.choice((0.05, 0.124, 700, 9_000, 20_000, 1e6, 1e12))
            here.append(rng.uniform(-size, size) if rng.random() < 0.7 else size)
        for poke in here:
            core.poke(core.k, 0, poke)
        pokes += len(here)
        if rng.random() < 0.3 and kind == "lif":
            core.admit(np.array([core.k - 9 << STEP_BITS | 1]))
            for number in chip.number.tolist():
                c.chip_input(number)
        for weight in sent(chip, here):
            assert abs(weight) <= 32767
            c.chip_kick(ctypes.c_int16(weight))
        ours = len(core.advance(core.k + 1).keys)
        assert (c.chip_tick() & 0xFF == 1) == bool(ours), here
        if ours:
            c.chip_learn()
        fired += ours
        assert board() == state(), here
        for _ in range(rng.choice((0, 0, 3, 40))):
            said = c.chip_tick() & 0xFF == 1
            if said:
                c.chip_learn()
            assert said == bool(len(core.advance(core.k + 1).keys))
            fired += said
    assert fired > 20 or kind == "race"  # that one fires in an open slot only
