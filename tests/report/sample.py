"""A believable report: two rounds of six candidates on panda/lift, with clips drawn on the spot."""

from __future__ import annotations

import math
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import imageio.v2 as imageio
import numpy as np
from PIL import Image, ImageDraw

from robo_reward.report import (
    CandidateRow,
    Costs,
    Curve,
    Headline,
    PhaseTiming,
    RefusedRow,
    ReportClip,
    Reproduce,
    RunReport,
    Series,
    Winner,
)

PARENT = '''def compute_reward(state, action, previous):
    """Reach the cube, close the hand, raise the cube."""
    gap = np.linalg.norm(state.cube_pos - state.hand_pos, axis=-1)
    reach = 1.0 - np.tanh(5.0 * gap)

    height = state.cube_pos[:, 2] - 0.02
    lift = np.clip(height / 0.10, 0.0, 1.0)

    effort = -0.01 * np.sum(action**2, axis=-1)

    total = reach + 2.0 * lift + effort
    return total, {"reach": reach, "lift": lift, "effort": effort}
'''

PROGRAM = '''def compute_reward(state, action, previous):
    """Reach the cube, hold it between the fingers, raise it, then keep it still."""
    gap = np.linalg.norm(state.cube_pos - state.hand_pos, axis=-1)
    reach = 1.0 - np.tanh(8.0 * gap)

    # Closing pays only where the cube is between the fingers.
    near = gap < 0.025
    closed = 1.0 - np.clip(state.finger_width / 0.08, 0.0, 1.0)
    grasp = np.where(near, closed, 0.0)

    height = state.cube_pos[:, 2] - 0.02
    lift = np.where(near, np.clip(height / 0.10, 0.0, 1.0), 0.0)

    speed = np.linalg.norm(state.cube_vel, axis=-1)
    still = np.where(height > 0.09, np.exp(-4.0 * speed), 0.0)

    effort = -0.01 * np.sum(action**2, axis=-1)

    total = reach + 0.5 * grasp + 4.0 * lift + still + effort
    return total, {"reach": reach, "grasp": grasp, "lift": lift, "still": still, "effort": effort}
'''

CONFIG = """task: panda/lift
seed: 7
writer:
  name: offline
search:
  name: eureka
  candidates: 6
  rounds: 2
  rungs: [60000, 140000, 320000]
  elitism: true
policy:
  name: ppo
  worlds: 64
  learning_rate: 3.0e-04
  steps_per_update: 2048
executor:
  name: local
  workers: 2
"""

RUNGS = (60_000, 140_000, 320_000)
# name, round, parent, rungs finished, final success (None: never trained), how fast it learns
CANDIDATES = (
    ("staged-reach", 1, None, 3, 0.71, 1.0),
    ("tanh-gap", 1, None, 2, 0.38, 0.8),
    ("sparse-bonus", 1, None, 1, 0.02, 0.3),
    ("height-only", 1, None, 1, 0.0, 0.2),
    ("grasp-first", 1, None, 2, 0.29, 0.7),
    ("velocity-mix", 1, None, 0, None, 0.0),
    ("staged-still", 2, "staged-reach", 3, 0.97, 1.9),
    ("staged-gate", 2, "staged-reach", 3, 0.91, 1.6),
    ("gap-squared", 2, "tanh-gap", 1, 0.11, 0.5),
    ("cross-3-1", 2, "grasp-first", 2, 0.62, 1.2),
    ("grasp-bonus", 2, "grasp-first", 0, None, 0.0),
    ("quick-close", 2, "staged-reach", 2, 0.47, 1.0),
)


