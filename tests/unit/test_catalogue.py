"""What a config may name, told by the things themselves; and the README's lists say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from neurobus import catalogue, modelpath
from neurobus.config.load import _TABLES
from neurobus.config.schema import Document, Rule
from neurobus.errors import InputError
from neurobus.network.pairs import OLD_NAMES

ROOT = Path(__file__).parents[2]
HELPERS = {"nodes.noise", "nodes.rkf45"}


def test_every_shipped_model_is_told_whole() -> None:
    found = catalogue.models()
    assert {one["name"] for one in found} == set(modelpath.shipped()) - HELPERS
    for one in found:
        facts = catalogue.model(one["name"])
        assert facts["kind"] in catalogue.KINDS and facts["summary"].endswith(".")
        assert all(param["about"] for param in facts["parameters"]), one["name"]
        assert all(state["about"] for state in facts.get("states", ())), one["name"]
        text = catalogue.render_model(facts)
        assert all(param["name"] in text for param in facts["parameters"]) and json.dumps(facts)


def test_a_parameter_has_default_unit_bounds_and_meaning() -> None:
    parameters = {one["name"]: one for one in catalogue.model("nodes.lif")["parameters"]}
    tau = {
        "name": "tau_m",
        "default": 10.0,
        "unit": "ms",
        "bounds": "> 0 ms",
        "about": "membrane time constant",
    }
    assert parameters["tau_m"] == tau
    assert catalogue.model("nodes.stdp_dopamine")["modulators"] == ["dopamine"]
    assert catalogue.model("nodes.lif")["receptors"] == ["ex", "in"]


def test_every_table_of_a_config_is_told() -> None:
    names = {table["name"] for table in catalogue.tables()}
    assert names >= set(Document.__struct_fields__) - {"switches", "sources"} and names >= set(_TABLES)
    run = {field["name"]: field for field in catalogue.table("run")["fields"]}
    assert run["clock"] == {"name": "clock", "required": False, "default": "wall", "is": "wall | virtual"}
    group = {field["name"]: field for field in catalogue.table("groups")["fields"]}
    assert group["model"]["required"] and group["params"]["is"] == "table of quantity or distribution"
    assert group["ids"]["is"] == "list of text" and group["count"]["is"] == "whole number"
    for table in catalogue.tables():
        assert table["about"] and catalogue.render_table(table) and json.dumps(table)


def test_every_rule_is_told_and_the_readme_says_the_same() -> None:
    rules = {rule["name"]: rule for rule in catalogue.rules()}
    assert set(rules) == set(get_args(Rule)) - set(OLD_NAMES)
    readme = (ROOT / "README.md").read_text()
    for rule in rules.values():
        keys = ", ".join(f"`{key}`" for key in (*rule["needs"], *rule["may_have"]))
        assert f"| `{rule['name']}` | {keys} | {rule['about']} |".replace("|  |", "| |") in readme


def test_the_list_of_nodes_names_them_all() -> None:
    text = (ROOT / "nodes/README.md").read_text()
    listed = {f"nodes.{name}" for name in re.findall(r"`(\w+)\.py`", text)}
    assert listed >= set(modelpath.shipped())


@pytest.mark.parametrize(
    ("word", "kind"),
    [("lif", "model"), ("nodes.stdp", "model"), ("distance", "rule"), ("run", "table"), ("encoder", "table")],
)
def test_one_thing_by_name(word: str, kind: str) -> None:
    found, facts = catalogue.find(word)
    assert found == kind and catalogue.RENDER[found](facts)


@pytest.mark.parametrize(
    ("word", "says"), [("layerd", "'layered'"), ("lfi", "'lif'"), ("nodes.lifs", "'nodes.lif'")]
)
def test_what_is_not_there(word: str, says: str) -> None:
    with pytest.raises(InputError, match=f"did you mean {says}"):
        catalogue.find(word)
