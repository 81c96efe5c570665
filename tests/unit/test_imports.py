"""The import rules, read from the source. A broken rule is named with file and line."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# From the ground up. A module imports from its own layer and those below it; the longest name counts.
LAYERS = [
    {"neurobus"},  # __init__.py: every import runs it, so it imports nothing
    {"errors", "bounds", "versions", "grid", "exact", "streams", "units", "words", "names", "events", "model",
     "modelpath", "loading", "ledger", "led", "picture", "system", "guard"},
    {"config", "network", "placement", "parts", "stateful_synapses", "plausible", "catalogue", "describe",
     "structure", "classroom"},
    {"wire"},
    {"node"},
    {"bus"},
    {"cluster", "observer"},
    {"log", "bridge", "classroom.witness"},
    {"exhibits"},
    {"cli", "__main__"},
]  # fmt: skip
STRANGERS = {"log", "bridge"}  # in one layer, and neither imports the other

CIRCLES: set[tuple[str, str]] = {
    ("neurobus.network.held", "neurobus.network.builder"),
    ("neurobus.network.held", "neurobus.network.population"),
}
"""Imports that close a circle, and are to go. One that closes none any more must leave this list."""

PURE = {"errors", "bounds", "versions", "grid", "exact", "streams", "units", "words", "names", "events",
        "model", "modelpath", "loading", "ledger", "led", "picture", "config", "network", "placement",
        "parts", "stateful_synapses", "plausible", "catalogue", "describe", "structure", "wire",
        "classroom.data", "classroom.lesson", "classroom.readout", "classroom.brain", "classroom.course",
        "classroom.pictures", "node.core", "node.kernel.loader", "node.lease",
        "node.lease_steps", "node.shadow", "node.cut", "bus.schedule", "bus.rounds",
        "cluster.policy", "cluster.build", "cluster.resume", "cluster.live", "cluster.raster",
        "log.diff", "log.replay",
        "log.collector", "bridge.session", "bridge.transport", "bridge.clocksync", "bridge.image",
        "bridge.attachment", "bridge.board_events", "bridge.figures", "bridge.handover",
        "bridge.input_queue", "bridge.lease",
        "bridge.mirror", "bridge.pace", "bridge.replica", "bridge.stepped_pace", "bridge.wall_pace",
        "bridge.weight_check"}  # fmt: skip
IMPURE = {"asyncio", "zmq", "serial", "click", "time", "random", "socket", "subprocess", "threading"}

ONLY_HOME = {"zmq": "bus", "serial": "bridge", "click": "cli"}

NODES_MAY = {
    "__future__",
    "math",
    "numpy",
    "numba",
    "neurobus.exact",
    "neurobus.grid",
    "neurobus.model",
    "neurobus.streams",
    "neurobus.units",
    "nodes.rkf45",
    "nodes.noise",
    "nodes.lif",
    "nodes.stdp",
}  # what several share
NODES_MAY_AS_PROGRAM = NODES_MAY | {"neurobus.cluster.join"}  # under `if __name__ == "__main__":`


@dataclass(frozen=True)
class Import:
    line: int
    name: str
    as_program: bool = False
    for_types: bool = False
    """Under TYPE_CHECKING: it shapes the program as any import does, but nothing happens by it."""


def imports(module: str, source: str, known: Iterable[str], is_package: bool = False) -> Iterator[Import]:
    """Every import of `module`, in functions too; of those for type checkers, the ones of this project."""
    package = module if is_package else module.rpartition(".")[0]

    def walk(tree: ast.AST, as_program: bool) -> Iterator[Import]:
        for node in ast.iter_child_nodes(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                hinted = (found for part in node.body for found in walk(ast.Module([part], []), as_program))
                yield from (
                    replace(i, for_types=True) for i in hinted if top(i.name) in {"neurobus", "nodes"}
                )
                yield from (found for part in node.orelse for found in walk(part, as_program))
            elif isinstance(node, ast.Import):
                yield from (Import(node.lineno, alias.name, as_program) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
                origin = ".".join([*above, *([node.module] if node.module else [])])
                for alias in node.names:
                    child = f"{origin}.{alias.name}"
                    yield Import(node.lineno, child if child in known else origin, as_program)
            else:
                program = isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
                yield from walk(node, as_program or program)

    return walk(ast.parse(source), False)


def part(module: str) -> str:
    """`neurobus.log.format` → `log.format`; the package itself stays `neurobus`."""
    return module.removeprefix("neurobus.")


def entry(module: str, table: Iterable[str]) -> str | None:
    """The longest entry of `table` that is the module or a package it is in."""
    name = part(module)
    return max((e for e in table if name == e or name.startswith(e + ".")), key=len, default=None)


def layer(module: str) -> int | None:
    name = entry(module, set().union(*LAYERS))
    return next((i for i, names in enumerate(LAYERS) if name in names), None)


def top(name: str) -> str:
    return name.partition(".")[0]


def broken_rules(module: str, found: Iterable[Import]) -> Iterator[tuple[int, str]]:
    """(line, what is wrong) of one module, for the rules that its own imports tell."""
    if top(module) == "nodes":
        for i in found:
            allowed = NODES_MAY_AS_PROGRAM if i.as_program else NODES_MAY
            if i.name not in allowed and top(i.name) not in allowed:
                yield i.line, f"a node may import only {', '.join(sorted(allowed))}; not {i.name}"
        return
    mine = layer(module)
    if mine is None:
        yield 1, f"{module} has no place in LAYERS"
        return
    for i in found:
        if top(i.name) == "neurobus":
            theirs = layer(i.name)
            if theirs is None:
                yield i.line, f"{i.name} has no place in LAYERS"
            elif theirs > mine:
                yield i.line, f"{i.name} lies above {module}"
            elif {top(part(i.name)), top(part(module))} <= STRANGERS and top(part(i.name)) != top(
                part(module)
            ):
                yield i.line, f"{module} may not know {i.name}"
        elif top(i.name) in {"nodes", "tests"}:
            yield i.line, f"neurobus imports no {top(i.name)}: a model is a dotted name"
        elif top(part(module)) != ONLY_HOME.get(top(i.name), top(part(module))):
            yield i.line, f"{top(i.name)} is imported only in neurobus/{ONLY_HOME[top(i.name)]}"
        if entry(module, PURE) and top(i.name) in IMPURE:
            yield i.line, f"{module} is pure: no {i.name}"


def impurities(module: str, graph: dict[str, list[Import]]) -> Iterator[str]:
    """Ways from a pure module, over modules of neurobus that are not pure, to something impure."""
    seen, ways = {module}, [[module]]
    while ways:
        way = ways.pop()
        for i in (i for i in graph[way[-1]] if not i.for_types):
            if top(i.name) in IMPURE and len(way) > 1:
                yield " → ".join([*way, i.name])
            elif i.name in graph and i.name not in seen and not entry(i.name, PURE):
                seen.add(i.name)
                ways.append([*way, i.name])


def read_all() -> tuple[dict[str, Path], dict[str, list[Import]]]:
    files = {}
    for folder in ("neurobus", "nodes"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files, {
        module: list(imports(module, path.read_text(), files, path.name == "__init__.py"))
        for module, path in files.items()
    }


FILES, GRAPH = read_all()


@pytest.mark.parametrize("module", FILES)
def test_rules(module: str) -> None:
    where = FILES[module].relative_to(ROOT)
    assert [f"{where}:{line}: {what}" for line, what in broken_rules(module, GRAPH[module])] == []


@pytest.mark.parametrize("module", [m for m in FILES if entry(m, PURE) and top(m) == "neurobus"])
def test_a_pure_module_reaches_nothing_impure(module: str) -> None:
    assert list(impurities(module, GRAPH)) == []


def circle(graph: dict[str, list[Import]], but: Iterable[tuple[str, str]] = ()) -> str | None:
    """A circle of imports, without those in `but`; None where there is none."""
    left_out = set(but)
    needs = {
        module: {i.name for i in found if i.name in graph and (module, i.name) not in left_out} - {module}
        for module, found in graph.items()
    }
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        return " → ".join(error.args[1])
    return None


def test_no_circles() -> None:
    assert circle(GRAPH, CIRCLES) is None


@pytest.mark.parametrize("edge", sorted(CIRCLES))
def test_an_exception_is_needed(edge: tuple[str, str]) -> None:
    assert circle(GRAPH, CIRCLES - {edge}), f"{' → '.join(edge)} closes no circle: take it out of CIRCLES"


def test_an_import_for_types_closes_a_circle() -> None:
    hint = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from neurobus.b import B"
    sources = {"neurobus.a": hint, "neurobus.b": "from neurobus.a import A"}
    graph = {module: list(imports(module, source, sources)) for module, source in sources.items()}
    assert set((circle(graph) or "").split(" → ")) == {"neurobus.a", "neurobus.b"}
    assert circle(graph, {("neurobus.a", "neurobus.b")}) is None


def layers_in_words() -> str:
    """As ARCHITECTURE.md has them, the lowest first."""
    return "\n".join("  ".join(sorted(names)) for names in LAYERS)


def test_the_architecture_names_these_layers() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    _, _, after = text.partition("Imports go one way")
    block = after.split("```")[1].strip()
    assert block == layers_in_words(), f"ARCHITECTURE.md should say\n{layers_in_words()}"


def test_every_layer_is_there() -> None:
    there = {part(module) for module in FILES if top(module) == "neurobus"}
    assert set().union(*LAYERS) | PURE <= there


def test_the_rules_saw_the_project() -> None:
    assert {"neurobus", "neurobus.model", "nodes.lif"} <= set(FILES)
    assert Import(1, "numpy") not in GRAPH["neurobus"]
    assert any(i.name == "neurobus.model" for i in GRAPH["nodes.lif"])
    assert not IMPURE - sys.stdlib_module_names - set(ONLY_HOME)


@pytest.mark.parametrize(
    ("module", "source", "word"),
    [
        ("neurobus.units", "from neurobus.network import build", "lies above"),
        ("neurobus.node.core", "def late():\n    from neurobus import bus", "lies above"),
        ("neurobus.node.core", "from ..bus import hub", "lies above"),
        ("neurobus", "from neurobus import units", "lies above"),
        ("neurobus.units", "if typing.TYPE_CHECKING:\n    from neurobus.bus import hub", "lies above"),
        ("neurobus.elsewhere", "", "no place in LAYERS"),
        ("neurobus.cli.run", "import neurobus.elsewhere", "no place in LAYERS"),
        ("neurobus.log.format", "from neurobus.bridge import port", "may not know"),
        ("neurobus.cluster.start", "import nodes.lif", "no nodes"),
        ("neurobus.cluster.start", "from tests import conftest", "no tests"),
        ("neurobus.cluster.start", "import zmq.asyncio", "only in neurobus/bus"),
        ("neurobus.log.format", "import click", "only in neurobus/cli"),
        ("neurobus.log.place", "from serial.tools import list_ports", "only in neurobus/bridge"),
        ("neurobus.wire.link", "import time", "is pure"),
        ("neurobus.node.core", "try:\n    import asyncio\nexcept ImportError: pass", "is pure"),
        ("neurobus.log.diff", "from random import random", "is pure"),
        ("nodes.mine", "import time", "a node may import only"),
        ("nodes.mine", "from neurobus.events import Spikes", "a node may import only"),
        ("nodes.mine", "from neurobus.cluster.join import main", "a node may import only"),
    ],
)
def test_sees_a_broken_rule(module: str, source: str, word: str) -> None:
    known = ["neurobus.bus", "neurobus.bus.hub", "neurobus.units"]
    found = list(imports(module, source, known))
    ((line, what),) = broken_rules(module, found)
    assert word in what
    assert line == (found[0].line if found else 1)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("neurobus.bus.hub", "import asyncio, time\nimport zmq\nfrom neurobus.wire import bus"),
        ("neurobus.network", "import numpy as np\nfrom neurobus.config import Config\nfrom . import units"),
        ("neurobus.node.process", "import asyncio\nfrom .core import Core"),
        ("neurobus.wire.bus", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import zmq"),
        (
            "nodes.mine",
            "import numpy as np\nif __name__ == '__main__':\n    from neurobus.cluster.join import main",
        ),
    ],
)
def test_lets_a_kept_rule_be(module: str, source: str) -> None:
    assert list(broken_rules(module, imports(module, source, ["neurobus.units"]))) == []


def test_sees_impurity_at_second_hand() -> None:
    graph = {
        "neurobus.log.diff": [Import(1, "neurobus.log.format")],
        "neurobus.log.format": [Import(1, "time")],
    }
    assert list(impurities("neurobus.log.diff", graph)) == ["neurobus.log.diff → neurobus.log.format → time"]
