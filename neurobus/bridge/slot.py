"""One board's place in the bridge: its port, open or awaited, and its way to the bus. Part of the shell.

A port that is gone is looked for: a board is found again by its serial number, at its port or at one that has
come since. Who is there is asked without disturbing, as it may be another neuron's, or nobody's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from neurobus.bridge import ports
from neurobus.bridge.attachment import Attachment
from neurobus.bridge.figures import link_figures
from neurobus.bridge.handover import Stage
from neurobus.bridge.holders import holder
from neurobus.bridge.identify import State, identify
from neurobus.bridge.port import Line, Port, PortError, Unplugged
from neurobus.wire import verbs
from neurobus.wire.message import ReportMessage

NAME = "bridge"
REOPEN_S = 0.05
HELD_S = 0.2
"""Where another program has the port we look again after so long."""
ASKED = 3
"""A port that has come and says nothing is asked so often who is there."""


@dataclass
class Search:
    """For a board whose port is gone. `home`: that port's name. `known`: ports that were there before
    and so are not its. `asked`: how often one that has come since was asked in vain."""

    home: str
    known: set[str]
    asked: dict[str, int] = field(default_factory=dict)

    def where(self, there: set[str]) -> list[str]:
        """Of the ports that are there those to try: its own, then what has come since."""
        self.known &= there
        self.asked = {name: times for name, times in self.asked.items() if name in there}
        names = sorted(there - self.known, key=lambda name: (name != self.home, name))
        return [name for name in names if self.asked.get(name, 0) < ASKED]


class Host(Protocol):
    """The bridge around a slot."""

    wall: bool
    dt_ns: int
    t0_s: float
    streams: dict[str, int]
    slots: list[Slot]

    def publish(self, frame: bytes) -> None: ...
    def report(self, message: ReportMessage) -> None: ...
    def log(self, text: str) -> None: ...
    def listen(self, streams: list[str], then: Callable[[float], None]) -> None: ...
    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...

    def changed(self, slot: Slot) -> None:
        """Something has been done to it."""

    def closed(self, slot: Slot) -> None:
        """Its attachment is over, and its port let go."""

    def answered_last(self, slot: Slot) -> None:
        """It answers the run's last duty."""

    def ports_before(self) -> set[str]:
        """Ports that were there at each of the last looks."""


