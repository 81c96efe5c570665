"""The launcher's ends of the two pipes of its fork server: lines out, lines in, the end of the process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from typing import Any

LONGEST_LINE = 1 << 26
"""Bytes. The first line tells of a whole network."""


class Pipe:
    """For one event loop. `await open()` comes first."""

    def __init__(self, process: subprocess.Popen[bytes]):
        self._process = process

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader(LONGEST_LINE)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self._reader), self._process.stdout)
        self._out, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, self._process.stdin)

    def tell(self, **command: Any) -> None:
        """One line to the fork server; into the void when it has ended."""
        with contextlib.suppress(ConnectionError):
            self._out.write(json.dumps(command).encode() + b"\n")

    async def line(self) -> bytes:
        """The next line it says; empty when it has said all."""
        return await self._reader.readline()

    def hang_up(self) -> None:
        """It ends then, whatever it is at."""
        self._out.close()

    def kill(self) -> None:
        self._process.kill()

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        return await asyncio.to_thread(self._process.wait)
