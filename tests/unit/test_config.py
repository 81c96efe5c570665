"""Reading configs. In the tables of mistakes below, `# <-` marks the line the error must name."""

# ruff: noqa: E501 (a row of a table stays one row)

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurobus.config import load, loads, schema
from neurobus.config.locate import Lines
from neurobus.errors import InputError

CONFIGS = Path(__file__).parents[2] / "configs"

GOOD = """
[run]
dt = "0.1 ms"
seed = 7
[[neurons]]
id = "a"
model = "nodes.lif"
params = { I_e = "400 pA", V_th = { normal = ["-55 mV", "1 mV"], min = "-60 mV" } }
[[groups]]
id = "exc"
count = 3
model = "nodes.lif"
[groups.params]
I_e = "100 pA"
[[sources]]
id = "drive"
kind = "poisson"
rate = "20 Hz"
[[synapses]]
when = "!cut"
pre = "drive"
post = "a"
weight = "100 pA"
delay = "1 ms"
[switches]
cut = false
"""


def mistake(text, overrides=(), files=None):
    with pytest.raises(InputError) as caught:
        loads(text, "net.toml", files or {}, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_good_config():
    config = loads(GOOD, "net.toml", {})
    assert (config.run.dt_ns, config.run.seed, config.run.clock) == (100_000, 7, "wall")
    assert (config.run.grace_ns, config.run.snapshot_every_ns, config.run.duration_ns) == (
        20_000_000,
        10**10,
        None,
    )
    assert (config.run.potential_delta_mv, config.run.potential_interval_ns) == (0.5, 1_000_000)
    assert config.neurons[0].params["V_th"].normal == ("-55 mV", "1 mV")
    assert config.groups[0].params == {"I_e": "100 pA"}
    assert [place for place, _ in config.active("synapses")] == [("synapses", 0)]


def test_switches_choose_tables():
    config = loads(GOOD, "net.toml", {}, ["switches.cut=true"])
    assert list(config.active("synapses")) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[run]\nclock "wall" # <-', "not valid TOML: Expected '='"),
        ('[run]\nseed = "x', "not valid TOML"),
        ("[[neurons]]\nid = 'a'\nparams = { tau_m = '1 ms', # <-\n  C_m = '1 pF' }", "must stay on one line"),
        ("[run]\nseed = 1\nseed = 2 # <-", "not valid TOML: Cannot overwrite a value"),
        ("[rum] # <-\nseed = 1", "unknown field 'rum' in a config; did you mean 'run'?"),
        ("[run]\nsead = 1 # <-", "unknown field 'sead' in [run]; did you mean 'seed'?"),
        ("[run]\nseed = -1 # <-", "'seed' must be a whole number >= 0, not -1"),
        ("[run]\nseed = 1.5 # <-", "'seed' must be a whole number, not a number"),
        ('[run]\nclock = "virtul" # <-', "clock cannot be 'virtul'; did you mean 'virtual'?"),
        ('[run]\non_log_failure = "halt" # <-', "known: continue, stop"),
        ('[run]\ndt = "0.1 mV" # <-', "dt: '0.1 mV' is voltage; this must be time, such as \"0.1 ms\""),
        ('[run]\ndt = "0 ms" # <-', "dt must be > 0, not '0 ms'"),
        ('[run]\ndt = "0.5 ns" # <-', "not a whole number of nanoseconds"),
        ("[run]\ndt = 0.1 # <-", 'dt: 0.1 has no unit; write "0.1 ms"'),
        ("[run]\ndt = true # <-", "'dt' must be a quantity such as \"20 ms\", not true"),
        ('[run]\nduration = "1.05 ms" # <-', "duration '1.05 ms' is no multiple of dt = 0.1 ms"),
        ('[run]\ngrace = "-1 ms" # <-', "grace must be >= 0"),
        ('[run]\npotential_delta = "1 ms" # <-', "potential_delta: '1 ms' is time; this must be voltage"),
        ("[run]\nneurons_per_process = 2\nprocesses = 2 # <-", "not both"),
        ("[run]\nrecord_potentials = [\n 'a',\n 3] # <-", "'record_potentials' must be text in quotes"),
        ("[groups] # <-\nid = 'a'", "write [[groups]], not [groups]"),
        ("[sources] # <-\nid = 'a'", "write [[sources]], not [sources]"),
        ("[[neurons]] # <-\nid = 'a'", "[[neurons]] needs 'model'"),
        ("[[neurons]]\nid = 'a b' # <-\nmodel = 'm'", "'a b' is no id; use up to 200 letters"),
        ("[[neurons]]\nid = '.a' # <-\nmodel = 'm'", "'.a' is no id"),
        ("[[neurons]]\nid = 'a'\nmodel = 'm'\nmodle = 'm' # <-", "unknown field 'modle' in [[neurons]]"),
        ("[[neurons]]\nid = 'a'\nmodel = 3 # <-", "'model' must be text in quotes, not a whole number"),
        ("[[groups]]\nid = 'a'\nmodel = 'm'\ncount = 0 # <-", "'count' must be a whole number >= 1, not 0"),
        ("[[neurons]]\nid = 'a'\nmodel = 'm'\nparams.V = '1 mV'\nparams.W = true # <-", "'W' must be a quantity"),
        ("[[neurons]]\nid = 'a'\nmodel = 'm'\n[neurons.params]\nV = '1 mV'\nW = { unifrm = [1, 2] } # <-",
         "unknown field 'unifrm' in a distribution; did you mean 'uniform'?"),
        ("[[neurons]]\nid = 'a'\nmodel = 'm'\nparams = { W = { uniform = [1] } } # <-",
         "'uniform' must be a list of length 2"),
        ("[[sources]] # <-\nid = 'a'", "[[sources]] needs 'kind'"),
        ("[[sources]]\nid = 'a'\nkind = 'poison' # <-", "kind cannot be 'poison'; did you mean 'poisson'?"),
        ("[[sources]] # <-\nid = 'a'\nkind = 'poisson'", "a source of kind 'poisson' needs 'rate'"),
        ("[[sources]]\nkind = 'current'\ntarget = 'a'\namplitude = '1 pA'\nrate = '1 Hz' # <-",
         "unknown field 'rate' in a source of kind 'current'"),
        ("[[synapses]]\nrule = 'all' # <-", "rule cannot be 'all'; known: one_to_one"),
        ("[[synapses]]\nprobability = '10 %' # <-", "'probability' must be a number, not text in quotes"),
        ("[[synapses]]\n[[synapses]]\nwhen = 'x' # <-", "no switch 'x'; declare it in [switches]"),
        ("[[synapses]]\nwhen = '!muscle' # <-\n[switches]\nmuscles = true", "did you mean 'muscles'?"),
        ("[switches]\na = true\nb = 'yes' # <-", "'b' must be true or false, not text in quotes"),
        ("[[synapses]]\ncsv = 'x.csv' # <-", "'x.csv' cannot be read beside the config: no such file"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(text, says):
    line = next((n for n, line in enumerate(text.splitlines(), 1) if "# <-" in line), text.count("\n") + 1)
    message = mistake(text)
    assert says in message
    assert message.startswith(f"net.toml:{line}: ")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("groups.exc.count=-1", "'count' must be a whole number >= 1, not -1"),
        ("groups.exd.count=1", "there is no 'exd'; did you mean 'exc'?"),
        ("run.sead=1", "unknown field 'sead' in [run]; did you mean 'seed'?"),
        ("run.dt=20 mV", "dt: '20 mV' is voltage"),
        ("run.seed", "write PATH=VALUE"),
        ("=3", "write PATH=VALUE"),
        ("run..seed=3", "write PATH=VALUE"),
        ("switches.cat=true", "no switch 'cat'; did you mean 'cut'?"),
        ("switches.cut=maybe", "'cut' must be true or false"),
        ("synapses.1.weight=3 pA", "there is no number 1; the last is 0"),
        ("neurons.a.id.x=1", "'id' is a value, it holds nothing named 'x'"),
        ("neurons.a.params.I_e=true", "'I_e' must be a quantity"),
        ("rum.seed=1", "unknown field 'rum'"),
    ],
)
def test_a_mistake_in_an_override_names_the_override(override, says):
    message = mistake(GOOD, [override])
    assert message.startswith(f"--set {override}: ")
    assert says in message


