"""Chunk policies that look: pictures of windows, exact resume, the auxiliary layer, and bad input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robo_reward.data.cloning.picture_stack import PictureStack
from robo_reward.data.collect import collect_episodes
from robo_reward.data.episode import Episode
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.state import StateSpec
from robo_reward.errors import BadArtifact, UnknownName, UsageError, WrongShape
from robo_reward.files import load_tensors
from robo_reward.policies.diffusion.looking import ObservationSettings, PictureWindows
from robo_reward.policies.diffusion.settings import DiffusionSettings
from robo_reward.policies.diffusion.train import Trainer, clone_policy
from robo_reward.policies.diffusion.windows import cut_windows
from robo_reward.policies.policy import load_policy
from robo_reward.policies.vision.feature_memory import FeatureMemory, count_crops
from robo_reward.policies.vision.settings import VisionSettings
from tests.policies.diffusion.tiny import few, reach

SIZE = 48
SETTINGS = DiffusionSettings(history=2, sampling_steps=2, warmup=2)
VISION = VisionSettings(features=8, keypoints=4)
LOOKING = ObservationSettings(("front", "wrist", "hand_position"), SIZE, VISION, reuse=2)
FRAMES = FrameSpec(("front", "wrist"), SIZE)


@dataclass(frozen=True)
class Seen:
    """Demonstrations with pictures."""

    episodes: tuple[Episode, ...]
    pictures: PictureStack | None


@cache
def seen() -> Seen:
    """Returns three demonstrations of panda/reach with pictures of two cameras."""
    episodes = collect_episodes(reach(), reach().expert, 3, frames=FRAMES, threads=1)
    wide = np.concatenate([episode.frames for episode in episodes if episode.frames is not None])
    stack = PictureStack({"front": wide[:, :, :SIZE], "wrist": wide[:, :, SIZE:]})
    return Seen(tuple(episodes), stack)


def clone(folder: Path, stop_after: int = 10**9, looking: ObservationSettings = LOOKING, **more: Any) -> Any:
    left = iter(range(stop_after))
    options: Any = {"steps": 6, "batch": 8, "seed": 3, "episodes": 2, "evaluate_every": 6, "evaluate_episodes": 2}
    demonstrations = more.pop("demonstrations", None) or seen()

    def stop() -> bool:
        return next(left, None) is None

    return clone_policy(reach(), demonstrations, folder, SETTINGS, stop=stop, looking=looking, **{**options, **more})


def make_trainer(looking: ObservationSettings = LOOKING, demonstrations: Seen | None = None) -> Trainer:
    data = demonstrations or seen()
    windows = cut_windows(data.episodes, looking.choose(reach())[0], 2, 8, 4)
    pictures = PictureWindows(data, windows, FRAMES, 2, looking, reach())
    return Trainer(windows, SETTINGS, 10, 8, 0, "", pictures)


def test_a_stopped_run_goes_on_bit_for_bit_and_its_policy_needs_no_object(tmp_path: Path) -> None:
    whole = clone(tmp_path / "whole")
    assert clone(tmp_path / "parts", 3).stopped
    rest = clone(tmp_path / "parts")
    weights = dict(rest.policy.model.state_dict())
    for name, tensor in whole.policy.model.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    loaded = load_policy(tmp_path / "parts")
    assert loaded.frames == FRAMES
    assert loaded.observation.state.names == ("hand_position",)
    assert not any("auxiliary" in name for name in load_tensors(tmp_path / "parts" / "policy" / "policy.safetensors"))
    rng = np.random.default_rng(0)
    pictures = {name: rng.integers(0, 256, (2, 2, SIZE, SIZE, 3), np.uint8) for name in FRAMES.cameras}
    observations = {"state": rng.normal(size=(2, 2, 3)).astype(np.float32), **pictures}
    noise = rng.normal(size=(2, *loaded.noise_shape)).astype(np.float32)
    expected = whole.policy.act(observations, noise)
    assert expected.shape == (2, 7, reach().action.dim)
    np.testing.assert_array_equal(loaded.act(observations, noise), expected)  # no random crop: the centre
    assert loaded.require_compatible(reach()) is loaded
    (tmp_path / "parts" / "policy" / "policy.json").write_text(
        (tmp_path / "parts" / "policy" / "policy.json").read_text().replace('"keypoints": 4', '"keypoints": 5')
    )
    with pytest.raises(BadArtifact, match="shape"):
        load_policy(tmp_path / "parts")


def test_other_pictures_are_another_training(tmp_path: Path) -> None:
    clone(tmp_path, 1)
    stack = seen().pictures
    assert stack is not None
    darker = Seen(seen().episodes, PictureStack({name: array // 2 for name, array in stack.arrays.items()}))
    with pytest.raises(BadArtifact, match="other demonstrations"):
        clone(tmp_path, demonstrations=darker)


def test_a_training_goes_on_from_every_update_also_where_the_features_are_computed(tmp_path: Path) -> None:
    looking, path = replace(LOOKING, picture_share=0.3), tmp_path / "checkpoint.safetensors"  # 3 of 10 updates
    whole = make_trainer(looking)
    for _ in range(6):
        whole.update()
        part = make_trainer(looking)
        part.load(path)
        part.update()
        part.save(path)
        for name, tensor in part.average.state_dict().items():
            assert torch.equal(tensor, whole.average.state_dict()[name]), name


def test_after_their_share_of_the_updates_the_networks_for_pictures_stay_what_the_policy_has() -> None:
    looking = replace(LOOKING, picture_share=0.3, vision=replace(VISION, crop=1.0))
    trainer = make_trainer(looking)  # 3 of 10 updates
    model, averaged = trainer.model.pictures, trainer.average.pictures
    assert model is not None and averaged is not None and trainer.pictures is not None
    for _ in range(3):
        trainer.update()
    expected = {name: tensor.clone() for name, tensor in averaged.state_dict().items()}
    assert any(not torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())
    head = trainer.model.network.state_dict()["last.weight"].clone()
    for _ in range(3):
        trainer.update()
    for encoder in (model, averaged):
        for name, tensor in encoder.state_dict().items():
            assert torch.equal(tensor, expected[name]), name
    assert not torch.equal(trainer.model.network.state_dict()["last.weight"], head)
    # Without a crop the features are those that the policy computes when it acts.
    rows = torch.arange(0, len(trainer.pictures), 7)
    memory = FeatureMemory.compute(averaged, trainer.pictures, seed=5)
    with torch.no_grad():
        seen_when_acting = averaged.eval()(trainer.pictures.gather(rows))
    torch.testing.assert_close(memory.draw(rows, torch.Generator().manual_seed(0)), seen_when_acting)


def test_each_window_has_the_features_of_several_crops() -> None:
    trainer = make_trainer()
    assert trainer.model.pictures is not None and trainer.pictures is not None
    features = FeatureMemory.compute(trainer.model.pictures, trainer.pictures, 5).features
    assert features.shape == (4, len(trainer.pictures), trainer.model.pictures.dim)
    assert all((features[0] != other).any(1).float().mean() > 0.8 for other in features[1:])
    again = FeatureMemory.compute(trainer.model.pictures, trainer.pictures, 5).features
    assert torch.equal(features, again)
    assert [count_crops(count) for count in (1, 15_000, 30_000, 10**7)] == [4, 4, 2, 1]


@pytest.mark.slow
def test_a_policy_may_only_look(tmp_path: Path) -> None:
    found = clone(tmp_path, looking=ObservationSettings(("front",), SIZE, VISION, auxiliary=0.0), steps=2)
    policy = load_policy(tmp_path)
    assert policy.observation.dim == 0
    pictures = np.zeros((1, 2, SIZE, SIZE, 3), np.uint8)
    noise = np.zeros((1, *policy.noise_shape), np.float32)
    np.testing.assert_array_equal(policy.act({"front": pictures}, noise), found.policy.act({"front": pictures}, noise))


def test_windows_show_the_pictures_of_their_steps() -> None:
    """Every picture holds its own number: those of a window are its last steps, the first one repeated."""
    total = sum(len(episode) + 1 for episode in few().episodes)
    numbers = np.broadcast_to(np.arange(total, dtype=np.uint8)[:, None, None, None], (total, SIZE, SIZE, 3))
    data = Seen(few().episodes, PictureStack({"front": numbers}))
    windows = cut_windows(data.episodes, reach().observation, 3, 8, 4)
    pictures = PictureWindows(data, windows, FrameSpec(("front",), SIZE), 3, ObservationSettings(("front",)), reach())
    found = pictures.gather(torch.arange(len(windows)))["front"][..., 0, 0, 0].numpy()
    steps = len(few().episodes[0])
    for row, episode, step in zip(found, windows.episode, windows.step, strict=True):
        expected = [episode * (steps + 1) + max(step - back, 0) for back in (2, 1, 0)]
        assert row.tolist() == expected
    assert pictures.targets is not None
    own = reach().observation(few().episodes[2].states)
    chosen = np.flatnonzero((windows.episode == 2) & (windows.step == 5))[0]
    np.testing.assert_array_equal(pictures.targets[chosen].numpy(), own[5])


def test_a_picture_is_encoded_once_for_several_noise_levels() -> None:
    trainer = make_trainer()
    counts: dict[str, int] = {}
    model = trainer.model
    assert model.pictures is not None
    model.pictures.register_forward_hook(lambda module, given, found: counts.update(pictures=len(found)))
    model.network.register_forward_hook(lambda module, given, found: counts.update(chunks=len(found)))
    trainer.update()
    assert counts == {"pictures": 4, "chunks": 8}


def test_the_auxiliary_error_reaches_the_networks_for_pictures_alone() -> None:
    trainer = make_trainer()
    assert trainer.auxiliary is not None
    rows = torch.arange(16)
    assert trainer.pictures is not None
    trainer.model.eval()
    condition = trainer.model.encode(trainer.observation[rows], trainer.pictures.gather(rows))
    trainer.auxiliary.compute_loss(condition, rows).backward()
    assert trainer.model.pictures is not None
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trainer.model.pictures.networks.parameters())
    assert all(p.grad is None for p in trainer.model.network.parameters())
    # Demonstrations of an arm without a tracker: the state has fewer fields, so that there is nothing to find.
    spec = StateSpec([field for field in reach().spec if field.name == "hand_position"])
    columns = reach().spec.slice("hand_position")
    bare = [
        Episode(e.state[:, columns], e.action, e.success, spec, e.task_id, frames=None, meta={})
        for e in seen().episodes
    ]
    assert make_trainer(demonstrations=Seen(tuple(bare), seen().pictures)).auxiliary is None


def test_pictures_that_do_not_fit_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="front"):
        clone(tmp_path, looking=ObservationSettings(("fornt",), SIZE))
    with pytest.raises(UsageError, match=r"no pictures of 'front' \(they have none\).*cameras=\[front,wrist\]"):
        clone(tmp_path, demonstrations=Seen(seen().episodes, None))
    with pytest.raises(UsageError, match="no pictures of 'side'"):
        clone(tmp_path, looking=ObservationSettings(("side",), SIZE))
    with pytest.raises(WrongShape, match="64, 64"):
        clone(tmp_path, looking=ObservationSettings(("front",), 64))
    with pytest.raises(UsageError, match="smaller batch"):
        clone(tmp_path, batch=10_000_000)
    stack = seen().pictures
    assert stack is not None
    fewer = PictureStack({name: array[:-1] for name, array in stack.arrays.items()})
    with pytest.raises(WrongShape, match="one for each state"):
        clone(tmp_path, demonstrations=Seen(seen().episodes, fewer))
    with pytest.raises(UsageError, match="1 to 64"):
        ObservationSettings(reuse=0)
    with pytest.raises(UsageError, match="until the end"):
        ObservationSettings(picture_share=0.0)
    with pytest.raises(UnknownName, match="keypoints"):
        VisionSettings.from_json({"keypoint": 3})
    assert not (tmp_path / "checkpoint.safetensors").exists()
