"""Environments of other packages as tasks with rules, and gymnasium's own at the speed of the batch simulator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import mujoco
import numpy as np

from robo_reward.envs.suites.catalogue import OWN_OPTIONS, describe_environment
from robo_reward.envs.suites.environment import OWN_REWARD, EnvironmentTask
from robo_reward.envs.suites.reader import EnvironmentReader
from robo_reward.envs.suites.source import EnvironmentSource
from robo_reward.envs.task import RULE_OPTIONS, Observable, ObservationSpec, Start, Task
from robo_reward.errors import UsageError
from robo_reward.scenes.rules import apply_rules
from robo_reward.scenes.settings import SceneSettings
from robo_reward.scenes.task import SceneTask, require_goal

ROOT = ("torso_rotation", "torso_velocity", "torso_spin")
FAR = 1e6
"""Scale of a coordinate that policies do not observe: how far a robot has travelled [m]."""


class FastRules(NamedTuple):
    """Failure and reward of one of gymnasium's environments, as programs on the state.

    Attributes:
        failure: the condition that ends an episode, from the environment; empty: none.
        reward: the environment's reward, as an expression that may use `dt` and `effort` (the sum of the squared
            actions in the environment's units); empty where it reads what the state does not have.
    """

    failure: Callable[[Any], str]
    reward: str = ""


def _write_planar_failure(env: Any) -> str:
    (low, high), (back, front) = env._healthy_z_range, env._healthy_angle_range
    tilt = f"rooty_angle <= {back} or rooty_angle >= {front}"
    top = f" or rootz_displacement >= {high}" if np.isfinite(high) else ""
    return f"rootz_displacement <= {low}{top} or {tilt}" if env._terminate_when_unhealthy else ""


def _write_height_failure(env: Any) -> str:
    low, high = env._healthy_z_range
    return f"torso_height < {low} or torso_height > {high}" if env._terminate_when_unhealthy else ""


def _never_fails(env: Any) -> str:
    return ""


def _write_forward_reward(coordinate: str, effort: float, healthy: float = 0.0) -> str:
    return f"(state.{coordinate} - previous.{coordinate}) / dt + {healthy} - {effort} * effort"


_TIP = "np.square(state.tip_position[:, 0])"
FAST = {
    "Hopper": FastRules(_write_planar_failure, _write_forward_reward("rootx_displacement", 1e-3, 1.0)),
    "Walker2d": FastRules(_write_planar_failure, _write_forward_reward("rootx_displacement", 1e-3, 1.0)),
    "HalfCheetah": FastRules(_never_fails, _write_forward_reward("rootx_displacement", 0.1)),
    "Swimmer": FastRules(_never_fails, _write_forward_reward("slider1_displacement", 1e-4)),
    "Ant": FastRules(_write_height_failure),  # its reward has a cost of contacts
    "Humanoid": FastRules(_write_height_failure),  # its reward follows the centre of mass
    "HumanoidStandup": FastRules(_never_fails),
    "InvertedPendulum": FastRules(
        lambda env: "abs(hinge_angle) > 0.2", "np.where(np.abs(state.hinge_angle) > 0.2, 0.0, 1.0)"
    ),
    "InvertedDoublePendulum": FastRules(
        lambda env: "tip_position[2] <= 1",
        f"np.where(state.tip_position[:, 2] > 1, 10.0, 0.0) - 0.01 * {_TIP}"
        " - np.square(state.tip_position[:, 2] - 2)"
        " - 1e-3 * np.square(state.hinge_velocity) - 5e-3 * np.square(state.hinge2_velocity)",
    ),
    "Reacher": FastRules(
        _never_fails, "-np.linalg.norm(state.fingertip_position - state.target_position, axis=-1) - effort"
    ),
    "Pusher": FastRules(
        _never_fails,
        "-0.5 * np.linalg.norm(state.object_position - state.tips_arm_position, axis=-1)"
        " - np.linalg.norm(state.object_position - state.goal_position, axis=-1) - 0.1 * effort",
    ),
}
"""gymnasium's own environments by name without version."""


