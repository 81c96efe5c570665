"""What no config may ask for is refused in one line, before anything is made of it."""

from __future__ import annotations

import pytest

from neurobus import network
from neurobus.config import loads
from neurobus.config.schema import RESERVED
from neurobus.errors import InputError

GROUP = '[[groups]]\nid = "g"\nmodel = "nodes.lif"\n'
NEURON = '[[neurons]]\nid = "{}"\nmodel = "nodes.lif"\n'


def refused(text, files=None):
    with pytest.raises(InputError) as caught:
        network.build(loads(text, "net.toml", files or {}))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("id", sorted(RESERVED))
def test_names_of_the_runs_own_programs_are_no_ids(id):
    """Of a neuron, a source, a member, and in a CSV. A group may have such a name: its members do not."""
    word = f"the id '{id}' is the name of a program of the run"
    assert refused(NEURON.format(id)).startswith(f"net.toml:2: {word}")
    source = f'[[sources]]\nid = "{id}"\nkind = "external"\n'
    assert refused(NEURON.format("n") + source).startswith(f"net.toml:5: {word}")
    assert refused(f'{GROUP}ids = [\n"a",\n"{id}"]\n').startswith(f"net.toml:6: {word}")
    csv = {"ids.csv": f"id\na\n{id}\n".encode()}
    assert refused(GROUP + 'csv = "ids.csv"\n', csv).startswith(f"ids.csv:3: {word}")
    group = f'[[groups]]\nid = "{id}"\nmodel = "nodes.lif"\ncount = 2\n'
    assert network.build(loads(group, "net.toml", {})).ids == [f"{id}.0", f"{id}.1"]


def test_all_programs_of_a_run_are_among_them():
    from neurobus.bridge import bridge
    from neurobus.bus import conductor
    from neurobus.classroom import witness
    from neurobus.cli.run import RECORDING
    from neurobus.cluster import launcher, nursery

    programs = {module.rpartition(".")[2] for module in (RECORDING, witness.MODULE)}
    assert programs | {bridge.NAME, conductor.NAME, launcher.NAME, nursery.HUB} <= RESERVED


@pytest.mark.parametrize("id", ["", "*", "x/../y", "..", "-a", "ab\\n", "a b", "ä", "a" * 201, "\\u0000"])
def test_an_id_that_is_none_is_told(id):
    assert "is no id" in refused(NEURON.format(id))
    assert "is no id" in refused(f'{GROUP}ids = ["{id}"]\n')


@pytest.mark.parametrize("id", ["*", "x/../y", "..", "-a", "a b", "ä", "a" * 201])
def test_an_id_in_a_csv_that_is_none_is_told(id):
    assert "is no id" in refused(GROUP + 'csv = "ids.csv"\n', {"ids.csv": f"id\na\n{id}\n".encode()})


@pytest.mark.parametrize("count", [1_000_001, 100_000_000_000, 10**18, 2**63 - 1])
def test_more_than_a_network_holds_is_refused_before_it_is_made(count):
    assert refused(f"{GROUP}count = {count}\n") == (
        f"net.toml:4: 'count' must be a whole number <= 1000000, not {count}"
    )


def test_what_stands_in_an_input_is_shown_and_not_acted_upon():
    told = str(InputError("'a\nb\x1b[31m\x00ä' is no id", "net.toml", 2))
    assert told == "net.toml:2: 'a\\nb\\x1b[31m\\x00ä' is no id"
    assert len(str(InputError("x" * 100_000))) < 1100


def test_more_than_a_network_holds_in_several_groups_is_refused():
    half = '[[groups]]\nid = "{}"\nmodel = "nodes.lif"\ncount = 600_000\n'
    assert "1,200,000 neurons and sources" in refused(half.format("a") + half.format("b"))
