"""The lease, transition by transition: no process, no bus, no clock. Each test names the rows it tries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from neurobus.node import lease_steps as do
from neurobus.node.interface import STEP_BITS, Emission
from neurobus.node.lease import LEASED, OURS, THEIRS, TRANSITIONS, LeaseProtocol, Stage
from neurobus.wire import lease as messages

TRIED: set[tuple[Stage, type]] = set()
NO_KEYS = np.empty(0, np.int64)
CLAIM = "bridge/7/1"
MAX_DELAY = 20


def rows(stages: tuple[Stage, ...], event: type) -> Callable[[Any], Any]:
    """The test is run at each of these stages, and tries what the event does there."""
    TRIED.update((stage, event) for stage in stages)
    return pytest.mark.parametrize("stage", stages, ids=lambda stage: stage.name)


class Neuron:
    """Carries out instructions as a process would: it keeps a step, and fires at `fires` when it passes."""

    def __init__(self, wall: bool = True):
        self.protocol = LeaseProtocol("n", wall, 100_000, MAX_DELAY)
        self.step, self.time_s, self.committed, self.behind = 1000, 5.0, 990, 10
        self.fires: list[int] = []
        self.published: list[int] = []

    def tell(self, event: Any) -> list[Any]:
        """The instructions that follow, all carried out; looking to `Settle` left out."""
        steps, told, result = self.protocol.handle(event, do.Moment(self.time_s, self.step)), [], None
        while True:
            try:
                instruction = steps.send(result)
            except StopIteration:
                return [one for one in told if type(one) is not do.Settle]
            told.append(instruction)
            result = self._carry_out(instruction)

    def _carry_out(self, instruction: Any) -> Any:
        match instruction:
            case do.Settle():
                return self.run_to(self.step - self.behind)
            case do.CommitTo(step):
                return self.run_to(step)
            case do.Publish(steps):
                self.published += steps
            case do.ReplaceCore():
                return {"v": 0.25}
        return None

    def run_to(self, step: int) -> int:
        fired = [s for s in self.fires if self.committed < s <= step]
        self.committed = max(self.committed, step)
        out = self.protocol.withhold(np.array(fired, np.int64) << STEP_BITS)
        self.published += (out >> STEP_BITS).tolist()
        return self.committed

    def reach(self, stage: Stage) -> Neuron:
        """Through a lease up to this stage; the model is the board's."""
        if stage is Stage.OWN:
            return self
        self.tell(asked())
        if stage is Stage.PREPARING:
            return self
        self.tell(messages.Cede(CLAIM, 1010))
        if stage is Stage.CEDING or not self.protocol.wall:
            return self
        self.step = 1011
        self.tell(do.CessionReached())
        if stage is Stage.RECLAIMING:
            self.time_s += 1
            self.tell(do.Tick())
        assert self.protocol.stage is stage
        return self


def asked(claim: str = CLAIM, model: str = "nodes.chip", obstacle: str | None = None) -> do.Asked:
    request = messages.RequestLease(claim, "board B", "nodes.chip", "bridge")
    return do.Asked(request, model, obstacle, 3, NO_KEYS, [])


def reported(told: list[Any], kind: type) -> Any:
    (found,) = [one.message for one in told if type(one) is do.Report and type(one.message) is kind]
    return found


def kinds(told: list[Any]) -> list[type]:
    return [type(one) for one in told]


def done(number: int = 1) -> do.DutyDone:
    return do.DutyDone(number, 7, Emission(NO_KEYS), NO_KEYS, [])


@rows((Stage.OWN,), do.Asked)
def test_a_lease_is_granted_in_the_epoch_to_come(stage):
    told = Neuron().tell(asked())
    assert told == [do.Listen("bridge"), do.ReportNeuron(CLAIM, 4, {})]


def test_a_lease_is_refused_where_no_board_could_be_the_neuron():
    neuron = Neuron()
    assert neuron.tell(asked(obstacle="'n' is a source")) == [do.Refuse(CLAIM, "'n' is a source")]
    assert neuron.protocol.stage is Stage.OWN


def test_a_neuron_of_another_model_has_a_twin_made_and_becomes_it_with_its_state():
    neuron = Neuron()
    assert neuron.tell(asked(model="nodes.lif"))[1:] == [do.MakeTwin(CLAIM, "nodes.chip")]
    assert neuron.tell(do.TwinMade("bridge/7/0", {})) == []
    assert neuron.tell(do.TwinMade(CLAIM, {"w": 0.5})) == [do.ReportNeuron(CLAIM, 4, {"w": 0.5})]
    neuron.step += 100
    state = neuron.tell(messages.AskState(CLAIM))
    assert kinds(state) == [do.ReplaceCore, do.ReportState]
    assert state[1].errors == {"w": 0.5, "v": 0.25}
    assert kinds(neuron.tell(messages.AskState(CLAIM))) == [do.ReportState]


