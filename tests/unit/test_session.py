"""The host's side of the link, against a board made of Python over a line that loses and damages bytes."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobus.bridge import board_events as s
from neurobus.bridge.session import Session, Stage
from neurobus.wire import link
from tests.fake_board import Chip, FakeBoard, Line

STEP_S = 0.0005
CHIP = link.CHIP["lif"]


class Table:
    """Host, line and board on one table, with a clock that a test turns."""

    def __init__(self, board: FakeBoard | None = None, wrong: float = 0.0, seed: int = 1):
        self.now = 10.0
        self.board = board or FakeBoard()
        self.line = Line(wrong, rng=random.Random(seed))
        self.session = Session(token=seed)
        self.events: list[Any] = []
        self.session.open(self.now)

    def turn(self, seconds: float = STEP_S) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += STEP_S
            self.line.put(0, self.session.take_out(), self.now)
            self.board.receive(self.line.get(0, self.now), self.now)
            self.board.tick(self.now)
            self.line.put(1, self.board.take_out(), self.now)
            self.events += self.session.receive(self.line.get(1, self.now), self.now)
            self.events += self.session.tick(self.now)

    def until(self, kind: type, timeout_s: float = 20.0) -> Any:
        """The next event of that kind, those before it left in `seen`."""
        end = self.now + timeout_s
        while True:
            for n, event in enumerate(self.events):
                if isinstance(event, kind):
                    self.seen = self.events[:n]
                    del self.events[: n + 1]
                    return event
            assert self.now < end, f"no {kind.__name__}; had {self.events[-5:]}, {self.session.stage}"
            self.turn()

    def loaded(self, weights: list[int], tick: int = 0) -> Table:
        self.until(s.Here)
        self.session.load(Chip.packed(tick, 0, weights), CHIP, self.now)
        assert self.until(s.Loaded).tick == tick
        return self


def reference(weights: list[int], inputs: list[tuple[int, int]], kicks: list[tuple[int, int]], to: int):
    """Stamps of the spikes of the same neuron, without any line."""
    chip = Chip.of(Chip.packed(0, 0, weights))
    found = []
    while chip.tick < to:
        chip.x += sum(weights[j] for tick, j in inputs if tick == chip.tick)
        chip.x += sum(w for tick, w in kicks if tick == chip.tick)
        if chip.step():
            found.append(chip.tick)
    return found


def spikes(events: list[Any]) -> list[int]:
    return [event.tick for event in events if isinstance(event, s.Spiked)]


def test_hello_tells_who_is_there():
    here = Table().until(s.Here)
    assert (here.hello.mcu, here.hello.chip, here.hello.name) == ("host", "lif", "000000A1")
    assert here.hello.reset == ("power",)


def test_a_board_of_another_schema_is_refused_with_the_command_that_mends_it():
    table = Table(FakeBoard(schema=link.SCHEMA ^ 1))
    refused = table.until(s.Refused)
    assert "reflash it with 'neurobus flash" in refused.why
    assert table.session.stage is Stage.CLOSED


def test_where_no_board_answers_it_says_so():
    assert "no board answers" in Table(FakeBoard(deaf=True)).until(s.Refused).why


def test_an_image_comes_over_whole_and_back():
    table = Table().loaded([5, -7, 300] * 30, tick=17)
    table.session.read(0, 0xB0, table.now)
    assert table.until(s.Image).data == Chip.packed(17, 0, [5, -7, 300] * 30)[:0xB0]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_whatever_happens_on_the_line_a_stepped_board_fires_as_if_there_were_none(data):
    seed = data.draw(st.integers(0, 2**32))
    rng = random.Random(seed)
    wrong = data.draw(st.sampled_from([0.0, 0.001, 0.01, 0.03]))
    weights = [rng.randrange(-200, 500) for _ in range(rng.randrange(1, 20))]
    to = rng.randrange(1, 2000)
    inputs = [(rng.randrange(to), rng.randrange(len(weights))) for _ in range(rng.randrange(200))]
    kicks = [(rng.randrange(to), rng.randrange(-500, 900)) for _ in range(rng.randrange(10))]
    table = Table(wrong=wrong, seed=seed & 0xFFFF).loaded(weights)
    cuts = sorted({rng.randrange(to) for _ in range(3)} | {to})
    given_to, found = 0, []
    for cut in cuts:
        for tick, synapse in inputs:
            if given_to <= tick < cut:
                table.session.inputs.spike(tick, synapse)
        for tick, weight in kicks:
            if given_to <= tick < cut:
                table.session.inputs.kick(tick, weight)
        given_to = cut
        table.session.go(cut, table.now)
        assert table.until(s.Done, 60).tick == cut
        found += spikes(table.seen)
    assert found == reference(weights, inputs, kicks, to)
    assert table.board.counts["late"] == 0
    if table.line.damaged == 0:
        assert table.session.transport.counts.resent == 0


@pytest.mark.parametrize("drift", [-2e-3, 0.0, 2e-3])
@pytest.mark.parametrize("wrong", [0.0, 0.003])
def test_a_running_board_keeps_bus_time_and_acts_on_what_comes_in_time(drift, wrong):
    weights = [700, 400, -300]
    table = Table(FakeBoard(drift=drift), wrong).loaded(weights)
    table.turn(0.3)
    epoch, dt = table.now + 0.02, 0.001
    rng = random.Random(3)
    inputs = sorted((rng.randrange(100, 3000), rng.randrange(3)) for _ in range(400))
    left = list(inputs)
    table.session.run(epoch, dt, table.now)
    while table.now < epoch + 3.2:
        while left and epoch + left[0][0] * dt < table.now + 0.05:
            table.session.inputs.spike(*left.pop(0))
        table.turn()
    late = [event for event in table.events if isinstance(event, s.Late)]
    assert spikes(table.events) == reference(weights, inputs, [], table.board.chip.tick) or (wrong and late)
    assert len(late) <= (0 if not wrong else 100)  # what must be sent again may come too late
    done = [event.tick for event in table.events if isinstance(event, s.Done)]
    assert done == sorted(done) and len(done) > 40
    assert abs(table.board.chip.tick - (table.now - epoch) / dt) <= 3
    assert abs(table.session.sync.drift_ppm - drift * 1e6) < 200  # of a dozen phases, the worst


def test_a_reset_is_told_from_silence_and_the_board_is_found_again():
    table = Table().loaded([1])
    table.board.reset("watchdog")
    assert table.until(s.Reset).why == "the board was reset (watchdog)"
    assert table.until(s.Here).hello.nonce == 2
    table.board.reset()
    table.board.take_out()  # its word was lost, but the next HELLO has another nonce
    table.session.open(table.now)
    assert table.until(s.Reset)


def test_a_running_board_that_falls_silent_is_noticed_in_time():
    table = Table().loaded([1])
    table.turn(0.2)
    table.session.run(table.now, 0.001, table.now)
    table.turn(0.5)
    assert not [event for event in table.events if isinstance(event, s.Silent)]
    table.board.deaf, begun = True, table.now
    table.until(s.Silent)
    assert table.now - begun < 0.1


def test_the_button_is_heard_with_its_update():
    table = Table().loaded([1])
    table.turn(0.2)
    table.session.run(table.now, 0.001, table.now)
    table.turn(0.2)
    table.board.press(table.now, 1200)
    poke = table.until(s.Poked)
    assert poke.weight == 1200
    table.turn(0.1)
    assert spikes(table.events) == [poke.tick + 1]


def test_an_input_that_comes_after_its_update_is_told_with_the_update_in_which_it_acts():
    table = Table().loaded([1200])
    table.turn(0.2)
    table.session.run(table.now, 0.001, table.now)
    table.turn(0.1)
    table.session.inputs.spike(20, 0)
    late = table.until(s.Late)
    assert (late.synapses, late.due) == ((0,), 20)
    table.turn(0.1)
    assert late.acts > 20 and spikes(table.events) == [late.acts + 1]


def test_credit_is_never_exceeded():
    table = Table().loaded([1] * 100)
    most = 0
    for tick in range(300):
        table.session.inputs.spike(tick, tick % 100)
    table.session.go(300, table.now)
    while not any(isinstance(event, s.Done) for event in table.events):
        table.turn()
        most = max(most, table.session.transport.credit - table.session.transport.spare)
    assert most <= table.session.hello.rx_ring - link.RESERVE


@given(st.binary(max_size=400))
@settings(max_examples=50, deadline=None)
def test_garbage_is_dropped_and_counted(junk):
    table = Table().loaded([9])
    table.events += table.session.receive(junk + b"\0", table.now)
    table.session.go(50, table.now)
    assert table.until(s.Done).tick == 50


def test_lights_are_of_the_palette_that_the_board_had_taken_when_it_told_them():
    table, red = Table().loaded([5]), ((255, 0, 0),) * 4
    table.board._say(link.LIGHTS, table.now, level=3, flash=0, blink=0)
    table.session.palette(red, table.now)
    under_way = table.until(s.Lights)
    assert (under_way.level, under_way.palette) == (3, None)
    table.turn(0.05)
    table.board._say(link.LIGHTS, table.now, level=4, flash=0, blink=0)
    assert table.until(s.Lights).palette == red
    table.board.reset()  # and forgets it
    table.until(s.Here)
    table.board._say(link.LIGHTS, table.now, level=5, flash=0, blink=0)
    assert table.until(s.Lights).palette is None


def test_lights_that_come_with_a_repetition_are_not_heard_again():
    table = Table().loaded([5])
    table.session.mirror(5, table.now)
    table.turn(0.05)
    assert table.board._lit.count("MIRROR") == 1
    table.board.press(table.now)
    table.board._say(link.LIGHTS, table.now, level=3, flash=0, blink=0)
    said, later = table.board.take_out(), table.now + link.RESEND_MS * 1e-3
    events = table.session.receive(said, table.now) + table.session.receive(said, later)
    assert [type(event) for event in events] == [s.Poked, s.Lights]
    assert table.session.transport.counts.copies == 1
    table.turn(0.05)
    assert table.board._lit.count("MIRROR") == 2  # it might have been no copy: what is it now?
    table.board._say(link.LIGHTS, table.now, level=4, flash=0, blink=0)
    assert table.until(s.Lights).level == 4