class Slot:
    """The `BridgePort` of one attachment. `request`: who waits for the board to own its neuron."""

    def __init__(self, host: Host, neuron: str, port: Port, token: int, lag_s: float | None, request: str):
        self.dt_ns, self.t0_s, self.streams = host.dt_ns, host.t0_s, host.streams
        self.publish, self.listen = host.publish, host.listen
        self.baud, self.request = port.baud, request
        self.line: Line | None = None
        self._host, self._loop = host, asyncio.get_running_loop()
        self.attachment = Attachment(self, neuron, port.name, f"{NAME}/{token}", token, host.wall, lag_s)

    @property
    def neuron(self) -> str:
        return self.attachment.neuron

    def describe(self) -> dict[str, Any]:
        """One row of `neurobus boards`."""
        one, hello, hand = self.attachment, self.attachment.hello, self.attachment.hand
        who = {key: getattr(hello, key, None) for key in ("mcu", "chip", "clock_hz")}
        return {
            "neuron": one.neuron, "port": one.port_name, "stage": hand.stage.value, "why": hand.why,
            "board": hello.name if hello else None, **who, "baud": self.baud,
            "link": {**link_figures(one.session), "lag_ms": round(one.pace.lag_s * 1000, 3)},
            **asdict(one.figures),
            "hand_overs": hand.hand_overs, "losses": hand.losses, "attempts": hand.attempts,
            "missed": one.replica.ledger.totals()["lost"],
            "errors": one.lease.terms.errors if one.lease.terms else {}, "counts": one.counts,
        }  # fmt: skip

    # -- what the attachment asks -----------------------------------------------------------------------

    def say(self, text: str) -> None:
        self._host.log(text)
        self._host.report(verbs.Word(self.neuron, text))
        if self.attachment.stage is Stage.OWNING and self.request:
            self._answer(verbs.Answer(self.request, True, text=text, board=self.describe()))

    def _answer(self, answer: verbs.Answer) -> None:
        """To who asked for the board to be attached."""
        self._host.report(answer)
        self.request = ""

    def await_board(self, why: str) -> None:
        self.say(f"{self.neuron}: {why}; its process has the neuron")
        if self.line is not None:
            self._loop.call_later(REOPEN_S, self._ask_again)
            self._host.spawn(self._name_holder())

    def let_go(self, why: str) -> None:
        if self not in self._host.slots:
            return
        if self.request:
            self._answer(verbs.Answer(self.request, True, error=why))
        self.say(f"{self.neuron}: {why}")
        line, self.line = self.line, None
        if line is not None:
            line.send(self.attachment.session.take_out())
            line.close()
        self._host.closed(self)

    def answered_last(self) -> None:
        self._host.answered_last(self)

    def new_serial(self) -> int:
        return int.from_bytes(os.urandom(4), "little") or 1

    def namesake(self, serial: int) -> tuple[str, bool] | None:
        for other in self._host.slots:
            one = other.attachment
            if other is not self and one.serial == serial and one.stage is not Stage.OVER:
                return one.neuron, other.line is not None
        return None

    # -- its port ---------------------------------------------------------------------------------------

    def open(self, port: Port) -> None:
        self.baud, self.attachment.port_name = port.baud, port.name
        self.line = Line(port, self._received, self._unplugged)
        self.attachment.opened(self._loop.time())
        self._host.changed(self)

    def _received(self, data: bytes) -> None:
        self.attachment.received(data, self._loop.time())
        self._host.changed(self)

    def _unplugged(self, why: str) -> None:
        self.line = None
        self.attachment.unplugged(why, self._loop.time())
        if self in self._host.slots:
            self._host.spawn(self._await_back())
        self._host.changed(self)

    async def _await_back(self) -> None:
        # Ports may go and come faster than anybody looks: this one, and those of other boards of ours.
        ours = {slot.attachment.port_name for slot in self._host.slots}
        search = Search(self.attachment.port_name, self._host.ports_before() - ours)
        while self in self._host.slots:
            await asyncio.sleep(REOPEN_S)
            there = set(ports.names()) | {name for name in (search.home,) if os.path.exists(name)}
            there -= {slot.attachment.port_name for slot in self._host.slots if slot.line is not None}
            for name in search.where(there):
                if await self._is_back(name, search):
                    return

    async def _is_back(self, name: str, search: Search) -> bool:
        """Whether there is nothing to wait for any more."""
        if self not in self._host.slots:
            return True
        who = await identify(ports.Found(name, simulated=name in ports.simulated()))
        if self not in self._host.slots:
            return True
        if who.state is State.BOARD and who.hello["serial"] != self.attachment.serial:
            search.asked[name] = ASKED
        elif who.state is State.SILENT and name != search.home:
            search.asked[name] = search.asked.get(name, 0) + 1
        elif who.state is State.HELD:
            await asyncio.sleep(HELD_S)
        elif who.state is State.BOARD or (who.state is State.OTHER and name == search.home):
            with contextlib.suppress(PortError):
                self.open(Port(name, who.baud or self.baud))
                return True
        return False

    async def _name_holder(self) -> None:
        """A board may be silent because somebody else reads what it says."""
        name = self.attachment.port_name
        if other := await asyncio.to_thread(holder, name):
            self.say(f"{self.neuron}: {other} has {name} open too")

    def look_at_line(self) -> None:
        """Another program may have set the rate or the mode of the line; without that no board is heard."""
        if self.line is not None and self.line.port.changed():
            with contextlib.suppress(PortError, Unplugged):  # the latter is heard of by reading
                self.line.port.restore()
                self.attachment.figures.line_set_again += 1
                name = self.attachment.port_name
                self.say(f"{self.neuron}: another program changed the line of {name}; set again")

    def _ask_again(self) -> None:
        """The port is there still: so may the board be."""
        if self in self._host.slots and self.line is not None and self.attachment.stage is Stage.AWAY:
            self.look_at_line()
            self.attachment.session.open(self._loop.time())
            self._host.changed(self)
