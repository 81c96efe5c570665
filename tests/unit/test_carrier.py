"""What a bridge says when it lets go of a neuron: how far it has told what the board did."""

from __future__ import annotations

import numpy as np
import pytest

from neurobus.bridge import session as link_session
from neurobus.bridge.carrier import Carrier, Lent, Stage, World
from neurobus.events import Spikes
from neurobus.wire import bus as wire
from neurobus.wire.lease import Release
from neurobus.wire.message import Control


@pytest.fixture
def said() -> list[Control | Spikes]:
    return []


@pytest.fixture
def carrier(said) -> Carrier:
    def heard(frame: bytes) -> None:
        event = wire.decode(frame)
        assert isinstance(event, (Control, Spikes))
        said.append(event)

    def nothing(*_: object) -> None: ...

    world = World(
        "bridge", True, 100_000, {"m": 0}, lambda: 0.0, heard, nothing, nothing, nothing, nothing, nothing,
        lambda: 1,
    )  # fmt: skip
    one = Carrier(world, "m", "ttySIM0", 7)
    one.lent = Lent({}, None, 0, [], 1, 1, {})  # type: ignore[arg-type]
    one._from_step = 50
    return one


def told_with(carrier: Carrier, *events: link_session.Event) -> None:
    """These come from the board in one piece."""
    last = max((e.tick for e in events if isinstance(e, link_session.Done)), default=0)
    carrier.session.at = max(carrier.session.at, last)
    carrier.session.receive = lambda data, now: list(events)  # type: ignore[method-assign]
    carrier.received(b"", 1.0)


def horizon(said: list[Control | Spikes]) -> int:
    (release,) = [e.message for e in said if isinstance(e, Control) and isinstance(e.message, Release)]
    return release.horizon


def published(said: list[Control | Spikes]) -> list[int]:
    return [int(t) // 100_000 for e in said if isinstance(e, Spikes) for t in np.asarray(e.t_ns)]


def test_what_came_with_the_word_that_ended_it_has_not_been_told(carrier, said):
    """The spike at 105 is nobody's but the process's: the board had failed before it was published."""
    carrier.stage = Stage.OWNING
    told_with(carrier, link_session.Spiked(95), link_session.Done(100))
    assert carrier.horizon == 100
    told_with(carrier, link_session.Problem("a fault", 0), link_session.Spiked(105), link_session.Done(110))
    assert (published(said), horizon(said)) == ([95], 100)


@pytest.mark.parametrize("how", ["unplugged", "detached"])
def test_a_board_that_waits_to_own_has_told_nothing(carrier, said, how):
    """Its spikes are held back until the process has published its last."""
    carrier.stage = Stage.CEDING
    carrier.figures.hand_overs = 1
    told_with(carrier, link_session.Spiked(60), link_session.Done(100))
    assert carrier.horizon is None
    if how == "unplugged":
        carrier.unplugged("no such device", 1.0)
    else:
        carrier.detach(1.0)
    assert (published(said), horizon(said)) == ([], 0)


HELLO = link_session.Hello(1, "atmega328p", "lif", "empty", (), 1, 0xB0, 16_000_000, 2_000_000, 900, 400, 8,
                           "ws2812", 128, 16)  # fmt: skip


def namesakes(said, open_yet: bool):
    """A carrier that hears HELLO of a board whose number another board has; what it does and says."""
    words: list[str] = []

    def nothing(*_: object) -> None: ...

    def world(namesake) -> World:
        return World(
            "bridge", True, 100_000, {"m": 0}, lambda: 0.0, lambda frame: said.append(wire.decode(frame)),
            nothing, lambda carrier, text: words.append(text), nothing,
            lambda carrier, why: words.append(why), nothing, lambda: 77, namesake,
        )  # fmt: skip

    first = Carrier(world(lambda *_: None), "m", "ttySIM0", 7)
    second = Carrier(world(lambda carrier, serial: (first, open_yet)), "k", "ttySIM1", 9)
    for carrier in (first, second):
        carrier.stage = Stage.IDENTIFYING
        carrier._here(HELLO, 1.0)
    return first, second, words


def test_a_second_board_of_the_same_number_is_given_another(said):
    first, second, words = namesakes(said, open_yet=True)
    assert (first.serial, second.serial, second.stage) == (0xB0, 77, Stage.LENDING)
    assert words == ["k: the board at ttySIM1 has the serial number of 'm', 000000B0; its number is 0000004D "
                     "from now on"]  # fmt: skip


def test_a_board_of_the_number_of_one_that_is_away_is_refused(said):
    _, second, words = namesakes(said, open_yet=False)
    assert second.stage is Stage.OVER
    assert "is 'm' and away; if this is another one, neurobus detach m first" in words[0]