def test_overrides_reach_everything():
    overrides = ["run.seed=3", "groups.exc.count=200", "neurons.a.params.I_e=500 pA", "run.duration='2 s'",
                 "synapses.0.weight={ uniform = ['1 pA', '2 pA'] }", "sources.drive.rate=1 Hz",
                 "run.record_potentials=['a']", "run.clock = virtual"]  # fmt: skip
    config = loads(GOOD, "net.toml", {}, overrides)
    assert (config.run.seed, config.run.clock, config.run.duration_ns) == (3, "virtual", 2 * 10**9)
    assert config.groups[0].count == 200
    assert config.neurons[0].params["I_e"] == "500 pA"
    assert config.synapses[0].weight.uniform == ("1 pA", "2 pA")
    assert config.sources[0].rate == "1 Hz"
    assert config.run.record_potentials == ["a"]
    assert config.overrides == overrides and config.text == GOOD


def test_ids_with_dots_in_overrides():
    text = "[[neurons]]\nid = 'n.1'\nmodel = 'm'\n[[neurons]]\nid = 'n.1.x'\nmodel = 'm'"
    config = loads(text, "net.toml", {}, ["neurons.n.1.x.model=long", "neurons.n.1.model=short"])
    assert [neuron.model for neuron in config.neurons] == ["short", "long"]


