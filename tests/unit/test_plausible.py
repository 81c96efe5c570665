"""Values that may be a slip of the unit are told by `check`; those of the shipped networks are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurobus import config, describe, network
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
