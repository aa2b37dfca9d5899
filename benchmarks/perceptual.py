"""Steps found in demonstrations, and recognised in new ones: `python -m benchmarks.perceptual [--json FILE] [--quick]`.

After Unsupervised Perceptual Rewards (Sermanet, Xu and Levine), tables 1 and 2: the Jaccard index (intersection over
union) of the steps that discovery finds in 8 demonstrations with the true ones, and, in 8 others, of the frames where
the learnt reward of a step exceeds 0.5 with the frames of that step. Averaged over steps, demonstrations, three tasks
(panda/pick, panda/drawer, panda/door), three cameras and scenes of random colours. Frames only.

The true steps come from the state, by rules that were fixed before any result was seen:

    two steps    grasp the object | move it: the cube 1 cm off the table, the drawer 1 cm open, the door 0.05 rad
    three steps  the first is cut again where the hand arrives: the cube between the fingers (within 2 cm), the finger
                 less than 3 cm above the drawer's bar, the lever pressed by 0.05 rad

The demonstrators are the scripted experts at 30 to 70 % of their speed, with tremor and pauses; a recording
ends half a second after success. Methods and settings were chosen on the scenes EXPLORED and are reported on others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import mujoco
import numpy as np

from benchmarks.output import arguments, report
from robo_reward.envs.batch import BatchSim
from robo_reward.envs.rendering.frames import FrameRenderer, FrameSpec
from robo_reward.envs.state import State
from robo_reward.envs.task import Task, make_task
from robo_reward.rewards.perceptual.discover import compute_jaccard, discover_steps, fit_steps
from robo_reward.rewards.perceptual.reward import compute_curves
from robo_reward.rewards.perceptual.steps import cuts_to_labels
from robo_reward.vision.encoder import Encoder
from robo_reward.vision.timm_encoder import TimmEncoder

TASKS = ("panda/pick", "panda/drawer", "panda/door")
CAMERAS = ("front", "side", "top")
SIZE, LONGEST, REST, TRAIN, TEST, FPS = 112, 200, 12, 8, 8, 25.0
EXPLORED, CONFIRMED = (1, 2), (11, 12, 13)
STEPS = {"two_step": 2, "three_step": 3}
TARGETS = {
    "discovery.two_step": ">= 0.80",
    "discovery.three_step": ">= 0.67",
    "test_reward.two_step": ">= 0.70",
    "test_reward.three_step": ">= 0.53",
}
MOVED: dict[str, Callable[[State], np.ndarray]] = {
    "pick": lambda s: s.cube_position[:, 2] > 0.03,
    "drawer": lambda s: s.drawer_opening > 0.01,
    "door": lambda s: s.door_angle > 0.05,
}
ARRIVED: dict[str, Callable[[State], np.ndarray]] = {
    "pick": lambda s: (
        (np.linalg.norm((s.cube_position - s.hand_position)[:, :2], axis=1) < 0.02)
        & (np.abs(s.cube_position[:, 2] - s.hand_position[:, 2]) < 0.02)
    ),
    "drawer": lambda s: s.hand_position[:, 2] - s.handle_position[:, 2] < 0.03,
    "door": lambda s: s.handle_angle > 0.05,
}


@dataclass
class Clip:
    """One demonstration: frames (T, SIZE, SIZE * cameras, 3), and when the hand arrived and the object moved."""

    frames: np.ndarray
    arrived: int
    moved: int

    def cuts(self, steps: int) -> tuple[int, ...]:
        """The true boundaries of the steps."""
        return (self.moved,) if steps == 2 else (self.arrived, self.moved)

    def labels(self, steps: int) -> np.ndarray:
        """The true step of each frame."""
        return cuts_to_labels(self.cuts(steps), len(self.frames))


def demonstrator(task: Task, n: int, rng: np.random.Generator) -> Callable[[State], np.ndarray]:
    """Simulates n human demonstrators: the scripted expert, slower, with tremor and occasional pauses."""
    speed = rng.uniform(0.3, 0.7, n)
    tremble, pause = np.zeros((n, 3)), np.zeros(n, int)

    def act(state: State) -> np.ndarray:
        nonlocal tremble, pause
        action = task.expert(state).copy()
        tremble = 0.8 * tremble + rng.normal(0, 0.12, tremble.shape)
        begins = (rng.random(n) < 0.02) & (pause == 0)
        pause = np.where(begins, rng.integers(3, 7, n), np.maximum(pause - 1, 0))
        pace = np.where(pause > 0, 0.0, speed)[:, None]
        action[:, :3] = np.clip(action[:, :3] * pace + tremble * speed[:, None], -1, 1)
        return action

    return act


def recolour(task: Task, rng: np.random.Generator) -> None:
    """Randomises the colours of the table, the floor and everything except the arm, in place."""
    model = task.model
    table = model.material("table").id
    model.mat_texid[table, :] = -1
    model.mat_rgba[table, :3] = rng.uniform(0.15, 0.95, 3)
    for geom in range(model.ngeom):
        body = model.body(model.geom_bodyid[geom]).name
        floor = model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_PLANE
        if floor or body in ("cube", "drawer", "cabinet", "leaf", "lever", "frame"):
            model.geom_rgba[geom, :3] = rng.uniform(0.15, 0.95, 3)


def film(name: str, scene: int) -> list[Clip]:
    """Returns the demonstrations of a task in a randomly coloured scene, seen by all cameras side by side."""
    task = make_task(name)
    task.horizon = LONGEST
    recolour(task, np.random.default_rng(scene))
    n = TRAIN + TEST
    act, sim = demonstrator(task, n, np.random.default_rng(1000 + scene)), BatchSim(task, n, seed=2000 + scene)
    states, seen = [sim.state.array.copy()], [(sim.qpos.copy(), sim.mocap.copy())]
    success = []
    for _ in range(LONGEST):
        result = sim.step(act(sim.state))
        states.append(result.transitions.state.array.copy())
        seen.append((result.qpos.copy(), result.mocap.copy()))
        success.append(result.success)
    sim.close()
    clips = []
    with FrameRenderer(task, FrameSpec(CAMERAS, SIZE)) as filmer:
        for i in range(n):
            end = min(first(np.array([s[i] for s in success])) + REST + 2, LONGEST + 1)
            frames = filmer(np.stack([q[i] for q, _ in seen[:end]]), np.stack([m[i] for _, m in seen[:end]]))
            state = task.spec.view(np.stack([s[i] for s in states[:end]]))
            kind = name.partition("/")[2]
            clips.append(Clip(frames, first(ARRIVED[kind](state)), first(MOVED[kind](state))))
    return clips


def first(flags: np.ndarray) -> int:
    """Returns the index of the first set flag, or the number of flags if none is set."""
    return int(np.argmax(flags)) if flags.any() else len(flags)


@cache
def encoder() -> Encoder:
    """The last feature map of a frozen EfficientNet-Lite0, 4 x 4 cells."""
    return TimmEncoder(layer="stage4", grid=4)


def one(frames: np.ndarray, camera: int) -> np.ndarray:
    """Returns the frames of one camera."""
    return np.ascontiguousarray(frames[:, :, SIZE * camera : SIZE * (camera + 1)])


def random_cuts(length: int, steps: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Returns uniformly random ordered cuts, the baseline of the paper."""
    return tuple(sorted(rng.choice(np.arange(1, length), steps - 1, replace=False)))


