"""The rig of simulated boards, with all that a test does to one of them and asks it."""

from __future__ import annotations

from typing import Any

from neurobus.bridge import simboard


class Rig(simboard.Rig):
    def unplug(self, board: int = 0, keep_power: bool = False) -> None:
        self.ask("unplug", board, *(["keep-power"] if keep_power else []))

    def plug(self, board: int = 0, name: str | None = None) -> None:
        """`name`: the system finds another name for its port, as it may, this one."""
        self.ask("plug", board, *([] if name is None else [name]))
        if name is not None:
            self.ports[board] = str(self.folder / name)

    def reset(self, board: int = 0) -> None:
        self.ask("reset", board)

    def power(self, on: bool, board: int = 0) -> None:
        self.ask("power", board, "on" if on else "off")

    def press(self, board: int = 0, ms: float = 100.0) -> None:
        self.ask("press", board, ms)

    def errors(self, incoming: float, outgoing: float, board: int | str = 0, seed: int = 0) -> None:
        """Probabilities with which a data bit is turned round, to the board and from it."""
        self.ask("errors", board, incoming, outgoing, seed)

    def stats(self, board: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("stats", board)
        return found

    def leds(self, board: int = 0) -> dict[str, Any]:
        """The strip: colours as (r, g, b) of each chip, and what was wrong with the waveform."""
        found: dict[str, Any] = self.ask("leds", board)
        return found

    def frames(self, board: int = 0, since: int = 0) -> list[dict[str, Any]]:
        """The last frames the strip was sent, from number `since` + 1 on; 256 of them are kept."""
        found: list[dict[str, Any]] = self.ask("frames", board, since)
        return found

    def marks(self, board: int = 0, clear: bool = False) -> dict[int, dict[str, float]]:
        """Cycles of each stretch the firmware marked: n, min, mean, max, last."""
        found = self.ask("marks", board, *(["clear"] if clear else []))
        return {int(number): stretch for number, stretch in found.items()}

    def profile(self, board: int = 0, address: int | None = None) -> dict[int, dict[str, float]]:
        """Cycles of each call of the functions watched, by their addresses in bytes of flash: n, min, mean,
        max, last. `address`: watch this one too."""
        found = self.ask("profile", board, *([] if address is None else [address]))
        return {int(number): calls for number, calls in found.items()}

    def bursts(self, board: int = 0) -> list[tuple[str, int, float, float]]:
        """Bytes in one go on the line: ("in" or "out", how many, begin and end in ns of board time)."""
        return [(way, n, begin, end) for way, n, begin, end in self.ask("bursts", board)]

    def eeprom(self, board: int = 0) -> bytes:
        return bytes.fromhex(self.ask("eeprom", board, "get"))

    def set_eeprom(self, data: bytes, board: int = 0, address: int = 0) -> None:
        self.ask("eeprom", board, "set", address, data.hex())

    def run(self, ms: float, board: int | str = "all") -> None:
        """Let board time pass, as fast as can be; not under pace "real"."""
        self.ask("run", ms, board)
