from __future__ import annotations

from pathlib import Path

import pytest

from neurobus.errors import InputError
from neurobus.events import Stimulus
from neurobus.log import Header, Log, LogWriter, read
from neurobus.log.names import only


@pytest.fixture
def log(tmp_path: Path) -> Log:
    ids = ["a", "exc.0", "exc.1", "drive"]
    groups = {"a": [0], "exc": [1, 2], "drive": [3]}
    writer = LogWriter(
        tmp_path / "x.mcap", Header("x.toml", "", 1, 1, "wall", ids, 0, n_neurons=3, groups=groups)
    )
    writer.spikes([1, 2, 3, 4], [3, 2, 0, 2], 0)
    writer.samples([5, 6], [1, 2], [-60.0, -61.0], 0)
    writer.weights(5, [3, 0, 1, 3], [1, 1, 2, 2], [1.0, 2.0, 3.0, 4.0], 0)
    writer.stimulus(Stimulus("a", 7, 1.0), 0)
    writer.stimulus(Stimulus("exc.1", 8, 1.0), 0)
    return read(writer.close())


def test_a_part_of_a_log_is_a_log(log: Log) -> None:
    part = only(log, ["exc.1", "drive"])
    header = part.header
    assert (header.ids, header.n_neurons, header.groups) == (
        ["exc.1", "drive"],
        1,
        {"exc": [0], "drive": [1]},
    )
    assert part.spikes_t.tolist() == [1, 2, 4] and part.spikes_i.tolist() == [1, 0, 0]
    assert part.samples.t.tolist() == [6] and part.samples.i.tolist() == [0]
    assert [entry.item.neuron for entry in part.stimuli] == ["exc.1"]
    assert (part.weights.pre.tolist(), part.weights.post.tolist()) == ([1], [0])
    assert part.weights.weight.tolist() == [4.0], "of the synapses between them"


def test_a_part_of_nobody_is_refused(log: Log) -> None:
    with pytest.raises(InputError, match=r"did you mean 'exc\.1'"):
        only(log, ["exc.9"])
