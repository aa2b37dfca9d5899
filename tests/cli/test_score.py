"""`robo-reward score`: good and bad episodes told apart, by programs on states and by rewards on frames."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo_reward.cli.app import main
from robo_reward.cli.rewards import score as module
from robo_reward.data.collect import collect_episodes
from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.data.formats import export_episodes, open_episodes
from robo_reward.data.script import make_demonstrator, trim_episode
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.state import StateSpec
from robo_reward.envs.task import make_task
from robo_reward.envs.video.files import write_video
from robo_reward.language.language import compile_program
from robo_reward.rewards.artifact import save_reward
from robo_reward.rewards.matching import FrameFeatures, MatchingReward, StateFeatures
from robo_reward.scoring.score import ScoredEpisode, rank_episodes
from robo_reward.scoring.tables import write_progress
from robo_reward.vision.pixels import PixelsEncoder
from tests.rewards.perceptual.scenes import LENGTHS, clip, episode

PROGRAM = '''\
def compute_reward(state, action, previous):
    """How far right and down the dot is."""
    right = state.hand_position[:, 0] / 19.0
    down = state.hand_position[:, 1] / 20.0
    return right + down, {"right": right, "down": down}
'''
FAST = ["encoder=pixels", "encoder.size=12", "size=24", "min_size=3", "pictures=1"]
BAD = ((14, 24, 0), (10, 25, 0), (3, 40, 0))
"""Lengths of episodes in which the dot never goes down."""


def failure(lengths: tuple[int, int, int], seed: int) -> Episode:
    one = episode(lengths, seed)
    object.__setattr__(one, "success", np.zeros(len(one), bool))
    return one


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store of good episodes, one of good and bad ones, and a program."""
    monkeypatch.chdir(tmp_path)
    demos, mixed = EpisodeStore("demos", frames="exact"), EpisodeStore("mixed", frames="exact")
    for seed, lengths in enumerate(LENGTHS):
        demos.append(episode(lengths, seed), key=f"demo{seed}")
        mixed.append(episode(lengths, 10 + seed), key=f"a{seed}")
    for seed, lengths in enumerate(BAD):
        mixed.append(failure(lengths, 20 + seed), key=f"b{seed}")
    Path("reward.py").write_text(PROGRAM)
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def load(path: str) -> dict[str, Any]:
    return json.loads(Path(path).read_text())


