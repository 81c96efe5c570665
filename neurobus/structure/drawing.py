"""The picture of a structure: who is joined to whom, degrees, weights and delays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neurobus.network import Network
from neurobus.picture import COLOURS, FAINT, GREY, INK, STYLE, blank, require_suffix, save
from neurobus.structure.measures import degree_arrays, joined, units
from neurobus.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_DOTS = 6000
"""Up to so many synapses each is a dot in the matrix; beyond, it shows their density."""
MOST_LINES, MOST_CHORDS = 1500, 20_000
"""Up to so many synapses each is a line on the sheet, or across the ring."""
MOST_NAMES = 40
"""Up to so many neurons stand on the axes with their names."""
SOURCES_APART = 0.04
"""How far sources stand beside the matrix, by its width."""
HEAVY_TAIL = 4.0
"""Where the largest degree is so many times the mean, degrees are drawn on logarithmic axes."""
_PLUS, _MINUS = COLOURS[0], COLOURS[1]


def draw(network: Network, facts: dict[str, Any], out: Path) -> Path:
    """Draws `network`, whose figures are `facts`, to `out`. Raises InputError where that cannot be."""
    import matplotlib

    require_suffix(out)
    with matplotlib.rc_context(STYLE):
        figure = blank(9.6, 6.4, above_in=0.62)
        figure.text(
            0.2 / 9.6, 1 - 0.2 / 6.4, Path(facts["config"]).stem, fontsize=13, fontweight="bold", va="top"
        )
        figure.text(0.2 / 9.6, 1 - 0.47 / 6.4, _caption(facts), color=GREY, va="top")
        axes = figure.subplot_mosaic("ad;aw;al", width_ratios=(1.55, 1), height_ratios=(1.25, 1, 1))
        placed = bool(np.isfinite(network.places.at_mm[: network.n_neurons]).all())
        (_map if placed else _matrix)(axes["a"], network)
        _degrees(axes["d"], network)
        _weights(axes["w"], network)
        _delays(axes["l"], network)
        for name in "dwl":
            axes[name].grid(color=FAINT, linewidth=0.6)
            axes[name].set_axisbelow(True)
        return save(figure, out)


def _caption(facts: dict[str, Any]) -> str:
    parts = [counted(facts["neurons"], "neuron"), counted(facts["synapses"], "synapse")]
    if facts["junctions"]:
        parts.append(f"{facts['junctions']:,} junctions")
    if facts["graded_synapses"]:
        parts.append(f"{facts['graded_synapses']:,} graded")
    if (w := facts["chemical"] or facts["graded"] or facts["electrical"]) and w["edges"]:
        spread = w["out_degree"]["heterogeneity"]
        parts += [f"reciprocity {w['reciprocity']:.3g}", f"clustering {w['clustering']:.3g}",
                  f"path length {w['path_length']:.3g}", f"⟨k²⟩/⟨k⟩ {spread:.3g}"]  # fmt: skip
    return "  ·  ".join(parts)


def _inner(network: Network) -> npt.NDArray[np.bool_]:
    return network.synapses.pre < network.n_neurons


def _groups(network: Network) -> list[tuple[str, int, int]]:
    """Groups of more than one neuron that stand together: (name, first, last + 1), without patterns."""
    found = [(name, int(m[0]), int(m[-1]) + 1) for name, m in network.groups.items()
             if m.size > 1 and m[-1] < network.n_neurons and "#" not in name]  # fmt: skip
    return sorted(found, key=lambda group: group[1])


def _matrix(axis: Axes, network: Network) -> None:
    n = network.n_neurons
    pre, post, weight = joined(network)
    if pre.size <= MOST_DOTS:
        size = float(np.clip(200 / n, 1.0, 6.0))
        for colour, mine in ((_PLUS, weight >= 0), (_MINUS, weight < 0)):
            axis.plot(
                pre[mine], post[mine], "s", markersize=size, markeredgewidth=0, color=colour, alpha=0.85
            )
    else:
        bins = min(n, 240)
        edges = np.linspace(0, n, bins + 1)
        signed = np.zeros((bins, bins, 4))
        for colour, mine in ((_PLUS, weight >= 0), (_MINUS, weight < 0)):
            counts, _, _ = np.histogram2d(post[mine], pre[mine], [edges, edges])
            _blend(signed, counts, colour)
        axis.imshow(signed, extent=(-0.5, n - 0.5, n - 0.5, -0.5), interpolation="nearest")
    if network.junctions.a.size:
        a, b = (
            np.concatenate(pair)
            for pair in (
                (network.junctions.a, network.junctions.b),
                (network.junctions.b, network.junctions.a),
            )
        )
        axis.plot(
            a,
            b,
            "s",
            markersize=float(np.clip(200 / n, 0.8, 5.0)),
            markeredgewidth=0,
            color=COLOURS[2],
            alpha=0.6,
        )
    names, columns = _source_columns(network)
    _sources(axis, network, columns)
    right = n + SOURCES_APART * n + len(names) if names else n
    axis.set(xlim=(-0.5, right - 0.5), ylim=(n - 0.5, -0.5), aspect="equal")
    if n <= MOST_NAMES:
        at = [*range(n), *(_source_x(n, column) for column in range(len(names)))]
        axis.set_xticks(at, [*network.ids[:n], *names], rotation=90)
        axis.set_yticks(range(n), network.ids[:n])
        axis.tick_params(length=0, labelsize=6.5 if n > 20 else 8)
    elif names:
        middle = _source_x(n, (len(names) - 1) / 2)
        axis.annotate("sources", (middle, 0), (0, -4), xycoords=axis.get_xaxis_transform(), ha="center",
                      va="top", textcoords="offset points", color=GREY, fontsize=8)  # fmt: skip
    groups = [group for group in _groups(network) if group[2] - group[1] > 0.03 * n]
    if 1 < len(groups) <= 12 and n > MOST_NAMES:
        for _, first, _ in groups[1:]:
            axis.axhline(first - 0.5, color=GREY, linewidth=0.5)
            axis.axvline(first - 0.5, color=GREY, linewidth=0.5)
        at, names = [(first + last - 1) / 2 for _, first, last in groups], [name for name, _, _ in groups]
        axis.set_xticks(at, names, rotation=0 if len(names) < 6 else 60)
        axis.set_yticks(at, names)
        axis.tick_params(length=0)
    axis.set(title="Who drives whom", xlabel="from", ylabel="to")
    there = bool(np.any(weight > 0)), bool(np.any(weight < 0)), bool(network.junctions.a.size)
    kinds = zip(("excitatory", "inhibitory", "junction"), COLOURS, there, strict=False)
    _key(axis, [(kind, colour) for kind, colour, shown in kinds if shown])


def _source_x(n: int, column: float) -> float:
    return n + SOURCES_APART * n + column


def _source_columns(network: Network) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The names of the columns in which sources stand, and the column of each: its own, or where there are
    more sources than neurons, its group's."""
    ids = network.ids[network.n_neurons :]
    called = ids if len(ids) <= network.n_neurons else [id.rpartition(".")[0] or id for id in ids]
    names = list(dict.fromkeys(called))
    return names, np.array([names.index(name) for name in called], np.int64)


