"""`robo-reward discover`: from a few demonstrations to their steps and a reward."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from robo_reward.cli.folder import open_run
from robo_reward.cli.provenance import format_command
from robo_reward.cli.terminal import Terminal
from robo_reward.data.sources import Demonstration, load_demonstrations
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.errors import UnknownName, UsageError
from robo_reward.report.steps import StepsPage, write_steps_page
from robo_reward.rewards.artifact import save_reward
from robo_reward.rewards.perceptual.discover import (
    Discovery,
    compute_chance_level,
    cross_validate_recognition,
    discover_steps,
    fit_steps,
)
from robo_reward.rewards.perceptual.picture import draw_discovery, draw_steps, write_png
from robo_reward.rewards.perceptual.reward import PerceptualReward, compute_curves, encode_clips
from robo_reward.scoring.fit import select_demonstration_cameras
from robo_reward.scoring.resemblance import build_thumbnails, save_thumbnails
from robo_reward.vision.choose import choose_encoder
from robo_reward.vision.encoder import Encoder

METHODS = ("ours", "paper")
CAPTION = "thick line: the reward; thin lines: recognition of each step, 0 to 1; vertical lines: discovered cuts"


def run(config: DictConfig, arguments: list[str]) -> int:
    """Reads, encodes, cuts and fits; writes the reward, pictures, result.json and report.html."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # silences FFmpeg: this program reports broken videos itself
    console, clock = Terminal(), _Stopwatch()
    steps = _parse_steps(config)
    demos = load_demonstrations(config.demos, config.fps)
    demos, frames = select_demonstration_cameras(demos, config.camera, config.size)
    clock.record_lap("read")
    chosen: Any = OmegaConf.to_container(config.encoder)
    encoder = choose_encoder(chosen, [demo.frames for demo in demos], cameras=len(frames.cameras))
    with open_run(config, arguments, "discover", Path(str(config.demos)).stem.replace(":", "-")) as run:
        folder = run.path
        console.print(
            f"{len(demos)} demonstrations, {sum(len(d.frames) for d in demos)} frames; {folder}", soft_wrap=True
        )
        features = encode_clips(encoder, [demo.frames for demo in demos])
        clock.record_lap("encode")
        found, reward = _learn_reward(config, steps, features, encoder, frames, demos[0].fps)
        clock.record_lap("discover")
        save_reward(reward, folder / "reward")
        save_thumbnails(build_thumbnails([demo.frames for demo in demos]), folder / "reward")
        pictures = _draw_pictures(folder, demos, features, found, reward, config.pictures)
        result = _summarise_result(demos, found, reward, frames, clock.seconds)
        run.save("result.json", result)
        page = write_steps_page(
            folder / "report.html", StepsPage(result, pictures, format_command(arguments), str(folder))
        )
    _print_summary(console, found, folder, page)
    return 0


def _parse_steps(config: DictConfig) -> Any:
    if config.method not in METHODS:
        raise UnknownName("method", config.method, METHODS)
    if config.steps == "auto":
        return "auto"
    if not isinstance(config.steps, int) or config.steps < 2:
        raise UsageError(f"steps={config.steps}: expected auto or a number from 2")
    return config.steps


def _learn_reward(
    config: DictConfig, steps: Any, features: list[np.ndarray], encoder: Encoder, frames: FrameSpec, fps: float
) -> tuple[Discovery, PerceptualReward]:
    if config.method == "paper":
        found = discover_steps(features, steps, "each", "paper", config.min_size, fps)
    else:
        found = discover_steps(features, steps, min_size=config.min_size, fps=fps)
    if not found.recognised and len(features) > 1:
        n = found.steps
        recognised, chance = (
            cross_validate_recognition(features, found.cuts, fps),
            compute_chance_level(features, found.cuts),
        )
        found = replace(found, recognised={n: recognised}, chance={n: chance})
    model = fit_steps(features, found.cuts, fps, "gaussian" if config.method == "paper" else "ordered")
    return found, PerceptualReward(encoder, model, frames, fps)


def _draw_pictures(
    folder: Path,
    demos: list[Demonstration],
    features: list[np.ndarray],
    found: Discovery,
    reward: PerceptualReward,
    most: int,
) -> list[Path]:
    """Draws each of the first demonstrations in `pictures/`, and all of them in `steps.png`."""
    (folder / "pictures").mkdir(exist_ok=True)
    strips = []
    for demo, x, cuts in list(zip(demos, features, found.cuts, strict=True))[: max(most, 1)]:
        title = f"{demo.name}   {len(demo.frames) / demo.fps:.1f} s"
        strips.append(draw_steps(demo.frames, cuts, *compute_curves(reward.model, x, demo.fps), title=title))
    write_png(folder / "steps.png", draw_discovery(strips, CAPTION))
    return [write_png(folder / "pictures" / f"{i + 1:03d}.png", strip) for i, strip in enumerate(strips)]


def _summarise_result(
    demos: list[Demonstration],
    found: Discovery,
    reward: PerceptualReward,
    frames: FrameSpec,
    seconds: dict[str, float],
) -> dict[str, Any]:
    own = [{"name": d.name, "frames": len(d.frames), "cuts": list(c)} for d, c in zip(demos, found.cuts, strict=True)]
    return {
        "steps": found.steps,
        "recognised": {str(n): value for n, value in found.recognised.items()},
        "chance": {str(n): value for n, value in found.chance.items()},
        "certain": found.certain,
        "demonstrations": own,
        "fps": demos[0].fps,
        "cameras": list(frames.cameras),
        "size": frames.size,
        "encoder": reward.encoder.spec(),
        "form": reward.model.form,
        "reward": "reward",
        "seconds": seconds,
    }


def _print_summary(console: Terminal, found: Discovery, folder: Path, page: Path) -> None:
    console.print(f"{found.steps} steps", highlight=False)
    if not found.certain:
        console.print(
            "no steps were found: a single step explains the demonstrations as well, or their features are noise. "
            "Two is a guess; give steps=N, or another encoder",
            style="yellow",
            highlight=False,
        )
    for n, value in found.recognised.items():
        line = (
            f"  {n} steps are recognised in a demonstration left out: {value:.2f} (equal parts: {found.chance[n]:.2f})"
        )
        console.print(line, highlight=False)
    for what, path in (("reward", folder / "reward"), ("picture", folder / "steps.png"), ("report", page.resolve())):
        console.print(f"{what}: {path}", soft_wrap=True, highlight=False)


class _Stopwatch:
    """Measures the seconds of each part of the work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def record_lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name], self._last = round(now - self._last, 2), now
