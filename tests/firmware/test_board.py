"""The real firmware on the rig: identity, images, lights, bytes, garbage, bit errors, resets, power."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from neurobus import led
from neurobus.bridge import hardware
from neurobus.wire import framing, link
from tests.firmware import attached, trials
from tests.firmware.boards import board
from tests.firmware.build import AVR
from tests.firmware.conftest import Start
from tests.firmware.host import Host, image

pytestmark = pytest.mark.process

KINDS = ["uno", "atmega8", "atmega8-8mhz"]
CHIPS = ["ws2811", "ws2812", "ws2813", "ws2815", "ws2818"]
Meet = Callable[..., Host]


@pytest.fixture
def meet(tools: None, start: Start) -> Iterator[Meet]:
    """`meet("uno", leds=…)`: a board with the firmware, and a host in session with it."""
    hosts: list[Host] = []

    def make(kind: str = "uno", pace: str = "hold", ask: bool = True, **more: Any) -> Host:
        rig = start(board(kind, **more), pace=pace)
        baud = more.get("baud") or hardware.BOARDS[kind].baud
        host = Host(rig, baud=baud, held=pace == "hold")
        hosts.append(host)
        if ask:
            host.pump(50)
            host.open()
        return host

    yield make
    for host in hosts:
        host.close()


# -- who it is --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_hello(meet: Meet, kind: str) -> None:
    host = meet(kind, serial=0xC0FFEE)
    one = hardware.BOARDS[kind]
    assert host.hello.items() >= {
        "version": link.VERSION, "schema": link.SCHEMA, "mcu": link.MCU[one.mcu], "held": 0,
        "clock_hz": one.clock_hz, "led": link.LED["ws2812"], "leds": 8, "serial": 0xC0FFEE,
        "reset": link.RESET["power"], "chip": link.CHIP["lif"],
    }.items()  # fmt: skip
    assert host.hello["synapses"] >= (200 if one.mcu == "atmega8" else 400)
    assert host.hello["room"] >= 3 * host.hello["synapses"]
    (said,) = host.resets  # once, unasked, after the start
    assert said["nonce"] == host.hello["nonce"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_start_has_another_nonce_and_tells_its_cause(meet: Meet, kind: str) -> None:
    host = meet(kind)
    nonces = [host.hello["nonce"]]
    for cause in ("external", "power", "external"):
        if cause == "power":
            host.rig.power(False)
            host.rig.power(True)
        else:
            host.rig.reset()
        host.pump(50)
        assert host.resets[-1]["reset"] == link.RESET[cause]
        assert not host.transport.ready
        nonces.append(host.open()["nonce"])
    assert len(set(nonces)) == len(nonces)


def test_a_question_changes_nothing(meet: Meet) -> None:
    host = meet()
    host.load(image([20_000]))
    host.send(link.HORIZON, tick=100)
    host.transport._emit(link.ASK, 0, link.payload(link.ASK, token=77, take=0)[3:])
    host.pump(20)
    host.send(link.CHECK)
    assert host.wait(link.CHECKED).values["tick"] == 100


def test_who_asks_is_answered_though_nobody_acknowledges(meet: Meet) -> None:
    """A cable pulled and put back, the board kept its power: spikes fill the ring, HELLO has no room."""
    host = meet()
    host.load(image(V_th=1 << 12, b=1 << 20, t_ref=1))  # fires for ever
    host.send(link.HORIZON, tick=20_000)
    host.port.write(host.transport.take_out())
    host.rig.run(300, host.board)
    ask, said = link.encode(link.ASK, token=77, take=0), framing.Decoder()
    host.port.read()
    for _ in range(8):
        host.port.write(b"\0" + ask)
        host.rig.run(250, host.board)
        hellos = [p for p in said.feed(host.port.read()) if p[0] == link.HELLO.id]
        if any(link.decode(hello).values["token"] == 77 for hello in hellos):
            break
    else:
        pytest.fail("no HELLO in 2 s")
    assert host.rig.stats(host.board)["overruns"] == 0


GOLDEN = json.loads((Path(__file__).parents[1] / "vectors" / "link.json").read_text())["frames"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_golden_frame_of_a_host_is_heard(meet: Meet, kind: str) -> None:
    """A board without a session answers each with HELLO: with its token if it was ASK, else with 0."""
    host = meet(kind, ask=False)
    heard = 0
    for row in GOLDEN:
        message = getattr(link, row["message"])
        if message.way == "board":
            continue
        host.rig.reset()
        host.rig.run(60)
        host.port.read()
        host.port.write(bytes.fromhex(row["frame"]))
        host.rig.run(5)
        answers = [link.decode(payload) for payload in framing.Decoder().feed(host.port.read())]
        if message is not link.RESEND:  # nothing has been said that could be said again
            token = row["fields"]["token"] if message is link.ASK else 0
            assert [a.values["token"] for a in answers] == [token], row
        heard += 1
    assert heard > 20


# -- images -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_of_full_size_is_read_as_it_was_written(meet: Meet, kind: str) -> None:
    host = meet(kind)
    n = host.hello["synapses"]
    for plastic in (0, n):
        whole = trials.some_image(plastic, n, plastic)
        assert host.load(whole).values == {"tick": 0, "length": len(whole), "crc": framing.crc16(whole)}
        assert host.read(len(whole)) == whole
        assert host.read(len(whole), 5, 11) == whole[5:16]


def test_what_is_wrong_with_an_image_is_said(meet: Meet) -> None:
    host = meet()
    good = trials.some_image(1, 10, 5)
    for wrong, fault in [
        ({"length": 60_000}, "size"),
        ({"chip": 9}, "chip"),
        ({"crc": framing.crc16(good) ^ 1}, "commit"),
        ({"image": image([-1], plastic=1)}, "image"),
    ]:
        whole = wrong.get("image", good)
        host.send(link.BEGIN, chip=wrong.get("chip", 1), length=wrong.get("length", len(whole)))
        if fault in ("commit", "image"):
            for at in range(0, len(whole), link.CHUNK):
                host.send(link.WRITE, offset=at, bytes=whole[at : at + link.CHUNK])
            host.send(link.COMMIT, crc=wrong.get("crc", framing.crc16(whole)))
        host.pump(100)
        problems = [p.values["fault"] for p in host.heard if p.message is link.PROBLEM]
        host.heard.clear()
        assert problems == [link.FAULT[fault]]
        assert host.open()["held"] == link.HELD["empty"]
    host.load(good)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reset_in_the_middle_of_a_copy_leaves_nothing_half(meet: Meet, kind: str) -> None:
    host = meet(kind)
    whole = trials.some_image(2, 100, 50)
    for moment in range(0, 12):
        host.load(image([1, 2, 3]))
        host.send(link.BEGIN, chip=1, length=len(whole))
        for at in range(0, len(whole), link.CHUNK):
            host.send(link.WRITE, offset=at, bytes=whole[at : at + link.CHUNK])
        host.pump(moment)
        (host.rig.reset if moment % 2 else lambda: (host.rig.power(False), host.rig.power(True)))()
        host.pump(50)
        assert host.open()["held"] == link.HELD["empty"]
        host.send(link.COMMIT, crc=framing.crc16(whole))
        host.pump(20)
        assert [p.values["fault"] for p in host.heard if p.message is link.PROBLEM] == [link.FAULT["commit"]]
        host.heard.clear()
        host.open()


# -- lights -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "chip"),
    [*(("uno", chip) for chip in CHIPS), ("atmega8", "ws2813"), ("atmega8-8mhz", "ws2811")],
)
def test_the_strip_is_told_within_the_data_sheet(meet: Meet, kind: str, chip: str) -> None:
    host = meet(kind, chip=chip, leds=12)
    host.load(image([4000]))
    host.send(link.IDENTIFY, seconds=1)
    for tick in range(10, 400, 40):
        host.send(link.INPUT, tick=tick, synapses=(0,))
    host.go(400)
    host.pump(500)
    leds = host.rig.leds()
    assert leds["violations"] == {}, leds
    assert leds["frames"] > 5
    assert len(leds["colours"]) == (4 if chip in ("ws2811", "ws2818") else 12)


def shown(host: Host, palette: led.Palette = led.STRIP) -> list[list[tuple[int, ...]]]:
    """What LIGHTS said in turn, as colours."""
    lights = [p.values for p in host.heard if p.message is link.LIGHTS]
    return [
        led.strip(said["level"], said["flash"], said["blink"], host.hello["leds"], palette) for said in lights
    ]


def on_the_pin(host: Host, since: int = 0) -> list[list[tuple[int, ...]]]:
    return [[tuple(c) for c in frame["colours"]] for frame in host.rig.frames(since=since)]


@pytest.mark.parametrize(("kind", "chip"), [("uno", "ws2812"), ("uno", "ws2811"), ("atmega8", "ws2813")])
def test_the_bus_hears_what_the_pin_shows(meet: Meet, kind: str, chip: str) -> None:
    """To the bit, over a rising and a falling membrane, spikes, and blinking."""
    host = meet(kind, chip=chip, leds=12)
    host.load(image([9000, -9000, 30_000], V_th=8 << 16))
    host.send(link.MIRROR, every=1)
    host.pump(50)
    begun = host.rig.leds()["frames"]
    host.heard.clear()
    for tick in range(10, 400, 10):
        synapse = 2 if tick % 150 == 0 else tick // 100 % 2
        host.send(link.INPUT, tick=tick, synapses=(synapse,))
        host.send(link.HORIZON, tick=tick + 5)
        host.pump(25)
    host.send(link.IDENTIFY, seconds=1)
    host.pump(1500)
    said, pin = shown(host), on_the_pin(host, begun)
    assert len(said) > 30 and len({tuple(colours) for colours in said}) > 10
    rest = iter(pin)
    assert all(colours in rest for colours in said)  # in the pin's order, none that it did not show
    assert said[-1] == pin[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_strip_of_a_neuron_that_fires_in_every_frame_moves(meet: Meet, kind: str) -> None:
    """200 spikes a second in and 100 out, in step with the frames of 20 ms, and 60 LEDs: each frame shows the
    same membrane. In board time, so however slow the machine is."""
    host = meet(kind, leds=60)
    host.load(image([30_000], t_ref=60))
    host.send(link.MIRROR, every=5)
    host.pump(100)
    begun, tick, heard = host.rig.leds()["frames"], 0, len(host.heard)
    for tick in range(10, 10_010, 10):
        if tick % 50 == 0:
            host.send(link.INPUT, tick=tick & 0xFFFF, synapses=(0,))
        host.send(link.HORIZON, tick=tick)
        host.pump(1)
    spikes = sum(packet.message is link.SPIKE for packet in host.heard[heard:])
    assert host.rig.leds()["frames"] - begun >= 20 and spikes >= 50
    pictures = on_the_pin(host, begun)
    assert sum(one != other for one, other in itertools.pairwise(pictures)) >= 19
    assert sum(packet.message is link.LIGHTS for packet in host.heard[heard:]) >= 5  # of ten that are due


def test_a_palette_colours_the_strip(meet: Meet) -> None:
    host = meet()
    host.load(image([20_000], V_th=8 << 16, V=4 << 16))
    palette = ((1, 2, 3), (200, 100, 50), (5, 6, 7), (255, 254, 253))
    values = [value for colour in palette for value in colour]
    host.send(link.MIRROR, every=1)
    fields = [field.name for field in link.PALETTE.fields]
    host.send(link.PALETTE, **dict(zip(fields, values, strict=True)))
    host.send(link.HORIZON, tick=3)
    host.pump(100)
    assert on_the_pin(host)[-1] == shown(host, palette)[-1] != shown(host)[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_palette_at_rest_is_told_once_the_strip_shows_it(meet: Meet, kind: str) -> None:
    host = meet(kind)
    host.send(link.MIRROR, every=1)
    host.pump(200)
    palette = ((1, 2, 3), (200, 100, 50), (5, 6, 7), (255, 254, 253))
    fields = [field.name for field in link.PALETTE.fields]
    host.heard.clear()
    frames = host.rig.leds()["frames"]
    host.send(link.PALETTE, **dict(zip(fields, sum(palette, ()), strict=True)))
    while not (said := shown(host, palette)):
        host.pump(0.25)
    assert host.rig.leds()["frames"] > frames
    assert on_the_pin(host)[-1] == said[-1]
    host.pump(200)
    assert len(shown(host)) == 1


# -- the button -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_press_of_the_button_is_a_poke_and_its_spike_follows(meet: Meet, kind: str) -> None:
    host = meet(kind)
    host.load(image([9000], V_th=2 << 16, poke=25_000, t_ref=200))
    host.send(link.PING, token=9)
    clock = host.wait(link.PONG).values["clock"]
    period = host.hello["timer_hz"] * 1e-4
    at = (clock + round(period * 200)) & 0xFFFFFFFF
    host.send(link.RUN, tick=0, at=at, period=round(period * 65536), batch=1)
    host.pump(100)
    host.heard.clear()
    host.rig.press(ms=60)
    host.pump(200)
    pokes = [p.values for p in host.heard if p.message is link.POKE]
    spikes = [p.values["tick"] for p in host.heard if p.message is link.SPIKE]
    assert len(pokes) == 1 and pokes[0]["weight"] == 25_000
    assert spikes and 0 < spikes[0] - pokes[0]["tick"] < 50


@pytest.mark.parametrize("kind", KINDS)
def test_a_press_on_a_stepped_board_is_told_and_acts_when_the_host_says(meet: Meet, kind: str) -> None:
    host = meet(kind)
    whole = image([9000], V_th=2 << 16, poke=25_000, t_ref=200)
    host.load(whole)
    host.go(50)
    before = host.read(len(whole))
    host.heard.clear()
    host.rig.press(ms=60)
    host.pump(200)
    (poke,) = [p.values for p in host.heard if p.message is link.POKE]
    assert (poke["tick"], poke["weight"]) == (50, 25_000)
    assert host.read(len(whole)) == before
    host.go(400)
    assert not [p for p in host.heard if p.message is link.SPIKE]
    host.send(link.KICK, tick=500, weight=poke["weight"])
    host.go(700)
    spikes = [p.values["tick"] for p in host.heard if p.message is link.SPIKE]
    assert spikes and 0 < spikes[0] - 500 < 50


# -- stepped ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_waits_for_an_update_is_followed_as_soon_as_that_is_done(meet: Meet, kind: str) -> None:
    """Nobody sleeps over it, not even to the next frame of 20 ms."""
    host = meet(kind)
    host.load(image([100]))
    host.step_ms = 0.1
    for tick in range(50, 1000, 50):
        begun = host.now
        host.send(link.INPUT, tick=tick, synapses=(0,))
        host.settle()
        assert host.now - begun < 0.01, tick


# -- by its own clock -------------------------------------------------------------------------------

TICK_S = 1e-4


class Free:
    """A board that runs by its own clock, soon after it was told."""

    def __init__(self, host: Host, whole: bytes):
        self.host = host
        host.step_ms = 0.1
        host.load(whole)
        self.period = host.hello["timer_hz"] * TICK_S
        self.at = self.clock() + round(200 * self.period)
        host.send(link.RUN, tick=0, at=self.at, period=round(self.period * 65536), batch=1)

    def clock(self) -> int:
        self.host.send(link.PING, token=9)
        return self.host.wait(link.PONG).values["clock"]

    def tick(self) -> int:
        """Of the last update that is due. No time passes between this and what is sent next."""
        asked_s = self.host.now
        passed = self.clock() - self.at + (self.host.now - asked_s) * self.host.hello["timer_hz"]
        return int(passed / self.period)

    def input(self, tick: int, ms: float = 15) -> tuple[list[int], list[dict[str, Any]]]:
        """Give a spike that acts in `tick`; the ticks of the spikes that follow, and the LATE."""
        begun = len(self.host.heard)
        self.host.send(link.INPUT, tick=tick, synapses=(0,))
        self.host.pump(ms)
        heard = self.host.heard[begun:]
        spikes = [p.values["tick"] for p in heard if p.message is link.SPIKE]
        return spikes, [p.values for p in heard if p.message is link.LATE]


def answer_of(meet: Meet, whole: bytes) -> int:
    """Ticks from an input to its spike, stepped."""
    host = meet("uno")
    host.load(whole)
    host.send(link.INPUT, tick=100, synapses=(0,))
    (spike,) = host.go(300)
    host.close()
    return spike - 100


@pytest.mark.parametrize("V", [0, 1 << 15])
def test_a_neuron_that_cannot_fire_by_itself_takes_what_is_late_as_if_it_were_not(meet: Meet, V: int) -> None:
    """At rest, or on its way there, a board with flash to spare stays some milliseconds behind its clock."""
    whole = image([30_000], V_th=3 << 16, t_ref=200, V=V)
    after = answer_of(meet, whole)
    free = Free(meet("uno"), whole)
    for slept_ms, late_ms in [(60, 0.3), (45, 1.0), (71, 2.0), (3, 0.5)]:
        free.host.pump(slept_ms)
        due = free.tick() - round(late_ms / 1000 / TICK_S)
        assert free.input(due) == ([due + after], []), (slept_ms, late_ms)
    assert free.host.stats()["late"] == 0


def test_what_is_too_late_even_for_that_is_told(meet: Meet) -> None:
    whole = image([30_000], V_th=3 << 16, t_ref=200)
    after = answer_of(meet, whole)
    free = Free(meet("uno"), whole)
    free.host.pump(120)
    now = free.tick()
    (spike,), (late,) = free.input(now - 600)
    assert late["due"] == (now - 600) & 0xFFFF and spike == late["acts"] + after
    assert now - 250 < late["acts"] <= now + 20
    assert free.host.stats()["late"] == 1


@pytest.mark.parametrize("kind", KINDS[:2])
def test_a_neuron_that_may_fire_by_itself_is_not_behind(meet: Meet, kind: str) -> None:
    """Its spikes come when they are due, whether they are due soon or after a long sleep."""
    whole = image([30_000], V_th=3 << 16, b=2500)
    host = meet(kind)
    host.load(whole)
    stepped = host.go(3000)
    assert len(stepped) > 15
    host.close()
    free = Free(meet(kind), whole)
    told = []
    while free.host.now < 10 and len(told) < len(stepped):
        told += [
            (p.values["tick"], free.host.now * free.host.hello["timer_hz"])
            for p in free.host.pump(0.1)
            if p.message is link.SPIKE
        ]
    assert [tick for tick, _ in told] == stepped
    at = [clock / free.period - tick for tick, clock in told]
    assert max(at) - min(at) < 20, "two milliseconds, in ticks; a lazy board is three behind, or twenty"


# -- bytes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "baud"),
    [
        ("uno", 250_000),
        ("uno", 500_000),
        ("uno", 1_000_000),
        ("atmega8", 250_000),
        ("atmega8", 500_000),
        ("atmega8", 1_000_000),
        ("atmega8-8mhz", 250_000),
        ("atmega8-8mhz", 500_000),
    ],
)
def test_no_byte_is_lost_while_the_strip_is_written(meet: Meet, kind: str, baud: int) -> None:
    """Sixty LEDs keep interrupts off for 1.9 ms, fifty times a second, under as much as credits allow."""
    host = meet(kind, leds=60, baud=baud)
    host.step_ms = 0.25
    host.load(image([25_000, 8000], V_th=2 << 16))
    before, frames, tick = host.rig.stats(), host.rig.leds()["frames"], 0
    while host.rig.stats()["received"] - before["received"] < 2000 or host.rig.leds()["frames"] - frames < 6:
        if not host.transport.unsent:
            host.send(link.PALETTE, **{field.name: tick % 251 for field in link.PALETTE.fields})
            for _ in range(20):
                tick += 3
                host.send(link.INPUT, tick=tick, synapses=(0, 1))
        host.pump()
    host.settle()
    told, stats, leds = host.stats(), host.rig.stats(), host.rig.leds()
    assert (stats["overruns"], told["overruns"], told["overflows"]) == (0, 0, 0), (told, stats)
    assert told["bad"] == host.transport.counts.bad == 0
    assert leds["violations"] == {}
    assert stats["stack_free"] > 0


@pytest.mark.parametrize(
    ("firmware", "baud", "why"),
    [
        ("uno", 2_000_000, "too fast for this clock: bytes would be lost while the strip is told"),
        ("atmega8-8", 1_000_000, "too fast for this clock: bytes would be lost while the strip is told"),
        ("uno", 115_200, "this clock does not divide to this baud rate"),
    ],
)
def test_a_rate_that_would_lose_bytes_is_not_built(
    tools: None, tmp_path: Path, firmware: str, baud: int, why: str
) -> None:
    command = ["make", "-s", "-C", str(AVR), f"FIRMWARE={tmp_path}", f"BOARDS={firmware}"]
    assert subprocess.run(command, capture_output=True).returncode == 0
    done = subprocess.run([*command, f"BAUD={baud}"], capture_output=True, text=True)
    assert done.returncode != 0 and why in done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_garbage_does_it_no_harm(meet: Meet, kind: str) -> None:
    trials.garbage(meet(kind), 1.0, seed=kind)


# -- bit errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_bit_errors_change_nothing(meet: Meet, kind: str) -> None:
    trials.bit_errors(meet(kind), 1e-3, 2000, seed=5)


# -- cable and power --------------------------------------------------------------------------------


def test_unplugged_and_plugged_it_is_another_start(meet: Meet) -> None:
    trials.unplugs(meet(), 20, seed=1)


@pytest.mark.parametrize("kind", KINDS)
def test_power_lost_while_saving_leaves_the_old_or_the_new(meet: Meet, kind: str) -> None:
    trials.power_losses(meet(kind), 8, seed=kind)


def test_a_copy_and_a_save_survive_resets(meet: Meet) -> None:
    trials.resets(meet(), 30, seed=2)


# -- in a network -----------------------------------------------------------------------------------


def test_misfortunes_of_boards_change_no_spike_of_their_network(tools: None, runtime_dir: Path) -> None:
    attached.misfortunes(6, seed=4)
