from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurobus.log import Header, Log, LogWriter, read
from neurobus.log.diff import diff

MS = 1_000_000
Spike = tuple[int, str]


def make(path: Path, spikes: list[Spike], ids: str = "abc", **facts: object) -> Log:
    header = Header(**{"config_name": "x.toml", "config_text": "", "seed": 1, "dt_ns": 1, "clock": "wall",
                       "ids": list(ids), "started_unix_ns": 0, **facts})  # type: ignore[arg-type]  # fmt: skip
    writer = LogWriter(path, header, overwrite=True)
    writer.spikes([t for t, _ in spikes], [ids.index(id) for _, id in spikes], 0)
    return read(writer.close())


def test_equal_whatever_the_order_of_ids_and_of_writing(tmp_path: Path) -> None:
    a = make(tmp_path / "a", [(1 * MS, "a"), (2 * MS, "b"), (2 * MS, "c")])
    b = make(tmp_path / "b", [(2 * MS, "c"), (2 * MS, "b"), (1 * MS, "a")], ids="cbad")
    result = diff(a, b)
    assert result.equal and result.only_a == result.only_b == 0 and result.render() == "the same 3 spikes"


def test_the_first_divergence_and_what_came_before(tmp_path: Path) -> None:
    a = make(tmp_path / "a", [(1 * MS, "a"), (2 * MS, "b"), (3 * MS, "a"), (3 * MS, "c"), (9 * MS, "a")])
    b = make(tmp_path / "b", [(1 * MS, "a"), (2 * MS, "b"), (3 * MS, "b"), (3 * MS, "a")], seed=2)
    result = diff(a, b, context=1)
    assert result.first and result.first.t_ns == 3 * MS
    assert (result.first.in_a, result.first.in_b) == (["a", "c"], ["a", "b"])
    assert result.first.before == [(2 * MS, "b")]
    assert (result.only_a, result.only_b) == (2, 1)
    text = result.render()
    assert "part at 3.000000 ms" in text and "seed: 1 in A, 2 in B" in text


def test_a_spike_too_many_at_the_end(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a", [(5, "a")]), make(tmp_path / "b", [(5, "a"), (6, "b")])
    result = diff(a, b)
    assert result.first and (result.first.t_ns, result.first.in_a, result.first.in_b) == (6, [], ["b"])
    assert "nobody fires" in result.render()


@given(
    a=st.lists(st.tuples(st.integers(0, 6), st.sampled_from("abc"))),
    b=st.lists(st.tuples(st.integers(0, 6), st.sampled_from("abc"))),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_agrees_with_multisets(tmp_path: Path, a: list[Spike], b: list[Spike]) -> None:
    result = diff(make(tmp_path / "a", a), make(tmp_path / "b", b, ids="bca"))
    in_a, in_b = Counter(a), Counter(b)
    assert result.equal == (in_a == in_b)
    assert (result.only_a, result.only_b) == ((in_a - in_b).total(), (in_b - in_a).total())
    if result.first:
        assert result.first.t_ns == min(t for t, _ in (in_a - in_b) + (in_b - in_a))
