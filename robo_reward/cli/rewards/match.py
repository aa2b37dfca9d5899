"""`robo-reward match`: a reward that compares episodes with demonstrations."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from robo_reward.cli.folder import open_run
from robo_reward.cli.terminal import Terminal
from robo_reward.data.episode import Episode
from robo_reward.data.formats import open_episodes
from robo_reward.data.sources import load_demonstrations
from robo_reward.data.summary import is_success_known
from robo_reward.errors import UsageError
from robo_reward.rewards.artifact import save_reward
from robo_reward.rewards.matching.cost import get_cost_function
from robo_reward.rewards.matching.features import FeatureExtractor, FrameFeatures, StateFeatures
from robo_reward.rewards.matching.left_out import LeftOutScores, compute_typical_cost, score_left_out
from robo_reward.rewards.matching.reward import MatchingReward
from robo_reward.rewards.matching.rule import Rule, build_rule
from robo_reward.scoring.fit import require_fields, select_demonstration_cameras
from robo_reward.scoring.resemblance import build_thumbnails, save_thumbnails
from robo_reward.vision.choose import choose_encoder

Clips = list[np.ndarray]
"""Features (S, F) of each demonstration."""


def run(config: DictConfig, arguments: list[str]) -> int:
    """Reads and encodes the demonstrations, makes the reward, tests it on each one left out, and stores it."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # silences FFmpeg: this program reports broken videos itself
    console = Terminal()
    cost = config.cost or ("euclidean" if config.fields else "cosine")
    get_cost_function(cost)
    scale = _parse_scale(config.scale)
    settings: Any = OmegaConf.to_container(config.settings, resolve=True)
    build_rule({"name": config.rule, **settings})
    look, clips, pictures = _read_states(config) if config.fields else _read_pictures(config)
    rule = _choose_rule(config.rule, settings, clips, cost)
    with open_run(config, arguments, "match", Path(str(config.demos)).stem.replace(":", "-")) as run:
        reward = MatchingReward(look, clips, rule, cost, scale, config.causal)
        scores = score_left_out(reward)
        save_reward(reward, run.path / "reward")
        if pictures:
            save_thumbnails(build_thumbnails(pictures), run.path / "reward")
        run.save(
            "result.json",
            {
                "demonstrations": len(clips),
                "steps": [len(clip) for clip in clips],
                "rule": rule.spec(),
                "cost": cost,
                "fields": list(config.fields),
                "left_out": scores.to_json(),
                "reward": "reward",
            },
        )
    _print_summary(console, rule, cost, clips, scores, run.path)
    return 0


def _parse_scale(text: str) -> float | str:
    """Returns the scale as a number or `first_episode`.

    Raises:
        UsageError: neither.
    """
    if text == "first_episode":
        return text
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"scale={text}: expected a number, or first_episode") from None


def _choose_rule(name: str, settings: Mapping[str, Any], clips: Clips, cost: str) -> Rule:
    """Returns the rule; ORCA's τ is the number of steps times the cost of a good match, unless it is given."""
    if name == "orca" and "tau" not in settings:
        steps = float(np.mean([len(clip) for clip in clips]))
        settings = {**settings, "tau": max(1e-6, steps * compute_typical_cost(clips, cost))}
    return build_rule({"name": name, **settings})


def _read_states(config: DictConfig) -> tuple[FeatureExtractor, Clips, list[np.ndarray]]:
    """Returns what reads fields of the state, the fields of the demonstrations, and no pictures."""
    found = list(open_episodes(config.demos).iterate(False))
    episodes = [episode for episode in found if _is_wanted(episode, config)]
    _require_any(episodes, found, config)
    for episode in episodes:
        require_fields(config.fields, episode.spec, f"fields={list(config.fields)}")
    look = StateFeatures(list(config.fields))
    return look, look(episodes), []


def _read_pictures(config: DictConfig) -> tuple[FeatureExtractor, Clips, list[np.ndarray]]:
    """Returns what encodes pictures, and the features and the pictures of the demonstrations."""
    found = load_demonstrations(config.demos, config.fps)
    demos = [demo for demo in found if demo.episode is None or _is_wanted(demo.episode, config)]
    _require_any(demos, found, config)
    demos, frames = select_demonstration_cameras(demos, config.camera, config.size)
    chosen: Any = OmegaConf.to_container(config.encoder)
    encoder = choose_encoder(chosen, [demo.frames for demo in demos], cameras=len(frames.cameras))
    # Step t is judged by the picture after it, as in episodes.
    clips = [encoder.encode(demo.frames[1:]) for demo in demos]
    return FrameFeatures(encoder, frames), clips, [demo.frames for demo in demos]


def _is_wanted(episode: Episode, config: DictConfig) -> bool:
    """Returns whether an episode succeeded or its success is unknown; all are wanted with `failures=true`."""
    return config.failures or episode.is_successful or not is_success_known(episode)


def _require_any(kept: Sequence[Any], found: Sequence[Any], config: DictConfig) -> None:
    """Raises UsageError if no demonstration is left."""
    if not kept:
        raise UsageError(
            f"none of the {len(found)} episodes of {config.demos} ends with success; failures=true uses them all"
        )


def _print_summary(console: Terminal, rule: Rule, cost: str, clips: Clips, scores: LeftOutScores, folder: Path) -> None:
    given = ", ".join(f"{key} {value:.4g}" for key, value in rule.spec().items() if isinstance(value, float))
    steps = sorted({len(clip) for clip in clips})
    length = f"{steps[0]} steps" if len(steps) == 1 else f"{steps[0]} to {steps[-1]} steps"
    console.print(f"{len(clips)} demonstrations of {length}; {rule.name}{f' ({given})' if given else ''}, cost {cost}")
    if scores.forward:
        means = [f"{np.mean(each):.3g}" for each in (scores.forward, scores.backward, scores.still)]
        console.print(
            f"a demonstration that was left out scores {means[0]} on average, played backward {means[1]}, "
            f"standing still {means[2]}",
            highlight=False,
        )
        line = f"it is preferred to both in {scores.preferred_share:.0%} of {len(scores.forward)} cases"
        console.print(line, style="" if scores.preferred_share > 0.8 else "yellow", highlight=False)
    else:
        console.print("a single demonstration cannot be tested on others; give at least two", style="yellow")
    console.print(f"reward: {folder / 'reward'}", soft_wrap=True, highlight=False)
    console.print(
        f"train on it: robo-reward train reward=artifact reward.path={folder}", soft_wrap=True, highlight=False
    )
