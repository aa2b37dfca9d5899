"""Checks of a task before training: what will go wrong, with a remedy each."""

from __future__ import annotations

import logging

import mujoco
import numpy as np

from robo_reward.envs.model.names import GOAL, OBJECT, split_words
from robo_reward.envs.model.parts import ModelParts
from robo_reward.envs.state import State
from robo_reward.envs.task import Task
from robo_reward.errors import UsageError
from robo_reward.finding import Finding
from robo_reward.scenes.operators import remove_operators
from robo_reward.scenes.rules import StateCondition
from robo_reward.scenes.starts import SCALAR_JOINTS

log = logging.getLogger(__name__)
WORLDS = 64
"""Most episodes; fewer where a task says that fewer worlds are worth stepping together. Half have random actions, half
extreme ones."""
HOLD = 25
"""Control steps for which extreme actions are held."""
FAR = 0.1
"""Distance of objects and goals from all that the robot covers that is reported [m]."""
SOFT = 0.1
"""Sag of an arm under gravity that is reported [m]."""
DEEP = 0.005
"""Penetration of two bodies at the start that is reported [m]."""


def check_rules_at_start(task: Task) -> None:
    """Logs a warning if the success rule holds at most starts already: it may be meant so, as in "Stay upright.".

    Raises:
        UsageError: the failure rule holds there.
    """
    sim = task.make_worlds(min(16, task.max_worlds), 0)
    rule = task.success
    if "success" in task.timed_rules:  # the time runs from the start
        rule = StateCondition(remove_operators(task.success_rule), task.spec)
    failing, success = task.failure(sim.state), float(np.mean(rule(sim.state)))
    sim.close()
    if failing is not None and np.mean(failing) > 0.5:
        raise UsageError(
            f"failure={task.failure_rule!r} holds in {np.mean(failing) * 100:.0f} % of the starts, so that episodes "
            "end at once: change the rule or the start"
        )
    if success > 0.5:
        log.warning(
            "success=%r holds in %.0f %% of the starts already: a policy that does nothing may succeed, unless the "
            "goal is to stay so", task.success_rule, success * 100,
        )  # fmt: skip


