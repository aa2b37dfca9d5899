"""The speed of the batched simulator: `python -m benchmarks.simulation --json FILE [--quick]`.

In one run, on the same task and reward: MuJoCo's own C loop on all cores, `BatchSim`, gymnasium's SyncVectorEnv and
SB3's SubprocVecEnv of plain single worlds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import mujoco
import numpy as np
from mujoco.rollout import Rollout
from stable_baselines3.common.vec_env import SubprocVecEnv

from benchmarks.output import arguments, report
from robo_reward.envs.batch import CONTROL, BatchSim
from robo_reward.envs.state import Transitions
from robo_reward.envs.task import Task, make_task
from robo_reward.language.language import compile_program
from robo_reward.rewards.contract import StepReward

TASK = "panda/lift"
CORES = 2


class PlainWorld(gym.Env):
    """A typical single world: `mj_step` in a Python loop, with the same control, state, reward and success."""

    def __init__(self, seed: int = 0) -> None:
        self.task: Task = make_task(TASK)
        self.reward: StepReward = compile_program(self.task.expert_reward, self.task.spec, self.task.action.dim)
        self.data = mujoco.MjData(self.task.model)
        self.rng = np.random.default_rng(seed)
        self.observation_space = gym.spaces.Box(-50, 50, (self.task.observation.dim,), np.float32)
        self.action_space = gym.spaces.Box(-1, 1, (self.task.action.dim,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        start = self.task.sample(self.rng, 1)
        mujoco.mj_resetData(self.task.model, self.data)
        self.data.qpos[:] = start.qpos[0]
        self.ctrl = self.task.controller.start(start.qpos)
        mujoco.mj_forward(self.task.model, self.data)
        self.state, self.elapsed = self.data.sensordata.copy(), 0
        return self.task.observation(self.task.spec.view(self.state)), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        action = np.clip(np.asarray(action, float), -1, 1)[None]
        self.ctrl = self.task.controller.advance(self.ctrl, self.data.qpos[None], action)
        self.data.ctrl[:] = self.ctrl[0]
        for _ in range(self.task.substeps):
            mujoco.mj_step(self.task.model, self.data)
        previous, self.state = self.state, self.data.sensordata.copy()
        view = self.task.spec.view
        reward = self.reward(Transitions(view(previous[None]), action, view(self.state[None]))).total[0]
        success = bool(self.task.success(view(self.state)))
        self.elapsed += 1
        truncated = self.elapsed >= self.task.horizon
        return self.task.observation(view(self.state)), float(reward), False, truncated, {"is_success": success}


def rate(step: Callable[[], object], units: int, seconds: float) -> float:
    """Returns the units per second of a step, after one warm-up step."""
    step()
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        step()
        count += 1
    return units * count / (time.perf_counter() - begun)


def raw_rate(task: Task, seconds: float) -> float:
    """`mj_step` in C on all cores, no Python between: whole episodes under the targets that a batch gave its worlds."""
    sim = BatchSim(task, CORES, 0)
    actions = np.random.default_rng(0).uniform(-1, 1, (task.horizon - 1, CORES, task.action.dim))
    physics, targets = sim._physics.copy(), []
    for action in actions:
        sim.step(action)
        targets.append(sim._controls.copy())
    control = np.repeat(np.stack(targets, axis=1), task.substeps, axis=1)  # (CORES, steps, nu)
    pool, data = Rollout(nthread=CORES), [mujoco.MjData(task.model) for _ in range(CORES)]

    def step() -> None:
        pool.rollout(task.model, data, physics, control, control_spec=CONTROL, chunk_size=1)

    return rate(step, CORES * control.shape[1], seconds)


def batch_rate(task: Task, reward: StepReward, worlds: int, seconds: float) -> float:
    """Returns the control steps per second of `BatchSim`, observation, reward and success included."""
    sim = BatchSim(task, worlds, 0, reward)
    actions = np.random.default_rng(0).uniform(-1, 1, (64, worlds, task.action.dim))
    count = iter(range(10**9))

    def step() -> None:
        sim.step(actions[next(count) % 64])
        sim.observation()

    return rate(step, worlds, seconds)


def measure_ratio_to_raw(path: Path, success: str, quick: bool = False) -> float:
    """Returns the speed of `BatchSim` on somebody else's model as a share of `mj_step` in C on as many threads.

    Both step 256 worlds through the same motion. The raw model is as in its file, without our sensors, and nothing is
    computed from its states; `BatchSim` computes observation and success.
    """
    task = make_task(str(path), goal="Move.", success=success)
    worlds, steps = 256, 10 if quick else 40
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, worlds, task.action.dim))
    sim = BatchSim(task, worlds, 0, threads=CORES)
    physics, targets = sim._physics.copy(), []
    raw = mujoco.MjModel.from_xml_path(str(path))
    pool, data = Rollout(nthread=CORES), [mujoco.MjData(raw) for _ in range(CORES)]
    ratios = []
    for _ in range(2 if quick else 4):  # alternating, so that load on the machine affects both equally
        sim.reset(0)
        targets, begun = [], time.perf_counter()
        for action in actions:
            sim.step(action)
            sim.observation()
            targets.append(sim._controls.copy())
        batch = time.perf_counter() - begun
        control = np.repeat(np.stack(targets, axis=1), task.substeps, axis=1)  # (worlds, physics steps, nu + 7 nmocap)
        state = np.zeros((worlds, control.shape[1], physics.shape[1]))
        readings = np.zeros((worlds, control.shape[1], raw.nsensordata))
        begun = time.perf_counter()
        pool.rollout([raw] * worlds, data, physics, control, control_spec=CONTROL, skip_checks=True,
                     nstep=control.shape[1], state=state, sensordata=readings)  # fmt: skip
        ratios.append((time.perf_counter() - begun) / batch)
    sim.close()
    pool.close()
    return float(np.median(ratios))


def vector_rate(env: object, worlds: int, seconds: float) -> float:
    """Returns the control steps per second of a gymnasium or SB3 vector environment."""
    actions = np.random.default_rng(0).uniform(-1, 1, (64, worlds, 4)).astype(np.float32)
    count = iter(range(10**9))
    env.reset()  # type: ignore[attr-defined]
    return rate(lambda: env.step(actions[next(count) % 64]), worlds, seconds)  # type: ignore[attr-defined]


def main() -> None:
    """Measures, prints and writes."""
    args = arguments(__doc__)
    seconds = 1.0 if args.quick else 4.0
    task = make_task(TASK)
    reward = compile_program(task.expert_reward, task.spec, task.action.dim)
    raws, batches = [], []
    for _ in range(2 if args.quick else 4):  # alternating, so that load on the machine affects both equally
        raws.append(raw_rate(task, seconds))
        batches.append(batch_rate(task, reward, 256, seconds) * task.substeps)
    raw, batch = float(np.median(raws)), float(np.median(batches))
    ours = batch_rate(task, reward, 64, seconds)
    sync = gym.vector.SyncVectorEnv([PlainWorld for _ in range(64)])
    sync_rate = vector_rate(sync, 64, seconds)
    sync.close()
    subproc = SubprocVecEnv([PlainWorld for _ in range(64)], start_method="fork")
    subproc_rate = vector_rate(subproc, 64, seconds)
    subproc.close()
    report(
        args,
        {
            "raw_mj_steps_per_s": raw,
            "batch_mj_steps_per_s": batch,
            "ratio_to_raw": batch / raw,
            "batch_control_steps_per_s_64": ours,
            "gymnasium_sync_control_steps_per_s_64": sync_rate,
            "sb3_subproc_control_steps_per_s_64": subproc_rate,
            "vs_gymnasium_sync": ours / sync_rate,
            "vs_sb3_subproc": ours / subproc_rate,
        },
    )


if __name__ == "__main__":
    main()
