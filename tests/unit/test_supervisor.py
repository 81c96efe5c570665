"""What a launcher decides, phase by phase: starts, deaths, stops, ends. No process, no clock."""

from __future__ import annotations

import pytest

from neurobus.cluster import supervisor as module
from neurobus.cluster.folder import Built, Manifest
from neurobus.cluster.instructions import Command, Do, KeepSnapshot, MeasureMemory, Say, Send, TellReady
from neurobus.cluster.options import Options
from neurobus.cluster.supervisor import BRIDGE_NS, FINAL_NS, READY_NS, START_LEAD_NS, Phase, Supervisor
from neurobus.errors import InputError, RunError
from neurobus.wire import lease, verbs
from neurobus.wire.message import Report
from tests.helpers import final

DT_NS, S = 100_000, 1_000_000_000
RECORDING = ("neurobus.log.recording", {})


def conductor_final(step: int) -> verbs.ConductorFinal:
    none = verbs.Totals(0, 0, 0, 0)
    return verbs.ConductorFinal(
        step=step, rounds=1, duties=1, malformed=0, ledger=none, gaps={}, samples=none
    )


class Play:
    """A supervisor of the processes a and b and a recorder, with its own clock and all it has ordered."""

    def __init__(self, wall=True, for_ns=S, restarts=1, snapshot_every_s=0.0, **options):
        asked = Options(programs=[RECORDING], state="state", **options)
        self.on = Supervisor(asked, for_ns, has_snapshot=lambda name, step: step in self.written)
        self.written: set[int] = set()
        self.now_ns, self.wall, self.done = 10 * S, wall, []
        manifest = Manifest("x", 1, "x.toml", "wall" if wall else "virtual", 1, DT_NS, {}, ["a", "b"], 2,
                            ["a", "b"], 2, [], ["", ""], 0)  # fmt: skip
        self.built = Built(manifest, 0, restarts, snapshot_every_s, None, [])

    def __call__(self, instructions):
        self.done += instructions
        return instructions

    def tick(self, after_ns=0):
        """Tick until no phase changes any more; what that ordered."""
        self.now_ns += after_ns
        ordered, phase = [], None
        while phase is not self.on.phase:
            phase = self.on.phase
            ordered += self(self.on.tick(self.now_ns))
        return ordered

    def say(self, origin, message):
        return self(self.on.report(Report(origin, message), self.now_ns))

    def die(self, name, code=-9):
        return self(self.on.exited(name, code, self.now_ns))

    def bound(self):
        self(self.on.built(self.built, self.now_ns))
        self(self.on.bound(self.now_ns))
        return self

    def running(self):
        self.bound()
        for pid, name in enumerate(("a", "b", "recording"), 11):
            self.say(name, verbs.Ready(pid=pid, epoch=0))
        self.tick()
        assert self.on.phase is Phase.RUNNING
        return self

    def parting(self):
        self.running()
        for name in ("a", "b"):
            self.say(name, final(step=10_000))
        if not self.wall:
            self.say("conductor", conductor_final(10_000))
        self.tick()
        assert self.on.phase is Phase.PARTING
        return self


@pytest.fixture(params=["wall", "virtual"])
def wall(request):
    return request.param == "wall"


# -- the start ---------------------------------------------------------------------------------------------


def test_building_takes_as_long_as_it_takes():
    play = Play()
    assert play.tick(10_000 * S) == [] and play.on.phase is Phase.BUILDING


def test_once_the_bus_is_there_all_processes_are_forked():
    play = Play().bound()
    assert play.done == [Do.JOIN_BUS, Command("fork", 0)] and play.on.phase is Phase.JOINING


def test_a_resumed_run_is_of_another_epoch():
    assert Play(resume="state").bound().done[-1] == Command("fork", 1)


def test_a_bus_that_does_not_come_up_is_the_end():
    play = Play()
    play(play.on.built(play.built, play.now_ns))
    play.tick(READY_NS + 1)
    assert isinstance(play.on.fatal, RunError) and "bus did not come up" in str(play.on.fatal)


def test_a_pace_under_the_wall_clock_and_an_end_off_the_grid_are_refused():
    assert isinstance(Play(for_ns=DT_NS + 1).bound().on.fatal, InputError)
    paced = Supervisor(Options(), S, pace=2.0)
    paced.built(Play().built, 0)
    assert isinstance(paced.fatal, InputError)


