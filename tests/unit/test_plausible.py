"""Values that may be a slip of the unit are told by `check`; those of the shipped networks are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurobus import config, describe, network
from neurobus.errors import InputError
from neurobus.plausible import implausible
from tests.helpers import net, table

ROOT = Path(__file__).parents[2]


def cell(model: str, **params: str) -> str:
    written = ", ".join(f'{name} = "{value}"' for name, value in params.items())
    return table("groups", id="a", model=model, count="3", params=f"{{ {written} }}").replace('"3"', "3")


def synapse(weight: str) -> str:
    return table("synapses", pre="a", post="a", rule="all_to_all", weight=weight, delay="1 ms")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (cell("nodes.lif", I_e="400 nA"), "I_e is 400000 pA in a.0 and 2 more, more than any cell's"),
        (cell("nodes.lif", I_e="30 nA"), "I_e is 30000 pA in a.0"),
        (cell("nodes.lif", V_th="5 V"), "V_th is 5000 mV in a.0"),
        (cell("nodes.lif") + synapse("-40 nA"), "6 synapses as strong as no cell's: a.0 → a.1 is -40000 pA"),
        (
            cell("nodes.lif_cond") + synapse("30 uS"),
            "6 synapses as strong as no cell's: a.0 → a.1 is 3",
        ),
        (
            cell("nodes.izhikevich") + synapse("2 V"),
            "6 synapses as strong as no cell's: a.0 → a.1 is 2",
        ),
        (
            cell("nodes.lif") + table("sources", kind="current", target="a.1", amplitude="1 uA"),
            "a current is 1e+06 pA in a.1, more",
        ),
        (cell("nodes.hodgkin_huxley", g_Na="5 mS"), "g_Na is 5e+06 nS in a.0"),
        (
            cell("nodes.lif") + table("graded", pre="a.0", post="a.1", weight="1 mA"),
            "1 graded synapse as strong as no cell's: a.0 → a.1 is 1e+09 pA",
        ),
        (cell("nodes.lif", I_e="400 pA") + synapse("4000 pA"), None),
        (cell("nodes.lif", I_e="30 nA", C_m="25 nF"), None),
    ],
)
def test_a_slip_of_the_unit(text: str, says: str | None) -> None:
    told = list(implausible(net(text)))
    assert [line.startswith(says or "nothing") for line in told] == [True] * (says is not None)
    assert set(told) <= set(describe.describe(net(text))["warnings"])


SHIPPED = [*sorted(ROOT.glob("configs/first/*.toml")), *(ROOT / f"configs/papers/{name}.toml" for name in
           ("gap_junction", "hodgkin_huxley", "memory"))]  # fmt: skip


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_no_shipped_network_is_implausible(path: Path) -> None:
    assert list(implausible(network.build(config.load(path)))) == []


@pytest.mark.parametrize(
    "text",
    [
        cell("nodes.lif", I_e="1e300 pA"),
        cell("nodes.lif", E_L="-1e300 mV"),
        cell("nodes.hodgkin_huxley", g_Na="1e300 nS"),
        cell("nodes.lif") + synapse("1e300 pA"),
        cell("nodes.lif") + synapse('{ normal = ["1e300 pA", "1 pA"] }'),
        cell("nodes.hodgkin_huxley", g_Na="1e14 nS"),
        cell("nodes.lif_cond") + synapse("1e14 nS"),
        cell("nodes.lif") + table("electrical", a="a.0", b="a.1", conductance="1e300 nS"),
        cell("nodes.lif") + table("graded", pre="a.0", post="a.1", weight="1e300 pA"),
        cell("nodes.lif") + table("sources", kind="current", target="a", amplitude="1e300 pA"),
        cell("nodes.lif") + table("sources", kind="background", target="a", rate="1e300 Hz", weight="1 pA"),
        cell("nodes.lif") + table("sources", id="p", kind="poisson", rate="1e300 Hz"),
        cell("nodes.lif", C_m="1e-310 pF"),
    ],
)
def test_numbers_that_overflow_are_refused_at_their_line(text: str) -> None:
    with pytest.raises(
        InputError, match=r":\d+: .*(beyond every number|no finite number|must be <=|at most)"
    ):
        net(text)


def test_a_table_is_held_to_the_same(tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text("pre,post,weight [pA],delay [ms]\na.0,a.1,1e300,1\n")
    (tmp_path / "x.toml").write_text(cell("nodes.lif") + table("synapses", csv="w.csv"))
    with pytest.raises(InputError, match=r"w.csv:2: weight '1e300' is beyond every number"):
        network.build(config.load(tmp_path / "x.toml"))