def make_environment_task(id: str, options: Mapping[str, Any]) -> Task:
    """Returns the task of an environment of another package.

    Args:
        id: such as `gymnasium/Hopper-v5`.
        options: `goal`, `success`, `failure`, `horizon`, `fast`, `draft`, and those of the suite. With `draft`, goal
            and success rule may be missing: to look at the fields first.

    Raises:
        UnknownName: no such environment or option; names the closest.
        UsageError: the environment cannot be used, has no goal or no rule of success.
        ConditionError: a rule is not a condition on the state.
    """
    rest = {name: value for name, value in options.items() if name not in (*RULE_OPTIONS, *OWN_OPTIONS)}
    source = describe_environment(id, **rest)
    horizon = options.get("horizon")
    if horizon is not None and (not isinstance(horizon, int) or isinstance(horizon, bool) or horizon < 1):
        raise UsageError(f"task.options.horizon={horizon!r}: expected a whole number from 1")
    if not isinstance(options.get("fast", False), bool):
        raise UsageError(f"fast={options['fast']!r}: expected true or false")
    rules = {name: str(options.get(name) or "") for name in RULE_OPTIONS}
    if options.get("fast"):
        task: Task = FastEnvironmentTask(source, horizon, **rules, draft=bool(options.get("draft")))
    else:
        task = EnvironmentTask(source, horizon)
        set_environment_rules(task, **rules)
        if not options.get("draft"):
            require_goal(task, id)
    kept = {name: value for name, value in options.items() if value not in (None, "", False) and name != "draft"}
    task.id, task.options = id, kept
    return task


def set_environment_rules(task: EnvironmentTask, goal: str = "", success: str = "", failure: str = "") -> None:
    """Gives an environment the user's goal and rules, or those of its suite; its own reward stays the expert's.

    Raises:
        ConditionError: a rule is not a condition on the state.
    """
    rule = success or ("" if task.source.success else task.source.success_rule)
    own, task.goal = task.failure_rule, goal or task.goal
    apply_rules(task, "", rule, failure)
    task.expert_reward = OWN_REWARD
    if failure and own:
        task.failure_rule = f"{task.failure_rule}, or {own}"


class FastEnvironmentTask(SceneTask):
    """An environment whose step is only "hold the action, take `frame_skip` physics steps", in `BatchSim`.

    Model, frame skip, start distribution, action range and time limit are the environment's own; its rule of failure is
    written as a condition on the state. That the dynamics are equal is checked when the task is made. The state is
    measured as in every scene: one physics step older than the positions that the environment's own code sees.

    Args:
        source: the environment.
        horizon: control steps per episode, instead of the environment's own.
        goal: the goal sentence, instead of the source's.
        success: the condition of success, instead of the source's.
        failure: the condition of failure, instead of the environment's own.
        draft: whether goal and success rule may be missing.

    Raises:
        UsageError: the environment has no model file, its step does more, or its rule of failure is not known.
    """

    ppo_params: ClassVar[Mapping[str, Any]] = MappingProxyType({"gamma": 0.99, "gae_lambda": 0.95, "batch_size": 256})

    def __init__(
        self,
        source: EnvironmentSource,
        horizon: int | None = None,
        *,
        goal: str = "",
        success: str = "",
        failure: str = "",
        draft: bool = False,
    ) -> None:
        known = EnvironmentTask(source, horizon)
        self._reader = known.spare_readers[0]
        env: Any = self._reader.env.unwrapped
        path = getattr(env, "fullpath", None)
        if path is None:
            raise UsageError(
                f"{source.id} fast=true: expected an environment of gymnasium's MujocoEnv with a model file"
            )
        if source.success and not (success or draft):
            raise UsageError(
                f"{source.id} fast=true: success is what its own code reports, which does not run; give it as a rule, "
                "such as success='norm(object_position - goal_position) < 0.05', or leave fast out"
            )
        name = source.id.rpartition("/")[2].rpartition("-")[0]
        rules = FAST.get(name) if type(env).__module__.startswith("gymnasium.envs.mujoco") else None
        if rules is None and source.terminates and not failure:
            raise UsageError(
                f"{source.id} fast=true: its own code decides when an episode ends, which is not known here; give it "
                "as a rule, such as failure='torso_height < 0.2', or leave fast out"
            )
        settings = SceneSettings(
            model=str(path),
            goal=source.goal,
            success="" if source.success else source.success_rule,
            failure=rules.failure(env) if rules else "",
            horizon=known.horizon,
            rate=known.action.rate_hz,
            steps=source.training_steps,
        )
        super().__init__(path, goal=goal, success=success, failure=failure, draft=draft, settings=settings)
        _require_same_dynamics(source.id, self, self._reader)
        if getattr(env, "_exclude_current_positions_from_observation", False):
            self.observation = _leave_travel_out(self.observation)
        kwargs = self._reader.env.spec.kwargs if self._reader.env.spec else {}
        is_changed = any("reward" in name or "cost" in name for name in kwargs)  # `rules` has the usual weights
        if rules and rules.reward and not (success or is_changed):
            self.expert_reward = _write_program(rules.reward, self)

    def sample(self, rng: np.random.Generator, n: int) -> Start:
        """Draws n initial conditions by the environment's own reset."""
        env: Any = self._reader.env.unwrapped
        env.np_random = np.random.Generator(np.random.PCG64(int(rng.integers(2**63))))
        starts = []
        for _ in range(n):
            env.reset()
            starts.append((env.data.qpos.copy(), env.data.qvel.copy(), env.data.act.copy()))
        qpos, qvel, act = (np.stack(column) for column in zip(*starts, strict=True))
        mocap = np.concatenate([env.data.mocap_pos.ravel(), env.data.mocap_quat.ravel()])
        return Start(qpos, np.repeat(mocap[None], n, axis=0), act, qvel)


