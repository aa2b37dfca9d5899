"""The goal of a run: rules that are given, follow from the sentence, or are proposed and confirmed at a terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robo_reward.cli.app import compose_checked_config, main
from robo_reward.cli.confirm import NotConfirmed
from robo_reward.cli.goals import BY_SENTENCE, GoalRecord, NoSuccessRule
from robo_reward.cli.task import make_configured_task
from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.envs.state import Field, StateSpec
from robo_reward.envs.task import Task, make_task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.questions import read_line
from robo_reward.scenes.rules import is_same_sentence
from robo_reward.scoring.judge import judge_recording
from robo_reward.writers.ledger import Ledger
from robo_reward.writers.offline.goals.understanding import GoalNotUnderstood
from robo_reward.writers.offline.writer import OfflineWriter
from robo_reward.writers.writer import WriteRequest, WriterError
from tests.scenes.test_scene_task import PUCK

PUSH = "goal=Push the cube 5 cm to the left."


def make(*words: str, verb: str = "search") -> tuple[Task, GoalRecord]:
    config = compose_checked_config(verb, list(words))
    task, record = make_configured_task(config, [verb, *words])
    assert record.success_by == "the task" or (config.success or task.success_rule) == task.success_rule
    return task, record


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "puck.xml").write_text(PUCK)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_own_sentence_keeps_the_own_rule():
    task, record = make("goal=pick up the red cube and  lift it 10 cm above the table")
    assert record.success_by == "the task" and task.success_rule.startswith("the cube's lower face")
    assert is_same_sentence("Lift it. ", "lift  it") and not is_same_sentence("Lift it 10 cm", "Lift it 15 cm")


@pytest.mark.parametrize("verb", ["search", "train", "record"])
def test_another_amount_is_judged_by_another_rule(verb: str):
    task, record = make("goal=Pick up the cube and lift it 15 cm.", verb=verb)
    assert (record.success, record.success_by) == ("cube_height > 0.17", BY_SENTENCE)
    state = task.spec.pack({f.name: np.zeros((2, *f.shape)) for f in task.spec})
    state.cube_position[:, 2] = [0.16, 0.18]
    np.testing.assert_array_equal(task.success(state), [False, True])
    assert task.options == {"goal": "Pick up the cube and lift it 15 cm.", "success": "cube_height > 0.17"}


def test_a_prohibition_ends_the_episode():
    task, record = make("goal=Move the hand 10 cm to the left without touching the cube.")
    assert record.failure == "norm(hand_position - cube_position) < 0.035" == task.failure_rule


def test_a_scene_gets_its_rule_from_the_sentence(folder: Path):
    task, record = make("task=puck.xml", "goal=Push the puck to the goal.")
    assert record.success == task.success_rule == "norm(puck_position[:2] - goal_position[:2]) < 0.03"
    (folder / "own.yaml").write_text("model: puck.xml\ngoal: Push the puck.\nsuccess: puck_x > 0.9\n")
    assert make("task=own.yaml")[1].success_by == "the scene file"
    assert make("task=own.yaml", "goal=Push the puck to the goal.")[1].success_by == BY_SENTENCE


def test_an_environment_has_its_own_rule():
    assert make("task=gymnasium/InvertedPendulum-v5")[1].success_by == "the environment"


def test_tasks_shows_the_rule_of_a_goal(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["tasks", "name=panda/lift", "goal=Lift the cube 15 cm."]) == 0
    assert "success: cube_height > 0.17" in capsys.readouterr().out
    main(["tasks", "name=puck.xml", "goal=Push the puck to the goal."])
    assert "success: norm(puck_position[:2] - goal_position[:2]) < 0.03" in capsys.readouterr().out


def test_from_python_another_goal_needs_a_rule(folder: Path):
    (folder / "own.yaml").write_text("model: puck.xml\ngoal: Push the puck.\nsuccess: puck_x > 0.9\n")
    for name in ("panda/lift", "own.yaml"):
        with pytest.raises(UsageError, match="give success="):
            make_task(name, goal="Throw it away.")


@pytest.mark.parametrize(("words", "error", "text"), [
    (["goal=Throw the cube."], GoalNotUnderstood, "'throw'.*nearest.*With success="),
    (["goal=Throw the cube.", "writer.strict=false"], NoSuccessRule, "no verb.*success='cube_position"),
    (["goal=Throw the cube.", "success=ever(cube_x == 1)"], GoalNotUnderstood, "'throw'"),
    (["goal=Close the drawer.", "task=panda/drawer"], NoSuccessRule, "true at the start of 100% of the episodes"),
    (["goal=Lift the cube and hold it for 9 s."], NoSuccessRule, "9"),
    (["+task.success=a"], UnknownName, "Did you mean 'success'"),
])  # fmt: skip
def test_what_cannot_be_measured_is_refused_before_any_work(words: list[str], error: type[Exception], text: str):
    with pytest.raises(error, match=text) as caught:
        make(*words)
    assert getattr(caught.value, "exit_code", None) == 2


def test_with_a_rule_of_the_user_the_rewards_follow_the_rule_where_the_sentence_is_not_understood():
    assert make("goal=Throw the cube.", "success=cube_x > 1", verb="train")[1].success_by == "the user"
    task, record = make("goal=Throw the cube.", "success=cube_x > 1")
    assert [word.text for word in record.words if not word.meaning] == ["throw"] and "rule alone" in record.notes[0]
    request = WriteRequest(task.goal, task.spec, task.action, success_rule=task.success_rule)
    notes = [answer.source or "" for answer in OfflineWriter().write(request, 6)]
    assert all("Meet the rule cube_position[:, 0] > 1" in text for text in notes)
    alone = OfflineWriter().write(replace(request, goal="Lift the cube."), 4)[3].source or ""
    assert "Meet the rule" not in alone  # a sentence that is understood may be followed alone


@pytest.fixture
def type_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], object]]:
    """Makes a real terminal the standard input; calling it types at the keyboard."""
    master, slave = pty.openpty()
    with io.TextIOWrapper(os.fdopen(slave, "rb", buffering=0)) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        yield lambda text: os.write(master, text.encode())
    os.close(master)


@pytest.mark.parametrize(("typed", "rule", "by"), [
    ("y\n", "cube_y > 0.1681", "offline confirmed by user"),
    ("what\ne\ncube_yy > 1\n\ne\ncube_y > 0.3\ncube_height > 0.1\ny\n", "cube_y > 0.3", "the user"),
])  # fmt: skip
def test_a_person_confirms_or_edits(
    folder: Path, type_at_a_terminal, capsys: pytest.CaptureFixture[str], typed: str, rule: str, by: str
):
    type_at_a_terminal(typed)
    task, record = make(PUSH, "success=propose")
    assert (record.success, task.success_rule, record.success_by) == (rule, rule, by)
    shown = capsys.readouterr().out
    assert "push = push cube" in shown and "cube_y > 0.1681 (by the offline writer)" in shown
    assert ("Did you mean 'cube_y'" in shown) == ("cube_yy" in typed)


@pytest.mark.parametrize(("typed", "text"), [("n\n", "declined"), ("\x04", "ended before")])
def test_a_person_declines(folder: Path, type_at_a_terminal, typed: str, text: str):
    type_at_a_terminal(typed)
    with pytest.raises(NotConfirmed, match=text):
        make(PUSH, "success=propose")
    assert not list(folder.glob("runs/*/config.yaml"))


def test_without_a_terminal_the_command_to_repeat_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    told = r"'goal=Push the cube 5 cm to the left.' run=a 'success=cube_y > 0.1681'$"
    with pytest.raises(NotConfirmed, match=told):
        make(PUSH, "success=propose", "run=a")


def test_ctrl_c_at_the_question_leaves_nothing(
    folder: Path, type_at_a_terminal, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupt_while_waiting(prompt: str) -> str:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        return read_line(prompt)

    monkeypatch.setattr("robo_reward.cli.confirm.read_line", interrupt_while_waiting)
    old = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a job of a shell without job control
    try:
        assert main(["train", PUSH, "success=propose", "run=a"]) == 130
    finally:
        signal.signal(signal.SIGINT, old)
    assert "by the offline writer" in capsys.readouterr().out and not (folder / "runs" / "a").exists()


GOOD = "Above the table.\n\n```text\nsuccess: cube_height > 0.2\nfailure: cube_x > 1.2\n```\n"


def test_a_language_model_is_asked_corrected_and_confirmed(folder: Path, type_at_a_terminal):
    answers = folder / "answers"
    answers.mkdir()
    (answers / "1.md").write_text("```text\nsuccess: cube_hight > 0.2\n```")
    (answers / "2.md").write_text("```text\nsuccess: cube_height > -1\n```")
    (answers / "3.md").write_text(GOOD)
    type_at_a_terminal("y\n")
    task, record = make("goal=Fling it up.", "success=propose", "writer=replay", f"writer.ledger={answers}")
    assert (task.success_rule, task.failure_rule) == ("cube_height > 0.2", "cube_x > 1.2")
    assert record.success_by == "replay confirmed by user" and record.answer is not None
    said = [message["content"] for message in record.answer.messages]
    assert "Fling it up." in said[0] and "cube_position" in said[0] and "held(condition, seconds)" in said[0]
    assert "true at the start" in said[-1]
    (answers / "3.md").write_text("I would rather write a program.")
    with pytest.raises(WriterError, match="no usable rule"):
        make("goal=Fling it up.", "success=propose", "writer=replay", f"writer.ledger={answers}")


def test_run_folder_ledger_provenance_and_report_say_who_wrote_the_rule(folder: Path):
    words = [
        "train",
        "task=panda/reach",
        "goal=Move the hand 10 cm to the left.",
        "steps=64",
        "episodes=1",
        "videos=0",
    ]
    assert main([*words, "run=a"]) == 0
    run = folder / "runs" / "a"
    rule = json.loads((run / "goal.json").read_text())["success"]
    assert rule.startswith("hand_y > ")
    origin = json.loads((run / "provenance.json").read_text())
    assert (origin["success"], origin["success_by"]) == (rule, BY_SENTENCE)
    (entry,) = Ledger(run / "ledger.jsonl", "replay").load_entries()
    assert entry.model == "offline" and f"success: {rule}" in entry.text
    page = (run / "report.html").read_text()
    assert BY_SENTENCE in page and rule.replace(">", "&gt;") in page and "direction +y" in page
    assert f"success: {rule}\n" in (run / "config.yaml").read_text()  # part of what names the folder


def test_recordings_are_judged_by_another_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    spec = StateSpec([Field("ball_position", (3,), "m")])
    height = np.r_[np.zeros(5), np.ones(6), 0.0]
    states = np.zeros((12, 3))
    states[:, 2] = height
    episode = Episode(states, np.zeros((11, 1)), np.zeros(11, bool), spec, meta={"fps": 5.0})
    assert judge_recording("ball_height < 0.5", episode) and not judge_recording("ball_height > 0.5", episode)
    assert judge_recording("ever(ball_height > 0.5)", episode)
    up = Episode(states[:11], np.zeros((10, 1)), np.zeros(10, bool), spec, meta={"fps": 5.0})
    assert judge_recording("held(ball_height > 0.5, 1.0)", up) and not judge_recording(
        "held(ball_height > 0.5, 1.4)", up
    )
    assert not judge_recording("held(ball_height > 0.5, 9.0)", up)
    store = EpisodeStore(tmp_path / "demos")
    store.append(episode)
    store.append(up)
    program = tmp_path / "height.py"
    body = '    high = state.ball_position[:, 2]\n    return high, {"high": high}\n'
    program.write_text(f"def compute_reward(state, action, previous):\n{body}")
    words = [
        "score",
        str(tmp_path / "demos"),
        f"reward={program}",
        "success=ball_height > 0.5",
        f"runs={tmp_path / 'r'}",
    ]
    assert main([*words, f"json={tmp_path / 's.json'}"]) == 0
    found = json.loads((tmp_path / "s.json").read_text())
    assert (found["successes"], found["failures"]) == (1, 1)
    runs = sorted((tmp_path / "r").iterdir())
    assert main([*words, "success=ball_hight > 0.5"]) == 2
    assert sorted((tmp_path / "r").iterdir()) == runs and capsys.readouterr().err.count("unknown state field") == 1
