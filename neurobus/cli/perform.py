"""A run under the eyes of a person, the same for every verb that starts one."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from rich.console import Console

from neurobus.cluster.folder import Manifest
from neurobus.cluster.launcher import Hooks, Launch, Launcher
from neurobus.cluster.spawning import Started
from neurobus.cluster.summary import Summary, render
from neurobus.words import counted

if TYPE_CHECKING:
    from rich.progress import Progress

During = Callable[[Console, Manifest], Coroutine[Any, Any, None]]


@runtime_checkable
class View(Protocol):
    """Runs beside a run, in its event loop: joins before the start, then lasts until it is cancelled."""

    has_terminal: bool = False
    """Whether it fills the terminal, so that other words wait for its end."""

    def join(self, manifest: Manifest) -> None: ...

    async def __call__(self, console: Console, manifest: Manifest) -> None: ...


class Bar:
    """How far the start is, where a person waits for it. Rich's bars are imported for a terminal only."""

    def __init__(self, console: Console, shown: bool):
        self._progress: Progress | None = None
        if not shown:
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("building the network", total=None)

    def ready(self, n: int, of: int) -> None:
        if self._progress is not None:
            self._progress.update(self._task, description="waking neurons", completed=n, total=of)

    def start(self) -> None:
        if self._progress is not None:
            self._progress.start()

    def stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()


def perform(launch: Launch, quiet: bool, during: During | None = None, hint: bool = True,
            fork_server: Started | None = None) -> Summary:  # fmt: skip
    """Run a launch under the eyes of a person: progress, notes, summary on stderr; Ctrl-C stops politely.

    `during` runs beside it from the start on, and is cancelled at the end. `hint`: say how to go on.
    `fork_server`: started ahead.
    """
    # Held back until there is a loop to take it: a Ctrl-C in its making leaves half a loop, which complains.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        console = Console(stderr=True, highlight=False)
        return asyncio.run(_perform(launch, console, quiet, during, hint, fork_server))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


async def _perform(launch: Launch, console: Console, quiet: bool, during: During | None,
                   hint: bool, fork_server: Started | None) -> Summary:  # fmt: skip
    bar = Bar(console, console.is_terminal and not quiet)
    beside: list[asyncio.Task[None]] = []

    def started(manifest: Manifest) -> None:
        bar.stop()
        if during is not None:
            beside.append(asyncio.create_task(during(console, manifest)))
        if not quiet:
            console.print(
                f"[bold]{manifest.name}[/] runs: {counted(manifest.n_neurons, 'neuron')} in "
                f"{counted(manifest.processes, 'process')}, {manifest.clock} clock. Ctrl-C stops it."
            )
            if launch.options.snapshots and launch.options.state:
                console.print(f"its state: {launch.options.state}", soft_wrap=True)

    held: list[str] = []  # while a view has the terminal

    def word(text: str) -> None:
        if isinstance(during, View) and during.has_terminal and beside:
            held.append(text)
        else:
            with contextlib.suppress(OSError):  # the terminal may be closed
                console.print(text, style="yellow", soft_wrap=True)

    def starting(manifest: Manifest) -> None:
        if isinstance(during, View):
            during.join(manifest)

    launch.hooks = Hooks(word=word, ready=bar.ready, starting=starting, started=started)
    launcher = Launcher(launch, fork_server)
    interrupts = 0

    def interrupt(number: signal.Signals) -> None:
        nonlocal interrupts
        interrupts += 1
        launcher.summary.interrupted = number == signal.SIGINT
        launcher.summary.signal = launcher.summary.signal or number.name
        if interrupts == 1:
            launcher.stop()
        else:
            launcher.kill()

    loop = asyncio.get_running_loop()
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup wants it ignored
        signals.append(signal.SIGHUP)
    for number in signals:
        loop.add_signal_handler(number, interrupt, number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    bar.start()
    try:
        summary = await launcher.run()
    finally:
        bar.stop()
        for companion in beside:
            companion.cancel()
        for failure in await asyncio.gather(*beside, return_exceptions=True):
            if isinstance(failure, Exception):
                console.print(f"what watched the run failed: {failure!r}", style="yellow", soft_wrap=True)
        for text in held:
            console.print(text, style="yellow", soft_wrap=True)
        with contextlib.suppress(Exception):
            for number in signals:
                loop.remove_signal_handler(number)
    if not quiet:
        with contextlib.suppress(OSError):  # the terminal may be closed
            print(render(summary, launch.resume_with if hint else None), file=sys.stderr)
    return summary