def test_nobody_starts_before_everybody_is_ready(wall):
    play = Play(wall).bound()
    for name in ("a", "recording"):
        play.say(name, verbs.Ready(pid=2, epoch=0))
    play.say("stranger", verbs.Ready(pid=2))
    assert play.tick() == [TellReady(2, 3)] and play.on.phase is Phase.JOINING
    play.say("b", verbs.Ready(pid=3, epoch=1))
    assert play.tick() == [], "a process of another epoch"
    play.say("b", verbs.Ready(pid=3, epoch=0))
    ordered = play.tick()
    start = verbs.Start(play.now_ns + START_LEAD_NS, 10_000, None)
    also = [] if wall else [Send("conductor", start)]
    first, *_ = ordered
    assert first == TellReady(3, 3)
    assert ordered[1:] == [Do.CALL_STARTING, Do.WRITE_MANIFEST, Send("*", start), *also, Do.CALL_STARTED]


def test_who_is_not_ready_is_named_and_one_more_gives_them_time():
    play = Play().bound()
    play.tick()
    play.say("a", verbs.Ready(pid=2, epoch=0))
    play.tick(READY_NS)
    play.tick(READY_NS)
    assert play.on.fatal is None
    play.tick(1)
    assert str(play.on.fatal) == "2 processes did not become ready, b among them"


def test_a_death_before_the_start_is_the_end_and_says_why():
    for error, kind, word in (
        ("", RunError, "a died: killed by SIGKILL"),
        ("bad", InputError, "neuron a: bad"),
    ):
        play = Play().bound()
        if error:
            play.on.failed("a", error)
        play.die("a")
        assert isinstance(play.on.fatal, kind) and str(play.on.fatal) == word


# -- the run -----------------------------------------------------------------------------------------------


def test_the_dead_are_restarted_after_a_pause_until_their_budget_is_spent(wall):
    play = Play(wall).running()
    assert play.die("a") == [Say("a died (killed by SIGKILL) and was restarted")]
    assert play.on.wait_s(play.now_ns) == pytest.approx(0.1)
    assert play.tick(99_000_000) == [] and play.tick(1_000_000) == [Command("restart", 1, "a")]
    back = play.say("a", verbs.Ready(pid=99, epoch=1))
    assert [order.to for order in back] == (["a"] if wall else [])
    play.die("a")
    assert str(play.on.fatal) == "a died (killed by SIGKILL) and has used up its 1 restarts"


def test_a_hub_is_restarted_and_a_conductor_is_the_run():
    play = Play().running()
    play.die("hub")
    assert play.tick(S) == [Command("restart", 0, "hub")]
    play = Play(wall=False).running()
    play.die("conductor")
    assert str(play.on.fatal) == "conductor died: killed by SIGKILL"


def test_a_program_that_dies_is_missed_and_nothing_more():
    play = Play().running()
    play.die("recording", 1)
    assert play.tick(S) == [] and play.on.fatal is None
    assert play.on.summary.notes == ["recording died (exit code 1); the run went on without it"]


def test_who_has_reported_may_go():
    play = Play().running()
    play.say("a", final(step=10_000))
    assert play.die("a", 0) == [] and play.die("recording", 0) == [] and play.on.fatal is None


def test_a_stop_is_agreed_on_once(wall):
    play = Play(wall, for_ns=None).running()
    (stop,) = play(play.on.stop(play.now_ns))
    assert stop == (Send("*", verbs.Stop(step=1)) if wall else Send("conductor", verbs.Stop()))
    assert play(play.on.stop(play.now_ns)) == [] and play.on.fatal is None


def test_a_stop_before_the_start_and_a_kill_end_it_at_once():
    play = Play().bound()
    play(play.on.stop(play.now_ns))
    assert str(play.on.fatal) == "stopped before the start"
    play = Play().running()
    play.on.kill()
    assert str(play.on.fatal) == "killed"


def test_a_trouble_is_told_once_and_may_stop_the_run():
    play = Play(wall=False).running()
    assert play.say("a", verbs.Trouble("so")) == [Say("a: so")]
    assert play.say("a", verbs.Trouble("so")) == play.say("b", verbs.Trouble("so")) == []
    assert play.say("stranger", verbs.Trouble("no", stop=True)) == []
    assert play.say("recording", verbs.Trouble("full", stop=True))[-1] == Send("conductor", verbs.Stop())


def test_a_board_that_takes_a_neuron_is_a_note_and_another_epoch():
    play = Play().running()
    play.say("a", lease.Ceded(claim="b/1/1", epoch=5, step=10, board="x", errors={}))
    assert play.on.summary.notes == ["a is x from 0.001 s on"]
    play.on.malformed(play.now_ns)
    play.die("a")
    assert play.tick(S) == [Command("restart", 6, "a")]


