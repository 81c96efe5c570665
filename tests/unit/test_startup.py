"""What a run imports before it runs, and in what order: most of its start is imports. No stopwatch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from neurobus.cluster import spawning

HEAVY = {"numpy", "scipy", "numba", "llvmlite", "matplotlib", "networkx", "h5py", "mcap", "textual"}
"""What a network is built with, or drawn and kept: the fork server's or another verb's."""
LATER = {"asyncio", "zmq", "rich", "msgspec", "neurobus.cluster.launcher"}
"""The launcher's own, imported beside the fork server's."""


def loaded_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_launcher_imports_nothing_that_only_its_network_needs():
    loaded = loaded_by("neurobus.cli.run, neurobus.cli.perform")
    assert "neurobus.cluster.launcher" in loaded
    assert not loaded & (
        HEAVY
        | {"neurobus.config", "neurobus.node.core", "neurobus.node.process", "rich.progress", "rich.live"}
    )


@pytest.mark.parametrize("module", ["bus.conductor", "log.recording", "log.collector"])
def test_conductor_and_recorder_import_no_compiler_and_no_neuron(module: str) -> None:
    loaded = loaded_by(f"neurobus.{module}")
    assert not loaded & {"numba", "llvmlite", "scipy", "neurobus.node.core", "neurobus.node.weights"}


def test_a_fork_server_is_started_before_its_launcher_is_imported():
    loaded = loaded_by("neurobus.cli.run")
    assert "neurobus.cluster.spawning" in loaded
    assert not loaded & (HEAVY | LATER)


def test_a_fork_server_nobody_wants_ends_by_itself():
    process = spawning.fork_server().process
    assert os.getpgid(process.pid) == process.pid, "a Ctrl-C is the launcher's"
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, b"")


def test_a_fork_server_ahead_of_a_run_that_is_refused_is_not_left():
    with pytest.raises(ValueError), spawning.fork_server_ahead() as started:
        raise ValueError
    assert started.process.returncode is not None
