"""Spikes as characters: a page of rows against model time, for any terminal and for none. Pure.

A row is a neuron, or some neurons of one group that stand side by side; the darker a cell, the larger the
share of them that fired in that stretch of time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neurobus.words import number

SHADES = " ▁▂▃▄▅▆▇█"
TICK = "│"
"""A spike of a row of one neuron."""
LONGEST_LABEL = 18
NARROWEST = 10
MOST_JOINED = 4
"""Rows for neurons that join while the page is drawn."""


@dataclass(frozen=True)
class Row:
    """What stands in one line: `members` are indices of neurons; `source`: they are sources."""

    label: str
    members: tuple[int, ...]
    source: bool = False


def rows_of(ids: Sequence[str], n_neurons: int, groups: Mapping[str, Sequence[int]], most: int) -> list[Row]:
    """About `most` rows for all neurons and sources: one each where there is room; else each group has as
    many as its share, one at least: its first row has its name, the others that of their first member."""
    if len(ids) <= most:
        return [Row(name, (i,), i >= n_neurons) for i, name in enumerate(ids)]
    blocks = _blocks(ids, groups)
    room = most - len(blocks)
    rows = []
    for name, members in blocks:
        share = 1 + max(0, int(room * len(members) / len(ids)))
        for number_, part in enumerate(np.array_split(np.array(members), min(share, len(members)))):
            first = ids[part[0]]
            label = first if len(part) == 1 else f"{first} …" if number_ else name
            rows.append(Row(label, tuple(part.tolist()), part[0] >= n_neurons))
    return rows


def _blocks(ids: Sequence[str], groups: Mapping[str, Sequence[int]]) -> list[tuple[str, list[int]]]:
    """Every neuron once, in the order of `ids`, with the first group that has it; the rest together."""
    group_of = ["others"] * len(ids)
    for name, members in reversed(list(groups.items())):
        if len(members) > 1:
            for i in members:
                group_of[i] = name
    blocks: dict[str, list[int]] = {}
    for i, name in enumerate(group_of):
        blocks.setdefault(name, []).append(i)
    return list(blocks.items())


class Raster:
    """A page of `span_ns` of model time, in cells of `span_ns / columns`, and after it the next."""

    def __init__(self, rows: Sequence[Row], n: int, span_ns: int, columns: int):
        self.rows, self.span_ns, self.columns = rows, span_ns, columns
        self._n_rows = len(rows)
        self.row_of = np.full(n, -1)
        for number_, row in enumerate(rows):
            self.row_of[list(row.members)] = number_
        self.sizes = np.array([len(row.members) for row in rows])
        self.page = 0
        self.now_ns = 0
        self._counts = np.zeros((len(rows), columns), np.int64)
        self._waiting: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []

    def join(self, label: str) -> int:
        """A neuron more, in a row of its own, or where there are `MOST_JOINED` in the last one.

        Returns its index.
        """
        index = len(self.row_of)
        if len(self.rows) < self._n_rows + MOST_JOINED:
            self.rows = [*self.rows, Row(label, (index,))]
            self.sizes = np.append(self.sizes, 1)
            self._counts = np.vstack([self._counts, np.zeros((1, self.columns), np.int64)])
        else:
            self.rows = [*self.rows[:-1], Row("others by hand", (*self.rows[-1].members, index))]
            self.sizes[-1] += 1
        self.row_of = np.append(self.row_of, len(self.rows) - 1)
        return index

    def hear(self, t_ns: Iterable[int], neurons: Iterable[int]) -> None:
        """Spikes at model times `t_ns` of `neurons`. Those of later pages wait for them."""
        t, row = np.array(list(t_ns), np.int64), self.row_of[np.array(list(neurons), np.int64)]
        if t.size:
            self.now_ns = max(self.now_ns, int(t.max()))
            self._enter(t[row >= 0], row[row >= 0])

    def _enter(self, t: npt.NDArray[np.int64], row: npt.NDArray[np.int64]) -> None:
        page = t // self.span_ns
        here, later = page == self.page, page > self.page
        column = (t[here] % self.span_ns) * self.columns // self.span_ns
        np.add.at(self._counts, (row[here], column), 1)
        if later.any():
            self._waiting.append((t[later], row[later]))

    def turn(self) -> bool:
        """Begin the next page where model time has left this one; whether it had."""
        if self.now_ns < (self.page + 1) * self.span_ns:
            return False
        self.page += 1
        self._counts[:] = 0
        waiting, self._waiting = self._waiting, []
        for t, row in waiting:
            self._enter(t, row)
        return True

    def lines(self) -> list[str]:
        """The present page: a line a row, and the axis of model time below."""
        width = self.label_width
        lines = []
        # spikes a member; where some fire several times in a cell, the fullest cell is the darkest
        shares = self._counts / self.sizes[:, None]
        shares /= max(1.0, float(shares.max(initial=0.0)))
        for row, share in zip(self.rows, shares.tolist(), strict=True):
            cells = "".join(_shade(of, len(row.members) == 1) for of in share)
            lines.append(f"{_short(row.label):>{width}} {cells}".rstrip())
        return [*lines, f"{'':>{width}} {axis(self.page * self.span_ns, self.span_ns, self.columns)}"]

    @property
    def label_width(self) -> int:
        return label_width(self.rows)


def label_width(rows: Sequence[Row]) -> int:
    return max((len(_short(row.label)) for row in rows), default=0)


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…"


def _shade(share: float, alone: bool) -> str:
    if not share:
        return SHADES[0]
    return TICK if alone else SHADES[max(1, round(share**0.5 * (len(SHADES) - 1)))]


def axis(start_ns: int, span_ns: int, columns: int) -> str:
    """Model time in seconds below its columns: the start, the middle where there is room, the end."""
    texts = [f"{number((start_ns + part * span_ns) / 1e9, ',g')} s" for part in (0, 0.5, 1)]
    line = list(texts[0].ljust(columns))
    for text, at in ((texts[2], columns - len(texts[2])), (texts[1], columns // 2)):
        if at > 0 and "".join(line[at - 1 : at + len(text) + 1]).strip() == "":
            line[at : at + len(text)] = text
    return "".join(line)[:columns]
