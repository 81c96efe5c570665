"""`neurobus doctor`: what this machine lacks, and how to mend it."""

from __future__ import annotations

import grp
import importlib.metadata
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from neurobus import __version__, system
from neurobus.cli.common import json_option, print_json
from neurobus.errors import NeurobusError

OK, NOTE, BAD = "ok", "note", "bad"
MARKS = {OK: "[green]✓[/]", NOTE: "[yellow]·[/]", BAD: "[red]✗[/]"}
WORM, LARGE = 302, 1000
FDS_PER_PROCESS, FDS_OF_HUB = 2, 64
"""The hub is the process with the most: two connections of each process, and its own."""
THREADS_PER_PROCESS, OTHER_THREADS = 3, 200
"""What Linux counts as processes: a neuron and the two threads of its ZeroMQ; and what else runs."""
PACKAGES = (
    "click",
    "h5py",
    "llvmlite",
    "matplotlib",
    "mcap",
    "msgpack",
    "msgspec",
    "numba",
    "numpy",
    "pyserial",
    "pyzmq",
    "rich",
    "scipy",
    "textual",
    "zstandard",
)


@dataclass(frozen=True)
class Finding:
    """`state` is ok, note (something optional is missing) or bad; `mend` a command."""

    what: str
    state: str
    found: str
    mend: str = ""


@click.command(name="doctor")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Look at this machine, and say what is missing and the command that mends it.

    \b
    neurobus doctor

    Exit code 1 when something is missing that a run of the worm needs.
    """
    findings = list(examine())
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _show(findings)
    ctx.exit(1 if any(finding.state == BAD for finding in findings) else 0)


def examine() -> Iterator[Finding]:
    """All findings, what a run needs most first."""
    yield _python()
    packages = _packages()
    yield packages
    yield from _limits()
    if packages.state == OK:  # what follows imports them
        yield from _folders()
        yield _bus()
        yield _kernels()
    yield _clock()
    yield _machine()
    yield _serial()
    for need in system.needs():
        yield _tool(need)


def _python() -> Finding:
    return Finding("python", OK, f"{platform.python_version()} ({sys.executable}), neurobus {__version__}")


def _packages() -> Finding:
    versions, missing = [], []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        mend = f"{sys.executable} -m pip install {' '.join(missing)}"
        return Finding("packages", BAD, f"missing: {', '.join(missing)}", mend)
    return Finding("packages", OK, ", ".join(versions))


def _bus() -> Finding:
    """Start a hub, say hello, hear it come back."""
    from neurobus.bus.peer import Endpoints, Peer
    from neurobus.cluster import folder as folders
    from neurobus.log.replay_bus import hub_process

    try:
        folder = folders.create("doctor")
    except (OSError, NeurobusError) as error:
        return Finding("bus", BAD, f"cannot be tried: {error}")
    try:
        endpoints = Endpoints.in_folder(folder)
        with hub_process(endpoints, folder):
            peer = Peer(endpoints)
            try:
                peer.join("doctor")
                begun = time.perf_counter()
                peer.join("doctor again")
                took_us = (time.perf_counter() - begun) * 1e6
            finally:
                peer.close()
    except (OSError, NeurobusError) as error:
        return Finding("bus", BAD, f"a hub was started and did not work: {error}")
    finally:
        folders.remove(folder)
    return Finding("bus", OK, f"a frame goes to a hub and back in {took_us:.0f} µs")


def _limits() -> Iterator[Finding]:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    processes = resource.getrlimit(resource.RLIMIT_NPROC)
    yield _limit("open files", files, FDS_PER_PROCESS, FDS_OF_HUB, "-n")
    yield _limit("processes", processes, THREADS_PER_PROCESS, OTHER_THREADS, "-u")


def _limit(what: str, limits: tuple[int, int], per_process: int, others: int, flag: str) -> Finding:
    """A limit against what runs of 302 and 1000 processes need."""
    soft, hard = limits
    if soft == resource.RLIM_INFINITY:
        return Finding(what, OK, "unlimited")
    need = {n: n * per_process + others for n in (WORM, LARGE)}
    if soft >= need[LARGE]:
        return Finding(what, OK, f"{soft:,}, enough for {LARGE:,} processes")
    enough = hard == resource.RLIM_INFINITY or hard >= need[LARGE]
    root = "" if enough else "   (as root, or in /etc/security/limits.conf)"
    mend = f"ulimit {flag} {need[LARGE]}{root}"
    if soft >= need[WORM]:
        return Finding(
            what, NOTE, f"{soft:,}, enough for {WORM} processes; {LARGE:,} need {need[LARGE]:,}", mend
        )
    return Finding(what, BAD, f"{soft:,}; {WORM} processes need {need[WORM]:,}", mend)


def _folders() -> Iterator[Finding]:
    from neurobus.cluster import folder as folders
    from neurobus.node.kernel.cache import cache_dir

    for what, folder, variable in (
        ("runtime", folders.runtime_dir(), "NEUROBUS_RUNTIME_DIR"),
        ("state", folders.state_dir(), "NEUROBUS_STATE_DIR"),
        ("cache", cache_dir(), "NEUROBUS_CACHE_DIR"),
    ):
        name = f"{what} folder"
        mend = f"export {variable}=/tmp/neurobus-{what}-{os.getuid()}"
        socket = len(str(folder / "a-name" / "tap")) if what == "runtime" else 0
        if why := _unwritable(folder):
            yield Finding(name, BAD, f"{folder}: {why}", mend)
        elif socket > folders.LONGEST_SOCKET_PATH:
            yield Finding(name, BAD, f"{folder}: too long a path for sockets", mend)
        else:
            yield Finding(name, OK, str(folder))


def _unwritable(folder: Path) -> str:
    """Why nothing can be written there; empty when it can."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _kernels() -> Finding:
    from neurobus.node.kernel.cache import cache_dir

    folder = cache_dir()
    count = sum(1 for _ in folder.glob("*.kernel")) if folder.is_dir() else 0
    if not count:
        return Finding(
            "kernels",
            NOTE,
            "none compiled yet; a model's first run takes some seconds longer",
            "neurobus run configs/first/pair.toml --for 1s",
        )
    return Finding("kernels", OK, f"{count} compiled")


