"""The live view of `neurobus top`: a field of LEDs above a list of neurons. The only user of textual.

Both are drawn line by line, and only lines that changed are sent to the terminal: a resting network
costs nothing, 302 firing neurons a few per cent of a core.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from functools import lru_cache
from math import isnan
from typing import ClassVar

import numpy as np
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Click, Resize
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Footer, Input, Static

from neurobus import led
from neurobus.cli.clusters import picked
from neurobus.cli.topfigures import Depolarisation, default_push, figure, headline, weight_picture
from neurobus.cluster.folder import Manifest
from neurobus.cluster.live import BIN_NS, BINS
from neurobus.cluster.observer import LiveObserver
from neurobus.errors import InputError, NeurobusError

LISTEN_HZ, FIELD_HZ, LIST_HZ, SORT_HZ, ALIVE_HZ, WEIGHTS_HZ = 25, 10, 5, 1, 2, 3
LISTEN_S = 0.02
"""Of each 40 ms at most this goes into hearing; what a flood leaves unheard is counted as missed."""
WORD_S = 4.0

GROUND: led.RGB = (16, 17, 20)
TRACK: led.RGB = (32, 34, 39)
CHOSEN: led.RGB = (44, 50, 64)
FAINT: led.RGB = (92, 96, 106)
TEXT: led.RGB = (200, 203, 210)
BRIGHT: led.RGB = (248, 248, 248)
ALARM: led.RGB = (255, 92, 92)

RIGHTWARD = " ▏▎▍▌▋▊▉█"
ACTIVITY = "·▂▄▆█"


@lru_cache(maxsize=8192)
def style(fore: led.RGB, back: led.RGB = GROUND, bold: bool = False) -> Style:
    return Style(color=Color.from_rgb(*fore), bgcolor=Color.from_rgb(*back), bold=bold)


LEVELS, INSTANTS = 32, 40
"""Shades of a potential, and of a second after a spike: enough to the eye, and fewer lines change."""


@lru_cache(maxsize=8192)
def lamp(level: int, instant: int, back: led.RGB) -> Segment:
    """The LED of a neuron; `level` in 1/LEVELS, `instant` in 1/INSTANTS of a second since its spike."""
    return Segment("●", style(led.colour(level / LEVELS, instant / INSTANTS), back))


@lru_cache(maxsize=8192)
def label(name: str, width: int, chosen: bool) -> Segment:
    text = f" {name}" if width > 1 else name
    return Segment(text.ljust(width), style(BRIGHT if chosen else FAINT, CHOSEN if chosen else GROUND))


def bar(level: float, width: int, back: led.RGB) -> Iterator[Segment]:
    """A potential: rest at a third of the width, threshold at the right end."""
    zero = width // 3
    if isnan(level):
        yield Segment("–".center(width), style(FAINT, back))
        return
    colour = led.colour(round(level * LEVELS) / LEVELS)
    eighths = round(min(abs(level) * (width - zero), zero if level < 0 else width - zero) * 8)
    full, part = divmod(eighths, 8)
    if level < 0 and eighths:
        # Blocks grow from the left only, so what grows leftwards is drawn as its complement.
        left = zero - full - bool(part)
        yield Segment(" " * left, style(TRACK, TRACK))
        if part:
            yield Segment(RIGHTWARD[8 - part], style(TRACK, colour))
        yield Segment("█" * full, style(colour, TRACK))
        yield Segment("▏" + " " * (width - zero - 1), style(FAINT, TRACK))
    elif eighths:
        yield Segment(" " * zero, style(TRACK, TRACK))
        filled = "█" * full + (RIGHTWARD[part] if part else "")
        yield Segment(filled.ljust(width - zero), style(colour, TRACK))
    else:
        yield Segment(" " * zero + "▏".ljust(width - zero), style(FAINT, TRACK))


@lru_cache(maxsize=8192)
def lit(red: int, green: int, blue: int) -> led.RGB:
    """The colour of an LED as the eye sees it: strips are driven at a fraction of their light."""
    red, green, blue = (round(255 * (value / 255) ** 0.45) for value in (red, green, blue))
    return red, green, blue


def strip(rgb: bytes, width: int, back: led.RGB) -> Iterator[Segment]:
    """A board's strip, LED by LED; as many as there is room for, evenly chosen."""
    n = len(rgb) // 3
    shown = min(n, width)
    for place in range(shown):
        at = 3 * (place * n // shown)
        yield Segment("■", style(lit(*rgb[at : at + 3]), back))
    yield Segment(" " * (width - shown), style(FAINT, back))


class Lines(Widget):
    """A widget of lines that repaints those that changed."""

    def __init__(self, observer: LiveObserver, depolarisation: Depolarisation):
        super().__init__()
        self.observer, self.live = observer, observer.live
        self.depolarisation = depolarisation
        self._lines: list[Strip] = []

    def line(self, y: int) -> list[Segment]:
        raise NotImplementedError

    def prepare(self) -> None:
        """Called before the lines of one picture."""

    def paint(self) -> None:
        self.prepare()
        width, height = self.size
        before = self._lines
        self._lines = [
            Strip(self.line(y)).adjust_cell_length(width, style(TEXT)).crop(0, width) for y in range(height)
        ]
        same_shape = len(before) == height and (not before or before[0].cell_length == width)
        lines = self._lines
        changed = [Region(0, y, width, 1) for y in range(height) if not same_shape or before[y] != lines[y]]
        if changed:
            self.refresh(*changed)

    def render_line(self, y: int) -> Strip:
        return self._lines[y] if y < len(self._lines) else Strip.blank(self.size.width, style(TEXT))

    def dot(self, index: int, back: led.RGB = GROUND) -> Segment:
        if self.gone[index]:
            return Segment("○", style(FAINT, back))
        return lamp(self.shades[index], self.instants[index], back)

    def look(self) -> None:
        """Figures that all lines of a picture share."""
        self.now = time.monotonic()
        self.levels = self.depolarisation(self.live.mv)
        self.gone = (self.live.silent(self.now) & (self.live.counts >= 0)).tolist()
        shades = np.clip(np.nan_to_num(self.levels), -1.0, 1.0) * LEVELS
        self.shades = np.rint(shades).astype(int).tolist()
        self.instants = np.clip((self.now - self.live.spiked_s) * INSTANTS, 0, INSTANTS).astype(int).tolist()


class Field(Lines):
    """Every neuron's LED at a fixed place, with its id where there is room."""

    chosen: int | None = 0

    def room(self, width: int, most: int) -> None:
        """Lay out for a width, in at most `most` lines."""
        n = len(self.observer.manifest.ids)
        cell = max(map(len, self.observer.manifest.ids), default=1) + 3
        self.labelled = -(-n // max(1, width // cell)) <= most
        self.cell = cell if self.labelled else 2
        self.columns = max(1, width // self.cell)
        self.first = 0
        self.styles.height = max(1, min(most, -(-n // self.columns)))

    def prepare(self) -> None:
        self.look()
        if self.chosen is not None:
            row = self.chosen // self.columns
            self.first = min(max(self.first, row - self.size.height + 1), row)

    def line(self, y: int) -> list[Segment]:
        ids, left = self.observer.manifest.ids, self.observer.manifest.left
        begin = (self.first + y) * self.columns
        found = []
        for index in range(begin, min(begin + self.columns, len(ids))):
            if ids[index] in left:
                found.append(Segment(" " * self.cell, style(TEXT)))
                continue
            chosen = index == self.chosen
            found.append(self.dot(index, CHOSEN if chosen else GROUND))
            if self.labelled:
                found.append(label(ids[index], self.cell - 1, chosen))
            else:
                found.append(label("‹" if chosen else "", 1, chosen))
        return found

    def on_click(self, event: Click) -> None:
        index = (self.first + event.y) * self.columns + event.x // self.cell
        if event.x < self.columns * self.cell and index < len(self.gone):
            self.app.choose(index)  # type: ignore[attr-defined]


class Rows(Lines):
    """The neurons one by one, in the order and selection asked for."""

    can_focus = True

    def __init__(self, observer: LiveObserver, depolarisation: Depolarisation):
        super().__init__(observer, depolarisation)
        self.order: list[int] = list(range(len(observer.manifest.ids)))
        self.at = self.first = 0

    @property
    def chosen(self) -> int | None:
        return self.order[self.at] if self.order else None

    def list_only(self, order: list[int]) -> None:
        """Show these neurons; the chosen one stays chosen if it is among them."""
        chosen = self.chosen
        self.order = order
        self.at = order.index(chosen) if chosen in order else 0

    def move(self, by: int) -> None:
        self.at = max(0, min(self.at + by, len(self.order) - 1))
        self.paint()

    @property
    def page(self) -> int:
        return max(1, self.size.height - 1)

    def prepare(self) -> None:
        self.look()
        self.rates = self.live.rates_hz()
        last = max(0, len(self.order) - self.page)
        self.first = min(max(self.first, self.at - self.page + 1), self.at, last)
        ids = self.observer.manifest.ids
        self.id_width = min(24, max(6, *map(len, ids))) if ids else 6
        self.bar_width = 12 if self.size.width < 100 else 24 if self.size.width < 140 else 42
        fixed = self.id_width + self.bar_width + 3 + 9 + 10 + 11
        self.trace = max(0, min(BINS - 1, self.size.width - fixed - 16))

    def line(self, y: int) -> list[Segment]:
        if y == 0:
            past = f"last {self.trace * BIN_NS * 1e-9:.1f} s"
            head = (
                f"   {'neuron':{self.id_width}}  {'potential':{self.bar_width}}{'mV':>8} "
                f"  {past:{self.trace}.{self.trace}}{'Hz':>8}{'spikes':>11}"
            )
            return [Segment(head, style(FAINT))]
        place = self.first + y - 1
        if place >= len(self.order):
            return []
        index, chosen = self.order[place], place == self.at
        back = CHOSEN if chosen else GROUND
        name = self.observer.manifest.ids[index]
        gone = self.gone[index]
        tone = BRIGHT if chosen else FAINT if gone else TEXT
        mv, count = self.live.mv[index], int(self.live.counts[index])
        found = [
            Segment("▌" if chosen else " ", style(led.WARM, back)),
            self.dot(index, back),
            Segment(f" {name[:24]:{self.id_width}}  ", style(tone, back, chosen)),
            *(
                strip(self.live.strips[index], self.bar_width, back)
                if index in self.live.strips
                else bar(self.levels[index] if not gone else float("nan"), self.bar_width, back)
            ),
            Segment(f"{figure(mv, '.1f'):>8}   ", style(FAINT if gone or isnan(mv) else TEXT, back)),
            *self._activity(index, back),
            Segment(f"{figure(self.rates[index], '.1f'):>8}", style(tone, back)),
            Segment(f"{figure(count if count >= 0 else None):>11}  ", style(tone, back)),
        ]
        if board := self.live.boards.get(index):
            found.append(Segment(board + "  ", style(led.WARM, back)))
        trouble = self._trouble(index, gone)
        if trouble:
            found.append(Segment(trouble + " ", style(ALARM, back)))
        left = self.size.width - sum(segment.cell_length for segment in found)
        return [*found, Segment(" " * max(0, left), style(TEXT, back))]

    def _activity(self, index: int, back: led.RGB) -> Iterator[Segment]:
        quiet = True
        run = ""
        for count in self.live.trace(index, self.trace):
            mark = " " if count < 0 else ACTIVITY[min(count, len(ACTIVITY) - 1)]
            if (count > 0) == quiet:
                yield Segment(run, style(TRACK if quiet else led.WARM, back))
                run, quiet = "", not quiet
            run += mark
        yield Segment(run, style(TRACK if quiet else led.WARM, back))

    def _trouble(self, index: int, gone: bool) -> str:
        """What is wrong with the process of a neuron."""
        status = self.live.status.get(self.observer.manifest.streams[index], {})
        words = ["silent"] if gone else []
        words += [f"{name} {figure(status[name])}" for name in ("lost", "late") if status.get(name)]
        return "  ".join(words)

    def on_click(self, event: Click) -> None:
        if 0 < event.y <= len(self.order) - self.first:
            self.move(self.first + event.y - 1 - self.at)


def filtered(wanted: str, manifest: Manifest) -> list[int]:
    """The neurons that the filter shows: those with `wanted` in their ids, or as verbs pick them."""
    there = [(index, name) for index, name in enumerate(manifest.ids) if name not in manifest.left]
    order = [index for index, name in there if wanted.lower() in name.lower()]
    if not order:
        with contextlib.suppress(InputError):
            order = sorted(picked(manifest, [wanted]))
    return order


class Top(App[str]):
    """Runs until the cluster ends or the user leaves; the result is a last word for the terminal."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: rgb(16,17,20); }
    #head { height: 2; padding: 0 1; background: rgb(24,26,31); }
    .rule { height: 1; color: rgb(60,64,72); background: rgb(16,17,20); }
    Field { height: 1; margin: 0 1; }
    Rows { height: 1fr; }
    #weights { display: none; height: auto; max-height: 12; padding: 0 1; background: rgb(16,17,20); }
    #word { height: 1; padding: 0 1; color: rgb(255,180,90); background: rgb(16,17,20); }
    #filter { display: none; height: 1; border: none; padding: 0 1; background: rgb(32,34,39); }
    Footer { background: rgb(24,26,31); }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c", "quit", "quit", key_display="q"),
        Binding("s", "sort", "sort"),
        # Priority: what is typed in one breath with these is dealt with after them.
        Binding("slash", "filter", "filter", key_display="/", priority=True),
        Binding("enter", "keep_filter", show=False, priority=True),
        Binding("escape", "unfilter", show=False, priority=True),
        Binding("up,k", "move(-1)", "choose", key_display="↑↓"),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "move(-1000000)", show=False),
        Binding("end", "move(1000000)", show=False),
        Binding("p", "poke", "poke"),
        Binding("w", "weights", "weights"),
        Binding("plus,equals_sign", "harder(2)", "harder", key_display="+"),
        Binding("minus", "harder(0.5)", "softer", key_display="-"),
    ]
    SORTS = ("id", "rate")

    def __init__(self, observer: LiveObserver):
        super().__init__()
        self.observer, self._manifest = observer, observer.manifest
        depolarisation = Depolarisation(observer.manifest)
        self._field, self._rows = Field(observer, depolarisation), Rows(observer, depolarisation)
        self._sort, self._wanted, self._push = "id", "", 1.0
        self._word_until = 0.0
        # Held here, not looked up: timers still paint while the screen is being taken down.
        self._head, self._word = Static(id="head"), Static(id="word")
        self._weights = Static(id="weights")
        self._filter = Input(placeholder="part of an id; Enter keeps it, Escape shows all", id="filter")

    def compose(self) -> ComposeResult:
        yield self._head
        yield Static(classes="rule")
        yield self._field
        yield Static(classes="rule")
        yield self._rows
        yield self._weights
        yield self._word
        yield self._filter
        yield Footer()

    def on_mount(self) -> None:
        self.title = f"neurobus top: {self.observer.manifest.name}"
        self._rows.focus()
        self.observer.ask()
        self.set_interval(1 / LISTEN_HZ, lambda: self.observer.listen(LISTEN_S))
        self.set_interval(self.observer.ask_every_s, self.observer.ask)
        self.set_interval(1 / FIELD_HZ, self._paint_field)
        self.set_interval(1 / LIST_HZ, self._paint_list)
        self.set_interval(1 / SORT_HZ, self._relist)
        self.set_interval(1 / ALIVE_HZ, self._see_whether_it_runs)
        self.set_interval(1 / WEIGHTS_HZ, self._ask_weights)

    def on_resize(self, event: Resize) -> None:
        width, _ = event.size
        self._lay_out()
        for rule in self.query(".rule").results(Static):
            rule.update("─" * width)
        self.call_after_refresh(self._paint_all)

    def _lay_out(self) -> None:
        width, height = self.size
        self._field.room(width - 2, max(1, (height - 7) // 2))

    # -- pictures -------------------------------------------------------------------------------

    def _paint_all(self) -> None:
        self._paint_field()
        self._paint_list()

    def _paint_field(self) -> None:
        self._field.chosen = self._rows.chosen
        self._field.paint()

    def _paint_list(self) -> None:
        self._rows.paint()
        first, second = headline(self.observer.live)
        self._head.update(Text("\n").join(map(self._spread, (first, second))))
        if self._word_until and time.monotonic() > self._word_until:
            self._say("")

    def _spread(self, halves: tuple[Text, Text]) -> Text:
        """Two texts at the two ends of a line."""
        left, right = halves
        gap = max(2, self.size.width - 2 - left.cell_len - right.cell_len)
        return Text.assemble(left, " " * gap, right, no_wrap=True, overflow="ellipsis")

    def _say(self, word: str) -> None:
        self._word_until = time.monotonic() + WORD_S if word else 0.0
        self._word.update(Text(word))

    def _ask_weights(self) -> None:
        """While they are shown: paint the chosen neuron's weights as last heard, and ask anew."""
        chosen = self._rows.chosen
        if chosen is None or self._weights.styles.display == "none":
            return
        known = self.observer.live.weights.get(chosen)
        name = self.observer.manifest.ids[chosen]
        if known is None or not len(known):
            self._weights.update(Text(f" no weights known of {name}", "dim"))
        else:
            head = Text.assemble(
                (f" {name}", "bold"), f"  {len(known)} weights, {known.min():g} … {known.max():g}"
            )
            self._weights.update(Text("\n").join([head, *weight_picture(known)]))
        self.observer.ask_weights(chosen)

    def _see_whether_it_runs(self) -> None:
        if not self.observer.running():
            self.exit("ended")
        elif self.observer.manifest is not self._manifest:
            self._take_up()

    def _take_up(self) -> None:
        """Somebody was started by hand, or has left."""
        self._manifest = self.observer.manifest
        self._field.depolarisation = self._rows.depolarisation = Depolarisation(self._manifest)
        self._lay_out()
        self._relist()
        self._paint_all()

    def _relist(self) -> None:
        order = filtered(self._wanted, self.observer.manifest)
        if self._sort == "rate":
            rates = np.nan_to_num(self.observer.live.rates_hz())
            order.sort(key=lambda index: -rates[index])
        self._rows.list_only(order)

    # -- what the user does ---------------------------------------------------------------------

    def choose(self, index: int) -> None:
        if index in self._rows.order:
            self._rows.at = self._rows.order.index(index)
        self._paint_all()

    def action_move(self, by: int) -> None:
        self._rows.move(by)
        self._paint_field()

    def action_page(self, by: int) -> None:
        self.action_move(by * self._rows.page)

    def action_sort(self) -> None:
        self._sort = self.SORTS[(self.SORTS.index(self._sort) + 1) % len(self.SORTS)]
        self._relist()
        self._paint_all()
        self._say(f"sorted by {self._sort}")

    def action_filter(self) -> None:
        self._filter.styles.display = "block"
        self.screen.set_focus(self._filter)

    def action_keep_filter(self) -> None:
        self._filter.styles.display = "none"
        self.screen.set_focus(self._rows)

    def action_unfilter(self) -> None:
        self._filter.value = ""
        self.action_keep_filter()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._wanted = event.value.strip()
        self._relist()
        self._paint_all()
        found = f"{len(self._rows.order)} with '{self._wanted}' in the id; Escape shows all"
        self._say(found if self._wanted else "")

    def action_weights(self) -> None:
        shown = self._weights.styles.display != "none"
        self._weights.styles.display = "none" if shown else "block"
        self._ask_weights()

    def action_harder(self, factor: float) -> None:
        self._push *= factor
        chosen = self._rows.chosen
        push = default_push(self.observer.manifest, chosen) if chosen is not None else None
        if push is not None:
            self._say(f"p pokes with {push.weight * self._push:g} {push.unit}")

    def action_poke(self) -> None:
        chosen = self._rows.chosen
        if chosen is None:
            return
        name = self.observer.manifest.ids[chosen]
        push = default_push(self.observer.manifest, chosen)
        if push is None:
            self._say(f"{name} is no live neuron here: it takes no pokes")
            return
        weight = push.weight * self._push
        try:
            self.observer.poke(name, weight)
        except NeurobusError as error:
            self._say(str(error))
        else:
            self._say(f"poked {name} with {weight:g} {push.unit}")
