"""The figures of `measure` as text for a terminal. Pure."""

from __future__ import annotations

from typing import Any


def render(facts: dict[str, Any]) -> str:
    """One block for the chemical wiring and one for the electrical, then weights and delays."""
    outside = f", {facts['from_sources']:,} more from sources" if facts["from_sources"] else ""
    lines = [
        str(facts["config"]),
        _row("neurons", f"{facts['neurons']:,}"),
        _row("synapses", f"{facts['synapses']:,}{outside}"),
        _row("junctions", f"{facts['junctions']:,}"),
    ]
    if facts["graded_synapses"]:
        lines.append(_row("graded synapses", f"{facts['graded_synapses']:,}"))
    for name in ("chemical", "graded", "electrical"):
        if facts[name] is not None:
            lines += ["", name, *_wiring(facts[name], facts["neurons"], name != "electrical")]
    rows = [_row(f"{sign} ({unit or 'plain'})", f"{_spread(of)}   {of['count']:,} {what}")
            for weights, what in (("weights", "synapses"), ("graded_weights", "graded synapses"))
            for unit, signs in facts[weights].items() for sign, of in signs.items()]  # fmt: skip
    if facts["electrical"] is not None:
        rows.append(_row("junctions (nS)", _spread(facts["electrical"]["conductance_ns"])))
    if facts["delays_ms"] is not None:
        rows.append(_row("delay (ms)", _spread(facts["delays_ms"])))
    return "\n".join([*lines, *(["", "weights and delays", *rows] if rows else [])])


def _wiring(w: dict[str, Any], n: int, directed: bool) -> list[str]:
    degrees = (
        [("in-degree", w["in_degree"]), ("out-degree", w["out_degree"])]
        if directed
        else [("degree", w["degree"])]
    )
    rows = [_row(name, f"{_spread(k)}   <k²>/<k> {k['heterogeneity']:.4g}") for name, k in degrees]
    edges = (
        f"{w['edges']:,} of {n * (n - 1):,}" if directed else f"{w['edges'] // 2:,} of {n * (n - 1) // 2:,}"
    )
    itself = f"   {w['self']:,} to themselves" if w["self"] else ""
    rows.insert(0, _row("pairs joined", f"{edges} ({_figure(100 * w['density'])} %){itself}"))
    if not w["edges"]:
        return rows[:1]
    if directed:
        rows.append(_row("reciprocity", f"{_figure(w['reciprocity'])}   by chance {_figure(w['density'])}"))
        if w["in_out_correlation"] is not None:
            rows.append(_row("in, out", f"correlated {_figure(w['in_out_correlation'])}"))
    of = "" if w["clustering_of"] == n else f"   measured on {w['clustering_of']:,} neurons"
    rows.append(
        _row("clustering", f"{_figure(w['clustering'])}   by chance {_figure(w['clustering_random'])}{of}")
    )
    whence = "" if w["paths_from"] == n else f"   measured from {w['paths_from']:,} neurons"
    chance = f"   by chance {_figure(w['path_length_random'])}" if w["path_length_random"] else ""
    rows.append(
        _row(
            "path length",
            f"{_figure(w['path_length'])}{chance}   longest {_figure(w['longest_path'])}{whence}",
        )
    )
    rows.append(_row("reachable", f"{_figure(100 * w['reachable'])} % of pairs"))
    if w["small_world"] is not None:
        rows.append(
            _row(
                "small world", f"{_figure(w['small_world'])}   clustering over path length, both by chance 1"
            )
        )
    parts = f"{w['weak_components']:,}, the largest of {w['largest_weak']:,}"
    if directed:
        parts += f"   strong: {w['strong_components']:,}, the largest of {w['largest_strong']:,}"
    return [*rows, _row("components", parts)]


def _row(name: str, text: str) -> str:
    return f"  {name:<18} {text}"


def _spread(of: dict[str, float]) -> str:
    return f"{_figure(of['mean'])} ± {_figure(of['sd'])}, {_figure(of['min'])} to {_figure(of['max'])}"


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