def test_packing_from_the_command_line_replaces_that_of_the_file():
    text = "[run]\nneurons_per_process = 10"
    run = loads(text, "net.toml", {}, ["run.processes=2"]).run
    assert (run.processes, run.neurons_per_process) == (2, 1)
    run = loads("[run]\nprocesses = 2", "net.toml", {}, ["run.neurons_per_process=5"]).run
    assert (run.processes, run.neurons_per_process) == (None, 5)


def test_files_are_read_once_and_only_where_used(tmp_path):
    (tmp_path / "w.csv").write_bytes(b"pre,post\r\n")
    text = ("[[synapses]]\ncsv = 'w.csv'\n[[electrical]]\nwhen = 'gaps'\ncsv = 'missing.csv'\n"
            "[switches]\ngaps = false")  # fmt: skip
    (tmp_path / "net.toml").write_text(text)
    config = load(tmp_path / "net.toml")
    assert config.files == {"w.csv": b"pre,post\r\n"}
    assert config.path == tmp_path / "net.toml"
    again = loads(config.text, "net.toml", config.files, config.overrides)
    assert again.files == config.files
    with pytest.raises(InputError, match=r"net\.toml:5: 'missing\.csv' cannot be read"):
        load(tmp_path / "net.toml", ["switches.gaps=true"])