def test_a_program_on_states(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(here / "mixed")
    assert main(["score", "mixed", "reward=reward.py", "--json", "out.json", "run=one", "listed=2"]) == 0
    said = capsys.readouterr().out
    assert "AUC of the scores: 1.000 (4 successes, 3 failures)" in said and "episode 5  b0" in said
    found = load("out.json")
    assert found == load("runs/one/scores.json")
    assert found["auc"] == 1.0 and found["by"] == "final" and set(found["worst"]) < {"b0", "b1", "b2"}
    assert found["best"][0].startswith("a")
    assert len(found["worst"]) == len(found["best"]) == 2
    # The numbers are those of the program itself.
    reward = compile_program(PROGRAM, episode(LENGTHS[0], 0).spec, 2)
    row = next(row for row in found["scores"] if row["name"] == "a1")
    total = reward(episode(LENGTHS[1], 11).to_transitions()).total
    assert row["total"] == pytest.approx(total.sum()) and row["mean"] == pytest.approx(total.mean())
    assert row["steps"] == len(total) and row["success"] is True and row["index"] == 1 and row["label"] == "good"
    with open("runs/one/scores.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["name"] for row in table] == [row["name"] for row in found["scores"]]
    assert [float(row["score"]) for row in table] == sorted(float(row["score"]) for row in table)
    assert len(list(Path("runs/one/pictures").glob("*.png"))) == 7
    page = Path("runs/one/report.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and "http" not in page.replace("http-equiv", "")
    assert files(here / "mixed") == before  # nothing is written into the data set


def test_the_progress_file_is_what_lerobot_reads(here: Path) -> None:
    """Read as `RABCWeights` of LeRobot does: by column name, `index` and `episode_index` into boundaries."""
    pq = pytest.importorskip("pyarrow.parquet")
    path = here / "mixed" / "episodes" / "a1.npz"
    path.write_bytes(path.read_bytes()[:300])
    assert main(["score", "mixed", "reward=reward.py", "run=one"]) == 0
    table = pq.read_table("runs/one/progress.parquet")
    assert table.schema.metadata[b"reward_model_path"] == b"reward.py"
    columns = {name: table[name].to_numpy() for name in table.column_names}
    assert {"index", "episode_index", "frame_index", "progress_sparse", "progress_dense"} == set(columns)
    assert columns["index"].dtype == columns["episode_index"].dtype == np.int64
    np.testing.assert_array_equal(columns["index"], np.arange(len(table)))
    lengths = [sum(one) for one in (*LENGTHS, *BAD)]
    progress = columns["progress_sparse"]
    for number, length in enumerate(lengths):
        rows = columns["episode_index"] == number
        assert rows.sum() == (0 if number == 1 else length)  # the damaged episode keeps its number
        np.testing.assert_array_equal(columns["frame_index"][rows], np.arange(rows.sum()))
        if number != 1:
            curve = progress[rows]
            assert curve.min() >= 0 and curve.max() <= 1 and (np.diff(curve) >= -1e-6).all()  # the dot never goes back
            assert (curve[-1] > 0.9) == (number < len(LENGTHS))


def test_a_data_set_of_another_project_gets_the_same_scores(here: Path) -> None:
    pytest.importorskip("pyarrow")
    export_episodes(open_episodes("mixed"), "lerobot", "exported", frames=False)
    for data, run in (("mixed", "one"), ("exported", "two")):
        assert main(["score", data, "reward=reward.py", f"run={run}"]) == 0
    one, two = load("runs/one/scores.json"), load("runs/two/scores.json")
    assert two["auc"] == one["auc"] == 1.0
    for before, after in zip(one["scores"], two["scores"], strict=True):
        assert after == {**before, "name": f"exported {before['index']}"}


def test_progress_has_the_rows_that_the_data_set_counts(tmp_path: Path) -> None:
    """A LeRobot data set may lack a row for the last state, and counts the rows of a damaged episode."""
    pq = pytest.importorskip("pyarrow.parquet")
    scored = [(0, ScoredEpisode("a", "", True, [0.0, 0.5, 1.0])), (2, ScoredEpisode("b", "", None, [0.2, 0.4]))]
    ranked = rank_episodes(scored, "final", "level", bounded=True)
    table = pq.read_table(write_progress(tmp_path / "p.parquet", ranked, [3, 2, 5], "r"))
    np.testing.assert_array_equal(table["index"], np.arange(10))
    np.testing.assert_array_equal(table["episode_index"], [0, 0, 0, 1, 1, 2, 2, 2, 2, 2])
    expected = [0.0, 0.0, 0.5, np.nan, np.nan, 0.2, 0.2, 0.4, 0.4, 0.4]
    np.testing.assert_allclose(table["progress_sparse"].to_numpy(), expected, rtol=1e-6)


def test_a_reward_learnt_on_frames(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["discover", "demos=demos", "steps=3", *FAST, "run=found"]) == 0
    assert main(["score", "mixed", "reward=runs/found", "run=one", "--json=out.json"]) == 0
    found = load("out.json")
    assert found["auc"] == 1.0
    assert all(0 <= row["progress"] <= 1 for row in found["scores"])
    # The same episodes as videos of another size, whose success is unknown.
    for seed, lengths in enumerate((*LENGTHS, *BAD)):
        wide = np.repeat(np.repeat(clip(lengths, 30 + seed), 4, axis=1), 4, axis=2)
        write_video(Path(f"videos/{'good' if seed < len(LENGTHS) else 'bad'}/{seed}.mp4"), wide, 20.0, crf=5)
    Path("videos/bad/broken.mp4").write_bytes(b"no video")
    capsys.readouterr()
    assert main(["score", "videos", "reward=runs/found", "run=two", "--json=out.json", "bad_below=0.5"]) == 0
    assert "bad/broken.mp4: " in capsys.readouterr().out
    found = load("out.json")
    assert found["auc"] is None and found["episodes"] == 7
    assert [one["name"] for one in found["not_scored"]] == ["bad/broken.mp4"]
    assert all(row["name"].startswith("bad") for row in found["scores"][:3])
    assert all(row["success"] is None for row in found["scores"])
    assert {row["label"] for row in found["scores"] if row["score"] < 0.5} == {"bad"}


def test_a_reward_that_compares_whole_episodes_ranks_by_the_mean(here: Path) -> None:
    look = FrameFeatures(PixelsEncoder(12), FrameSpec(("front",), 24))
    save_reward(MatchingReward.from_episodes(look, list(EpisodeStore("demos"))), Path("matching"))
    assert main(["score", "mixed", "reward=./matching", "--json", "out.json"]) == 0
    found = load("out.json")
    assert found["by"] == "mean" and found["auc"] >= 0.9
    assert [row["score"] for row in found["scores"]] == [row["mean"] for row in found["scores"]]


def test_fields_and_frames_that_the_data_lack(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("cube.py").write_text(PROGRAM.replace("state.hand_position[:, 1]", "state.cube_position[:, 1]"))
    assert main(["score", "mixed", "reward=cube.py"]) == 2
    assert "cube.py reads cube_position of the state, and the episodes have hand_position" in capsys.readouterr().err
    assert main(["score", "mixed", "reward=expert"]) == 2
    assert "no task, which has no expert reward" in capsys.readouterr().err
    reach = make_task("panda/reach")
    save_reward(compile_program(reach.expert_reward, reach.spec, reach.action.dim), Path("stored"))
    assert main(["score", "mixed", "reward=./stored"]) == 2
    assert "reads goal_position of the state" in capsys.readouterr().err
    write_video(Path("videos/1.mp4"), clip(LENGTHS[0], 0), 20.0)
    assert main(["score", "videos", "reward=reward.py"]) == 2
    assert "reads hand_position of the state, and the episodes have no states" in capsys.readouterr().err
    look = StateFeatures(["hand_position", "drawer_opening"])
    save_reward(MatchingReward(look, [np.zeros((5, 3))]), Path("states"))
    assert main(["score", "mixed", "reward=./states"]) == 2
    assert "reads drawer_opening of the state" in capsys.readouterr().err
    assert main(["discover", "demos=demos", "steps=3", *FAST, "run=found", "camera=front"]) == 0
    bare = EpisodeStore("bare", frames="drop")
    bare.append(episode(LENGTHS[0], 0))
    side = EpisodeStore("side", frames="exact")
    side.append(episode(LENGTHS[0], 0, cameras=["side"]))
    capsys.readouterr()
    assert main(["score", "bare", "reward=runs/found"]) == 2
    assert "camera front, and the episodes have no frames" in capsys.readouterr().err
    assert main(["score", "side", "reward=runs/found"]) == 2
    assert "unknown camera of the data 'front'. Available: side" in capsys.readouterr().err
    assert [folder.name for folder in Path("runs").iterdir()] == ["found"]  # nothing was started
    assert main(["score", "side", "reward=runs/found", "camera=side", "--json", "side.json"]) == 0
    assert len(load("side.json")["worst"]) == 1 and not load("side.json")["best"]  # the only one is not in both lists


def test_a_stored_program_reads_states_with_other_fields_in_another_order(here: Path) -> None:
    from robo_reward.envs.state import Field, StateSpec

    more = StateSpec([Field("time"), Field("hand_position", (2,), "m")])
    save_reward(compile_program(PROGRAM, more, 2), Path("stored"))
    assert main(["score", "mixed", "reward=./stored", "run=stored"]) == 0
    assert main(["score", "mixed", "reward=reward.py", "run=text"]) == 0
    rows = [[(r["name"], r["total"]) for r in load(f"runs/{n}/scores.json")["scores"]] for n in ("stored", "text")]
    assert rows[0] == rows[1]


def test_a_sidecar_only_where_it_is_asked_for(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    before = files(here / "mixed")
    assert main(["score", "mixed", "reward=reward.py", "sidecar=true"]) == 0
    new = set(files(here / "mixed")) - set(before)
    assert new == {"robo_reward_scores.json", "robo_reward_progress.parquet"}
    found = load("mixed/robo_reward_scores.json")
    assert found["episodes"]["b0"]["label"] == "bad" and found["episodes"]["a0"]["label"] == "good"
    assert found["episodes"]["b0"]["rank"] <= 3
    assert len(EpisodeStore("mixed")) == 7
    assert main(["score", "minari:dots/x-v0", "reward=reward.py", "sidecar=true"]) == 2
    assert "no folder" in capsys.readouterr().err


def test_other_rankings_and_curves(here: Path) -> None:
    for by in ("mean", "total"):
        assert main(["score", "mixed", "reward=reward.py", f"by={by}", "run=one", "curve=cumulative"]) == 0
        found = load("runs/one/scores.json")
        assert [row[by] for row in found["scores"]] == sorted(row[by] for row in found["scores"])
        assert [row["score"] for row in found["scores"]] == [row[by] for row in found["scores"]]


def stopping_after(count: int, way: str) -> Iterator[None]:
    for number in range(100):
        if number == count:
            if way == "signal":
                os.kill(os.getpid(), signal.SIGINT)
            else:
                raise KeyboardInterrupt
        yield


@pytest.mark.parametrize("way", ["signal", "at once"])
def test_an_interrupted_run_goes_on(here: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal ends it after the present episode; a second one at once. Nothing is scored twice."""
    command = ["score", "mixed", "reward=reward.py", "run=one"]
    scored: list[str] = []
    original = module._score_episode
    stops = stopping_after(3, way)

    def score(item: Any, *rest: Any) -> Any:
        next(stops, None)
        scored.append(item.name)
        return original(item, *rest)

    monkeypatch.setattr(module, "_score_episode", score)
    assert main(command) == 130
    assert not Path("runs/one/scores.csv").exists()
    (journal,) = Path("runs/one").glob("scored-*.jsonl")
    with open(journal, "ab") as file:
        file.write(b'{"name":"a3","stamp":"","succ')  # a line cut short by a kill
    assert main(command) == 0
    assert sorted(scored) == ["a0", "a1", "a2", "a3", "b0", "b1", "b2"]
    assert main(["score", "mixed", "reward=reward.py", "run=two"]) == 0
    assert load("runs/one/scores.json")["scores"] == load("runs/two/scores.json")["scores"]


def test_a_changed_reward_or_more_episodes_are_noticed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["score", "mixed", "reward=reward.py", "run=one"]
    assert main(command) == 0
    EpisodeStore("mixed").append(failure((5, 40, 0), 77), key="c0")
    capsys.readouterr()
    assert main(command) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines() if "/8 " in line] == ["c0"]
    Path("reward.py").write_text(PROGRAM.replace("right + down", "2.0 * right + down"))
    assert main(command) == 0
    assert capsys.readouterr().out.count("/8 ") == 8


def test_nothing_can_be_read(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (here / "mixed" / "episodes").glob("*.npz"):
        path.write_bytes(b"")
    assert main(["score", "mixed", "reward=reward.py"]) == 1
    assert "none of the 7 episodes" in capsys.readouterr().err


def test_more_episodes_than_pictures(here: Path) -> None:
    assert main(["score", "mixed", "reward=reward.py", "run=few", "pictures=3", "listed=1", "--json", "few.json"]) == 0
    found = load("few.json")
    assert sorted(path.name[:4] for path in Path("runs/few/pictures").iterdir()) == ["0001", "0002", "0007"]
    assert Path("runs/few/report.html").read_text().count("data:image/png;base64,") == 2
    assert found["best"][0] in next(Path("runs/few/pictures").glob("0007-*.png")).name


def test_an_episode_that_cannot_be_scored_does_not_end_a_comparison(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    EpisodeStore("mixed").append(
        replace(episode(LENGTHS[0], 1), state=np.zeros((sum(LENGTHS[0]), 0)), spec=StateSpec([])), "z"
    )
    assert main(["compare", "reward.py", "reward.py", "data=mixed", "--json", "out.json"]) == 0
    found = load("out.json")
    assert found["episodes"] == 7 and [one["name"] for one in found["not_scored"]] == ["z"]


def test_two_rewards_on_the_same_episodes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mirror.py").write_text(PROGRAM.replace("return right + down", "return 0.0 - right - down"))
    command = ["compare", "reward.py", "reward.py", "data=mixed", "--json", "out.json"]
    assert main(command) == 0
    found = load("out.json")
    assert found["metric"] == "reward" and found["episodes"] == 7 and found["auc_of_a"] == found["auc_of_b"] == 1.0
    assert found["spearman_of_episodes"] == pytest.approx(1) and found[
        "spearman_of_steps_in_episodes"
    ] == pytest.approx(1)
    assert main(["compare", "reward.py", "mirror.py", "data=mixed", "--json", "out.json"]) == 0
    found = load("out.json")
    assert found["spearman_of_episodes"] == pytest.approx(-1) and found["auc_of_b"] == 0.0
    assert found["kendall_tau_of_episodes"] < -0.9
    assert main(["compare", "reward.py", "mirror.py", "data=mixed", "require=better"]) == 2
    assert "for policies" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "data=... is missing"),
        (["mixed"], "reward=PATH is missing"),
        (["mixed", "reward=nowhere.py"], "no reward program at nowhere.py"),
        (["nowhere", "reward=reward.py"], "no such file"),
        (["mixed", "reward=sparse"], "the success that the data already states"),
        (["mixed", "reward=reward.py", "by=best"], "mean"),
        (["mixed", "reward=reward.py", "bad_below=low"], "expected a number, or null"),
    ],
)
def test_wrong_usage(here: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and len(said.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_good_and_bad_episodes_of_the_arm_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Demonstrations of panda/drawer against episodes of the same script that are cut off, too weak or lost."""
    monkeypatch.chdir(tmp_path)
    task = make_task("panda/drawer")
    task.horizon *= 2
    shown = FrameSpec(("front",), 64)

    def record(seed: int, speed: float, spoil: str = "") -> Episode:
        rng = np.random.default_rng(seed)
        expert = make_demonstrator(task, speed, 0.1, rng)
        count = 0

        def act(state: Any) -> np.ndarray:
            nonlocal count
            count += 1
            action = expert(state)
            if spoil == "stops" and count > 12:
                action[..., :3] = 0.0
            if spoil == "lost":
                action[..., :3] = rng.uniform(-1, 1, action[..., :3].shape)
            if spoil == "lets go" and count > 25:
                action[..., :3] = (0.0, 0.0, 0.5)
            return action

        (one,) = collect_episodes(task, act, 1, seed, shown, threads=1)
        return trim_episode(one, 5)

    demos, mixed = EpisodeStore("demos", frames="exact"), EpisodeStore("mixed", frames="exact")
    for seed in range(6):
        demos.append(record(seed, 0.8))
    for seed in range(100, 110):
        mixed.append(record(seed, 0.7 + 0.03 * (seed - 100)))
    for seed in range(200, 210):
        mixed.append(record(seed, 0.8, ("stops", "lost", "lets go")[seed % 3]))
    outcomes = [one.is_successful for one in mixed.iterate_without_frames()]
    assert sum(outcomes[:10]) >= 9 and sum(outcomes[10:]) <= 2, outcomes
    assert main(["discover", "demos=demos", "size=64", "encoder=colour_slots", "run=found"]) == 0
    Path("program.py").write_text(task.expert_reward)
    for reward in ("program.py", "runs/found"):
        assert main(["score", "mixed", f"reward={reward}", f"--json={Path(reward).stem}.json"]) == 0
    areas = {name: load(f"{name}.json")["auc"] for name in ("program", "found")}
    assert areas["program"] >= 0.9 and areas["found"] >= 0.9, areas
