"""The command line without a cluster: help, bad input, and what needs no run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neurobus import cli
from neurobus.cli import doctor
from neurobus.log import Header, LogWriter

ROOT = Path(__file__).parents[2]
Run = Callable[..., tuple[int, str, str]]
RING = str(ROOT / "configs/first/ring.toml")


@pytest.fixture
def neurobus(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line in this process: exit code, stdout, stderr."""
    monkeypatch.setattr(sys, "path", sys.path[:])

    def run(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["neurobus", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture
def log(tmp_path: Path) -> Path:
    header = Header("x.toml", "", 1, 100_000, "wall", ["a", "b"], 0, n_neurons=2)
    writer = LogWriter(tmp_path / "x.mcap", header)
    writer.spikes([10_000_000, 20_000_000], [0, 1], 0)
    return writer.close(30_000_000)


@pytest.mark.parametrize(
    "verb", [*cli.VERBS, *(f"log {verb}" for verb in ("info", "export", "diff", "recover", "verify"))]
)
def test_every_verb_has_help_with_an_example(neurobus: Run, verb: str) -> None:
    code, out, err = neurobus(*verb.split(), "--help")
    assert code == 0 and not err
    body = out.partition("Usage:")[2].partition("\n")[2]
    assert f"neurobus {verb}" in body


def test_alone_it_says_what_there_is(neurobus: Run) -> None:
    code, out, _ = neurobus()
    assert code == 0 and all(verb in out for verb in cli.VERBS) and "Exit codes:" in out


BAD = [
    ("ps x", 2, "unexpected extra argument"),
    ("nonsense", 2, "No such command 'nonsense'"),
    ("run RING --top", 2, "--top needs a terminal; --raster draws in characters"),
    ("run RING --top --raster", 2, "exclude each other"),
    ("stop", 3, "no cluster is running"),
    ("stop ring", 3, "no cluster named 'ring' is running"),
    ("stop a --cluster b", 2, "two clusters are named"),
    ("poke", 2, "Missing argument 'NEURON...'"),
    ("poke n.0", 3, "no cluster is running"),
    ("record LOG.mcap", 3, "no cluster is running"),
    ("record LOG", 2, "add --overwrite"),
    ("record LOG.x", 2, "a recording is a .mcap"),
    ("run RING --record LOG", 2, "add --overwrite"),
    ("run RING --record RING --overwrite", 2, "a recording is a .mcap"),
    ("run RING --record LOG/x.mcap", 2, "there is no folder"),
    ("run RING --replay LOG --only n.0 --record LOG --overwrite", 2, "it is not recorded over"),
    ("log export LOG LOG --format csv", 2, "no export, so it is kept"),
    ("log recover NOBODY -o LOG", 2, "No such file"),
    ("replay LOG --wait --cluster x", 2, "bus of its own"),
    ("record LOG.x --for soon", 2, "is not a quantity"),
    ("record LOG.x --for 3mV", 2, "this must be time"),
    ("record LOG.x --for 100", 2, 'such as "100 s"'),
    ("plot LOG --start 1", 2, 'such as "1 s"'),
    ("check", 2, "Missing argument 'CONFIG'"),
    ("check gone.toml", 2, "gone.toml: cannot be read"),
    ("check RING --set run.dt=3", 2, "--set run.dt=3: "),
    ("check RING --seed x", 2, "not a valid integer"),
    ("schema now", 2, "unexpected extra argument"),
    ("replay gone.mcap", 2, "gone.mcap: cannot be read"),
    ("replay RING", 2, "ring.toml: "),
    ("replay LOG --rate 0", 2, "cannot go at rate 0"),
    ("replay LOG --rate fast", 2, "not a valid float"),
    ("replay LOG --only c", 2, "no neuron 'c'"),
    ("replay LOG --only ,", 2, "names no neuron"),
    ("replay LOG --start 1s", 2, "the log ends at 30 ms"),
    ("replay LOG --start 12ms --end 13ms", 2, "nothing to play"),
    ("replay LOG --cluster ring", 3, "no cluster named 'ring'"),
    ("replay LOG --cluster ring --alone", 2, "exclude each other"),
    ("replay LOG --step --loop", 2, "exclude each other"),
    ("plot LOG -o x.bmp", 2, "cannot draw a '.bmp'"),
    ("plot LOG --start 1s", 2, "the log ends at 30 ms"),
    ("plot LOG --start 9ms --end 3ms", 2, "is not after"),
    ("plot LOG --only z", 2, "no neuron 'z'"),
    ("log info gone.mcap", 2, "gone.mcap: cannot be read"),
    ("log infos", 2, "No such command 'infos'"),
    ("log diff LOG", 2, "Missing argument 'B'"),
    ("log export LOG x.wav", 2, "x.wav: cannot export as '.wav'"),
    ("log export LOG x --format wav", 2, "'wav' is not one of"),
    ("log export LOG", 2, "name one file to write: OUT, or -o FILE"),
    ("log export LOG a.csv -o b.csv", 2, "name one file to write"),
    ("log recover RING", 2, "ring.toml: "),
    ("log recover LOG -o LOG", 2, "not recovered over itself"),
    ("log verify LOG", 2, "the config in this log is lost"),
]


@pytest.mark.parametrize(("words", "code", "says"), BAD, ids=[words for words, _, _ in BAD])
def test_bad_input_is_one_line(neurobus: Run, log: Path, words: str, code: int, says: str) -> None:
    got, out, err = neurobus(*(word.replace("LOG", str(log)).replace("RING", RING) for word in words.split()))
    assert says in err and (got, out) == (code, "") and err.count("\n") == 1


def test_a_pace_is_refused_where_the_config_has_the_wall_clock(neurobus: Run) -> None:
    code, out, err = neurobus("run", RING, "--pace", "1", "--for", "100ms")
    # a kernel may be compiled first, with a word of it
    assert (code, out) == (2, "") and err.splitlines()[-1].startswith("--pace goes with --clock virtual")


def test_check_and_schema(neurobus: Run) -> None:
    code, out, _ = neurobus("check", RING, "--set", "groups.n.count=30", "--json")
    assert code == 0 and json.loads(out)["neurons"] == 30
    code, out, _ = neurobus("check", RING)
    assert code == 0 and "nodes.lif 20" in out
    code, out, _ = neurobus("schema")
    assert code == 0 and "Document" in json.loads(out)["$defs"]


def test_doctor_names_a_command_for_what_is_amiss(neurobus: Run) -> None:
    code, out, _ = neurobus("doctor", "--json")
    found = {finding["what"]: finding for finding in json.loads(out)}
    assert {
        "python",
        "packages",
        "open files",
        "runtime folder",
        "bus",
        "clock",
        "serial ports",
        "avr-gcc",
    } <= set(found)
    assert found["bus"]["state"] == "ok"
    assert all(finding["mend"] for finding in found.values() if finding["state"] == "bad")
    assert code == (1 if any(finding["state"] == "bad" for finding in found.values()) else 0)


def test_doctor_asks_for_all_that_is_needed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert list(doctor.PACKAGES) == [need.partition(">")[0] for need in project["dependencies"]]


def test_doctor_says_what_to_install(neurobus: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("click", "no-such-package"))
    code, out, _ = neurobus("doctor", "--json")
    packages = {finding["what"]: finding for finding in json.loads(out)}["packages"]
    assert code == 1 and packages["mend"] == f"{sys.executable} -m pip install no-such-package"


WITHOUT_ZMQ = """
import importlib.metadata as metadata
import sys
import tomllib

version = metadata.version

def version_but_of_pyzmq(name):
    if name == "pyzmq":
        raise metadata.PackageNotFoundError
    return version(name)

metadata.version = version_but_of_pyzmq
sys.modules["zmq"] = None
from neurobus.cli import main
main()
"""


@pytest.mark.parametrize(("words", "says"), [("poke n", "'zmq' is missing"), ("doctor", "missing: pyzmq")])
def test_a_missing_package_is_no_traceback(words: str, says: str) -> None:
    command = [sys.executable, "-c", WITHOUT_ZMQ, *words.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr and says in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("soft", "hard", "state"), [(256, 4096, "bad"), (1024, 4096, "note"), (4096, 4096, "ok"), (-1, -1, "ok")]
)
def test_a_limit_is_held_against_large_runs(soft: int, hard: int, state: str) -> None:
    finding = doctor._limit("open files", (soft, hard), 2, 64, "-n")
    assert finding.state == state and (state == "ok" or finding.mend == "ulimit -n 2064")


def test_a_runtime_folder_too_long_for_sockets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEUROBUS_RUNTIME_DIR", str(tmp_path / ("x" * 90)))
    found = {finding.what: finding for finding in doctor._folders()}
    assert found["runtime folder"].state == "bad" and "NEUROBUS_RUNTIME_DIR" in found["runtime folder"].mend
    monkeypatch.setenv("NEUROBUS_RUNTIME_DIR", "/proc/nobody/writes/here")
    assert next(doctor._folders()).state == "bad"


def test_the_same_option_for_the_same_thing_in_every_verb() -> None:
    """What is written: -o/--output; a part of model time: --start and --end; how long: --for."""
    import importlib

    import click

    commands = {verb: importlib.import_module(f"neurobus.cli.{verb}").command for verb in cli.VERBS}
    for verb, command in list(commands.items()):
        if isinstance(command, click.Group):
            commands |= {f"{verb} {name}": sub for name, sub in command.commands.items()}
    shown = {
        verb: [set(p.opts) for p in command.params if isinstance(p, click.Option) and not p.hidden]
        for verb, command in commands.items()
    }
    same = [{"-o", "--output"}, {"--start"}, {"--end"}, {"--for"}, {"--only"}, {"--json"}, {"--cluster"}]
    for verb, options in shown.items():
        for names in options:
            assert all(names == known or not names & known for known in same), (verb, names)
            assert not names & {"--out", "--from-time", "--until", "--duration", "--name", "--ids"}, (
                verb,
                names,
            )
    assert {"-o", "--output"} in shown["train"] and {"-o", "--output"} in shown["log export"]


NAMED_BY_DATA = {"models", "synapse_types", "switches", "busiest", "events", "rows_skipped", "weights"}
"""Objects whose keys are names of things (or units), not of figures."""
VERBS_WITH_JSON = [
    "check RING", "describe RING", "models", "models nodes.stdp", "models rules", "models fields", "doctor",
    "log info LOG", "ps", "log diff LOG LOG",
]  # fmt: skip


@pytest.mark.parametrize("words", VERBS_WITH_JSON)
def test_json_has_keys_of_one_shape(neurobus: Run, log: Path, words: str) -> None:
    args = [word.replace("LOG", str(log)).replace("RING", RING) for word in words.split()]
    _, out, _ = neurobus(*args, "--json")

    def keys(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            for key, of in value.items():
                yield key
                yield from keys(of) if key not in NAMED_BY_DATA else ()
        for of in value if isinstance(value, list) else ():
            yield from keys(of)

    found = set(keys(json.loads(out)))
    assert {key for key in found if not re.fullmatch(r"[a-z][a-z0-9_]*", key)} == set()