def _sources(axis: Axes, network: Network, columns: npt.NDArray[np.int64]) -> None:
    """Synapses from sources, beside the matrix and grey."""
    n = network.n_neurons
    pairs = np.flatnonzero(network.synapses.pre >= n)
    pairs = pairs[:: -(-pairs.size // MOST_DOTS) or 1]
    if not columns.size:
        return
    axis.axvline(n - 0.5 + SOURCES_APART * n / 2, color=GREY, linewidth=0.5)
    x = [_source_x(n, column) for column in columns[network.synapses.pre[pairs] - n].tolist()]
    size = float(np.clip(200 / n, 1.0, 6.0))
    axis.plot(x, network.synapses.post[pairs], "s", markersize=size, markeredgewidth=0, color=GREY)


def _blend(onto: npt.NDArray[Any], counts: npt.NDArray[Any], colour: str) -> None:
    """Lay a density over an RGBA picture: the square root of the share of the densest cells."""
    from matplotlib.colors import to_rgb

    if not counts.any():
        return
    share = np.sqrt(np.clip(counts / np.quantile(counts[counts > 0], 0.98), 0, 1))[..., None]
    seen = onto[..., 3:]
    rgb = share * np.array(to_rgb(colour)) + seen * (1 - share) * onto[..., :3]
    alpha = share + seen * (1 - share)
    onto[..., :3] = np.divide(rgb, alpha, out=np.zeros_like(rgb), where=alpha > 0)
    onto[..., 3:] = alpha


def _key(axis: Axes, entries: list[tuple[str, str]]) -> None:
    for n, (name, colour) in enumerate(reversed(entries)):
        axis.annotate(name, (1, 1), (-62.0 * n, 5), xycoords="axes fraction", textcoords="offset points",
                      ha="right", color=colour, fontsize=8)  # fmt: skip


def _map(axis: Axes, network: Network) -> None:
    """Neurons where they stand, and synapses as lines: all, or those of a few neurons."""
    from matplotlib.collections import LineCollection

    n = network.n_neurons
    pre, post, weight = joined(network)
    at, space = network.places.at_mm[:n], network.places.spaces[network.ids[0]]
    ring = space.kind == "ring"
    if ring:
        angle = at[:, 0] / space.width_mm * 2 * np.pi
        at = np.column_stack([np.sin(angle), np.cos(angle)]) * space.width_mm / (2 * np.pi)
    shown, words = np.ones(pre.size, bool), "all synapses"
    width, alpha = 0.5, float(np.clip(15 / np.sqrt(max(pre.size, 1)), 0.06, 0.4))
    if pre.size > (MOST_CHORDS if ring else MOST_LINES):
        few = _spread_out(at)
        shown, words = np.isin(pre, few), f"synapses of {counted(few.size, 'neuron')}"
        width, alpha = 0.9, 0.8
        axis.plot(*at[few].T, "o", markersize=6, color=INK, zorder=3)
    if space.torus:
        shown &= np.all(np.abs(at[pre] - at[post]) < [space.width_mm / 2, space.height_mm / 2], axis=1)
    for colour, mine in ((_PLUS, weight >= 0), (_MINUS, weight < 0)):
        lines = np.stack([at[pre[shown & mine]], at[post[shown & mine]]], axis=1)
        axis.add_collection(LineCollection(list(lines), colors=colour, linewidths=width, alpha=alpha))
    for (_, first, last), colour in zip(_groups(network) or [("", 0, n)], COLOURS[2:] * 9, strict=False):
        size = float(np.clip(60 / np.sqrt(n), 1.5, 6.0))
        axis.plot(*at[first:last].T, "o", markersize=size, markeredgewidth=0, color=colour, zorder=1)
    axis.set(aspect="equal", title=f"On {space}: {words}", xlabel="mm", ylabel="mm")
    if ring:
        axis.set_axis_off()


def _spread_out(at: npt.NDArray[Any], most: int = 6) -> npt.NDArray[Any]:
    """Neurons far from each other and not at the edge: each next one is the farthest from those before."""
    centre = (at.max(axis=0) + at.min(axis=0)) / 2
    inner = np.flatnonzero(np.max(np.abs(at - centre), axis=1) < 0.38 * np.ptp(at, axis=0).max())
    found = [int(inner[np.argmin(np.linalg.norm(at[inner] - centre, axis=1))])] if inner.size else [0]
    while len(found) < min(most, inner.size):
        apart = np.linalg.norm(at[inner][:, None] - at[found][None], axis=2).min(axis=1)
        found.append(int(inner[np.argmax(apart)]))
    return np.array(found)


def _degrees(axis: Axes, network: Network) -> None:
    """Degrees as the share of neurons that have as many or more, or as counts where none stands out."""
    degrees = degree_arrays(network)
    heavy = any(k.max() > HEAVY_TAIL * max(k.mean(), 0.5) for k in degrees)
    for name, k, colour, line in zip(("in", "out"), degrees, COLOURS[2:], ("-", "--"), strict=False):
        if heavy:
            value, count = np.unique(k[k > 0], return_counts=True)
            share = np.cumsum(count[::-1])[::-1] / k.size
            axis.loglog(value, share, line, linewidth=1.4, color=colour, label=name)
        else:
            bins = np.arange(k.min(), k.max() + 2) - 0.5
            axis.hist(k, list(bins), histtype="stepfilled", color=colour, alpha=0.25)
            axis.hist(k, list(bins), histtype="step", color=colour, label=name)
    logs = axis.get_xscale() == "log"
    if not logs:
        axis.locator_params(axis="x", integer=True)
    axis.set(title="Degrees", xlabel="partners k", ylabel="share with ≥ k" if logs else "neurons")
    axis.legend()


def _weights(axis: Axes, network: Network) -> None:
    _, _, weight = joined(network)
    _histogram(axis, weight[weight > 0], _PLUS, "excitatory")
    _histogram(axis, -weight[weight < 0], _MINUS, "inhibitory")
    if not axis.patches:
        _histogram(axis, network.junctions.ns, COLOURS[2], "junctions")
    inner = network.synapses.post[_inner(network)]
    current = np.isnan(network.graded.reversal)
    found = units(network, inner, "weight_unit")
    found += units(network, network.graded.post[current], "current_unit")
    found = list(dict.fromkeys(found + ["nS"] * bool(not found or np.any(~current))))
    axis.set(title="Weights", xlabel=f"|weight| ({', '.join(found)})".replace(" ()", ""), ylabel="synapses")
    if axis.get_legend_handles_labels()[0]:
        axis.legend()


def _histogram(axis: Axes, values: npt.NDArray[Any], colour: str, name: str) -> None:
    if not values.size:
        return
    low, high = float(values.min()), float(values.max())
    if high > 30 * max(low, 1e-12) and low > 0:
        bins = np.geomspace(low, high, 40)
        axis.set_xscale("log")
    else:
        bins = np.linspace(low, high, 41) if high > low else np.array([0.97, 1.03]) * (high or 1.0)
    if high == low:
        axis.set_xlim(0, 1.4 * max(high, axis.get_xlim()[1] / 1.4 if axis.patches else 0.0))
    axis.hist(values, sorted(bins), color=colour, alpha=0.75, label=name)


def _delays(axis: Axes, network: Network) -> None:
    steps, ms = network.synapses.delay[_inner(network)], network.dt_ns / 1e6
    if steps.size:
        low, high = int(steps.min()), int(steps.max())
        width = -(-(high - low + 1) // 40)
        first = low - max(3, 20 - high + low) // 2 if high == low else low
        last = high + (low - first)
        bins = (np.arange(first, last + width + 1, width) - 0.5) * ms
        axis.hist(steps * ms, list(bins), color=INK, alpha=0.6)
    axis.set(title="Delays", xlabel="ms", ylabel="synapses")
