"""Models by name: what is wrong with one is said in one line, with file and line, by `check` already."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from neurobus import config, loading, modelpath, network
from neurobus.errors import InputError

MODEL = """\
from neurobus.model import Model, Param, State
import numpy as np


class Leaky(Model):
    tau_m = Param("20 ms", above=0)
    V = State("mV")

    def prepare(p, dt_ms):
        return {"decay": np.exp(-dt_ms / p["tau_m"])}

    def step(k, s, c, x, I, key, fired):
        for i in range(s.shape[1]):
            s[0, i] = s[0, i] * c[0, i] + x[0, i]
            fired[i] = 0
        return 0
"""


def cut(text: str) -> str:
    return MODEL[: MODEL.index(text)]


def written(tmp_path, monkeypatch, name, text):
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return f'[[neurons]]\nid = "n"\nmodel = "{name}"\n'


@pytest.mark.parametrize("name", modelpath.shipped())
def test_nothing_is_wrong_with_shipped_models(name):
    try:
        model = loading.load(name)
    except ImportError:
        return  # a synapse type, or what several share
    assert loading.fault(model) is None


@pytest.mark.parametrize(
    ("name", "text", "line", "word"),
    [
        ("m_step", cut("    def step"), 5, "it has no 'step'"),
        ("m_prepare", cut("    def prepare"), 5, "it has no 'prepare'"),
        ("m_state", MODEL.replace('V = State("mV")', 'U = State("mV")'), 5, "it has no State 'V'"),
        ("m_peak", MODEL.replace("    V =", '    peak = "V_peak"\n    V ='), 5, "it has no Param 'V_peak'"),
        ("m_args", MODEL.replace(", key, fired", ", fired"), 12, "'step' has 6 arguments; it must have 7"),
        ("m_name", MODEL.replace("+ x[0, i]", "+ gain * x[0, i]"), 12, "'step' uses 'gain'"),
        ("m_key", MODEL.replace('p["tau_m"]', 'p["tau"]'), 10, "KeyError: 'tau'"),
        ("m_shape", MODEL.replace("np.exp(-dt_ms / p", "np.exp(-dt_ms) / len(p"), 9, "arrays as long as"),
        ("m_syntax", MODEL.replace("range(s.shape[1]):", "range(2)"), 13, "Syntax"),
        ("m_raise", MODEL + "\n\ndef f():\n    return nowhere\n\n\nf()\n", 20, "NameError: name 'nowhere'"),
        ("m_exit", "import sys\nsys.exit(0)\n", 2, "SystemExit"),
        ("m_import", "import no_such_thing\n", 1, "No module named 'no_such_thing'"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_run_is_told_with_its_line(tmp_path, monkeypatch, name, text, line, word):
    read = config.loads(written(tmp_path, monkeypatch, name, text), "net.toml", {})
    with pytest.raises(InputError) as caught:
        network.build(read)
    told = str(caught.value)
    assert told.startswith("net.toml:3: ") and f"{tmp_path}/{name}.py:{line}: " in told and word in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("name", "meant"),
    [("lif", "nodes.lif"), ("Lif", "nodes.lif"), ("models.lif", "nodes.lif"),
     ("izikevich", "nodes.izhikevich"), ("nodes.lif_kond", "nodes.lif_cond")],
)  # fmt: skip
def test_a_name_without_its_package_is_understood(name, meant):
    with pytest.raises(ImportError, match=f"did you mean '{meant}'"):
        loading.load(name)


@pytest.mark.parametrize("name", ["", ".", "..nodes.lif", "nodes.", "no des", "a\nb", "x" * 5000 + "."])
def test_what_is_no_dotted_name_is_told(name):
    with pytest.raises(ImportError, match="is no dotted name"):
        loading.load(name)


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [(MODEL.replace("fired[i] = 0", "fired[i] = s.nothing"), 15, "Unknown attribute 'nothing'"),
     (MODEL.replace("fired[i] = 0", 'fired[i] = "no"'), 15, "setitem(array(uint8, 1d, C), int64,")],
)  # fmt: skip
def test_what_the_compiler_says_is_one_line(tmp_path, monkeypatch, text, line, word):
    from neurobus.node.kernel import codegen

    name = f"compiled_{len(word)}"
    written(tmp_path, monkeypatch, name, text)
    model = loading.load(name)
    with pytest.raises(Exception) as caught:
        codegen.compile_model(tmp_path / "x.kernel", name, model)
    told = loading.compiling_fault(model, caught.value)
    assert told.startswith(f"{tmp_path}/{name}.py:{line}: TypingError: ")
    assert word in told and "\n" not in told


def test_what_a_model_prints_does_not_reach_our_output(tmp_path):
    (tmp_path / "loud.py").write_text(MODEL + '\nprint("{}")\nprint("hello")\n')
    (tmp_path / "net.toml").write_text('[[neurons]]\nid = "n"\nmodel = "loud"\n')
    done = subprocess.run([sys.executable, "-m", "neurobus", "check", "net.toml", "--json"], cwd=tmp_path,
                          capture_output=True, text=True, check=True, timeout=120)  # fmt: skip
    assert json.loads(done.stdout)["neurons"] == 1 and "hello" in done.stderr


def test_a_module_built_into_python_is_no_model():
    """It has no file to be named with."""
    with pytest.raises(ImportError, match=r"module 'time' \(built into Python\) defines 0 models"):
        loading.load("time")


def test_the_former_name_of_potential_delta_goes_on_working(tmp_path, monkeypatch):
    older = MODEL.replace('    V = State("mV")', '    V = State("mV")\n    tell = "tau_m"')
    written(tmp_path, monkeypatch, "older", older)
    assert loading.load("older").potential_delta == "tau_m"