def _clock() -> Finding:
    resolution_us = time.get_clock_info("monotonic").resolution * 1e6
    late_us = sorted(_sleep_us(0.001) for _ in range(20))[10]
    found = f"resolution {resolution_us:.3g} µs, a sleep ends {late_us:.0f} µs late in the median"
    if resolution_us > 10:
        return Finding("clock", BAD, found, "cat /sys/devices/system/clocksource/clocksource0/*")
    return Finding("clock", OK if late_us < 1000 else NOTE, found)


def _sleep_us(seconds: float) -> float:
    begun = time.perf_counter()
    time.sleep(seconds)
    return (time.perf_counter() - begun - seconds) * 1e6


def _machine() -> Finding:
    cores = os.cpu_count() or 1
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    load = os.getloadavg()[0]
    found = f"{platform.system()} {platform.machine()}, {cores} cores, {memory_gb:.1f} GB, load {load:.1f}"
    if load > cores:
        return Finding("machine", NOTE, f"{found}; others use it, so a wall clock may be late", "top")
    return Finding("machine", OK, found)


def _serial() -> Finding:
    ports = [*Path("/dev").glob("ttyUSB*"), *Path("/dev").glob("ttyACM*"), *Path("/dev").glob("cu.usb*")]
    closed = [port for port in ports if not os.access(port, os.R_OK | os.W_OK)]
    if closed:
        return Finding(
            "serial ports",
            BAD,
            f"no permission for {', '.join(map(str, closed))}",
            f"sudo usermod -aG {closed[0].group()} $USER   (then log in again)",
        )
    if ports:
        return Finding("serial ports", OK, ", ".join(map(str, ports)))
    known = {group.gr_name for group in grp.getgrall()} & {"dialout", "uucp"}
    mine = {grp.getgrgid(number).gr_name for number in os.getgroups() if _is_group(number)}
    if os.geteuid() == 0 or not known or known & mine:
        return Finding("serial ports", OK, "no board is plugged in; you could use one")
    group = min(known)
    return Finding(
        "serial ports",
        NOTE,
        f"no board is plugged in; using one takes group {group}",
        f"sudo usermod -aG {group} $USER   (then log in again)",
    )


def _is_group(number: int) -> bool:
    try:
        grp.getgrgid(number)
    except KeyError:
        return False
    return True


def _tool(need: system.Need) -> Finding:
    found = need.where()
    if found is None:
        mend = system.install_command([need])
        return Finding(need.name, NOTE, f"not found; needed for {need.purpose}", mend)
    return Finding(need.name, OK, found)


def _show(findings: list[Finding]) -> None:
    console = Console(highlight=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        table.add_row(MARKS[finding.state], finding.what, finding.found)
        if finding.mend:
            table.add_row("", "", f"[cyan]{finding.mend}[/]")
    console.print(table)
    bad = [finding.what for finding in findings if finding.state == BAD]
    notes = sum(finding.state == NOTE for finding in findings)
    if bad:
        console.print(f"\n[red]to mend: {', '.join(bad)}[/]")
    else:
        noted = f"; noted: {notes}" if notes else ""
        console.print(f"\n[green]all that a run needs is here[/]{noted}")
