"""The base of observers: what it is sent, what is accounted for, and how one of a user's own is made."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurobus.cluster.own_observer import make, parse, programs
from neurobus.errors import InputError
from neurobus.events import Led, Samples, Spikes, Stimulus
from neurobus.observer import Listening, Observer, Run
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.bus import Event
from neurobus.wire.message import Control, Report
from tests.helpers import NoPeer, status

RUN = Run("net", "wall", 1, 100_000, ["a", "b", "c", "clock"], 3, {"all": [0, 1]}, {"a": 0, "clock": 3}, 4)
"""Two neurons, `b` and `c`, live in one process, `@1`."""


class Heard(Observer):
    """Notes what it hears."""

    def __init__(self, only: Iterable[str] | None = None):
        self.only, self.calls = only, list[Any]()

    def wants(self) -> Iterable[str] | None:
        return self.only

    def on_begin(self) -> None:
        self.calls.append(("begin", self.run.name))

    def on_spikes(self, t_ns: Any, neurons: Any) -> None:
        assert t_ns.dtype == neurons.dtype == np.int64
        self.calls.append(("spikes", t_ns.tolist(), neurons.tolist()))

    def on_potentials(self, t_ns: Any, neurons: Any, mv: Any) -> None:
        self.calls.append(("potentials", t_ns.tolist(), neurons.tolist(), mv.tolist()))

    def on_stimulus(self, stimulus: Stimulus) -> None:
        self.calls.append(("stimulus", stimulus.neuron))

    def on_report(self, report: Report) -> None:
        self.calls.append(("report", report.origin))

    def on_lights(self, led: Led) -> None:
        self.calls.append(("lights", led.rgb))

    def on_end(self) -> str:
        return "done"


def listening(observer: Observer, from_start: bool = True, tell: Callable[[str], None] = print) -> Listening:
    run = replace(RUN, ids=list(RUN.ids), single=dict(RUN.single))
    return Listening(observer, run, NoPeer(), "me", from_start, tell, ["a", "@1", "clock"])  # type: ignore[arg-type]


def hear(to: Listening, *events: Event) -> None:
    for event in events:
        to.take(wire.encode(event), 7)


def test_every_kind_of_event_has_its_method() -> None:
    observer = Heard()
    hear(
        listening(observer),
        Spikes("a", 0, 0, [100_000, 200_000]),
        Spikes("@1", 0, 0, [300_000, 300_000], [1, 2]),
        Samples("a", 0, 0, [100_000], [-60.5]),
        Stimulus("b", -1, 5.0),
        Stimulus("b", 400_000, 5.0),
        Report("a", status([0], [0.0])),
        Led("a", 0, b"rgb"),
        Spikes("a", 0, 2, [], last=True),
    )
    assert observer.calls == [
        ("begin", "net"),
        ("spikes", [100_000, 200_000], [0, 0]),
        ("spikes", [300_000, 300_000], [1, 2]),
        ("potentials", [100_000], [0], [-60.5]),
        ("stimulus", "b"),  # the one that is stamped
        ("report", "a"),
        ("lights", b"rgb"),
    ]


def test_it_is_sent_what_it_overrides_and_no_more() -> None:
    class Few(Observer):
        def on_spikes(self, t_ns: Any, neurons: Any) -> None: ...

    for observer, prefixes in ((Few(), [b"s/"]), (Observer(), []), (Heard(["a", "a"]), [b"s/a\0", b"v/a\0"])):
        peer = listening(observer).peer
        assert isinstance(peer, NoPeer)
        of_streams = [prefix for prefix in peer.subscribed if prefix[:1] in (wire.SPIKES, wire.SAMPLES)]
        assert sorted(of_streams) == sorted(prefixes)
        assert wire.topic(wire.CONTROL, "me") in peer.subscribed


def test_the_stream_of_a_packed_neuron_is_its_process() -> None:
    peer = listening(Heard(["a", "c"])).peer
    assert isinstance(peer, NoPeer)
    assert {wire.topic(wire.SPIKES, name) for name in ("a", "@1")} <= set(peer.subscribed)
    with pytest.raises(InputError, match="no neuron 'x' in 'net'"):
        listening(Heard(["x"]))


def test_what_is_missing_twice_stale_or_nonsense_is_accounted_for() -> None:
    observer = Heard()
    one = listening(observer)
    hear(
        one,
        Spikes("a", 1, 0, [100_000]),
        Spikes("a", 1, 3, [400_000]),  # two are missing
        Spikes("a", 1, 3, [400_000]),  # once more
        Spikes("a", 1, 3, [400_000, 500_000]),  # half of it
        Spikes("a", 0, 0, [600_000]),  # the owner before
        Spikes(".nobody", 0, 0, [700_000]),
        Spikes("@1", 0, 0, [700_000], [9]),
    )
    one.take(b"s/a\0nonsense", 7)
    spikes = [call[1] for call in observer.calls if call[0] == "spikes"]
    assert spikes == [[100_000], [400_000], [500_000]]
    account = one.close()
    assert (account["lost"], account["duplicates"], account["malformed"]) == (2, 2, 3)
    assert account["notes"] == ["me: done"]


def test_who_listens_from_the_start_misses_the_first_spike_and_who_joins_later_does_not() -> None:
    first, later = listening(Heard()), listening(Heard(), from_start=False)
    for one in (first, later):
        hear(one, Spikes("a", 0, 5, [100_000]))
    assert (first.close()["lost"], later.close()["lost"]) == (5, 0)
    assert later.accounts.before == 5


def test_a_neuron_started_by_hand_stands_behind_all_others() -> None:
    observer = Heard()
    one = listening(observer)
    hear(one, Spikes("late", 3, 0, [100_000]), Spikes("a", 0, 0, [200_000]), Spikes("late", 3, 1, [300_000]))
    assert [call[2] for call in observer.calls[1:]] == [[4], [0], [4]]
    assert one.run.ids[4] == "late" and one.accounts.malformed == 0


def test_names_of_strangers_cost_no_memory() -> None:
    one = listening(Heard())
    hear(one, *(Spikes(f"x{n}", 0, 0, [1]) for n in range(300)))
    assert len(one.accounts.spikes.accounts) == len(one.run.ids) == 104
    assert one.accounts.malformed == 200


def test_what_it_raises_is_told_once_and_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROBUS_STATE_DIR", str(tmp_path))

    class Bad(Observer):
        n = 0

        def on_spikes(self, t_ns: Any, neurons: Any) -> None:
            self.n += 1
            raise ZeroDivisionError("by zero")

        def on_end(self) -> str:
            raise KeyError("end")

    said: list[str] = []
    one = listening(Bad(), tell=said.append)
    hear(one, *(Spikes("a", 0, n, [n * 100_000]) for n in range(3)))
    assert isinstance(one.observer, Bad) and one.observer.n == 3
    (line,) = said
    assert "ZeroDivisionError: by zero (traceback in" in line and "\n" not in line
    assert "in on_spikes" in next(tmp_path.rglob("me.*.txt")).read_text()
    assert "KeyError" in one.close()["notes"][0]


def test_the_run_says_stop() -> None:
    one = listening(Heard())
    assert not one.stopped
    hear(one, Control("me", verbs.Stop(end_ns=900)))
    assert one.stopped and one.accounts.end_ns == 900


# -- of a user's own --------------------------------------------------------------------------------------

OWN = """
from dataclasses import replace
from pathlib import Path
from neurobus.observer import Observer

