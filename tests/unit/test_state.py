"""The state folder: only what a run has written there is ever removed, and nothing from a wrong folder."""

from __future__ import annotations

import json
import os

import pytest

from neurobus.classroom import course, witness
from neurobus.cluster import resume, state
from neurobus.cluster.options import Options
from neurobus.errors import InputError


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def used(folder, config="/net.toml", step=10):
    """What a run of `config` leaves: its lock given back, some snapshots, a resume point."""
    os.close(state.take(folder, config))
    for name in ("a.10.snap", "b.c.10.snap", ".a.12.tmp", "options"):
        (folder / name).write_bytes(b"x")
    (folder / "resume.json").write_text(json.dumps({"step": step}))
    return folder


@pytest.mark.parametrize(
    "name", ["thesis.tex", ".hidden", "notes.snap", "a.10.snap", "options", "resume.json"]
)
@pytest.mark.parametrize("act", [lambda f: state.refuse(f, None), lambda f: state.take(f, "/net.toml")])
def test_a_folder_with_other_things_in_it_is_refused_and_left_as_it_is(tmp_path, name, act):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / name).write_text('{"step": 1}')
    before = files(tmp_path / "x")
    with pytest.raises(InputError, match="is not empty and is no state folder"):
        act(tmp_path / "x")
    assert files(tmp_path / "x") == before


def test_files_links_and_folders_in_a_wrong_place_are_refused(tmp_path):
    (tmp_path / "file").write_text("thesis")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "inner").mkdir()
    for name, word in [("file", "is a file"), ("link", "symbolic link"), ("dangling", "symbolic link"),
                       ("full", "is not empty"), ("file/in", "is a file")]:  # fmt: skip
        with pytest.raises(InputError, match=word):
            state.take(tmp_path / name, "/net.toml")
    assert not (tmp_path / "nowhere").exists() and (tmp_path / "file").read_text() == "thesis"
    assert list((tmp_path / "real").iterdir()) == []


def test_only_own_files_are_removed(tmp_path):
    folder = used(tmp_path / "s")
    (folder / "thesis.tex").write_text("years")
    (folder / "of.1.snap").mkdir()
    (folder / "far.1.snap").symlink_to(tmp_path / "s" / "thesis.tex")
    os.close(state.take(folder, "/net.toml"))
    left = {path.name for path in folder.iterdir()}
    assert left == {state.MARK, "thesis.tex", "of.1.snap", "far.1.snap"}


def test_a_resumed_run_keeps_all_up_to_its_step(tmp_path):
    folder = used(tmp_path / "s")
    (folder / "a.11.snap").write_bytes(b"later")
    os.close(state.take(folder, "/other.toml", keep_to=10))
    assert "a.11.snap" not in files(folder) and {"a.10.snap", "resume.json", "options"} < set(files(folder))


def test_snapshots_of_another_config_are_not_replaced(tmp_path):
    folder = used(tmp_path / "s", "/a/net.toml")
    state.refuse(folder, "/a/net.toml")
    state.refuse(folder, None)
    with pytest.raises(InputError, match="holds the snapshots of /a/net"):
        state.refuse(folder, "/b/net.toml")


def test_a_state_folder_in_use_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "LOCK_PATIENCE_S", 0.0)
    lock = state.take(tmp_path / "s", "/net.toml")
    for act in (
        lambda: state.take(tmp_path / "s", "/net.toml"),
        lambda: state.refuse(tmp_path / "s", "/net.toml"),
    ):
        with pytest.raises(InputError, match=f"in use by another run \\(process {os.getpid()}\\)"):
            act()
    os.close(lock)
    os.close(state.take(tmp_path / "s", "/net.toml"))


def test_a_state_folder_without_a_mark_is_known_by_what_it_holds(tmp_path):
    folder = used(tmp_path / "s")
    (folder / state.MARK).unlink()
    state.refuse(folder, "/net.toml")
    (folder / "thesis.tex").write_text("years")
    with pytest.raises(InputError, match="is not empty"):
        state.refuse(folder, None)


@pytest.mark.parametrize(
    ("text", "word"),
    [("", "no JSON"), ("{", "no JSON"), ("[" * 100_000, "no JSON"), ("[]", "no step"), ("{}", "no step"),
     ('{"step": "7"}', "no step"), ('{"step": -1}', "no step"), ('{"step": true}', "no step"),
     ('{"step": 1e9}', "no step"), ('{"step": 9999999999999999999}', "no step")],
)  # fmt: skip
def test_a_damaged_resume_point_is_refused_in_one_line(tmp_path, text, word):
    (tmp_path / "resume.json").write_text(text)
    with pytest.raises(InputError, match=word) as caught:
        resume.resume_step(tmp_path)
    assert "\n" not in str(caught.value)


def test_all_that_runs_and_courses_write_there_is_known():
    assert {course.LESSON, witness.PROGRESS} <= state._OWN


@pytest.mark.parametrize("data", [b"", b"\xc1", b"thesis", b"\x81\xa1a\x01", b"\x90"])
def test_damaged_options_are_one_line(tmp_path, data):
    (tmp_path / "options").write_bytes(data)
    with pytest.raises(InputError, match="options: is damaged"):
        Options.kept(tmp_path)


def test_a_state_folder_does_not_say_what_is_imported(tmp_path, monkeypatch):
    Options(config_text="", python_path=["/evil"], programs=[("evil", {})]).write(tmp_path)
    monkeypatch.chdir(tmp_path)
    kept = Options.kept(tmp_path)
    assert kept.programs == [] and kept.python_path == [str(tmp_path)]


def test_the_folder_beside_the_config_it_names_takes_trust(tmp_path, monkeypatch):
    (tmp_path / "theirs").mkdir()
    config, here = tmp_path / "theirs" / "net.toml", tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    Options(config_path=str(config), python_path=["/evil"]).write(tmp_path)
    kept = Options.kept(tmp_path)
    assert kept.python_path == [str(here)] and kept.left_out == [str(config.parent), "/evil"]
    assert Options.kept(tmp_path, trust=True).python_path == [str(config.parent), "/evil", str(here)]