def agreement(found: Sequence[Sequence[int]], clips: Sequence[Clip], steps: int) -> float:
    """Mean Jaccard of cuts with the true steps."""
    hot = np.eye(steps, dtype=bool)
    return float(
        np.mean(
            [
                compute_jaccard(hot[cuts_to_labels(cuts, len(c.frames))], c.labels(steps))
                for cuts, c in zip(found, clips, strict=True)
            ]
        )
    )


def judged(
    form: Literal["ordered", "gaussian"],
    cuts: Sequence[Sequence[int]],
    features: list[np.ndarray],
    clips: list[Clip],
    steps: int,
) -> float:
    """Mean Jaccard, in the test clips, of frames where a step's reward exceeds 0.5 with the true step."""
    model = fit_steps(features[:TRAIN], cuts, FPS, form)
    return float(
        np.mean(
            [
                compute_jaccard(compute_curves(model, x, FPS)[0] > 0.5, c.labels(steps))
                for x, c in zip(features[TRAIN:], clips[TRAIN:], strict=True)
            ]
        )
    )


def compare(clips: list[Clip], features: list[np.ndarray], steps: int, rng: np.random.Generator) -> dict[str, float]:
    """Runs all methods on one task, scene and camera."""
    train, test = clips[:TRAIN], clips[TRAIN:]

    def cuts(**options: Any) -> tuple[tuple[int, ...], ...]:
        return discover_steps(features[:TRAIN], steps, **options).cuts

    ours, paper = cuts(), cuts(alignment="each", cost="paper")
    found = {
        "discovery": agreement(ours, train, steps),
        "discovery_paper": agreement(paper, train, steps),
        "discovery_variance": agreement(cuts(alignment="each", cost="variance"), train, steps),
        "discovery_trend": agreement(cuts(alignment="each", cost="trend"), train, steps),
        "test_reward": judged("ordered", ours, features, clips, steps),
        "test_reward_paper": judged("gaussian", paper, features, clips, steps),
        "test_reward_paper_on_our_steps": judged("gaussian", ours, features, clips, steps),
        "test_reward_on_true_steps": judged("ordered", [c.cuts(steps) for c in train], features, clips, steps),
    }
    for name, group in (("discovery", train), ("test_reward", test)):
        runs = [[random_cuts(len(c.frames), steps, rng) for c in group] for _ in range(20)]
        found[f"{name}_ordered_random"] = float(np.mean([agreement(run, group, steps) for run in runs]))
    flips = [
        compute_jaccard(rng.random((len(c.frames), steps)) > 0.5, c.labels(steps)) for _ in range(20) for c in test
    ]
    found["test_reward_random"] = float(np.mean(flips))
    return found