@rows(LEASED, do.Asked)
def test_another_borrower_is_refused_and_the_same_one_asks_anew(stage):
    neuron = Neuron().reach(stage)
    assert neuron.tell(asked("other/1/1")) == [do.Refuse("other/1/1", "'n' is leased to board B already")]
    told = neuron.tell(asked("bridge/7/2"))
    owner = reported(told, messages.Owner)
    assert (owner.owned, owner.why) == (stage in THEIRS, "the board asks anew")
    assert told[-1] == do.ReportNeuron("bridge/7/2", owner.epoch + 1, {})
    assert neuron.protocol.stage is Stage.PREPARING


@rows((Stage.PREPARING,), do.TwinMade)
def test_a_twin_that_is_made_is_told(stage):
    assert Neuron().reach(stage).tell(do.TwinMade(CLAIM, {})) == [do.ReportNeuron(CLAIM, 4, {})]


@rows((Stage.PREPARING,), do.TwinFailed)
def test_a_twin_that_cannot_be_made_ends_the_lease(stage):
    neuron = Neuron().reach(stage)
    assert neuron.tell(do.TwinFailed("bridge/7/0", "old")) == []
    assert neuron.tell(do.TwinFailed(CLAIM, "no")) == [do.Refuse(CLAIM, "no"), do.Unlisten("bridge")]
    assert neuron.protocol.stage is Stage.OWN


@rows(LEASED, messages.AskState)
def test_the_state_is_given_once_inputs_were_kept_for_the_longest_delay(stage):
    neuron = Neuron().reach(stage)
    told = neuron.tell(messages.AskState(CLAIM))
    assert reported(told, messages.StateCopy) == messages.StateCopy(CLAIM, None)
    neuron.step += MAX_DELAY + 10
    neuron.protocol.keep(np.array([neuron.step << STEP_BITS]), [(neuron.step, 0, 1.5), (900, 0, 1.0)])
    (state,) = neuron.tell(messages.AskState(CLAIM))
    assert (state.keys >> STEP_BITS).tolist() == [neuron.step] and state.pokes == [(neuron.step, 0, 1.5)]


@rows(LEASED, messages.Acknowledge)
def test_an_answer_that_is_held_goes_when_the_board_has_done_the_duty(stage):
    neuron = Neuron(wall=False).reach(Stage.PREPARING)
    neuron.step = neuron.committed = 2000
    neuron.tell(messages.AskState(CLAIM))
    assert neuron.tell(done(5)) == []
    neuron.protocol.stage = stage
    assert neuron.tell(messages.Acknowledge(CLAIM, 4)) == []
    assert kinds(neuron.tell(messages.Acknowledge(CLAIM, 5))) == [do.Answer]
    assert neuron.tell(messages.Acknowledge(CLAIM, 5)) == []


@rows((Stage.PREPARING,), messages.Cede)
def test_ceding_waits_for_the_step_and_no_step_that_has_passed(stage):
    neuron = Neuron().reach(stage)
    assert neuron.tell(messages.Cede(CLAIM, 1010)) == [do.WakeAt(1011)]
    assert neuron.protocol.stage is Stage.CEDING
    assert Neuron().reach(stage).tell(messages.Cede(CLAIM, 10)) == [do.WakeAt(1001)]


def test_under_the_virtual_clock_ceding_is_at_once():
    neuron = Neuron(wall=False).reach(Stage.PREPARING)
    told = neuron.tell(messages.Cede(CLAIM, 0))
    assert reported(told, messages.Ceded).step == neuron.committed
    assert neuron.protocol.stage is Stage.SHADOW


@rows((Stage.CEDING,), do.CessionReached)
def test_up_to_the_step_the_process_publishes_and_after_it_the_board(stage):
    neuron = Neuron().reach(stage)
    neuron.fires, neuron.step = [1005, 1010, 1011], 1030
    told = neuron.tell(do.CessionReached())
    assert reported(told, messages.Ceded) == messages.Ceded(CLAIM, "board B", 4, 1010, {})
    assert neuron.published == [1005, 1010]
    assert neuron.protocol.shadow and neuron.protocol.status()["owner"] == "board B"


@rows(OURS, messages.Heartbeat)
def test_a_heartbeat_keeps_the_lease(stage):
    neuron = Neuron().reach(stage)
    neuron.time_s += 9
    assert neuron.tell(messages.Heartbeat({})) == []
    neuron.time_s += 0.09
    assert neuron.tell(do.Tick()) == []