def check_task(task: Task, seed: int = 0) -> list[Finding]:
    """Runs episodes with random and extreme actions and returns what stands out, with a remedy each.

    Checked are: success and failure at the start and under random actions, fields that never change, objects that
    cannot move, objects and goals out of reach, actuators without a range or without effect, soft servos, joint limits
    and penetration at the start, the stability of the physics, and the time step.

    Args:
        task: the task to check.
        seed: of the random episodes.
    """
    rng, n = np.random.default_rng(seed), min(WORLDS, task.max_worlds)
    sim = task.make_worlds(n, seed)
    first = State(task.spec, sim.state.array.copy())
    qpos, mocap = sim.qpos.copy(), sim.mocap.copy()
    states, ends, failed = [first.array], [], np.zeros(n, bool)  # ends: success at the end of each episode
    action, extreme = np.zeros((n, task.action.dim)), np.zeros((n // 2, task.action.dim))
    for step in range(task.horizon):
        action = np.clip(0.8 * action + 0.4 * rng.uniform(-1.5, 1.5, action.shape), -1, 1)
        if step % HOLD == 0:
            extreme = rng.choice([-1.0, 1.0], (n // 2, task.action.dim))
        action[: n // 2] = extreme  # half of the worlds go as far as they can
        result = sim.step(action)
        states.append(result.transitions.state.array.copy())
        ends += result.success[result.terminated | result.truncated].tolist()
        failed |= result.terminated & ~result.success
    sim.close()
    seen = np.stack(states)
    return [
        *(_check_success(task, first, np.array(ends, bool), failed) if task.success_rule else []),
        _check_physics(seen),
        _check_fields(task, seen),
        *_check_objects(task),
        *_check_reach(task, first, qpos),
        *_check_actuators(task),
        *_check_starts(task, qpos, mocap),
        _check_time_step(task),
    ]


def _check_success(task: Task, first: State, success: np.ndarray, failed: np.ndarray) -> list[Finding]:
    """Returns the findings on success and failure, at the start and by chance."""
    at_start = float(np.mean(task.success(first)))
    failing = task.failure(first)
    lost = 0.0 if failing is None else float(np.mean(failing))
    random = float(success.mean())
    findings = [
        Finding(
            "success at the start",
            at_start < 0.05,
            f"true in {at_start:.0%} of {len(first)} starts",
            "" if at_start < 0.05 else "make the rule stricter, or start farther from the goal",
        ),
        Finding(
            "success by chance",
            random < 0.5,
            f"true at the end of {random:.0%} of {len(success)} episodes"
            + ("" if random else "; a reward has to lead there"),
            "" if random < 0.5 else "random actions fulfil the rule: success will not tell good policies from bad ones",
            needed=False,
        ),
    ]
    if failing is not None:
        findings.append(
            Finding(
                "failure",
                lost < 0.05,
                f"true in {lost:.0%} of the starts, ends {failed.mean():.0%} of random episodes",
                "" if lost < 0.05 else "an episode must not begin as failed: change the rule or the start",
            )
        )
    return findings


def _check_physics(seen: np.ndarray) -> Finding:
    bad = ~np.isfinite(seen).all(axis=(0, 2)) | (np.abs(np.nan_to_num(seen)).max(axis=(0, 2)) > 1e6)
    remedy = "the simulation is unstable: lower the time step, the gains or the control ranges"
    return Finding(
        "physics", not bad.any(), f"unstable in {bad.sum()} of {len(bad)} episodes", remedy if bad.any() else ""
    )


def _check_fields(task: Task, seen: np.ndarray) -> Finding:
    """Returns the finding on fields that never change; constant goals are usual."""
    still = [
        field.name
        for field in task.spec
        if field.role not in ("goal", "hidden")
        and np.ptp(seen[..., task.spec.slice(field.name)], axis=(0, 1)).max() < 1e-9
    ]
    text = f"{len(task.spec.names)} fields, {len(still)} of them never change"
    named = f": {', '.join(still[:8])}{' ...' if len(still) > 8 else ''}" if still else ""
    remedy = "leave them out with state.exclude; a rule on them is never or always true" if still else ""
    return Finding("state", not still, text + named, remedy, needed=False)


def _check_objects(task: Task) -> list[Finding]:
    """Returns the finding on bodies that the goal sentence names and that cannot move."""
    model, said = task.model, split_words(task.goal)
    fixed = [
        name
        for body in range(1, model.nbody)
        if model.body_treeid[body] < 0 and model.body_mocapid[body] < 0
        if split_words(name := model.body(body).name) & said & OBJECT and not split_words(name) & GOAL
    ]
    if not fixed:
        return []
    text = f"the goal names {', '.join(fixed)}, which is fixed to the world"
    return [Finding("objects", False, text, "give the body a <freejoint/> if it is to be moved", needed=False)]


def _check_reach(task: Task, first: State, qpos: np.ndarray) -> list[Finding]:
    """Returns the finding on objects and goals that a robot with a fixed base cannot reach at the start."""
    model, parts = task.model, ModelParts(task.model)
    robot = [body for body in range(1, model.nbody) if parts.is_in_robot(body)]
    joints = [j for j in range(model.njnt) if int(model.jnt_bodyid[j]) in robot]
    slides = [j for j in joints if int(model.jnt_type[j]) != int(mujoco.mjtJoint.mjJNT_HINGE)]
    if not robot or any(not model.jnt_limited[j] for j in slides):
        return []  # it drives, floats or slides without end
    reached = _sample_robot_places(model, robot, joints, qpos[0])
    low, high = reached.min(axis=0), reached.max(axis=0)
    far = []
    for field in task.spec:
        if field.shape == (3,) and field.quantity == "position" and field.role in ("object", "goal"):
            places = first[field.name]
            gap = float(np.linalg.norm(np.maximum(low - places, 0) + np.maximum(places - high, 0), axis=1).max())
            if gap > FAR:
                far.append(f"{field.subject} is up to {gap:.2f} m outside")
    box = " x ".join(f"[{a:.2f}, {b:.2f}]" for a, b in zip(low, high, strict=True))
    return [
        Finding(
            "reach",
            not far,
            f"the robot covers {box} m" + (f"; {', '.join(far)}" if far else ""),
            "start nearer to the robot, if it has to touch them" if far else "",
            needed=False,
        )
    ]


def _sample_robot_places(model: mujoco.MjModel, robot: list[int], joints: list[int], qpos: np.ndarray) -> np.ndarray:
    """Returns positions (K, 3) [m] of the robot's bodies, sites and geoms in random configurations."""
    rng, data, found = np.random.default_rng(0), mujoco.MjData(model), []
    sites = np.isin(model.site_bodyid, robot) & (model.site_group < 5)  # not the spheres of touch sensors
    geoms = np.isin(model.geom_bodyid, robot)
    for _ in range(400):
        data.qpos[:] = qpos
        for joint in joints:
            low, high = model.jnt_range[joint] if model.jnt_limited[joint] else (-np.pi, np.pi)
            data.qpos[model.jnt_qposadr[joint]] = rng.uniform(low, high)
        mujoco.mj_kinematics(model, data)
        found += [data.xpos[robot], data.site_xpos[sites], data.geom_xpos[geoms]]
    return np.concatenate(found)


def _check_actuators(task: Task) -> list[Finding]:
    """Returns the findings on actuators without a range and without effect."""
    model = task.model
    unlimited = list(getattr(task.controller, "unlimited", []))
    remedy = "give them ctrlrange in the model, or check that the range that was taken suits"
    findings = [
        Finding(
            "actuators",
            not unlimited,
            f"{model.nu} actuators, {len(unlimited)} without a control range"
            + (f": {', '.join(unlimited[:8])}" if unlimited else ""),
            remedy if unlimited else "",
            needed=False,
        )
    ]
    sag = float(getattr(task.controller, "sag", 0.0))
    if sag > SOFT:
        text = f"the arm sinks up to {sag * 100:.0f} cm under its own weight"
        findings.append(Finding("servos", False, text, "raise their stiffness, or set gravcomp='1'", needed=False))
    idle = [task.action.names[i] for i in range(task.action.dim) if not _has_effect(task, i)]
    if idle:
        text = f"no effect on the positions in five control steps: {', '.join(idle[:8])}"
        findings.append(
            Finding("actuator effect", False, text, "check joint and gear of these actuators", needed=False)
        )
    return findings


def _has_effect(task: Task, index: int) -> bool:
    """Returns whether one component of the action changes the state of a world."""
    ends = []
    for value in (-1.0, 1.0):
        sim = task.make_worlds(1, seed=0, threads=1)
        action = np.zeros((1, task.action.dim))
        action[0, index] = value
        for _ in range(max(1, min(5, task.horizon - 1))):
            sim.step(action)
        ends.append(sim.qpos.copy())
        sim.close()
    return not np.array_equal(*ends)


def _check_starts(task: Task, qpos: np.ndarray, mocap: np.ndarray) -> list[Finding]:
    """Returns the findings on joint limits and penetration of the starts."""
    model, data = task.model, mujoco.MjData(task.model)
    limited = [j for j in range(model.njnt) if model.jnt_limited[j] and int(model.jnt_type[j]) in SCALAR_JOINTS]
    outside = set()
    for joint in limited:
        (low, high), angle = model.jnt_range[joint], qpos[:, model.jnt_qposadr[joint]]
        if ((angle < low - 1e-3) | (angle > high + 1e-3)).any():
            outside.add(model.joint(joint).name or f"joint {joint}")
    deepest, pair = 0.0, ""
    for row in range(min(len(qpos), 16)):
        data.qpos[:] = qpos[row]
        data.mocap_pos.flat, data.mocap_quat.flat = np.split(mocap[row, : 7 * model.nmocap], [3 * model.nmocap])
        mujoco.mj_forward(model, data)
        for contact in data.contact:
            if contact.dist < deepest:
                deepest = float(contact.dist)
                bodies = [model.body(int(model.geom_bodyid[g])).name or "world" for g in contact.geom if g >= 0]
                pair = " and ".join(bodies)
    inside = -deepest > DEEP
    return [
        Finding(
            "start in the joint limits",
            not outside,
            f"outside: {', '.join(sorted(outside))}" if outside else "all joints",
            "correct the keyframe or start.joints; degrees in a model with angle='radian' look like this"
            if outside
            else "",
        ),
        Finding(
            "penetration at the start",
            not inside,
            f"{abs(deepest) * 1000:.1f} mm" + (f", {pair}" if inside else ""),
            "move the bodies apart: they will be thrown when the episode begins" if inside else "",
        ),
    ]


def _check_time_step(task: Task) -> Finding:
    step = float(task.model.opt.timestep)
    ok = step <= 0.0101
    text = f"{step * 1000:g} ms, {task.substeps} per control step of {task.control_dt * 1000:g} ms"
    return Finding(
        "time step", ok, text, "" if ok else "contacts need 10 ms or less: lower <option timestep>", needed=False
    )