def test_a_snapshot_counts_once_all_have_written_it():
    play = Play(snapshot_every_s=0.5, for_ns=None).running()
    (ask,) = play.tick(S // 2)
    assert ask == Send("*", verbs.TakeSnapshot(5_000))
    assert play.say("a", verbs.Saved(5_000)) == [], "it is not there"
    play.written.add(5_000)
    play.say("a", verbs.Saved(5_000))
    assert play.say("b", verbs.Saved(5_000)) == [KeepSnapshot(5_000, first=True)]
    play.on.kept(5_000)
    assert play.say("b", verbs.Saved(5_000)) == []
    play(play.on.stop(play.now_ns))
    assert play.tick(S) == [], "that of the end is still to come"


# -- the end -----------------------------------------------------------------------------------------------


def test_all_reports_are_the_end(wall):
    play = Play(wall).running()
    play.say("a", final(step=10_000))
    play.tick()
    assert play.on.phase is Phase.RUNNING
    play.say("b", final(step=10_000))
    play.tick()
    assert play.on.phase is (Phase.PARTING if wall else Phase.RUNNING), "the conductor's is missing"


def test_whoever_is_silent_gets_its_time_after_the_first_report(wall):
    play = Play(wall).running()
    play.say("a", final(step=10_000))
    play.tick()
    play.tick(FINAL_NS)
    assert play.on.phase is Phase.RUNNING
    play.tick(1)
    assert play.on.phase is Phase.PARTING and play.on.summary.model_s == 1.0


def test_a_run_whose_hub_is_deaf_ends_after_its_end():
    play = Play().running()
    play.tick(START_LEAD_NS + S + FINAL_NS)
    assert play.on.phase is Phase.RUNNING
    play.tick(1)
    assert play.on.phase is Phase.PARTING


def test_nobody_is_given_up_before_an_end_is_known(wall):
    play = Play(wall, for_ns=None).running()
    play.tick(10_000 * S)
    assert play.on.phase is Phase.RUNNING


def test_once_a_stop_was_asked_silence_is_no_answer(wall):
    play = Play(wall, for_ns=None).running()
    play(play.on.stop(play.now_ns))
    play.now_ns += S
    play.on.malformed(play.now_ns)
    play.tick(FINAL_NS)
    assert play.on.phase is Phase.RUNNING, "something was heard meanwhile"
    play.tick(1)
    assert play.on.phase is Phase.PARTING


def test_at_the_end_memory_is_measured_and_programs_are_told():
    play = Play().parting()
    assert play.done[-2:] == [MeasureMemory([11, 12]), Send("recording", verbs.Stop(end_ns=S))]


def test_the_last_snapshot_is_waited_for(monkeypatch):
    play = Play(snapshot_every_s=100.0).running()
    for name in ("a", "b"):
        play.say(name, final(step=10_000))
    assert play.tick()[-1] == Send("*", verbs.TakeSnapshot(10_000))
    assert play.on.phase is Phase.SAVING
    play.on.kept(10_000)
    play.tick()
    assert play.on.phase is Phase.PARTING


def test_a_farewell_ends_the_wait_for_it_and_silence_does_after_its_time(wall):
    play = Play(wall).parting()
    play.say("recording", verbs.Farewell({"path": "x.mcap"}))
    play.tick()
    assert play.on.phase is Phase.OVER and play.on.summary.record == "x.mcap"
    play = Play(wall).parting()
    play.tick(FINAL_NS + 1)
    assert play.on.phase is Phase.OVER
    assert play.on.summary.notes == ["recording did not answer at the end; what it missed is not known"]


def test_a_bridge_is_asked_and_not_waited_for_long():
    play = Play().running()
    play.say("bridge", verbs.Ready(pid=5))
    for name in ("a", "b"):
        play.say(name, final(step=10_000))
    play.say("recording", verbs.Farewell({}))
    assert play.tick()[-1] == Send("bridge", verbs.AskFarewell())
    play.tick(BRIDGE_NS)
    assert play.on.phase is Phase.BRIDGE
    play.tick(1)
    assert play.on.phase is Phase.OVER
    assert "bridge joined and never said goodbye" in play.on.summary.notes[-1]


def test_what_goes_wrong_after_the_run_only_shortens_the_farewell():
    play = Play().parting()
    play.on.kill()
    play.tick()
    assert play.on.fatal is None and play.on.phase is Phase.OVER


def test_every_phase_is_reached_in_order():
    assert [phase.name for phase in sorted(module.Phase)] == [
        "BUILDING", "BINDING", "JOINING", "STARTING", "RUNNING", "SAVING", "PARTING", "BRIDGE", "OVER"
    ]  # fmt: skip