@rows(THEIRS, messages.Heartbeat)
def test_a_heartbeat_tells_how_far_the_board_is_and_who_fired_alone_is_told(stage):
    neuron = Neuron().reach(stage)
    neuron.fires, neuron.step = [1020, 1030], 1060
    neuron.tell(do.OwnSpikes(4, 0, [1020, 1025]))
    told = neuron.tell(messages.Heartbeat({"n": 1040, "other": 2000}))
    assert reported(told, messages.Disagreed) == messages.Disagreed(CLAIM, [1030], [1025])
    assert neuron.tell(messages.Heartbeat({"n": 1050})) == neuron.tell(messages.Heartbeat({})) == []
    status = neuron.protocol.status()
    assert (status["agreed"], status["disagreements"], neuron.published) == (1, 2, [])


@rows(LEASED, messages.Resync)
def test_the_shadow_stands_where_the_board_stood_and_runs_on(stage):
    neuron = Neuron().reach(stage)
    neuron.step = 1100
    neuron.protocol.keep(np.array([1050 << STEP_BITS]), [])
    resync = messages.Resync(CLAIM, 1040, b"", b"", b"")
    told = neuron.tell(resync)
    assert kinds(told) == [do.CommitTo, do.LoadState, do.CommitTo, do.Report]
    assert (told[0].step, told[1].state, told[2].step) == (1040, resync, 1090)
    assert (told[1].keys >> STEP_BITS).tolist() == [1050]
    assert told[3].message == messages.Resynced(CLAIM, 1040)


def test_what_a_shadow_fired_after_the_boards_state_is_fired_anew():
    neuron = Neuron().reach(Stage.SHADOW)
    neuron.fires, neuron.step = [1030, 1050], 1100
    neuron.run_to(1090)
    neuron.tell(messages.Resync(CLAIM, 1040, b"", b"", b""))
    told = neuron.tell(messages.Heartbeat({"n": 1080}))
    assert reported(told, messages.Disagreed).shadow == [1030]


@rows(LEASED, messages.AskWeights)
def test_weights_are_told_where_the_board_stood(stage):
    neuron = Neuron().reach(stage)
    told = neuron.tell(messages.AskWeights(CLAIM, 1005))
    assert told[-1] == do.ReportWeights(CLAIM)
    assert (do.CommitTo(1005) in told) is (stage in THEIRS)


@rows(LEASED, messages.Release)
def test_a_release_gives_the_neuron_back(stage):
    neuron = Neuron().reach(stage)
    told = neuron.tell(messages.Release(CLAIM, 1011, "detached", 64, 1))
    owner = reported(told, messages.Owner)
    assert owner.why == "detached" and do.Unlisten("bridge") in told
    assert neuron.protocol.stage is Stage.OWN
    assert neuron.protocol.status()["returned"] == (stage in THEIRS)
    if stage in THEIRS:
        assert (owner.owned, owner.epoch, owner.weighed, owner.off) == (True, 5, 64, 1)
        assert do.SetEpoch(5) in told
    else:
        assert (owner.owned, owner.epoch, owner.weighed) == (False, 3, None)


def test_what_the_board_did_not_publish_is_published_late_and_nothing_twice():
    neuron = Neuron().reach(Stage.SHADOW)
    neuron.fires, neuron.step = [1020, 1030, 1040, 1060], 1050
    neuron.tell(do.OwnSpikes(4, 0, [1020, 1030]))
    owner = reported(neuron.tell(messages.Release(CLAIM, 1025, "gone")), messages.Owner)
    assert neuron.published == [1040]
    assert (owner.late, owner.waited_ms, owner.agreed, owner.disagreements) == (1, 1.0, 1, 0)
    neuron.run_to(1100)
    assert neuron.published == [1040, 1060]


def test_what_a_board_published_ahead_of_time_is_not_published_again():
    neuron = Neuron().reach(Stage.SHADOW)
    neuron.fires, neuron.step = [1020, 1070, 1090], 1050
    neuron.tell(do.OwnSpikes(4, 0, [1020, 1070]))
    neuron.tell(messages.Release(CLAIM, 1080, "gone"))
    assert neuron.protocol.looks_on(neuron.committed)
    neuron.run_to(1100)
    assert neuron.published == [1090]
    assert not neuron.protocol.looks_on(neuron.committed)


def test_spikes_withheld_while_ceding_come_out_where_the_board_never_owned():
    neuron = Neuron().reach(Stage.CEDING)
    neuron.fires, neuron.step = [1005, 1020], 1030
    neuron.run_to(1025)
    assert neuron.published == [1005]
    neuron.tell(messages.Release(CLAIM, 0, "gone"))
    assert neuron.published == [1005, 1020]


