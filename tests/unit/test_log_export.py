"""Exports, pictures and facts of a log."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from matplotlib.figure import Figure

from neurobus.errors import InputError
from neurobus.events import Stimulus
from neurobus.log import Header, Log, LogWriter, read
from neurobus.log.diff import same_weights
from neurobus.log.export import FORMATS, export, weights_csv
from neurobus.log.format import LogEvent
from neurobus.log.info import describe, render
from neurobus.log.plot import RATE_BINS, _rate, _Rows, plot, rate
from neurobus.log.recording import JOINED

MS = 1_000_000


@pytest.fixture
def log(tmp_path: Path) -> Log:
    header = Header("dir/pair.toml", "", 3, 100_000, "virtual", ["a", "b"], 10**18, overrides=["run.seed=3"])
    writer = LogWriter(tmp_path / "x.mcap", header)
    writer.spikes([100_000, 20 * MS, 1_500_001], [0, 0, 1], 0)
    writer.samples([0, MS, 2 * MS], [0, 0, 0], [-70.0, -60.0, -65.0], 0)
    writer.stimulus(Stimulus("b", MS, 5.0), 0)
    writer.event(LogEvent("b", "restart", {}), 0, 0)
    return read(writer.close(end_ns=100 * MS))


def test_csv_times_are_exact(log: Log, tmp_path: Path) -> None:
    out, potentials = export(log, tmp_path / "deep" / "x.csv")
    assert out.read_text() == "time_ms,id\n0.1,a\n1.500001,b\n20,a\n"
    assert potentials.name == "x.potentials.csv"
    assert potentials.read_text() == "time_ms,id,potential_mV\n0,a,-70.0\n1,a,-60.0\n2,a,-65.0\n"


def test_what_is_no_export_is_kept(log: Log, tmp_path: Path) -> None:
    """The log itself, and anything else of another kind; an export is made again."""
    before = log.path.read_bytes()
    (tmp_path / "config.toml").write_text("[run]")
    for out in (log.path, tmp_path / "config.toml"):
        for kind in FORMATS:
            with pytest.raises(InputError, match="no export, so it is kept"):
                export(log, out, kind)
    assert log.path.read_bytes() == before and (tmp_path / "config.toml").read_text() == "[run]"
    assert export(log, tmp_path / "x.h5") == export(log, tmp_path / "x.h5")
    assert export(log, tmp_path / "x.csv") == export(log, tmp_path / "x.csv")


@pytest.mark.parametrize("name", FORMATS)
def test_what_holds_for_every_format(log: Log, tmp_path: Path, name: str) -> None:
    """A new row of `FORMATS` is put to this as it is: a log with all in it, weights too, and an empty one."""
    if name == "nwb":
        pytest.importorskip("pynwb")
    for suffix in FORMATS[name].suffixes:
        assert [other for other, one in FORMATS.items() if suffix in one.suffixes] == [name]
        empty = LogWriter(tmp_path / "e.mcap", Header("e.toml", "", 1, 1, "wall", [], 0), overwrite=True)
        for one in (log, weighed(tmp_path / "w.mcap", 2), read(empty.close())):
            out = tmp_path / f"new/x{suffix}"
            written = export(one, out)
            assert written[0] == out and all(path.stat().st_size for path in written)
            assert all(path.read_bytes().startswith(FORMATS[name].begins) for path in written)
            assert export(one, out, name) == written, "an export is made again"


def test_exports_hold_potentials_and_weights_and_what_held_before_a_part(tmp_path: Path) -> None:
    """a is told at 0, 1 and 2 ms and holds; b from 3 ms on. The part begins at 2.5 ms."""
    writer = LogWriter(tmp_path / "y.mcap", Header("x.toml", "", 1, 500_000, "virtual", ["a", "b"], 10**18))
    writer.samples([0, MS, 2 * MS, 3 * MS], [0, 0, 0, 1], [-70.0, -60.0, -65.0, -50.0], 0)
    writer.weights(MS, [0, 1], [1, 1], [1.5, 2.5], 0)
    writer.weights(3 * MS, [0, 1], [1, 1], [1.25, 2.25], 0)
    path = writer.close(end_ns=4 * MS)
    part = read(path, 2 * MS + MS // 2)
    with h5py.File(export(part, tmp_path / "y.h5")[0]) as file:
        report = file["report/default"]
        assert report["mapping/node_ids"][:].tolist() == [0, 1]
        assert report["mapping/time"][:].tolist() == [3.0, 4.0, 0.5] and report["data"].attrs["units"] == "mV"
        assert report["data"][:].tolist() == [[-65.0, -50.0]] * 2
        exact, weights = file["potentials/default"], file["weights/default"]
        assert list(zip(exact["timestamps"], exact["node_ids"], exact["data"], strict=True)) == [
            (2.0, 0, -65.0),
            (3.0, 1, -50.0),
        ]
        assert weights["timestamps"][:].tolist() == [1, 1, 3, 3]
        assert weights["syn_weight"][:].tolist() == [1.5, 2.5, 1.25, 2.25]
    with h5py.File(export(read(path), tmp_path / "whole.h5")[0]) as file:
        data = file["report/default/data"][:]
        assert data[:, 0].tolist() == [-70.0] * 2 + [-60.0] * 2 + [-65.0] * 4
        assert np.isnan(data[:6, 1]).all() and data[6:, 1].tolist() == [-50.0] * 2
    spikes, potentials, told = export(part, tmp_path / "y.csv")
    assert spikes.read_text() == "time_ms,id\n"
    assert potentials.read_text() == "time_ms,id,potential_mV\n2,a,-65.0\n3,b,-50.0\n"
    assert told.read_text().splitlines()[1] == "1,a,b,1.5"


def test_nwb_holds_potentials_and_weights_and_opens_without_a_warning(tmp_path: Path) -> None:
    pynwb = pytest.importorskip("pynwb")
    writer = LogWriter(tmp_path / "y.mcap", Header("x.toml", "", 1, 500_000, "virtual", ["a", "b"], 10**18))
    writer.samples([0, MS], [0, 0], [-70.0, -60.0], 0)
    writer.weights(MS, [0], [1], [1.5], 0)
    log = read(writer.close(end_ns=4 * MS))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (out,) = export(log, tmp_path / "y.nwb")
        with pynwb.NWBHDF5IO(str(out), "r") as io:
            file = io.read()
            series = file.acquisition["a"]
            assert series.timestamps[:].tolist() == [0.0, 0.001] and series.unit == "volts"
            assert (series.data[:] * series.conversion).tolist() == [-0.07, -0.06]
            table = file.processing["learning"]["weights"]
            assert [table[name][0] for name in ("time", "pre", "post", "weight")] == [0.001, "a", "b", 1.5]


def test_sonata(log: Log, tmp_path: Path) -> None:
    with h5py.File(export(log, tmp_path / "x.h5")[0]) as file:
        spikes = file["spikes/default"]
        assert spikes["timestamps"][:] == pytest.approx([0.1, 1.500001, 20])
        assert spikes["timestamps"].attrs["units"] == "ms"
        assert (
            h5py.check_enum_dtype(spikes.attrs.get_id("sorting").dtype)["by_time"] == spikes.attrs["sorting"]
        )
        ids = file["nodes/default/0/id"].asstr()[:]
        assert [ids[k] for k in spikes["node_ids"]] == ["a", "b", "a"]


def test_nwb_without_pynwb_says_what_to_install(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(InputError, match=r"pip install 'neurobus\[nwb\]'"):
        export(log, tmp_path / "x.nwb")


def test_nwb(log: Log, tmp_path: Path) -> None:
    pynwb = pytest.importorskip("pynwb")
    with pynwb.NWBHDF5IO(str(export(log, tmp_path / "x.nwb")[0]), "r") as io:
        units = io.read().units
        assert list(units["neuron"][:]) == ["a", "b"]
        assert units["spike_times"][0] == pytest.approx([1e-4, 0.02])


def test_unknown_formats_and_places(log: Log, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="formats: " + ", ".join(FORMATS)):
        export(log, tmp_path / "x.xls")
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        export(log, tmp_path / "d.csv")
    with pytest.raises(InputError, match=r"\.png, \.svg"):
        plot(log, tmp_path / "x.gif")
    with pytest.raises(InputError, match="nothing to draw"):
        plot(log, tmp_path / "x.png", start_ns=200 * MS)


def test_the_svg_names_neurons_and_stimuli_and_is_reproducible(log: Log, tmp_path: Path) -> None:
    text = plot(log, tmp_path / "x.svg").read_text()
    for word in ("pair", "3 spikes", "seed 3", ">a<", ">b<", "model time (ms)"):
        assert word in text
    assert plot(log, tmp_path / "y.svg").read_text() == text
    assert "everything" in plot(log, tmp_path / "z.svg", title="everything").read_text()


def test_a_large_network_is_drawn_by_groups(tmp_path: Path) -> None:
    ids = [f"exc.{k}" for k in range(80)] + [f"inh.{k}" for k in range(20)] + ["drive"]
    writer = LogWriter(tmp_path / "x.mcap", Header("big.toml", "", 1, 1, "wall", ids, 0))
    writer.spikes(np.arange(500) * 10 * MS, np.arange(500) % 101, 0)
    text = plot(read(writer.close()), tmp_path / "x.svg").read_text()
    assert "exc (80)" in text and "inh (20)" in text and "drive" in text and "model time (s)" in text


def test_an_empty_log_can_be_drawn_and_described(tmp_path: Path) -> None:
    log = read(LogWriter(tmp_path / "x.mcap", Header("e.toml", "", 1, 1, "wall", [], 0)).close())
    assert plot(log, tmp_path / "x.png").stat().st_size > 1000
    assert describe(log)["mean_rate_hz"] is None
    assert "spikes     0" in render(describe(log))


def test_facts(log: Log) -> None:
    facts = describe(log)
    assert (facts["spikes"], facts["neurons"], facts["active"], facts["stimuli"]) == (3, 2, 2, 1)
    assert facts["mean_rate_hz"] == pytest.approx(15)
    assert facts["busiest"] == {"a": 2, "b": 1} and facts["events"] == {"restart": 1}
    text = render(facts)
    assert "--set run.seed=3" in text and "complete" in text and "seed 3, virtual clock" in text


def test_facts_of_a_cut_log_say_so(log: Log) -> None:
    log.path.write_bytes(log.path.read_bytes()[:-40])
    text = render(describe(read(log.path)))
    assert "NOT COMPLETE" in text and "! " in text


def test_sources_are_no_neurons(tmp_path: Path) -> None:
    writer = LogWriter(
        tmp_path / "x.mcap", Header("x.toml", "", 1, 1, "wall", ["a", "drive"], 0, n_neurons=1)
    )
    writer.spikes(np.arange(10) * MS, [0, *[1] * 9], 0)
    log = read(writer.close(end_ns=1000 * MS))
    facts = describe(log)
    assert (facts["neurons"], facts["sources"], facts["spikes"], facts["mean_rate_hz"]) == (1, 1, 10, 1.0)
    assert "1 neuron " in plot(log, tmp_path / "x.svg").read_text()


def test_a_steady_rate_is_steady_up_to_the_edges() -> None:
    t = np.arange(0, 1000 * MS, MS) + MS // 2  # one neuron of two fires at 1 kHz
    hz = rate(t, 2, (0, 1000 * MS), (0, 1000 * MS))
    assert hz == pytest.approx(np.full(RATE_BINS, 500.0), rel=0.02)


def test_a_rate_ends_with_the_recording() -> None:
    t = np.arange(0, 500 * MS, MS) + MS // 2
    hz = rate(t, 1, (0, 1000 * MS), (0, 500 * MS))
    assert hz[: RATE_BINS // 2] == pytest.approx(np.full(RATE_BINS // 2, 1000.0), rel=0.02)
    assert np.isnan(hz[RATE_BINS // 2 :]).all()


def test_a_rate_begins_with_the_recording_for_unknown_is_not_zero(tmp_path: Path) -> None:
    t = np.arange(500 * MS, 1000 * MS, MS) + MS // 2
    hz = rate(t, 1, (0, 1000 * MS), (500 * MS, 1000 * MS))
    assert np.isnan(hz[: RATE_BINS // 2]).all()
    assert hz[RATE_BINS // 2 :] == pytest.approx(np.full(RATE_BINS // 2, 1000.0), rel=0.02)

    writer = LogWriter(tmp_path / "x.mcap", Header("x.toml", "", 1, 1, "wall", ["a"], 0))
    writer.event(LogEvent("recorder", JOINED, {"t_ns": 500 * MS}), 500 * MS, 0)
    writer.spikes(t, [0] * t.size, 0)
    log = read(writer.close(end_ns=1000 * MS))
    axis = Figure().subplots()
    _rate(axis, log, _Rows(log), 1e6, (0, 1000 * MS))
    x, y = axis.lines[0].get_data()
    assert (
        np.isnan(np.asarray(y)[np.asarray(x) < 500]).all()
        and np.isfinite(np.asarray(y)[np.asarray(x) > 500]).all()
    )


def test_a_large_group_of_names_is_drawn_in_parts_and_sources_apart(tmp_path: Path) -> None:
    ids = [*(f"N{n}" for n in range(130)), *(f"exc.{n}" for n in range(9)), "nose"]
    groups = {"cells": list(range(130)), "exc": list(range(130, 139)), "first": [0, 1], "exc#0": [130, 134]}
    header = Header("x.toml", "", 1, 1, "wall", ids, 0, n_neurons=139, groups=groups)
    writer = LogWriter(tmp_path / "x.mcap", header)
    writer.spikes(np.arange(140) * MS, list(range(140)), 0)
    log = read(writer.close(end_ns=300 * MS))
    rows = _Rows(log)
    names = [name for name, _ in rows.labels()[0]]
    assert names == ["first (2)", "N2 – N44", "N45 – N87", "N88 – N129", "exc (9)", "nose"]
    assert rows.y[139] > rows.y[138] + 1 and len(set(rows.y.tolist())) == 140
    assert rows.part_colour(rows.n_parts - 1) not in {rows.part_colour(n) for n in range(rows.n_parts - 1)}
    text = plot(log, tmp_path / "x.svg").read_text()
    assert all(name in text for name in names)
    groups = {"cells": list(range(70)), "others": list(range(70, 130))}
    classes = replace(log, header=replace(log.header, groups=groups))
    assert [name for name, _ in _Rows(classes).labels()[0]][:2] == ["cells (70)", "others (60)"]


# -- weights -----------------------------------------------------------------------------------------------


def weighed(path: Path, n: int, looks: int = 3, other: float = 0.0) -> Log:
    """`n` synapses from each of a, b onto b, told at 0, 10, … ms; the very last weight is off by `other`."""
    header = Header("w.toml", "", 3, 100_000, "virtual", ["a", "b"], 10**18)
    writer = LogWriter(path, header, overwrite=True)
    for k in range(looks):
        w = np.arange(2 * n) / 8 + k
        w[-1] += other * (k == looks - 1)
        writer.weights(10 * k * MS, [0] * n + [1] * n, [1] * (2 * n), w, 0)
    return read(writer.close(end_ns=100 * MS))


def test_weights_as_csv(tmp_path: Path) -> None:
    out = weights_csv(weighed(tmp_path / "x.mcap", 1, 2), tmp_path / "deep" / "w.csv")
    expected = ["time_ms,pre,post,weight", "0,a,b,0.0", "0,b,b,0.125", "10,a,b,1.0", "10,b,b,1.125", ""]
    assert out.read_text() == "\n".join(expected)


def test_facts_of_weights(tmp_path: Path, log: Log) -> None:
    facts = describe(weighed(tmp_path / "w.mcap", 2))
    assert facts["weights"] == {"synapses": 4, "times": 3, "min": 0.0, "max": 2.375}
    assert "weights    4 synapses at 3 times, 0 to 2.375" in render(facts)
    assert describe(log)["weights"] is None and "\nweights " not in render(describe(log))


@pytest.mark.parametrize(("n", "looks"), [(2, 1), (2, 3), (60, 1), (60, 4)])
def test_a_picture_of_weights(tmp_path: Path, log: Log, n: int, looks: int) -> None:
    text = plot(weighed(tmp_path / "w.mcap", n, looks), tmp_path / "w.svg").read_text()
    assert ">weight<" in text
    assert ("120 synapses: distribution" in text) == (n == 60)
    assert ("a → b" in text) == (n == 2)
    assert ">weight<" not in plot(log, tmp_path / "x.svg").read_text()


def test_whether_two_logs_hold_the_same_weights(tmp_path: Path, log: Log) -> None:
    a = weighed(tmp_path / "a.mcap", 2)
    assert same_weights(a, weighed(tmp_path / "b.mcap", 2)) == (12, 0)
    assert same_weights(a, weighed(tmp_path / "b.mcap", 2, 4)) == (12, 0), "what A does not hold is not asked"
    assert same_weights(a, weighed(tmp_path / "b.mcap", 2, 3, 1e-15)) == (12, 1)
    assert same_weights(a, weighed(tmp_path / "b.mcap", 2, 2)) == (12, 4)
    assert same_weights(a, weighed(tmp_path / "b.mcap", 3)) == (12, 6)
    assert same_weights(log, a) == (0, 0)


def test_a_part_is_drawn_with_what_holds_in_it(tmp_path: Path) -> None:
    """a was told last at 2 ms, before the part; its trace and its weight are there, level to the end."""
    writer = LogWriter(tmp_path / "y.mcap", Header("x.toml", "", 1, 500_000, "virtual", ["a", "b"], 10**18))
    writer.samples([0, 2 * MS], [0, 0], [-70.0, -65.0], 0)
    writer.weights(MS, [0], [1], [1.5], 0)
    writer.spikes([9 * MS], [1], 0)
    path = writer.close(end_ns=10 * MS)
    part = read(path, 5 * MS)
    assert (part.samples.t.size, part.weights.t.size) == (0, 0)
    assert (part.initial_samples.t.tolist(), part.initial_weights.weight.tolist()) == ([2 * MS], [1.5])
    text = plot(part, tmp_path / "part.svg", "$\\frac{$", 5 * MS).read_text()
    assert "mV" in text and "weight" in text and "frac" in text
