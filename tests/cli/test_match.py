"""`robo-reward match`, from demonstrations to a reward that loads and trains."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from robo_reward.cli.app import main
from robo_reward.data.collect import collect_episodes
from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.envs.task import Task, make_task
from robo_reward.envs.video.files import write_video
from robo_reward.rewards.artifact import load_reward
from robo_reward.rewards.matching import ORCA, MatchingReward, StateFeatures
from tests.rewards.perceptual.scenes import LENGTHS, clip

FIELDS = "fields=[hand_position,goal_position]"


@pytest.fixture(scope="module")
def task() -> Task:
    return make_task("panda/reach")


@pytest.fixture(scope="module")
def episodes(task: Task) -> list[Episode]:
    return collect_episodes(task, task.expert, 4, seed=3)


@pytest.fixture
def store(task: Task, episodes: list[Episode], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    found = EpisodeStore(tmp_path / "shown")
    for number, each in enumerate(episodes):
        found.append(each, f"{number:04d}")
    return Path("shown")


def read_result(name: str) -> dict:
    return json.loads((Path("runs") / name / "result.json").read_text())


def test_fields_become_the_reward_that_python_makes(
    store: Path, episodes: list[Episode], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["match", f"demos={store}", FIELDS, "settings.tau=2.5", "run=it"]) == 0
    said = capsys.readouterr().out
    assert "4 demonstrations of" in said and "orca (tau 2.5), cost euclidean" in said
    look = StateFeatures(["hand_position", "goal_position"])
    expected = MatchingReward.from_episodes(look, episodes, ORCA(tau=2.5), cost="euclidean")
    reward = load_reward(Path("runs/it/reward"))
    np.testing.assert_array_equal(reward(episodes[0]).total, expected(episodes[0]).total)
    left_out = read_result("it")["left_out"]
    assert left_out["preferred"] == 1.0 and f"{np.mean(left_out['backward']):.3g}" in said
    others = MatchingReward.from_episodes(look, episodes[1:], ORCA(tau=2.5), cost="euclidean")
    assert left_out["forward"][0] == pytest.approx(others(episodes[0]).total.sum())


def test_tau_is_the_length_times_the_cost_of_a_good_match(store: Path, episodes: list[Episode]) -> None:
    assert main(["match", f"demos={store}", "fields=[hand_position]", "run=it"]) == 0
    hands = [each.state[1:, each.spec.slice("hand_position")] for each in episodes]
    pairs = [np.linalg.norm(a - b, axis=1) for a, b in pairwise(hands)]  # equal lengths
    expected = len(hands[0]) * np.median(np.concatenate(pairs))
    assert read_result("it")["rule"]["tau"] == pytest.approx(expected)


def test_a_training_takes_the_reward(store: Path) -> None:
    assert main(["match", f"demos={store}", FIELDS, "rule=temporal_ot", "scale=first_episode", "run=it"]) == 0
    tiny = ["steps=60", "policy.params.worlds=1", "policy.params.batch_size=30", "episodes=1", "videos=0"]
    assert main(["train", "task=panda/reach", "reward=artifact", "reward.path=runs/it", *tiny, "run=trained"]) == 0


def test_videos_are_compared_through_an_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, lengths in enumerate(LENGTHS):
        write_video(tmp_path / "dots" / f"{seed}.mp4", clip(lengths, seed), 20.0, crf=5)
    encoder = ["encoder=pixels", "encoder.size=12", "size=24"]
    assert main(["match", "demos=dots", "rule=temporal_ot", *encoder, "run=it"]) == 0
    found = read_result("it")
    assert found["steps"] == [sum(lengths) - 1 for lengths in LENGTHS] and found["cost"] == "cosine"
    reward = load_reward(Path("runs/it/reward"))
    assert reward.frames is not None and reward.frames.size == 24
    assert found["left_out"]["preferred"] > 0.8


def test_one_demonstration_is_not_tested_on_itself(
    store: Path, episodes: list[Episode], capsys: pytest.CaptureFixture[str]
) -> None:
    EpisodeStore(Path("one")).append(episodes[0])
    assert main(["match", "demos=one", FIELDS, "run=it"]) == 0
    assert "give at least two" in capsys.readouterr().out
    assert read_result("it")["left_out"]["preferred"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rule=orka"], "Did you mean 'orca'"),
        (["settings.taw=1"], "unknown parameter of the matching rule 'orca' 'taw'"),
        (["cost=manhattan"], "unknown matching cost 'manhattan'"),
        (["scale=big"], "expected a number, or first_episode"),
        (["fields=[hand_positoin]"], "hand_positoin"),
        (["demos=nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_told_before_there_is_a_run(
    store: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["match", f"demos={store}", FIELDS, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not Path("runs").exists()


def test_failures_are_left_out_unless_they_are_wanted(
    task: Task, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for each in collect_episodes(task, lambda state: np.zeros((*state.array.shape[:-1], 3)), 2):
        EpisodeStore(Path("idle")).append(each)
    assert main(["match", "demos=idle", FIELDS]) == 2
    assert "none of the 2 episodes of idle ends with success; failures=true" in capsys.readouterr().err
    assert main(["match", "demos=idle", FIELDS, "failures=true"]) == 0