@rows((*OURS, Stage.SHADOW), do.OwnSpikes)
def test_the_boards_spikes_are_counted_and_those_of_other_epochs_passed_over(stage):
    neuron = Neuron().reach(stage)
    spikes = do.OwnSpikes(4, 2, [1015])
    assert neuron.tell(spikes) == [do.CountBoardSpikes(spikes)]
    assert neuron.tell(do.OwnSpikes(3, 2, [1015])) == neuron.tell(do.OwnSpikes(5, 0, [])) == []


@rows((Stage.RECLAIMING,), do.OwnSpikes)
def test_its_own_word_of_the_epochs_end_tells_that_all_was_heard(stage):
    neuron = Neuron().reach(stage)
    spikes = do.OwnSpikes(4, 2, [1015])
    assert neuron.tell(spikes) == [do.CountBoardSpikes(spikes)]
    owner = reported(neuron.tell(do.OwnSpikes(5, 0, [])), messages.Owner)
    assert owner.owned and owner.why == "the bridge has been silent for 100 ms"


@rows(OURS, do.DutyDone)
def test_a_duty_is_answered_at_once_until_the_board_runs_beside(stage):
    neuron = Neuron(wall=False).reach(Stage.PREPARING)
    neuron.protocol.stage = stage
    assert neuron.tell(done()) == [do.Answer(done())]
    neuron.step = neuron.committed = 2000
    neuron.tell(messages.AskState(CLAIM))
    assert neuron.tell(done(2)) == []
    assert kinds(neuron.tell(messages.Release(CLAIM, 0, "gone")))[0] is do.Answer


@rows((Stage.SHADOW,), do.DutyDone)
def test_a_duty_of_a_shadow_is_told_to_the_bridge_and_answered_where_that_fails(stage):
    neuron = Neuron(wall=False).reach(stage)
    assert neuron.tell(done()) == [do.ReportShadow(CLAIM, done())]
    told = neuron.tell(do.RunEnded())
    assert told[:3] == [do.SetEpoch(5), do.Answer(done()), do.SetEpoch(6)]
    assert reported(told, messages.Owner).epoch == 6


@rows((*OURS, Stage.SHADOW), do.Tick)
def test_a_silent_bridge_loses_the_neuron(stage):
    neuron = Neuron().reach(stage)
    patience_s = 10 if stage is Stage.PREPARING else 0.1
    neuron.time_s += patience_s
    assert neuron.tell(do.Tick()) == []
    neuron.time_s += 0.001
    told = neuron.tell(do.Tick())
    if stage is Stage.SHADOW:
        assert told == [do.EndEpoch(5)] and neuron.protocol.stage is Stage.RECLAIMING
    else:
        assert f"silent for {patience_s * 1000:g} ms" in reported(told, messages.Owner).why


def test_under_the_virtual_clock_a_silent_bridge_has_a_second_and_loses_the_neuron_at_once():
    neuron = Neuron(wall=False).reach(Stage.SHADOW)
    neuron.time_s += 1
    assert neuron.tell(do.Tick()) == []
    neuron.time_s += 0.001
    assert reported(neuron.tell(do.Tick()), messages.Owner).owned


@rows((Stage.RECLAIMING,), do.Tick)
def test_the_word_of_the_epochs_end_is_said_again(stage):
    assert Neuron().reach(stage).tell(do.Tick()) == [do.EndEpoch(5)]


@rows((Stage.SHADOW,), do.EndPassed)
def test_a_shadow_past_the_end_takes_the_neuron_back(stage):
    assert Neuron().reach(stage).tell(do.EndPassed()) == [do.EndEpoch(5)]
    assert Neuron().reach(Stage.RECLAIMING).tell(do.EndPassed()) == []


@rows(LEASED, do.RunEnded)
def test_the_end_of_the_run_ends_the_lease(stage):
    told = Neuron().reach(stage).tell(do.RunEnded())
    assert reported(told, messages.Owner).why == "the run has ended"


@pytest.mark.parametrize("stage", Stage, ids=lambda stage: stage.name)
@pytest.mark.parametrize("kind", do.CLAIMED, ids=lambda kind: kind.__name__)
def test_a_claim_that_is_not_under_way_is_refused(stage, kind):
    values = {"step": 1, "number": 1, "horizon": 1, "state": b"", "weight": b"", "synapses": b"", "why": ""}
    message = kind("bridge/7/0", *(values[name] for name in kind.__struct_fields__ if name in values))
    assert Neuron().reach(stage).tell(message) == [
        do.Refuse("bridge/7/0", "no such claim; the lease is over")
    ]


def test_with_nobody_else_nothing_is_withheld():
    protocol = Neuron().protocol
    keys = np.array([5 << STEP_BITS])
    assert protocol.withhold(keys) is keys
    assert not protocol.looks_on(0)


def test_every_transition_has_been_tried():
    assert set(TRANSITIONS) == TRIED