def sample_report() -> RunReport:
    """The whole thing, three clips included."""
    ids = {name: f"r{round_}-{name}" for name, round_, *_ in CANDIDATES}
    rows = tuple(_row(ids, *candidate[:5]) for candidate in CANDIDATES)
    rng = np.random.default_rng(3)
    curves = tuple(
        Curve(ids[name], _curve(rng, rung, success, speed))
        for name, _, _, rung, success, speed in CANDIDATES
        if success is not None
    )
    return RunReport(
        title="panda/lift, offline writer, seed 7",
        goal="Lift the cube ten centimetres off the table and hold it there.",
        task="panda/lift",
        kind="search",
        headline=Headline(success=0.97, low=0.915, high=0.994, episodes=100, seconds=252.4, steps=320_000),
        candidates=rows,
        refused=_refused(ids),
        winner=Winner(
            source=PROGRAM,
            id=ids["staged-still"],
            parent=ids["staged-reach"],
            parent_source=PARENT,
            terms=_terms(rng),
        ),
        curves=curves,
        rungs=RUNGS,
        videos=(
            ReportClip(clip_bytes(0), "episode 1, front camera", True),
            ReportClip(clip_bytes(1), "episode 2, front camera", True),
            ReportClip(clip_bytes(2, lifts=False), "episode 37, the cube slips", False),
        ),
        costs=Costs("offline", "", requests=12, prompt_tokens=18_420, completion_tokens=6_155, cached_tokens=4_096),
        timings=(
            PhaseTiming("writing programs", 1.8),
            PhaseTiming("lint and probes", 3.9),
            PhaseTiming("training, round 1", 98.2),
            PhaseTiming("training, round 2", 124.6),
            PhaseTiming("evaluation", 16.3),
            PhaseTiming("videos and report", 7.6),
        ),
        reproduce=Reproduce(
            "robo-reward search task=panda/lift writer=offline seed=7", 7, "4f1c2a9", False, "runs/panda-lift-7"
        ),
        config_text=CONFIG,
        versions={
            "python": "3.11.7",
            "robo-reward": "0.1.0",
            "mujoco": "3.3.0",
            "torch": "2.15.0",
            "stable-baselines3": "2.9.2",
        },
        environment={"CPU": "2 cores, x86-64", "GL backend": "osmesa", "system": "Linux 6.1"},
        created="2026-11-24T03:41:00",
    )


def train_report() -> RunReport:
    """A `train` run: a fixed reward, one curve, one clip, no writer."""
    full = sample_report()
    assert full.winner is not None
    return RunReport(
        title="PPO on the expert reward of panda/lift",
        goal=full.goal,
        task=full.task,
        kind="train",
        headline=Headline(success=1.0, low=0.963, high=1.0, episodes=100, seconds=88.0, steps=320_000),
        winner=Winner(source=PROGRAM, terms=full.winner.terms),
        curves=(Curve("expert", full.curves[5].series, "expert reward"),),
        videos=full.videos[:1],
        timings=(PhaseTiming("training", 80.1), PhaseTiming("evaluation", 7.9)),
        reproduce=Reproduce("robo-reward train task=panda/lift reward=expert policy=ppo seed=1", 1, "4f1c2a9", True),
        config_text=CONFIG,
        created="2026-11-24T04:02:00",
    )


def failed_report() -> RunReport:
    """A search in which no program could be trained."""
    full = sample_report()
    rows = tuple(
        CandidateRow(f"c{i}", f"candidate-{i}", 1, None, "lint", status="refused", note="2 problems")
        for i in range(1, 5)
    )
    refused = tuple(
        RefusedRow(row.id, reason.reason, reason.remedy, reason.line, reason.stage, reason.source)
        for row in rows
        for reason in full.refused[:2]
    )
    return RunReport(
        title="panda/push, gpt-oss-20b, seed 1",
        goal="Push the puck to the green disc without lifting it.",
        task="panda/push",
        kind="search",
        headline=Headline(seconds=31.0),
        candidates=rows,
        refused=refused,
        costs=Costs("openai", "gpt-oss-20b", 8, 41_200, 9_030, 20_480, 0.0),
        timings=(PhaseTiming("writing programs", 29.5), PhaseTiming("lint and probes", 1.5)),
        reproduce=Reproduce("robo-reward search task=panda/push writer=openai seed=1", 1),
        created="2026-11-24T04:10:00",
    )


def _row(
    ids: dict[str, str], name: str, round_: int, parent: str | None, rung: int, success: float | None
) -> CandidateRow:
    parent_id = ids[parent] if parent else None
    if success is None:
        note = "reads a field that is not in the state" if round_ == 1 else "one term dominates"
        stage = "lint" if round_ == 1 else "probe"
        return CandidateRow(ids[name], name, round_, parent_id, stage, 0, None, None, "refused", note)
    status = "winner" if name == "staged-still" else "finished" if rung == 3 else "stopped"
    return CandidateRow(ids[name], name, round_, parent_id, f"rung {rung} of 3", rung, RUNGS[rung - 1], success, status)