class Mine(Observer):
    def __init__(self, path: Path, n: int = 1, loud: bool = False, share: float = 0.5, word="x"):
        self.given = (path, n, loud, share, word)

class Plain(Observer):
    pass
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterable[str]:
    (tmp_path / "own_observers.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "own_observers"
    sys.modules.pop("own_observers", None)


def test_options_have_the_types_of_the_constructor(own: str) -> None:
    target, options = parse(f"{own}:Mine,path=a.csv,n=3,loud=true,share=0.25,word=7")
    made: Any = make(target, options)
    assert made.given == (Path("a.csv"), 3, True, 0.25, "7")
    assert isinstance(make(f"{own}.Plain", {}), Observer)


def test_the_observer_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text().partition("## Your own observer\n")[2]
    (tmp_path / "readme_observer.py").write_text(readme.partition("```python\n")[2].partition("```")[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    one = listening(make(*parse("readme_observer:Count,every=2")))
    hear(one, Spikes("a", 0, 0, [100_000]), Spikes("@1", 0, 0, [200_000, 200_000], [1, 2]))
    assert one.close()["notes"] == ["me: 3 spikes in all"]
    del sys.modules["readme_observer"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}:Mine", "Mine needs its option 'path'; write ,path=VALUE"),
        ("{}:Mine,path=x,m=1", "Mine has no option 'm'; it has path, n, loud, share, word"),
        ("{}:Mine,path=x,n=many", "option n = 'many' is not of type int"),
        ("{}:Mine,path=x,loud=yes", "option loud = 'yes' is not true or false"),
        ("{}:Plain,n=1", "Plain has no option 'n'; it has none"),
        ("{}", "defines 2 observers; name one as"),
        ("{}:None_such", "observer 'own_observers.None_such' does not import"),
        ("nodes.lif:Lif", "'nodes.lif.Lif' is no neurobus Observer"),
        ("{}:Mine,path", "is no observer; write MODULE:CLASS"),
        ("mine.py", "did you mean 'mine'"),
    ],
)
def test_what_is_no_observer_says_why(own: str, text: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        make(*parse(text.format(own)))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_several_of_one_module_have_names_of_their_own_that_no_neuron_can_have() -> None:
    from neurobus.config.schema import wrong_id

    names = [arguments["name"] for _, arguments in programs(["my.mine:A", "my.mine:B,x=1", "other"])]
    assert names == ["observer:mine", "observer:mine#2", "observer:other"]
    assert all(wrong_id(name) for name in names)
