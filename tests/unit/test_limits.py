"""What no config may ask for is refused in one line, before anything is made of it."""

from __future__ import annotations

import os

import pytest
from click.testing import CliRunner

from neurobus import network
from neurobus.cli import run
from neurobus.cluster import room
from neurobus.cluster.summary import Summary, exit_code
from neurobus.config import load, loads
from neurobus.config.schema import RESERVED
from neurobus.errors import EXIT_CODES, InputError

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
    from neurobus.cli.common import RECORDING
    from neurobus.cluster import fork_server, launcher

    programs = {module.rpartition(".")[2] for module in (RECORDING, witness.MODULE)}
    assert programs | {bridge.NAME, conductor.NAME, launcher.NAME, fork_server.HUB} <= RESERVED


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


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a = " + "[" * 3000 + "]" * 3000, "nested too deep"),
        ("[run]\na = " + "{a=" * 3000 + "1" + "}" * 3000, "nested too deep"),
        ("[run]\nseed = " + "9" * 5000, "too many digits"),
        (NEURON.format("n") + "params = { I_e = " + "9" * 5000 + " }", "too many digits"),
        ("[run]\nseed = 0x" + "f" * 5000, "net.toml:2: a whole number has at most 64 bits"),
        (NEURON.format("n") + "params = { I_e = 0x" + "f" * 17 + " }", ":4: a whole number has at most"),
        ("[run]\nseed = -1", "net.toml:2: 'seed' must be a whole number >= 0"),
        ("[run]\nrestarts = 4_000_000_000", "net.toml:2: 'restarts' must be a whole number <= "),
        ('[run]\ndt = "1e400 s"', "net.toml:2: dt: '1e400 s' is longer than the longest time"),
        ('[run]\ndt = "1e999999999999999999 s"', "is beyond every number"),
        ('[run]\ndt = "2 s"', "dt must be <= 1 s"),
        ('[run]\ngrace = "1e30 s"', "longer than the longest time"),
        ('[run]\npotential_delta = "1e400 mV"', "not a finite number"),
        (NEURON.format("n") + 'params = { V_m = "1e999 mV" }', "net.toml:4: V_m: '1e999 mV' is beyond"),
    ],
)
def test_numbers_and_nesting_beyond_all_bounds_are_one_line(text, word):
    assert word in refused(text)


def synapses(**keys):
    return "[[synapses]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


@pytest.mark.parametrize(
    ("count", "keys", "word"),
    [
        (1, {"rule": '"all_to_all"', "delay": '"1e300 s"'}, "is beyond every number"),
        (1, {"rule": '"all_to_all"', "delay": '"1e9 s"'}, "longest"),
        (20_000, {"rule": '"all_to_all"', "delay": '"1 ms"'}, "400,000,000 synapses; a projection"),
        (
            100_000,
            {"rule": '"fixed_probability"', "probability": 0.1, "delay": '"1 ms"'},
            "1,000,000,000 syn",
        ),
        (100_000, {"rule": '"fixed_indegree"', "indegree": 99_000, "delay": '"1 ms"'}, "9,900,000,000 syn"),
    ],
)
def test_a_projection_beyond_memory_or_time_is_refused_before_it_is_made(count, keys, word):
    group = f'[[groups]]\nid = "g"\nmodel = "nodes.lif"\ncount = {count}\n'
    told = refused(group + synapses(pre='"g"', post='"g"', weight='"1 pA"', **keys))
    assert word in told and told.startswith("net.toml:")


def test_patterns_beyond_memory_are_refused():
    text = '[[groups]]\nid = "g"\nmodel = "nodes.lif"\ncount = 1000\npatterns = { count = 1_000_000 }\n'
    assert "1,000,000 patterns of 1,000 neurons" in refused(text)


@pytest.mark.parametrize("name", ["a\\u0000b", "/dev/zero", ".", "missing.csv", "/dev/null"])
def test_a_csv_that_is_no_file_is_refused_and_not_waited_for(tmp_path, name):
    path = tmp_path / "net.toml"
    path.write_text(NEURON.format("n") + f'[[synapses]]\ncsv = "{name}"\n')
    with pytest.raises(InputError, match=r"net.toml:5: .*cannot be read beside the config") as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_config_that_is_no_file_is_refused_and_not_waited_for(tmp_path, make):
    make(tmp_path / "net.toml")
    with pytest.raises(InputError, match=r"net.toml: cannot be read: it is "):
        load(tmp_path / "net.toml")


@pytest.mark.parametrize(
    "args",
    [
        ["--seed", "-1"],
        ["--seed", str(2**64)],
        ["--for", "1e400s"],
        ["--for", "1e99999999999999999999 s"],
        ["--pace", "nan"],
        ["--pace", "inf"],
        ["--pace", "0"],
        ["--pace", "-1"],
    ],
)
def test_arguments_beyond_all_bounds_are_one_line(args):
    result = CliRunner().invoke(run.command, ["net.toml", *args])
    assert (
        result.exit_code == 2
        and isinstance(result.exception, SystemExit)
        and "Invalid value" in result.output
    )


def test_room_is_asked_for_in_words_that_say_what_would_fit():
    big = room.Room(8000.0, 1_000_000, None)
    assert list(room.missing(1000, 1000, 10.0, big)) == []
    (word,) = room.missing(100_000, 100_000, 200.0, big)
    assert word == (
        "100,000 processes need about 400.2 GB of memory, and 8.0 GB are free; pack several into one: "
        "run.neurons_per_process = 101"
    )
    (word,) = room.missing(1000, 1000, 10.0, room.Room(None, 1024, None))
    assert "need 2,060 open files, and the limit is 1,024 (ulimit -n 2060)" in word
    (word,) = room.missing(1000, 1000, 10.0, room.Room(None, None, 300))
    assert "3,020 threads, and the limit leaves 300 (ulimit -u)" in word
    (word,) = room.missing(1, 5, 9000.0, big)
    assert "pack" not in word


def test_what_fits_by_its_own_word_fits():
    """Whoever does as told is not told again."""
    for some in (room.Room(8000.0, None, None), room.Room(None, 1024, None), room.Room(None, None, 300)):
        (word,) = room.missing(100_000, 100_000, 200.0, some)
        per = int(word.rpartition("= ")[2])
        assert list(room.missing(-(-100_000 // per), 100_000, 200.0, some)) == []


def test_this_machine_has_some_room():
    assert room.here().memory_mb > 10
    network_of_a_hundred_thousand = f"{GROUP}count = 100_000\n"
    built = network.build(loads(network_of_a_hundred_thousand, "net.toml", {}))
    assert any("GB are free" in word for word in room.missing(10**6, built.n_neurons, 0.0, room.here()))


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({}, 0),
        ({"lost": 0}, 0),
        ({"lost": 3}, 1),
        ({"signal": "SIGINT"}, 130),
        ({"signal": "SIGTERM", "lost": 3}, 143),
        ({"signal": "SIGHUP"}, 129),
    ],
)
def test_exit_codes_are_those_of_the_help(facts, code):
    assert exit_code(Summary(**facts)) == code and code in EXIT_CODES
