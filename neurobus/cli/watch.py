"""What a person sees of a run while it runs: `run --raster` and `run --top`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys

import click
import numpy as np
from rich.console import Console
from rich.live import Live
from rich.text import Text

from neurobus.bus.peer import Peer
from neurobus.cli.perform import View
from neurobus.cluster.folder import Manifest
from neurobus.cluster.guests import MOST
from neurobus.cluster.raster import NARROWEST, Raster, label_width, rows_of
from neurobus.config.schema import wrong_id
from neurobus.events import Spikes
from neurobus.ledger import REFUSED, Ledger
from neurobus.wire import bus as wire
from neurobus.words import counted

LOOK_EVERY_S = 0.1
PAGE_NS, LONGEST_PAGE_NS = 3_000_000_000, 10_000_000_000
HEIGHT = 48
"""Rows where nobody says how high the terminal is."""
LINES_BELOW = 8
"""Of a terminal, left for what else a run says."""
FAREWELL_S = 5.0
"""How long the view may take to see that its run is over."""


class RasterView(View):
    """Draws the spikes of a run as they happen: in place on a terminal, else a page when it is full.

    `page_ns`: model time on one page. It joins before the run starts, so it hears the first spike.
    """

    def __init__(self, for_ns: int | None):
        self.page_ns = PAGE_NS if for_ns is None or for_ns > LONGEST_PAGE_NS else for_ns
        self._ledger = Ledger(from_start=True)
        self._by_hand = 0

    def join(self, manifest: Manifest) -> None:
        self._members: dict[str, list[int]] = {}
        for index, stream in enumerate(manifest.streams):
            self._members.setdefault(stream, []).append(index)
        self._peer = Peer(manifest.bus, observer=True)
        self._peer.subscribe(wire.SPIKES + b"/")
        self._peer.join(f"raster-{os.getpid()}")

    async def __call__(self, console: Console, manifest: Manifest) -> None:
        most = (console.height if console.is_terminal else HEIGHT) - LINES_BELOW
        rows = rows_of(manifest.ids, manifest.n_neurons, manifest.groups, max(most, 4))
        columns = max(NARROWEST, console.width - label_width(rows) - 2)
        raster = Raster(rows, len(manifest.ids), self.page_ns, columns)
        shown = (
            Live(console=console, auto_refresh=False, vertical_overflow="crop", redirect_stdout=False)
            if console.is_terminal
            else None
        )
        with shown or contextlib.nullcontext():
            try:
                while True:
                    await asyncio.sleep(LOOK_EVERY_S)
                    self._look(raster, shown)
            finally:  # the run is over, and this is cancelled
                self._look(raster, shown)
                self._peer.close()
                if shown is None:
                    _print(raster)
                if missed := self._ledger.totals()["lost"]:
                    console.print(f"this picture misses {counted(missed, 'spike')}", style="yellow")

    def _look(self, raster: Raster, shown: Live | None) -> None:
        for data in self._peer.frames():
            with contextlib.suppress(wire.Malformed, KeyError, IndexError):
                self._hear(raster, data)
        while raster.now_ns >= (raster.page + 1) * raster.span_ns:
            if shown is None:
                _print(raster)
            raster.turn()
        if shown is not None:
            shown.update(Text("\n".join(raster.lines()), no_wrap=True, overflow="crop"), refresh=True)

    def _hear(self, raster: Raster, data: bytes) -> None:
        event = wire.decode(data)
        if not isinstance(event, Spikes):
            return
        if event.stream not in self._members and event.neurons is None and not wrong_id(event.stream):
            if self._by_hand == MOST:
                return
            self._by_hand += 1
            self._members[event.stream] = [raster.join(event.stream)]
        times = np.asarray(event.t_ns, np.int64)
        known = self._ledger.accept(event.stream, event.epoch, event.seq, len(times), event.last)
        if known == REFUSED:
            return
        neurons = [self._members[event.stream][0]] * len(times) if event.neurons is None else event.neurons
        raster.hear(times[known:].tolist(), list(neurons)[known:])


def _print(raster: Raster) -> None:
    click.echo("\n".join(raster.lines()), err=True)


class TopView(View):
    """`neurobus top` in this terminal, until the run is over or the person closes it."""

    has_terminal = True

    def join(self, manifest: Manifest) -> None:
        """It finds the cluster by itself."""

    async def __call__(self, console: Console, manifest: Manifest) -> None:
        words = [sys.executable, "-P", "-m", "neurobus", "top", "--cluster", manifest.name]
        top = await asyncio.create_subprocess_exec(*words)
        try:
            await top.wait()
            click.echo("the view is closed, the run goes on; Ctrl-C stops it", err=True)
            await asyncio.Event().wait()
        finally:
            if top.returncode is None:
                try:
                    await asyncio.wait_for(top.wait(), FAREWELL_S)
                except TimeoutError:
                    top.terminate()
                    await top.wait()
