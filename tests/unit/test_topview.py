"""The live view of `neurobus top`, driven by its keys, over a cluster that only exists on paper."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from neurobus.cli.topfigures import Depolarisation, figure, weight_picture
from neurobus.cli.topview import Top, bar
from neurobus.cluster import guests
from neurobus.cluster.folder import Manifest
from neurobus.cluster.live import Live
from neurobus.events import Spikes
from neurobus.wire import verbs
from neurobus.wire.message import Report
from tests.helpers import status

IDS = [f"n.{i}" for i in range(12)] + ["drive"]
MS = 1_000_000


def manifest(ids: list[str] = IDS, **changes: Any) -> Manifest:
    n = len(ids) - 1
    facts: dict[str, Any] = {
        "name": "paper", "pid": 1, "config": "paper.toml", "clock": "virtual", "seed": 1, "dt_ns": 100_000,
        "endpoints": {}, "ids": ids, "n_neurons": n, "streams": ids, "processes": len(ids), "external": [],
        "weight_units": ["pA"] * n + [""], "started_unix_ns": 0, "levels_mv": [(-70.0, -55.0)] * n + [None],
    }  # fmt: skip
    return Manifest(**{**facts, **changes})


class OnPaper:
    """What the view needs of an observer."""

    ask_every_s = 60.0

    def __init__(self, given: Manifest):
        self.manifest, self.live = given, Live(given)
        self.runs = True
        self.pokes: list[tuple[str, float]] = []

    def ask(self) -> None: ...
    def listen(self, budget_s: float) -> None: ...

    def running(self) -> bool:
        return self.runs

    def ask_weights(self, index: int) -> None:
        weights, receptor = list(map(float, range(68))), [0] * 64 + [1] * 4
        told = verbs.Weights(0, [], [0] * 68, [index] * 68, receptor, [1] * 68, weights, [0] * 68)
        self.live.hear(Report(self.manifest.ids[index], told), 1e9)

    def poke(self, neuron: str, weight: float) -> None:
        self.pokes.append((neuron, weight))

    def answers(self, **figures: int) -> None:
        for i, name in enumerate(self.manifest.ids):
            self.live.hear(Report(name, status([i], [-70.0 + i], **figures)), 1e9)
        nothing = verbs.Totals(0, 0, 0, 0)
        self.live.hear(Report("conductor", verbs.ConductorStatus(10_000, 0, 0, 0, nothing, {}, nothing)), 1e9)


def view(work: Callable[[Top, Pilot[str], OnPaper], Awaitable[None]], size: tuple[int, int] = (120, 40),
         given: Manifest | None = None) -> str | None:  # fmt: skip
    observer = OnPaper(given or manifest())

    async def run() -> str | None:
        app = Top(observer)  # type: ignore[arg-type]
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await work(app, pilot, observer)
        return app.return_value

    return asyncio.run(run())


def text(app: Top) -> str:
    """The whole screen as plain text."""
    app._paint_all()
    return "\n".join(
        "".join(segment.text for segment in line) for line in app.screen._compositor.render_strips()
    )


def test_what_nobody_has_measured_is_a_dash():
    async def work(app, pilot, observer):
        await pilot.pause()
        shown = text(app)
        assert "lost –   late –   duplicates –   dropped –" in shown
        assert "lost 0" not in shown
        observer.answers()
        await pilot.pause()
        assert "lost 0   late 0   duplicates 0   dropped 0" in text(app)

    view(work)


def test_what_went_wrong_stands_in_the_head_and_at_the_neuron():
    async def work(app, pilot, observer):
        observer.answers(lost=3, late=2)
        await pilot.pause()
        shown = text(app)
        assert "lost 39   late 26" in shown
        (line,) = (line for line in shown.splitlines() if "-65.0" in line)
        assert " n.5 " in line
        assert "lost 3  late 2" in line

    view(work)


def test_keys_filter_sort_and_choose():
    async def work(app, pilot, observer):
        observer.answers()
        observer.live.tick(0)
        observer.live.hear(Spikes("n.7", 0, 0, [1500 * MS] * 5), 0.0)
        observer.live.tick(2000 * MS)
        rows = app._rows
        assert rows.chosen == 0
        await pilot.press("down", "down", "end", "up")
        assert rows.chosen == 11
        await pilot.press("home", "s")
        assert rows.order[0] == 7
        assert rows.chosen == 0, "the chosen neuron stays chosen when the order changes"
        await pilot.press("s")
        assert rows.order == list(range(13))
        await pilot.press("slash", *"n.1", "enter")
        assert [IDS[i] for i in rows.order] == ["n.1", "n.10", "n.11"]
        assert not app.query_one("#filter", Input).display
        await pilot.press("down")
        assert IDS[rows.chosen] == "n.10"
        await pilot.press("slash", *"zzz")
        assert rows.chosen is None
        await pilot.press("escape")
        assert len(rows.order) == 13

    view(work)


def test_a_poke_has_the_weight_that_was_asked_for_and_spares_sources():
    async def work(app, pilot, observer):
        await pilot.press("down", "p", "plus", "p", "minus", "minus", "p")
        usual = observer.pokes[0][1]
        assert observer.pokes == [("n.1", usual), ("n.1", 2 * usual), ("n.1", usual / 2)]
        await pilot.press("end", "p")
        assert len(observer.pokes) == 3
        assert "drive is no live neuron here" in text(app)

    view(work)


def test_weights_are_a_picture_of_the_chosen_neuron():
    async def work(app, pilot, observer):
        await pilot.press("down", "w")
        app._ask_weights()
        await pilot.pause()
        assert "n.1" in text(app) and "64 weights, 0 … 63" in text(app)
        assert set(observer.live.weights) == {1}
        await pilot.press("w")
        assert "64 weights" not in text(app)

    view(work)
    lines = weight_picture(np.arange(64.0) - 8)
    assert len(lines) == 4 and lines[0].plain == " " + "▀▀" * 8
    assert len(weight_picture(np.arange(65.0))) == 1
    assert len(weight_picture(np.zeros(0))) == 0


def test_the_view_ends_with_the_cluster_and_when_told_to():
    async def ends(app, pilot, observer):
        observer.runs = False
        app._see_whether_it_runs()
        await pilot.pause()

    async def quits(app, pilot, observer):
        await pilot.press("q")

    assert view(ends) == "ended"
    assert view(quits) is None


@pytest.mark.parametrize(
    ("n", "size"), [(1, (20, 8)), (302, (160, 48)), (302, (80, 24)), (3000, (80, 24)), (5, (10, 4))]
)
def test_any_network_on_any_screen(n, size):
    ids = [f"neuron.{i}" for i in range(n)] + ["drive"]

    async def work(app, pilot, observer):
        observer.answers()
        await pilot.press("end", "up", "pagedown", "pageup", "home", "end")
        shown = text(app).splitlines()
        assert all(len(line) == size[0] for line in shown)
        if size[0] >= 80:
            assert any("●" in line for line in shown[3:5])
            assert any("▌" in line and "drive" in line for line in shown)

    view(work, size, manifest(ids))


def test_a_resting_picture_is_painted_once():
    async def work(app, pilot, observer):
        observer.answers()
        app._paint_all()
        await pilot.pause()
        painted = []
        app._rows.refresh = lambda *regions, **_: painted.append(regions)
        app._field.refresh = lambda *regions, **_: painted.append(regions)
        app._rows.paint()
        app._field.paint()
        assert painted == []
        observer.live.mv[3] = -60.0
        app._rows.paint()
        app._field.paint()
        assert [[region.y for region in regions] for regions in painted] == [[4], [0]]

    view(work)


@pytest.mark.parametrize("width", [12, 24, 42])
@pytest.mark.parametrize("level", [-9.0, -0.5, -0.26, -0.01, 0.0, 0.001, 0.03, 0.5, 1.0, 7.0, float("nan")])
def test_a_bar_is_as_wide_as_it_should_be(level, width):
    assert sum(segment.cell_length for segment in bar(level, width, (0, 0, 0))) == width


def test_a_level_is_relative_to_rest_and_threshold():
    level = Depolarisation(manifest(["a", "b", "c"], levels_mv=[(-70.0, -50.0), (-60.0, -60.0), None]))
    found = level(np.array([-60.0, -60.0, np.nan]))
    assert found[:2].tolist() == [0.5, 0.0]
    assert np.isnan(found[2])


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (float("nan"), "–"), (0, "0"), (1234567, "1,234,567")]
)
def test_a_figure_not_measured_is_a_dash(value, shown):
    assert figure(value) == shown


def test_the_filter_knows_parts_of_ids_and_what_verbs_know() -> None:
    from neurobus.cli.topview import filtered

    given = manifest(["AVAL", "n.0", "n.1", "n.2"], groups={"pair": [0, 3]})
    assert filtered("", given) == [0, 1, 2, 3]
    assert filtered("va", given) == [0]
    assert filtered("n.0..1", given) == [1, 2]
    assert filtered("pair", given) == [0, 3] and filtered("n.?,AVAL", given) == [0, 1, 2, 3]
    assert filtered("nobody", given) == []


def test_a_neuron_started_by_hand_comes_and_goes():
    async def work(app, pilot, observer):
        def now(change):
            given = deepcopy(observer.manifest)
            change(given)
            observer.live.adopt(given)
            observer.manifest = given
            app._see_whether_it_runs()

        assert "extra" not in text(app)
        lif = verbs.Guest(True, "mV", (-70.0, -55.0))
        now(lambda given: guests.join(given, "extra", lif))
        assert "extra" in text(app) and "13 neurons · 14 processes" in text(app)
        app.choose(13)
        app.action_poke()
        assert observer.pokes == [("extra", 20.0)]
        now(lambda given: guests.leave(given, "extra"))
        assert "extra" not in text(app).replace("poked extra", "") and "12 neurons" in text(app)

    view(work)