def study(scenes: Sequence[int]) -> dict[str, dict[str, list[float]]]:
    """Method -> "TASK CAMERA STEPS" -> the index in every scene."""
    found: dict[str, dict[str, list[float]]] = {}
    for scene in scenes:
        for name in TASKS:
            clips = film(name, scene)
            for camera, view in enumerate(CAMERAS):
                features = [encoder().encode(one(clip.frames, camera)) for clip in clips]
                for word, steps in STEPS.items():
                    for method, value in compare(clips, features, steps, np.random.default_rng(scene)).items():
                        key = f"{name.partition('/')[2]} {view} {word}"
                        found.setdefault(method, {}).setdefault(key, []).append(value)
            print(f"scene {scene}, {name}: done", flush=True)
    return found


def averages(found: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, float]]:
    """Method -> steps -> mean over tasks, cameras and scenes."""
    return {
        method: {word: round(float(np.mean([v for k, v in cells.items() if k.endswith(word)])), 4) for word in STEPS}
        for method, cells in found.items()
    }


def main() -> None:
    """Measures, prints and writes."""
    args = arguments(__doc__)
    found = study(CONFIRMED[:1] if args.quick else CONFIRMED)
    values: dict[str, object] = dict(averages(found))
    for method in ("discovery", "test_reward"):
        values[f"{method}_by_task"] = {k: round(float(np.mean(v)), 3) for k, v in found[method].items()}
    if not args.quick:
        values["explored"] = averages(study(EXPLORED))
    report(args, values, TARGETS)


if __name__ == "__main__":
    main()
