"""Colours on the bus, as the bridge publishes them, and those decoded from the waveform on the pin."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest

from neurobus import led
from neurobus.bridge import client
from neurobus.events import Led
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from tests.helpers import run_table, table
from tests.process.table import Simulated

Strip = tuple[led.RGB, ...]

PALETTES: list[led.Palette] = [
    ((10, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)),
    ((0, 10, 0), (255, 0, 255), (0, 255, 255), (128, 128, 128)),
    ((0, 0, 10), (16, 32, 48), (64, 80, 96), (112, 128, 144)),
]
"""Rest, warm, cool, flash."""
STILL = "10 s"
"""Nothing happens from here on."""


def network() -> str:
    """One neuron at rest, excited and inhibited now and then; it fires when its button is pressed."""
    return (
        run_table(seed=3, snapshot_every="0 s")
        + table("sources", id="warm", kind="metronome", period="170 ms", start="50 ms", stop=STILL)
        + table("sources", id="cool", kind="metronome", period="410 ms", start="300 ms", stop=STILL)
        + table("neurons", id="m", model="nodes.chip")
        + table("synapses", pre="warm", post="m", weight="1200 pA", delay="20 ms")
        + table("synapses", pre="cool", post="m", weight="-1500 pA", delay="20 ms")
    )


class Watch:
    """What the bus says and what the pin shows, each in its order."""

    def __init__(self, boards: Simulated, peer: Any):
        self.boards, self.peer = boards, peer
        self.bus: list[Strip] = []
        self.pin: list[Strip] = []
        self._number = 0

    def look(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            while (data := self.peer.wait(0.05)) is not None:
                event = wire.decode(data)
                assert isinstance(event, Led) and event.neuron == "m"
                self.bus.append(tuple(zip(*[iter(event.rgb)] * 3, strict=True)))
            for frame in self.boards.frames(since=self._number):
                assert frame["number"] == self._number + 1, "frames of the pin were missed"
                self._number = frame["number"]
                self.pin.append(tuple(tuple(colour) for colour in frame["colours"]))

    def rests(self, colour: led.RGB) -> bool:
        """Both show this colour and no other."""
        return {*self.bus[-1], *self.pin[-1]} == {colour}


@pytest.mark.calm  # a board that is lost and comes back blinks anew
@pytest.mark.parametrize(("clock", "strip"), [("wall", ("ws2812", 8)), ("virtual", ("ws2811", 12))])
def test_the_colours_on_the_bus_are_those_on_the_pin(config, launch, attach, table_of, clock, strip):
    """All that the bus says, in its order, whatever is lit: at rest, driven, inhibited, a spike, blinking,
    each palette from its first frame on."""
    boards = table_of("simulated", strip=strip)
    cluster = launch(config(network()), "--clock", clock, *(["--pace", "1"] if clock == "virtual" else []))
    begun = time.monotonic()
    with cluster.peer() as peer:
        peer.subscribe(wire.topic(wire.LED, "m"))
        peer.join("test-colours")
        watch = Watch(boards, peer)
        attach(boards.ports[0])
        watch.look(3.0)  # it blinks, then lives
        usual = set(watch.bus)
        with client.connected(cluster.manifest) as bridge:
            for n in range(12):
                bridge.end(bridge.begin(verbs.SetPalette(colours=PALETTES[n % 3])))
                if n % 3 == 0:
                    boards.press()
                watch.look(0.2 + 0.013 * n)
            bridge.end(bridge.begin(verbs.Identify(seconds=1)))
            before = len(watch.bus)
            watch.look(2.0)
            watch.look(begun + 10.5 - time.monotonic())
            bridge.end(bridge.begin(verbs.SetPalette(colours=PALETTES[0])))
            give_up = time.monotonic() + 20
            while not watch.rests(PALETTES[0][0]) and time.monotonic() < give_up:
                watch.look(0.1)
    assert watch.rests(PALETTES[0][0]), (watch.bus[-1], watch.pin[-1])
    pin = iter(watch.pin)
    for number, (colours, _) in enumerate(itertools.groupby(watch.bus)):
        assert colours in pin, f"{number} of {len(watch.bus)}: {colours} was not on the pin, or not then"
    assert not boards.leds()["violations"]
    lit, pixels = set(watch.bus), len(watch.bus[-1])
    assert pixels == (4 if strip[0] == "ws2811" else 8)
    assert len(usual) > 3 and len(lit) > 20
    assert {((0, 0, 0),) * pixels, (PALETTES[-1][-1],) * pixels} <= set(watch.bus[before:])  # it blinks
    for rest, *_, flash in PALETTES:  # each has been seen, at rest and flashing
        assert any(colours[-1] == rest for colours in lit)
        assert any(sum(colours[-1]) > sum(flash) / 2 for colours in lit)
