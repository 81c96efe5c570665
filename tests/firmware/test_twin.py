"""The firmware, cycle by cycle, does what nodes.chip does: same spikes, and same weights and state after."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from neurobus.bridge import hardware
from neurobus.wire import link
from tests.firmware.boards import board
from tests.firmware.conftest import Start
from tests.firmware.host import Host
from tests.firmware.test_chip import Twin, extreme, inputs, ordinary

pytestmark = pytest.mark.process


@pytest.fixture(params=["uno", "atmega8", "atmega8-8mhz"])
def host(request: pytest.FixtureRequest, tools: None, start: Start) -> Iterator[Host]:
    rig = start(board(request.param), pace="hold")
    host = Host(rig, baud=hardware.BOARDS[request.param].baud)
    host.pump(50)
    host.open()
    yield host
    host.close()


@pytest.mark.parametrize("kind", [ordinary, extreme])
def test_twin_and_board_agree(host: Host, kind: Any) -> None:
    rng = np.random.default_rng(3)
    spikes = 0
    for _ in range(3 if kind is ordinary else 6):
        params, u = kind(rng)
        synapses = int(rng.integers(1, host.hello["synapses"] + 1))
        plastic = int(rng.integers(0, synapses + 1))
        params |= {"synapses": synapses, "plastic": plastic}
        weights = rng.integers(-32767, 32768, synapses) >> rng.integers(0, 10, synapses)
        weights[:plastic] = np.abs(weights[:plastic])
        begin = int(rng.integers(0, 1 << 24))
        twin = Twin(params, weights, u, int(rng.integers(-(1 << 20), 1 << 20)), begin)
        host.load(twin.image())
        end = begin + 1500
        tick, synapse, weight = inputs(rng, begin, end, 300, synapses)
        for at, j, w in zip(tick.tolist(), synapse.tolist(), weight.tolist(), strict=True):
            if j == link.NO_SYNAPSE:
                host.send(link.KICK, tick=at & 0xFFFF, weight=w)
            else:
                host.send(link.INPUT, tick=at & 0xFFFF, synapses=(j,))
        expected = twin.run(tick, synapse, weight, end) & 0xFFFF
        assert host.go(end) == expected.tolist(), params
        assert host.read(len(twin.image())) == twin.image(), params
        spikes += len(expected)
    assert spikes > (20 if kind is ordinary else 1)
    assert host.stats()["late"] == 0
