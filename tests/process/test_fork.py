"""What a neuron's process does after its fork."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import Ended, run_table, table

WITNESS = '''
import os, sys
from nodes.lif import Lif

MINE, OUT = os.getpid(), os.environ["IMPORTED_AFTER_FORK"]


def note(event, arguments):
    """The imports of this process's children."""
    if event == "import" and os.getpid() != MINE:
        with open(OUT, "a") as file:
            file.write(f"{open('/proc/self/comm').read().strip()} {arguments[0]}\\n")


sys.addaudithook(note)


class Watched(Lif):
    pass
'''


@pytest.mark.parametrize("clock", ["wall", "virtual"])
def test_a_neuron_imports_nothing_after_its_fork(
    clock: str, config: Callable[..., Path], run: Callable[..., Ended], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What each of hundreds would read, the process they are forked from can read once."""
    imported = tmp_path / "imported"
    monkeypatch.setenv("IMPORTED_AFTER_FORK", str(imported))
    net = config(
        run_table(clock=clock, duration="100 ms", record_potentials='["n"]', record_weights='["n"]'),
        table("neurons", id="n", model="witness.Watched", params='{ I_e = "400 pA" }'),
        table("sources", id="p", kind="poisson", rate="200 Hz"),
        table("synapses", pre="p", post="n", weight="10 pA", delay="1 ms", synapse="nodes.stdp"),
        witness__py=WITNESS,
    )
    done = run(net, "--clock", clock)
    assert done.summary["spikes"] > 0
    found = imported.read_text().splitlines() if imported.exists() else []
    assert not [line for line in found if line.startswith(("nb n ", "nb p "))]
