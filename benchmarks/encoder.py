"""Encoders: speed, and accuracy of object positions: `python -m benchmarks.encoder --json FILE [--quick]`.

`vs_frame_by_frame`: frames/s of the default encoder at 112 pixels over those of the loop that other projects run in
`step()` (the same timm model, one frame at a time, NCHW, torch's defaults), alternating in one run. Then milliseconds a
frame of each kind of encoder, and a linear probe: the median error of object positions predicted from features of
held-out clips.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.output import arguments, report
from robo_reward.data.collect import Actor, collect_episodes
from robo_reward.data.episode import Episode
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.state import State
from robo_reward.envs.task import Task, make_task
from robo_reward.vision.adapt import train_adapter
from robo_reward.vision.cache import CachedEncoder
from robo_reward.vision.colour_slots import ColourSlots
from robo_reward.vision.encoder import Encoder
from robo_reward.vision.heads import PCA, HeadedEncoder
from robo_reward.vision.keypoints import KeypointEncoder
from robo_reward.vision.pixels import PixelsEncoder
from robo_reward.vision.probe import probe_state_fields
from robo_reward.vision.timm_encoder import TimmEncoder
from robo_reward.vision.views import WHOLE, View, camera_views

FRONT, BOTH = ("front",), ("front", "side")
PROBED = (
    ("panda/push", FRONT, ("puck_position", "goal_position")),
    ("panda/push", BOTH, ("puck_position", "goal_position")),
    ("panda/lift", FRONT, ("cube_position",)),
    ("panda/lift", BOTH, ("cube_position",)),
    ("panda/group", ("third",), ("blue_position", "yellow_position")),
)
"""Task, cameras side by side, and state fields to predict from the frames; `--quick` uses only the first."""


def frame_by_frame() -> Callable[[np.ndarray], list[np.ndarray]]:
    """Returns the per-step encoder of a wrapper: one frame to a tensor, normalised, through the model."""
    network = TimmEncoder(runtime="torch").network.body.to(memory_format=torch.contiguous_format)

    def encode(frames: np.ndarray) -> list[np.ndarray]:
        found = []
        for frame in frames:
            picture = torch.from_numpy(frame).permute(2, 0, 1).contiguous().float().div(255).sub(0.5).div(0.5)
            with torch.no_grad():
                found.append(network(picture[None])[0].numpy())
        return found

    return encode


def milliseconds(encode: Callable[[np.ndarray], Any], frames: np.ndarray, repeats: int) -> float:
    """Returns the wall time per frame [ms], the best of several passes after one warm-up pass."""
    encode(frames)
    best = np.inf
    for _ in range(repeats):
        begun = time.perf_counter()
        encode(frames)
        best = min(best, time.perf_counter() - begun)
    return 1000 * best / len(frames)


def speeds(frames: np.ndarray, repeats: int) -> dict[str, float]:
    """Returns ms/frame of the loop and of the backbone under each runtime; their passes alternate."""
    rivals = {
        "frame_by_frame": frame_by_frame(),
        "timm_torch": TimmEncoder(runtime="torch").encode,
        "timm_openvino": TimmEncoder(runtime="openvino").encode,
        "timm_auto": TimmEncoder().encode,
    }
    passes = [{name: milliseconds(encode, frames, 1) for name, encode in rivals.items()} for _ in range(repeats)]
    return {f"ms_per_frame.{name}": min(found[name] for found in passes) for name in rivals}


def actors(task: Task, seed: int) -> tuple[Actor, Actor, Actor]:
    """Returns the actors: the expert, the expert with strong noise, and a random walk of actions."""
    rng = np.random.default_rng(seed)
    walk = np.zeros((1, task.action.dim))

    def noisy(state: State) -> np.ndarray:
        action = task.expert(state)
        return np.clip(action + rng.normal(0, 0.7, action.shape), -1, 1)

    def random(state: State) -> np.ndarray:
        nonlocal walk
        walk = np.clip(0.8 * walk + 0.5 * rng.normal(size=(len(state), task.action.dim)), -1, 1)
        return walk

    return task.expert, noisy, random


def clips(task: Task, cameras: tuple[str, ...], each: int, seed: int) -> list[Episode]:
    """Returns episodes of all actors, mixed."""
    spec = FrameSpec(cameras)
    sets = [collect_episodes(task, actor, each, seed + i, spec) for i, actor in enumerate(actors(task, seed))]
    return [episode for group in zip(*sets, strict=True) for episode in group]


def rivals(views: tuple[View, ...], train: list[Episode], cache: str, quick: bool) -> dict[str, Callable[[], Encoder]]:
    """Returns the encoders to probe; those that are trained use the training clips without labels."""

    def maps(layer: str) -> CachedEncoder:
        return CachedEncoder(TimmEncoder(layer=layer, views=views), cache)

    def reduced(layer: str) -> Encoder:
        encoder = maps(layer)
        rows = np.concatenate([encoder.encode(pictures(e)[::2]) for e in train])
        return HeadedEncoder(encoder, PCA.fit(rows, 256))

    def adapted(loss: str) -> Encoder:
        return train_adapter(maps("stage2"), train, [loss], dim=32 * len(views))

    found: dict[str, Callable[[], Encoder]] = {
        "pixels": lambda: PixelsEncoder(28, views=views),
        "timm_pooled": lambda: TimmEncoder(views=views),
        "timm_stage2_pca": lambda: reduced("stage2"),
        "colour_slots": lambda: ColourSlots.fit(train, views=views),
        "colour_slots_grey": lambda: ColourSlots.fit(train, views=views, min_chroma=0),
    }
    if not quick:
        found |= {
            "timm_stage3_pca": lambda: reduced("stage3"),
            "adapted_time_contrastive": lambda: adapted("time_contrastive"),
            "adapted_inverse_dynamics": lambda: adapted("inverse_dynamics"),
            "keypoints": lambda: KeypointEncoder.fit(train, views=views, steps=800 * len(views)),
        }
    return found


def pictures(episode: Episode) -> np.ndarray:
    """Returns the frames of an episode that has frames."""
    assert episode.frames is not None
    return episode.frames


def probed(name: str, cameras: tuple[str, ...], fields: tuple[str, ...], cache: str, quick: bool) -> dict[str, float]:
    """Returns the median error [cm] and R² of each object's position, fit time [s] and ms/frame of each encoder."""
    task = make_task(name)
    train, test = (clips(task, cameras, 6 if quick else 10, seed) for seed in (0, 100))
    views = camera_views(len(cameras)) if len(cameras) > 1 else WHOLE
    found = {}
    for kind, make in rivals(views, train, cache, quick).items():
        begun = time.perf_counter()
        encoder = make()
        key, own = f"{kind}.{name.partition('/')[2]}.{'+'.join(cameras)}", {}
        own[f"fit_s.{key}"] = time.perf_counter() - begun
        if not kind.startswith(("timm", "adapted")):  # their time is that of the backbone, see `speeds`
            own[f"ms_per_frame.{key}"] = milliseconds(encoder.encode, pictures(train[0]), 3)
        for field, values in probe_state_fields(encoder, train, test, fields).items():
            own |= {f"cm.{key}.{field}": 100 * values.error, f"r2.{key}.{field}": values.r2}
        print(*(f"{k}={v:.3g}" for k, v in own.items()), flush=True)
        found |= own
    return found


def probes(quick: bool) -> dict[str, float]:
    """Returns the results for all of `PROBED`."""
    found = {}
    with TemporaryDirectory() as cache:
        for name, cameras, fields in PROBED[: 1 if quick else None]:
            found |= probed(name, cameras, fields, cache, quick)
    return found


def main() -> None:
    """Measures, prints and writes."""
    args = arguments(__doc__)
    frames = pictures(clips(make_task("panda/push"), ("front",), 2, 0)[0])
    times = speeds(frames, 3 if args.quick else 8)
    ratio = times["ms_per_frame.frame_by_frame"] / times["ms_per_frame.timm_auto"]
    values = {"vs_frame_by_frame": ratio, **times, **probes(args.quick), "torch_threads": torch.get_num_threads()}
    report(args, values, {"vs_frame_by_frame": ">= 3"})


if __name__ == "__main__":
    main()