def test_files_that_are_no_configs(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.toml: cannot be read: no such file"):
        load(tmp_path / "nothing.toml")
    with pytest.raises(InputError, match="cannot be read: "):
        load(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\n")
    with pytest.raises(InputError, match=r"latin\.toml: is not UTF-8 text"):
        load(tmp_path / "latin.toml")
    (tmp_path / "notepad.toml").write_bytes(b"\xef\xbb\xbf[run]\r\nseed = 3\r\nsead = 4\r\n")
    with pytest.raises(InputError, match=r"notepad\.toml:3: "):
        load(tmp_path / "notepad.toml")


def test_lines_of_every_shape_of_toml():
    text = '''# a comment [not.a.table]
top = """
[[no]]
x = 1
""\\""""
[a]
"quoted key" = 'v' # = [
b.c = { d = [1, 2], "e f" = { g = "]" } }
[[t]]
x = [ # first
  "a", # ]
  'b"',
]
[[t.u]]
y = 1979-05-27T07:32:00Z
[[t.u]]
y = 2
[t.v.w]
z = 3
[[t]]
x = \'\'\'
'\'\'\'\'
y = -1'''
    tomllib.loads(text)
    lines = Lines(text)
    expected = {
        ("top",): 2, ("a",): 6, ("a", "quoted key"): 7, ("a", "b"): 8, ("a", "b", "c", "d", 1): 8,
        ("a", "b", "c", "e f", "g"): 8, ("t", 0): 9, ("t", 0, "x"): 10, ("t", 0, "x", 0): 11, ("t", 0, "x", 1): 12,
        ("t", 0, "u", 0): 14, ("t", 0, "u", 0, "y"): 15, ("t", 0, "u", 1, "y"): 17, ("t", 0, "v", "w", "z"): 19,
        ("t", 1): 20, ("t", 1, "x"): 21, ("t", 1, "y"): 23,
        ("t", 1, "nothing", 5): 20, ("nowhere",): 1,
    }  # fmt: skip
    assert {place: lines.of(place) for place in expected} == expected


def places(value, path=()):
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


@pytest.mark.parametrize("file", sorted(CONFIGS.rglob("*.toml")), ids=lambda path: path.name)
def test_every_place_of_the_configs_shipped_has_a_line(file):
    text = file.read_text()
    lines, rows = Lines(text), text.splitlines()
    for place in places(tomllib.loads(text)):
        if place and isinstance(place[-1], str):
            assert place[-1] in rows[lines.of(place) - 1]


@given(st.text(alphabet="[]{}\"'=#.,\n abx1", max_size=40))
def test_no_text_breaks_it(text):
    try:
        loads(text, "net.toml", {})
    except InputError as error:
        assert error.line is not None and 1 <= error.line <= text.count("\n") + 1


@given(st.text(alphabet="=.[]{}'\"x1- neurosabid", max_size=30))
def test_no_override_breaks_it(override):
    try:
        loads(GOOD, "net.toml", {}, [override])
    except InputError as error:
        assert "\n" not in str(error)


def test_the_schema_describes_what_is_accepted():
    described = schema()
    json.dumps(described)
    group = described["$defs"]["Group"]
    assert set(group["properties"]) == {
        "when", "id", "model", "count", "ids", "csv", "params", "space", "patterns",
    }  # fmt: skip
    assert group["required"] == ["id", "model"] and group["additionalProperties"] is False
    msgspec.convert(tomllib.loads(GOOD), loads(GOOD, "net.toml", {}).__class__.__bases__[0])


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("weight = 400 pA", 'quantities need quotes; write "400 pA"'),
        ("weight = 400pA", 'quantities need quotes; write "400pA"'),
        ("weight = -.5 nA  # strong", 'quantities need quotes; write "-.5 nA"'),
        ("params = { tau_m = 20 ms }", 'quantities need quotes; write "20 ms"'),
        ('delay = { uniform = ["1 ms", 2 ms] }', 'quantities need quotes; write "2 ms"'),
        ("velocity = 0.3 m/s", 'quantities need quotes; write "0.3 m/s"'),
        ("rule = one_to_one", 'text needs quotes; write "one_to_one"'),
        ("record_potentials = [exc.0]", 'text needs quotes; write "exc.0"'),
        ("weight = 400 400", "not valid TOML: "),
        ('"20 ms" x', "not valid TOML: "),
    ],
)
def test_what_lacks_its_quotes(line: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        loads(f"[run]\nseed = 1\n{line}\nclock = 'wall'\n", "c.toml", {})
    assert str(caught.value).startswith(f"c.toml:3: {says}")


@pytest.mark.parametrize(
    ("field", "suggests"),
    [
        ("duration", "2 s"),
        ("snapshot_every", "2 s"),
        ("weight_interval", "2 s"),
        ("dt", "2 ms"),
        ("grace", "2 ms"),
    ],
)
def test_a_time_without_unit_is_given_the_usual_one(field: str, suggests: str) -> None:
    for written in ("2", "'2'"):
        with pytest.raises(InputError) as caught:
            loads(f"[run]\n{field} = {written}\n", "c.toml", {})
        assert f'"{suggests}"' in str(caught.value)
