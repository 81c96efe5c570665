"""A picture of a log: raster, population rate, and potentials and weights where they were recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurobus.errors import InputError, one_line
from neurobus.log.format import Floats, Int64s, Log, Weights
from neurobus.log.info import listened_from_ns
from neurobus.log.initial import all_potentials, all_weights
from neurobus.picture import COLOURS, FAINT, GREY, INK, MARK, STYLE, blank, require_suffix, save
from neurobus.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LONGEST_TITLE = 80
MOST_LABELS = 40
"""Up to so many neurons each has its row and its name; beyond, groups are named."""
MOST_DOTS = 300_000
MOST_TRACES = 6
MOST_WEIGHTS = 60
"""Up to so many synapses each is a line; beyond, their distribution is drawn."""
WEIGHT_BINS, RATE_BINS = 40, 1500
MOST_COLUMNS = 1500
LARGE, LARGEST_PART = 10, 60
"""From so many members on a group has a rate of its own. Beyond so many, where they have names of their own
and no other group is large, it is drawn in parts."""
MOST_NAMED_WEIGHTS = 8
"""Up to so many lines of weights are named."""
LEAST_SAMPLES = 50
"""Where many neurons have samples, a trace of fewer says little: they were sent to electrical synapses."""


def plot(log: Log, out: str | Path, title: str | None = None, start_ns: int = 0,
         end_ns: int | None = None) -> Path:  # fmt: skip
    """Draws `log` to `out`, PNG, SVG or PDF by suffix, between two model times (by default all of it).

    Raises `InputError` for another suffix, an empty window or a place that cannot be written.
    """
    import matplotlib

    out = Path(out)
    require_suffix(out)
    rows = _Rows(log)
    window = start_ns, max(log.end_ns, 1_000_000) if end_ns is None else end_ns
    if window[1] <= window[0]:
        raise InputError(f"nothing to draw from {window[0] / 1e6:g} ms to {window[1] / 1e6:g} ms")
    scale, unit = (1e6, "ms") if window[1] - window[0] <= 2_000_000_000 else (1e9, "s")
    traces = _traces(log)
    weighed = bool(log.weights.t.size or log.initial_weights.t.size)
    heights = [rows.height, 1.1, *[0.62] * len(traces), *[1.8] * weighed]
    with matplotlib.rc_context(STYLE):
        figure = blank(9.6, sum(heights) + 1.4)
        axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        _raster(axes[0], log, rows, scale)
        _rate(axes[1], log, rows, scale, window)
        for axis, index in zip(axes[2 : len(axes) - weighed], traces, strict=True):
            _potential(axis, log, index, rows, scale, window)
        if weighed:
            _weights(axes[-1], log, rows, scale, window)
        for axis in axes:
            axis.set_xlim(window[0] / scale, window[1] / scale)
            axis.grid(axis="x", color=FAINT, linewidth=0.6)
            axis.set_axisbelow(True)
        for axis in axes[:-1]:
            axis.tick_params(axis="x", length=0)
        axes[-1].set_xlabel(f"model time ({unit})")
        name = one_line(title or Path(log.header.config_name).stem)[:LONGEST_TITLE]
        axes[0].set_title(
            one_line(name), loc="left", fontsize=13, fontweight="bold", pad=26, parse_math=False
        )
        axes[0].annotate(_caption(log), (0, 1), (0, 12), xycoords="axes fraction", textcoords="offset points",
                         color=GREY, fontsize=8.5)  # fmt: skip
        figure.align_ylabels(axes)
        return save(figure, out)


class _Rows:
    """Which neuron stands where, and in which colour: groups one after the other, the first on top, and the
    sources, grey, a little below. Where one group is nearly all there is and its members have names of their
    own, it is cut into parts, each named by its first and last member."""

    def __init__(self, log: Log):
        ids = log.header.ids
        self.n = len(ids)
        self.labelled = self.n <= MOST_LABELS
        self.height = float(np.clip(0.16 * self.n, 1.3, 5.2)) if self.labelled else 4.6
        member = _group_names(ids, log.header.groups)
        self.groups = list(dict.fromkeys(member))
        self.group_of = np.array([self.groups.index(name) for name in member], np.int64)
        order = np.argsort(self.group_of, kind="stable")
        self.source = ~log.header.of_neurons
        self.gap = 0.02 * self.n if self.source.any() and not self.source.all() and not self.labelled else 0.0
        self.y = np.empty(self.n)
        self.y[order] = np.arange(self.n)
        self.y += self.gap * self.source
        self.sizes = np.bincount(self.group_of, minlength=len(self.groups))
        alone = bool(np.count_nonzero(np.bincount(self.group_of[~self.source]) >= LARGE) <= 1)
        self._parts: list[tuple[str, Int64s]] = []
        self.part_of = np.empty(self.n, np.int64)
        for group, name in enumerate(self.groups):
            members = np.flatnonzero(self.group_of == group).astype(np.int64)
            for part in _parts(name, [ids[i] for i in members], members, alone):
                self.part_of[part[1]] = len(self._parts)
                self._parts.append(part)

    @property
    def row_points(self) -> float:
        return self.height * 72 / max(self.n + self.gap, 1)

    @property
    def n_parts(self) -> int:
        return len(self._parts)

    def colour(self, group: int) -> str:
        """Of a group, in rates and traces."""
        return GREY if self.source[self.group_of == group].all() else COLOURS[group % len(COLOURS)]

    def part_colour(self, part: int) -> str:
        """Of a part of a group: neighbours differ."""
        members = self._parts[part][1]
        several = np.count_nonzero(self.group_of == self.group_of[members[0]]) > members.size
        if several:
            return COLOURS[part % len(COLOURS)]
        return self.colour(int(self.group_of[members[0]]))

    def edges(self) -> Floats:
        """Between the parts."""
        lasts = [float(self.y[members].max()) for _, members in self._parts]
        return np.array(lasts[:-1]) + 0.5

    def labels(self) -> tuple[list[tuple[str, int]], Floats]:
        """The parts to name, as many as find room, with their numbers, and where: beside themselves, or a
        little below."""
        gap = 11 / self.row_points
        sizes = np.array([members.size for _, members in self._parts])
        named = sorted(np.argsort(-sizes, kind="stable")[: int((self.n + self.gap) / gap)].tolist())
        at = np.array([float(self.y[self._parts[part][1]].mean()) for part in named])
        room = gap * np.arange(len(named))
        at = np.maximum.accumulate(at - room) + room
        return [(self._parts[part][0], part) for part in named], np.minimum(
            at, self.n + self.gap - gap / 2 - room[::-1]
        )


def _group_names(ids: Sequence[str], groups: Mapping[str, Sequence[int]]) -> list[str]:
    """The group of each neuron: the smallest that has it, no pattern; else what its id has before the dot."""
    member = [""] * len(ids)
    for name, members in sorted(groups.items(), key=lambda group: -len(group[1])):
        for index in members if len(members) > 1 and "#" not in name else ():
            member[index] = name
    for index, id in enumerate(ids):
        head, dot, _ = id.rpartition(".")
        member[index] = member[index] or (head if dot else "")
    if member.count("") == 1:
        member[member.index("")] = ids[member.index("")]
    return member


def _parts(name: str, ids: Sequence[str], members: Int64s, divide: bool) -> list[tuple[str, Int64s]]:
    """A group, or the parts it is drawn in, with what they are called."""
    numbered = all(id.startswith(f"{name}.") for id in ids)
    n = 1 if numbered or not divide or members.size <= LARGEST_PART else -(-members.size // LARGEST_PART)
    if n == 1:
        size = f" ({members.size})" if members.size > 1 else ""
        return [((name or "others") + size, members)]
    parts = np.array_split(np.arange(members.size), n)
    return [(f"{ids[part[0]]} – {ids[part[-1]]}", members[part]) for part in parts]


def _raster(axis: Axes, log: Log, rows: _Rows, scale: float) -> None:
    stride = -(-log.spikes_t.size // MOST_DOTS) or 1
    t, i = log.spikes_t[::stride] / scale, log.spikes_i[::stride]
    style: dict[str, Any] = {"linestyle": "none", "rasterized": t.size > 20_000}
    if rows.row_points > 3:
        style |= {"marker": "|", "markersize": 0.72 * min(rows.row_points, 30), "markeredgewidth": 1.1}
    else:
        size = 5 if t.size < 2_000 else 3.4 if t.size < 10_000 else 2.2 if t.size < 50_000 else 1.2
        style |= {"marker": ".", "markersize": size, "markeredgewidth": 0}
    for part in range(rows.n_parts):
        chosen = rows.part_of[i] == part
        axis.plot(t[chosen], rows.y[i[chosen]], color=rows.part_colour(part), **style)
    pad = 0.3 + 3 / rows.row_points
    axis.set_ylim(rows.n + rows.gap - 0.5 + pad, -0.5 - pad)
    if rows.labelled:
        axis.set_yticks(rows.y, log.header.ids, fontsize=7.5 if rows.n > 24 else 8.5)
        for index, label in enumerate(axis.get_yticklabels()):
            if rows.source[index]:
                label.set_color(GREY)
                label.set_fontstyle("italic")
    elif rows.n_parts > 1:
        named, at = rows.labels()
        axis.set_yticks(at, [name for name, _ in named])
        axis.tick_params(axis="y", length=0)
        for (_, part), label in zip(named, axis.get_yticklabels(), strict=True):
            label.set_color(rows.part_colour(part))
        for edge in rows.edges():
            axis.axhline(edge, color=FAINT, linewidth=0.8)
    else:
        axis.set_ylabel("neuron")
    if stride > 1:
        axis.annotate(f"one spike in {stride} is drawn", (1, 1), (0, 3), xycoords="axes fraction",
                      textcoords="offset points", ha="right", color=GREY, fontsize=7.5)  # fmt: skip
    _mark_stimuli(axis, log, scale)


def _mark_stimuli(axis: Axes, log: Log, scale: float) -> None:
    instants: dict[int, list[str]] = {}
    for stimulus in log.stimuli:
        instants.setdefault(max(stimulus.t_ns, 0), []).append(stimulus.item.neuron)
    if not instants:
        return
    across = axis.get_xaxis_transform()
    at = np.array(list(instants)) / scale
    axis.vlines(at, 0, 1, color=MARK, linewidth=0.7, alpha=0.45, transform=across)
    axis.plot(at, np.ones(at.size), "v", color=MARK, markersize=5, markeredgewidth=0, clip_on=False,
              transform=across)  # fmt: skip
    if len(instants) <= 6:
        for t, neurons in instants.items():
            name = neurons[0] + (f" +{len(neurons) - 1}" if len(neurons) > 1 else "")
            axis.annotate(name, (t / scale, 1), (5, 1.5), xycoords=axis.get_xaxis_transform(),
                          textcoords="offset points", color=MARK, fontsize=7.5)  # fmt: skip


def rate(t_ns: Int64s, n: int, window: tuple[int, int], recorded: tuple[int, int]) -> Floats:
    """Spikes per second and neuron (Hz) in `RATE_BINS` bins of the window, smoothed with a Gaussian of 1/160
    of the window or 2 ms. At an edge it is the mean over what was recorded, not over what lies beyond; NaN
    in bins before and after the stretch of model time that was `recorded` (ns).
    """
    width_s = (window[1] - window[0]) / RATE_BINS / 1e9
    sigma = min(max(RATE_BINS / 160, 2e-3 / width_s), RATE_BINS / 10)
    offsets = np.arange(-int(4 * sigma), int(4 * sigma) + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    counts, edges = np.histogram(t_ns, RATE_BINS, window)
    # of each bin, the part that was recorded
    covered = np.clip(
        (np.minimum(edges[1:], recorded[1]) - np.maximum(edges[:-1], recorded[0])) / np.diff(edges), 0.0, 1.0
    )
    spikes, seconds = (np.convolve(a, kernel)[offsets[-1] :][:RATE_BINS] for a in (counts, covered * width_s))
    hz: Floats = np.divide(spikes, seconds * max(n, 1), out=np.full(RATE_BINS, np.nan), where=covered > 0)
    return hz


def _rate(axis: Axes, log: Log, rows: _Rows, scale: float, window: tuple[int, int]) -> None:
    def smooth(t: Int64s, n: int) -> Floats:
        return rate(t, n, window, (listened_from_ns(log) or 0, log.end_ns))

    edges = np.linspace(*window, RATE_BINS + 1) / scale
    x = (edges[:-1] + edges[1:]) / 2
    large = np.flatnonzero(rows.sizes >= LARGE).tolist()
    if 1 < len(large) <= len(COLOURS) and not rows.labelled:
        top = 0.0
        for group in large:
            y = smooth(log.spikes_t[rows.group_of[log.spikes_i] == group], int(rows.sizes[group]))
            axis.fill_between(x, y, color=rows.colour(group), alpha=0.07, linewidth=0)
            axis.plot(x, y, color=rows.colour(group), linewidth=1.1)
            top = max(top, float(np.nanmax(y, initial=0)))
    else:
        of_neurons = log.header.of_neurons
        y = smooth(log.spikes_t[of_neurons[log.spikes_i]], int(of_neurons.sum()) or rows.n)
        axis.fill_between(x, y, color=INK, alpha=0.12, linewidth=0)
        axis.plot(x, y, color=INK, linewidth=1.0)
        top = float(np.nanmax(y, initial=0))
    axis.set_ylim(0, top * 1.12 or 1)
    axis.locator_params(axis="y", nbins=3)
    axis.set_ylabel("rate per\nneuron (Hz)")


def _traces(log: Log) -> list[int]:
    """The neurons whose potentials are drawn: all that have samples, or those with the most."""
    index, count = np.unique(all_potentials(log).i, return_counts=True)
    if index.size > MOST_TRACES:
        most = np.argsort(-count, kind="stable")[:MOST_TRACES]
        index = np.sort(index[most[count[most] >= LEAST_SAMPLES]])
    traces: list[int] = index.tolist()
    return traces


def _potential(axis: Axes, log: Log, index: int, rows: _Rows, scale: float, window: tuple[int, int]) -> None:
    """A receiver holds the last value, also what was told before the window, and so does the picture."""
    known = all_potentials(log)
    known = known.only(known.i == index)
    colour = rows.colour(int(rows.group_of[index]))
    t, v_mv = np.append(known.t, max(window[1], known.t[-1])), np.append(known.v_mv, known.v_mv[-1])
    axis.step(t / scale, np.where(np.isfinite(v_mv), v_mv, np.nan), where="post", color=colour, linewidth=0.8)
    axis.annotate(log.header.ids[index], (0, 1), (4, -2), xycoords="axes fraction", va="top", color=colour,
                  textcoords="offset points", fontsize=8.5, fontweight="bold")  # fmt: skip
    axis.set_ylabel("mV")
    axis.locator_params(axis="y", nbins=2)
    axis.margins(y=0.3)


def _weights(axis: Axes, log: Log, rows: _Rows, scale: float, window: tuple[int, int]) -> None:
    """Each weight against time in the colour of its neuron, or where there are many, how they spread:
    the share of synapses by weight at each time, and their quartiles."""
    told = all_weights(log)
    told = told.only(np.isfinite(told.weight))
    synapses, number = told.synapses()
    axis.set_ylabel("weight")
    axis.locator_params(axis="y", nbins=4)
    if synapses.size > MOST_WEIGHTS:
        _spread(axis, told, synapses.size, scale, window)
        return
    style: dict[str, Any] = {
        "linewidth": 0.8,
        "alpha": 0.8,
        "marker": "." if np.unique(told.t).size < 3 else "",
        "markersize": 3,
    }
    for synapse, group in enumerate(rows.group_of[told.post[synapses]].tolist()):
        t, w = told.t[number == synapse], told.weight[number == synapse]
        named = synapses.size <= MOST_NAMED_WEIGHTS
        colour = COLOURS[synapse % len(COLOURS)] if named else rows.colour(group)
        axis.plot(t / scale, w, color=colour, **style)
        if named:
            pre, post = (log.header.ids[ends[synapses[synapse]]] for ends in (told.pre, told.post))
            axis.annotate(f"{pre} → {post}", (1, w[-1]), (4, 0), xycoords=axis.get_yaxis_transform(),
                          textcoords="offset points", va="center", color=colour, fontsize=7,
                          annotation_clip=False)  # fmt: skip
    axis.margins(y=0.12)


def _spread(axis: Axes, told: Weights, n_synapses: int, scale: float, window: tuple[int, int]) -> None:
    """The distribution of many weights, at no more times than can be told apart."""
    instants = np.unique(told.t)
    instants = instants[:: -(-instants.size // MOST_COLUMNS)]
    told = told.only(np.isin(told.t, instants))
    low, high = float(told.weight.min()), float(told.weight.max())
    edges = np.linspace(low, high if high > low else low + 1.0, WEIGHT_BINS + 1)
    column = np.searchsorted(instants, told.t)
    bins = np.clip(np.searchsorted(edges, told.weight, side="right") - 1, 0, WEIGHT_BINS - 1)
    share = np.zeros((WEIGHT_BINS, instants.size))
    np.add.at(share, (bins, column), 1.0)
    share /= np.maximum(share.sum(axis=0), 1)
    # A column lasts until the next look, the last as long as the one before.
    last = instants[-1] - instants[-2] if instants.size > 1 else max(window[1] - instants[-1], 1)
    ends = np.append(instants, instants[-1] + last)
    axis.pcolormesh(ends / scale, edges, np.sqrt(share), cmap="Greys", rasterized=True)
    order = np.lexsort((told.weight, column))
    parts = np.split(told.weight[order], np.cumsum(np.bincount(column))[:-1])
    for quartile, width in ((25, 0.7), (50, 1.3), (75, 0.7)):
        at = [np.percentile(part, quartile) for part in parts]
        axis.plot(instants / scale, at, color=COLOURS[0], linewidth=width)
    axis.annotate(f"{n_synapses:,} synapses: distribution, median, quartiles", (0, 1), (2, 3),
                  xycoords="axes fraction", textcoords="offset points", color=GREY, fontsize=7.5)  # fmt: skip


def _caption(log: Log) -> str:
    header = log.header
    n = int(header.of_neurons.sum())
    parts = [counted(n, 'neuron'), counted(log.spikes_t.size, 'spike'), f"seed {header.seed}",
             f"{header.clock} clock"]  # fmt: skip
    return "  ·  ".join(parts + ([] if log.complete else ["not complete"]))
