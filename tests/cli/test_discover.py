"""`robo-reward discover`, from small videos to a reward that loads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from robo_reward.cli.app import main
from robo_reward.data.episode import EpisodeStore
from robo_reward.envs.video.files import write_video
from robo_reward.rewards.artifact import load_reward
from robo_reward.rewards.perceptual.reward import PerceptualReward
from robo_reward.scoring.resemblance import load_thumbnails
from tests.rewards.perceptual.scenes import LENGTHS, clip, episode

FAST = ["encoder=pixels", "encoder.size=12", "size=24", "min_size=3", "pictures=2"]


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for seed, lengths in enumerate(LENGTHS):
        write_video(tmp_path / "dots" / f"{seed}.mp4", clip(lengths, seed), 20.0, crf=5)
    return Path("dots")


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def test_from_videos_to_a_reward(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["discover", f"demos={videos}", "steps=3", *FAST]) == 0
    said = capsys.readouterr().out
    (folder,) = Path("runs").iterdir()
    assert folder.name.startswith("discover-dots-") and "3 steps" in said and str(folder / "reward") in said
    found = result(folder)
    assert found["steps"] == 3 and found["cameras"] == ["front"] and found["fps"] == 20.0
    assert found["recognised"]["3"] > 0.6
    assert [d["frames"] for d in found["demonstrations"]] == [sum(lengths) for lengths in LENGTHS]
    reward = load_reward(folder / "reward")
    assert isinstance(reward, PerceptualReward)
    output = reward(episode((13, 9, 13), 9))
    assert output.total[-1] > 0.8 > 0.3 > output.total[0]
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2 and "http" not in page.replace("http-equiv", "")
    assert (folder / "steps.png").stat().st_size > 5000


def test_a_reward_of_other_pictures_is_told_before_it_trains(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["discover", f"demos={videos}", "steps=2", *FAST, "run=dots"]) == 0
    tiny = ["steps=60", "policy.params.worlds=1", "policy.params.batch_size=30", "episodes=1", "videos=0"]
    capsys.readouterr()
    assert main(["train", "task=panda/reach", "reward=runs/dots", *tiny, "run=it"]) == 0
    before, warning, after = capsys.readouterr().out.partition("nothing in common")
    assert warning and "60 steps" not in before and "success 0.00" in after  # a result: the exit code is 0
    assert load_thumbnails(Path("runs/it")) is not None  # another training on runs/it is told as well


def test_the_same_command_gives_the_same_reward(videos: Path) -> None:
    command = ["discover", f"demos={videos}", *FAST, "run=one"]
    specs = []
    for _ in range(2):
        assert main(command) == 0
        specs.append(load_reward(Path("runs/one/reward")).spec())
    assert specs[0] == specs[1]
    assert main(["discover", f"demos={videos}", *FAST, "run=one", "steps=2"]) == 1  # other settings: nothing is mixed


def test_the_paper_s_way(videos: Path) -> None:
    assert main(["discover", f"demos={videos}", "steps=2", "method=paper", *FAST, "run=paper"]) == 0
    assert result(Path("runs/paper"))["form"] == "gaussian"
    assert load_reward(Path("runs/paper/reward")).model.form == "gaussian"


def test_colours_of_the_scene_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = EpisodeStore("exact", frames="exact")  # compressed frames have other colours than drawn ones
    for seed, lengths in enumerate(LENGTHS):
        store.append(episode(lengths, seed))
    slots = ["encoder=colour_slots", "encoder.slots=3", "size=24", "min_size=3", "steps=2"]
    assert main(["discover", "demos=exact", *slots, "run=slots"]) == 0
    reward = load_reward(Path("runs/slots/reward"))
    total = reward(episode((13, 9, 13), 9)).total
    assert total[-1] > 0.7 > 0.2 > total[0]


def test_one_demonstration(videos: Path) -> None:
    assert main(["discover", f"demos={videos / '1.mp4'}", *FAST, "run=alone"]) == 0
    assert result(Path("runs/alone"))["recognised"] == {}
    assert "Give a second" in Path("runs/alone/report.html").read_text()


def test_one_camera_of_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = EpisodeStore("both", frames="exact")
    for seed, lengths in enumerate(LENGTHS):
        one = episode(lengths, seed, cameras=["front", "side"])
        assert one.frames is not None
        object.__setattr__(one, "frames", np.concatenate([one.frames, one.frames[:, ::-1]], axis=2))
        store.append(one)
    assert main(["discover", "demos=both", "steps=2", "camera=side", *FAST, "run=side"]) == 0
    assert result(Path("runs/side"))["cameras"] == ["side"]
    assert main(["discover", "demos=both", "steps=2", *FAST, "run=all"]) == 0
    assert result(Path("runs/all"))["cameras"] == ["front", "side"]
    assert load_reward(Path("runs/all/reward")).frames.shape == (24, 48, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demos=nowhere"], "no such file"),
        (["demos=dots", "steps=1"], "steps=1"),
        (["demos=dots", "steps=many"], "steps=many"),
        (["demos=dots", "steps=9", "min_size=10"], "do not fit"),
        (["demos=dots", "method=mine"], "ours, paper"),
        (["demos=dots", "encoder=pixls"], "'pixels'"),
        (["demos=dots", "encoder.kind=pixls"], "'pixels'"),
    ],
)
def test_wrong_usage(videos: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["discover", *FAST, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