def _curve(rng: np.random.Generator, rung: int, success: float, speed: float) -> Series:
    end = RUNGS[rung - 1]
    steps = np.arange(0, end + 1, 4_000)
    middle = 120_000 / max(speed, 0.2)
    shape = 1 / (1 + np.exp(-(steps - middle) / 18_000))
    scale = success / max(float(shape[-1]), 1e-3)
    noise = np.convolve(rng.normal(0, 0.05, len(steps) + 4), np.ones(5) / 5, "valid")
    values = np.clip(scale * shape + noise * np.sqrt(shape) * (success > 0), 0, 1)
    values = np.clip(values + (success - values[-1]) * (steps / end) ** 2, 0, 1)
    return Series(tuple(map(float, steps)), tuple(np.round(values, 4).tolist()))


def _terms(rng: np.random.Generator) -> dict[str, Series]:
    steps = np.arange(0, RUNGS[-1] + 1, 4_000)

    def rise(middle: float, low: float, high: float) -> Series:
        values = low + (high - low) / (1 + np.exp(-(steps - middle) / 16_000))
        values += rng.normal(0, 0.012 * abs(high - low), len(steps))
        return Series(tuple(map(float, steps)), tuple(np.round(values, 5).tolist()))

    return {
        "reach": rise(30_000, 8.0, 43.0),
        "grasp": rise(55_000, 0.0, 35.5),
        "lift": rise(80_000, 0.0, 31.0),
        "still": rise(105_000, 0.0, 26.0),
        "effort": rise(60_000, -1.9, -0.6),
    }


def _refused(ids: dict[str, str]) -> tuple[RefusedRow, ...]:
    return (
        RefusedRow(
            ids["velocity-mix"],
            "the state has no field 'cube_velocity'",
            "Use cube_vel, the linear velocity of the cube [m/s].",
            6,
            "lint",
            "    speed = np.linalg.norm(state.cube_velocity, axis=-1)",
        ),
        RefusedRow(
            ids["velocity-mix"],
            "'while' is not in the language",
            "Use array functions such as np.where, or a loop over a constant range.",
            9,
            "lint",
            "    while total.max() > 10.0:",
        ),
        RefusedRow(
            ids["grasp-bonus"],
            "term 'bonus' is 4100 times larger than 'reach'; the policy would see nothing else",
            "Divide the bonus by its range, or multiply it by at most 10.",
            None,
            "probe",
        ),
    )


@cache
def clip_bytes(seed: int, lifts: bool = True, size: tuple[int, int] = (480, 352), frames: int = 60) -> bytes:
    """A real H.264 mp4 of a drawn two-link arm that lifts a cube."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        with imageio.get_writer(
            path, fps=25, codec="libx264", macro_block_size=16, pixelformat="yuv420p", output_params=["-crf", "28"]
        ) as writer:
            for number in range(frames):
                writer.append_data(_frame(number / (frames - 1), seed, lifts, size))  # type: ignore[attr-defined]
        return path.read_bytes()


def _frame(time: float, seed: int, lifts: bool, size: tuple[int, int]) -> np.ndarray:
    width, height = size
    image = Image.new("RGB", size, "#c9d1d9")
    draw = ImageDraw.Draw(image)
    table = int(height * 0.8)
    draw.rectangle((0, table, width, height), fill="#8f8578")
    cube_x, side = width * (0.58 + 0.05 * seed), 30
    down, up = min(time / 0.45, 1.0), max((time - 0.55) / 0.35, 0.0)
    rise = min(up, 1.0) * 110
    hand = np.array([width * 0.45 + (cube_x - width * 0.45) * down, 90 + (table - side - 118) * down - rise])
    cube_y = table - side - (rise if lifts or up < 0.3 else 0)
    base, reach = np.array([width * 0.22, float(table)]), 170.0
    away = hand - base
    distance = min(float(np.hypot(*away)), 2 * reach - 1)
    angle = math.atan2(away[1], away[0]) - math.acos(distance / (2 * reach))
    elbow = base + reach * np.array([math.cos(angle), math.sin(angle)])
    for start, end in ((base, elbow), (elbow, hand)):
        draw.line((*start, *end), fill="#f7f7f5", width=30)
    for joint in (base, elbow, hand):
        draw.ellipse((*(joint - 19), *(joint + 19)), fill="#2b3038")
    for offset in (-1, 1):
        x = hand[0] + offset * (side * 0.5 + 5 + 10 * (1 - down))
        draw.rectangle((x - 5, hand[1] + 14, x + 5, hand[1] + 46), fill="#2b3038")
    draw.rectangle((cube_x - side / 2, cube_y, cube_x + side / 2, cube_y + side), fill="#d8482b")
    return np.asarray(image)


def png_size(content: bytes) -> tuple[int, int]:
    """Width and height of a screenshot."""
    return Image.open(BytesIO(content)).size
