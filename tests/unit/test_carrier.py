"""What a bridge says when it lets go of a neuron: how far it has told what the board did."""

from __future__ import annotations

import numpy as np
import pytest

from neurobus.bridge import session as link_session
from neurobus.bridge.carrier import Carrier, Lent, Stage, World
from neurobus.events import Control, Spikes
from neurobus.wire import bus as wire


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
    (release,) = [e for e in said if isinstance(e, Control) and e.verb == "release"]
    return release.args["horizon"]


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