def _require_same_dynamics(id: str, task: SceneTask, reader: EnvironmentReader) -> None:
    """Raises an error if a step of the environment is not `substeps` physics steps under the action.

    Raises:
        UsageError: it is not.
    """
    if task.action.dim != len(reader.action_low):
        raise UsageError(
            f"{id} fast=true: its own code makes targets of {task.action.dim} actuators from actions of "
            f"{len(reader.action_low)} numbers; leave fast out"
        )
    rng, data = np.random.default_rng(0), mujoco.MjData(task.model)
    reader.reset(0)
    before = reader.model.body_pos.copy(), reader.model.opt.timestep
    for _ in range(3):
        own = reader.data
        data.qpos[:], data.qvel[:], data.act[:] = own.qpos, own.qvel, own.act
        data.qacc_warmstart[:] = own.qacc_warmstart
        action = rng.uniform(-1, 1, (1, task.action.dim))
        ctrl = task.controller.advance(np.zeros((1, task.model.nu)), data.qpos[None], action)
        ctrl = ctrl.astype(np.float32).astype(np.float64)  # gymnasium's actions are float32
        data.ctrl[:] = ctrl[0]
        reader.step(ctrl[0])
        mujoco.mj_step(task.model, data, task.substeps)
        same = np.allclose(data.qpos, reader.data.qpos, rtol=0, atol=1e-9)
        if not same or not np.allclose(data.qvel, reader.data.qvel, rtol=0, atol=1e-7):
            raise UsageError(
                f"{id} fast=true: a step of its own code does more than hold the action for {task.substeps} physics "
                f"steps (positions differ by {np.abs(data.qpos - reader.data.qpos).max():.3g}); leave fast out"
            )
    if not np.array_equal(before[0], reader.model.body_pos):
        raise UsageError(f"{id} fast=true: its own code changes its model; leave fast out")


def _leave_travel_out(observation: ObservationSpec) -> ObservationSpec:
    """Returns an observation without how far the robot has travelled: joints, and pose and velocity of its root."""
    parts: list[Observable] = []
    for part in observation.parts:
        field = observation.state[part.field]
        travel = field.name in ("rootx_displacement", "slider1_displacement", "slider2_displacement")
        if field.name == "torso_position":
            scale = float(np.max(part.scale))
            parts.append(replace(part, scale=(FAR, FAR, scale)))
        elif (field.role == "joint" and not travel) or field.name in ROOT:
            parts.append(part)
    return ObservationSpec(observation.state, parts)


def _write_program(reward: str, task: SceneTask) -> str:
    scale = task.action.scale[0]
    return (
        "def compute_reward(state, action, previous):\n"
        '    """Returns the reward of the environment\'s own code."""\n'
        f"    dt = {task.control_dt!r}\n"
        f"    effort = {scale * scale!r} * np.sum(np.square(action), axis=-1)\n"
        f"    own = {reward}\n"
        '    return own, {"own": own}\n'
    )
