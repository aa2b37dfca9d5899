from collections.abc import Mapping

import mujoco
import numpy as np
import pytest

from robo_reward.envs.arm.base import ArmTask
from robo_reward.envs.task import make_task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.hardware.arm import Target
from robo_reward.hardware.drivers.mujoco import MujocoArm
from robo_reward.hardware.perception.scene import SimulatedScene
from robo_reward.hardware.perception.state_estimator import NoObjects, ObjectsLost, Observer, load_object_source


def arm_task(name: str) -> ArmTask:
    task = make_task(name)
    assert isinstance(task, ArmTask)
    return task


@pytest.mark.parametrize("name", ["panda/lift", "fr3/push", "fr3/drawer", "panda/reach"])
def test_the_state_of_a_moving_arm_is_what_the_sensors_say(name: str, rng: np.random.Generator) -> None:
    task = arm_task(name)
    arm = MujocoArm(task, seed=3)
    arm.connect()
    arm.start_streaming()
    observer = Observer(task, SimulatedScene(arm))
    goal = arm.state().q
    for _ in range(40):
        goal = goal + rng.uniform(-0.01, 0.01, 7)
        arm.stream(Target(joints=goal, gripper=0.06))
    mujoco.mj_forward(task.model, arm.data)  # sensors of this very state, not of the step before
    sensed, made = arm.read_scene_state(), observer.estimate_state(arm.state())
    for field in task.spec:
        np.testing.assert_allclose(made[field.name], sensed[field.name], atol=1e-6, err_msg=field.name)
    assert observer.unknown == ()


def test_velocities_are_shown_in_the_policys_own_time() -> None:
    task = arm_task("fr3/lift")
    arm = MujocoArm(task)
    arm.connect()
    observer = Observer(task, SimulatedScene(arm))
    state = observer.estimate_state(arm.state())
    state.array[task.spec.slice("hand_velocity")] = (0.1, -0.2, 0.0)
    full, half = observer.compute_observation(state), observer.compute_observation(state, 0.5)
    differs = np.flatnonzero(full != half)
    assert len(differs) == 2
    np.testing.assert_allclose(half[differs], 2 * full[differs], rtol=1e-6)
    np.testing.assert_array_equal(full, task.observation(state))


def test_a_policy_that_sees_what_nobody_measures_is_refused() -> None:
    task = arm_task("fr3/lift")
    observer = Observer(task, NoObjects())
    assert set(observer.unknown) == {"cube_position", "cube_rotation", "cube_velocity"}
    with pytest.raises(UsageError, match=r"cube_position.*objects=MODULE:FUNCTION"):
        observer.require_fields(task.observation)


class Tracker:
    fields = ("cube_position", "cube_rotation", "cube_velocity")

    def read(self) -> Mapping[str, np.ndarray]:
        return {"cube_position": np.ones(3), "cube_rotation": np.ones(4), "cube_velocity": np.zeros(3)}

    def close(self) -> None:
        pass


def tracker(task: ArmTask, host: str) -> Tracker:
    assert host == "somewhere"
    return Tracker()


def test_a_users_own_tracker_is_found_by_name() -> None:
    task = arm_task("fr3/lift")
    found = load_object_source(f"{__name__}:tracker", task, "somewhere")
    observer = Observer(task, found)
    observer.require_fields(task.observation)
    arm = MujocoArm(task)
    arm.connect()
    np.testing.assert_array_equal(observer.estimate_state(arm.state()).cube_position, np.ones(3))
    with pytest.raises(UsageError, match="MODULE:FUNCTION"):
        load_object_source("no.such.module:f", task, "")
    with pytest.raises(UnknownName, match="cube_position"):
        Observer(arm_task("fr3/reach"), found)


def test_an_object_at_no_number_is_lost() -> None:
    task = arm_task("fr3/lift")
    arm = MujocoArm(task)
    arm.connect()
    scene = SimulatedScene(arm)
    fields = {**scene.read()}
    fields["cube_position"] = np.array([0.5, np.nan, 0.0])
    scene.read = lambda: fields
    with pytest.raises(ObjectsLost, match="cube_position is not finite"):
        Observer(task, scene).estimate_state(arm.state())
