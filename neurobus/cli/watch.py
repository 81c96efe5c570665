"""What a person sees of a run while it runs: `run --raster` and `run --top`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from neurobus.bus.peer import Peer
from neurobus.cli.perform import View
from neurobus.cluster.folder import Manifest
from neurobus.cluster.raster import NARROWEST, Raster, label_width, rows_of
from neurobus.observer import Listening, Observer, Run, Times
from neurobus.words import counted

LOOK_EVERY_S = 0.1
PAGE_NS, LONGEST_PAGE_NS = 3_000_000_000, 10_000_000_000
HEIGHT = 48
"""Rows where nobody says how high the terminal is."""
LINES_BELOW = 8
"""Of a terminal, left for what else a run says."""
FAREWELL_S = 5.0
"""How long the view may take to see that its run is over."""


class RasterView(View, Observer):
    """Draws the spikes of a run as they happen: in place on a terminal, else a page when it is full.

    `page_ns`: model time on one page. It joins before the run starts, so it hears the first spike.
    """

    def __init__(self, for_ns: int | None):
        self.page_ns = PAGE_NS if for_ns is None or for_ns > LONGEST_PAGE_NS else for_ns

    def join(self, manifest: Manifest) -> None:
        self._peer = Peer(manifest.bus, observer=True)
        name = f"raster-{os.getpid()}"
        self._listening = Listening(
            self, Run.of_manifest(manifest), self._peer, name, True, lambda line: None
        )

    async def __call__(self, console: Console, manifest: Manifest) -> None:
        most = (console.height if console.is_terminal else HEIGHT) - LINES_BELOW
        rows = rows_of(manifest.ids, manifest.n_neurons, manifest.groups, max(most, 4))
        columns = max(NARROWEST, console.width - label_width(rows) - 2)
        raster = self._raster = Raster(rows, len(manifest.ids), self.page_ns, columns)
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
                if missed := self.accounts.lost:
                    console.print(f"this picture misses {counted(missed, 'spike')}", style="yellow")

    def _look(self, raster: Raster, shown: Live | None) -> None:
        self._listening.listen()
        while raster.now_ns >= (raster.page + 1) * raster.span_ns:
            if shown is None:
                _print(raster)
            raster.turn()
        if shown is not None:
            shown.update(Text("\n".join(raster.lines()), no_wrap=True, overflow="crop"), refresh=True)

    def on_spikes(self, t_ns: Times, neurons: Times) -> None:
        while len(self._raster.row_of) < len(self.run.ids):  # started by hand
            self._raster.join(self.run.ids[len(self._raster.row_of)])
        self._raster.hear(t_ns.tolist(), neurons.tolist())


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
