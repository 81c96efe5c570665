"""What a session with a board tells: one event for each thing that happened. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from neurobus import led
from neurobus.wire import link
from neurobus.wire.link import Packet


@dataclass(frozen=True, slots=True)
class Hello:
    """Who the board is."""

    version: int
    mcu: str
    chip: str
    held: str
    reset: tuple[str, ...]
    nonce: int
    serial: int
    clock_hz: int
    timer_hz: int
    room: int
    synapses: int
    leds: int
    led: str
    rx_ring: int
    queue: int

    @property
    def name(self) -> str:
        """The serial number as people read it."""
        return f"{self.serial:08X}" if self.serial else "unnamed"


@dataclass(frozen=True, slots=True)
class Here:
    """The board has said who it is; a session is open."""

    hello: Hello


@dataclass(frozen=True, slots=True)
class Refused:
    """There will be no session: `why` says what to do about it. `silent`: nobody has answered."""

    why: str
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    """The board has started anew, and knows nothing of what it was."""

    why: str


@dataclass(frozen=True, slots=True)
class Silent:
    """Nothing has been heard for `for_s` seconds."""

    for_s: float


@dataclass(frozen=True, slots=True)
class Loaded:
    tick: int


@dataclass(frozen=True, slots=True)
class Done:
    """The board is at this tick, and has told everything it did up to it."""

    tick: int


@dataclass(frozen=True, slots=True)
class Spiked:
    """`tick` is the stamp."""

    tick: int


@dataclass(frozen=True, slots=True)
class Late:
    """Inputs meant for update `due` act in `acts`. No `synapses`: a kick."""

    synapses: tuple[int, ...]
    due: int
    acts: int


@dataclass(frozen=True, slots=True)
class Poked:
    """Somebody pressed the button: `weight` (image units) acts in update `tick` where the board runs. A
    stepped one stands at `tick`, and does nothing about it until it is given as a `kick`."""

    tick: int
    weight: int


@dataclass(frozen=True, slots=True)
class Image:
    """The part of the image asked for, from `offset` on."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Lights:
    """What the strip shows. `palette`: in these colours, None for those that a board begins with."""

    level: int
    flash: int
    blink: int
    palette: led.Palette | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """The board could not follow a message."""

    fault: str
    detail: int


@dataclass(frozen=True, slots=True)
class Stats:
    values: dict[str, int]


Event = (
    Here | Refused | Reset | Silent | Loaded | Done | Spiked | Late | Poked | Image | Lights
    | Problem | Stats
)  # fmt: skip


def name_of(names: dict[str, int], value: int) -> str:
    """The name with this number."""
    return next((name for name, number in names.items() if number == value), f"unknown ({value})")


def hello_of(packet: Packet) -> Hello:
    """What a HELLO tells."""
    v = packet.values
    return Hello(
        v["version"], name_of(link.MCU, v["mcu"]), name_of(link.CHIP, v["chip"]),
        name_of(link.HELD, v["held"]), tuple(name for name, bit in link.RESET.items() if v["reset"] & bit),
        v["nonce"], 0 if v["serial"] == link.NO_SERIAL else v["serial"], v["clock_hz"], v["timer_hz"],
        v["room"], v["synapses"], v["leds"], name_of(link.LED, v["led"]), v["rx_ring"], v["queue"],
    )  # fmt: skip
