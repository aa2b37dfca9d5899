"""The task's scene under torques: still when held, alike when driven, honest about what it feels."""

import threading
from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np
import pytest

from robo_reward.data.collect import collect_episodes
from robo_reward.envs.arm.base import ArmTask
from robo_reward.envs.batch import BatchSim
from robo_reward.envs.rendering.render import NoRenderer, Renderer
from robo_reward.envs.task import make_task
from robo_reward.errors import RoboRewardError, UnknownName, UsageError, WrongShape
from robo_reward.hardware.emulator.robot.control import InternalControl
from robo_reward.hardware.emulator.robot.model import RobotModel
from robo_reward.hardware.emulator.robot.urdf import robot_urdf
from robo_reward.hardware.emulator.world.mujoco_plant import MujocoPlant
from robo_reward.hardware.emulator.world.plant import DT, GripperCommand
from tests.hardware.emulator.driving import ZERO, Driver, follow_expert

DRY = (1.137, 1.137, 1.137, 1.137, 0.763, 0.44, 0.248)  # franka_fr3 of MuJoCo Menagerie [N m]


@pytest.fixture
def lift():
    plant = MujocoPlant(make_task("panda/lift"), seed=1)
    yield plant
    plant.close()


def test_it_begins_as_the_task_does():
    task = make_task("fr3/push")
    plant, sim = MujocoPlant(task, seed=5), BatchSim(task, 1, seed=5)
    assert np.allclose(plant.task_state().array, sim.state.array[0], atol=1e-9)
    assert np.array_equal(plant.start, plant.state().q)
    assert plant.state().gripper_width == pytest.approx(0.06)
    sim.close()


def test_a_rule_over_time_is_judged_while_it_runs():
    task = make_task("panda/lift", goal="Wait.", success="held(cube_height > 0, 0.2)")
    plant = MujocoPlant(task, seed=1)
    for _ in range(2):
        for _ in range(180):
            plant.step(ZERO)
        assert not plant.success()
        for _ in range(40):
            plant.step(ZERO)
        assert plant.success()
        plant.rearrange()


def test_the_same_seed_gives_the_same_bits():
    task = make_task("panda/lift")
    ends = []
    for _ in range(2):
        plant = MujocoPlant(task, seed=3)
        plant.reset()
        for k in range(300):
            plant.step(np.sin(k * DT * np.arange(7)), GripperCommand(0.02, 0.1, 20.0))
        ends.append(plant.task_state().array)
    assert np.array_equal(*ends)


@pytest.mark.parametrize("task", ["panda/lift", "fr3/drawer"])
def test_a_pose_is_held_still(task: str):
    plant = MujocoPlant(make_task(task))
    driver = Driver(plant)
    things = plant.task_state().array.copy()
    driver.hold(0.5)
    assert np.abs(driver.state.q - driver.q).max() < 1e-9
    assert np.abs(driver.state.dq).max() < 1e-9
    assert np.allclose(plant.task_state().array, things, atol=2e-3)  # things settle by what they sink into the table
    for _ in range(500):
        state = plant.step(ZERO)
    assert np.abs(state.q - driver.q).max() < 1e-9  # gravity is compensated
    assert not state.contact and not state.tau_ext.any() and not state.wrench.any()


def test_the_robot_feels_gravity_in_its_torques(lift: MujocoPlant):
    q = np.array(lift.arm.home)
    state = lift.reset(q)
    state = lift.step(ZERO)
    assert np.allclose(state.tau_J, RobotModel(lift.arm).gravity(q), atol=1.2)  # the fingers' 0.2 kg come on top
    assert np.allclose(lift.step(np.arange(7.0)).tau_J - state.tau_J, np.arange(7), atol=0.01)


def test_torques_accelerate_as_the_mass_matrix_says(lift: MujocoPlant):
    q = np.array(lift.arm.home)
    lift.reset(q)
    tau = np.array([2.0, -3.0, 1.0, 2.0, 0.3, -0.2, 0.1])
    dq = lift.step(tau).dq
    rotor = 0.1 * np.eye(7)
    assert np.allclose(dq / DT, np.linalg.solve(RobotModel(lift.arm).mass(q) + rotor, tau), rtol=0.15, atol=0.05)


def test_motors_have_limits(lift: MujocoPlant):
    lift.reset(np.array(lift.arm.home))
    gravity = lift.step(ZERO).tau_J
    lift.reset(np.array(lift.arm.home))
    assert np.allclose(lift.step(np.full(7, 1000.0)).tau_J - gravity, lift.arm.tau_max, atol=0.5)


def test_grasp_lift_and_let_go(lift: MujocoPlant):
    driver = Driver(lift)
    cube = lift.task_state().cube_position.copy()
    driver.hand_to(cube + np.array((0, 0, 0.1)))
    driver.hand_to(cube)
    driver.hold(1.0, GripperCommand(0.03, 0.1, 20.0))
    assert driver.state.gripper_width == pytest.approx(0.04, abs=2e-3)
    assert driver.state.gripper_force == pytest.approx(20.0, rel=0.1)
    assert not driver.state.gripper_moving
    driver.hand_to(cube + np.array((0, 0, 0.14)), 1.5)
    assert lift.success()
    driver.hold(0.3)
    weight = 0.1 * 9.81
    assert np.allclose(driver.state.wrench[:3], [0, 0, -weight], atol=0.1)
    jacobian = RobotModel(lift.arm).zero_jacobian(driver.state.q)
    assert np.allclose(driver.state.tau_ext, jacobian.T @ driver.state.wrench, atol=0.01)
    driver.hold(0.6, GripperCommand(0.08, 0.1))
    assert driver.state.gripper_width == pytest.approx(0.08, abs=1e-3)
    assert lift.task_state().cube_position[2] == pytest.approx(0.02, abs=2e-3)
    assert driver.state.gripper_force == 0.0 and not driver.state.wrench.any()


@pytest.mark.parametrize(("friction", "rest"), [("none", 0.05), ("identified", np.add(DRY, 0.05))])
def test_a_press_on_the_table_is_felt(friction, rest):
    plant = MujocoPlant(make_task("fr3/reach"), friction=friction)
    driver = Driver(plant)
    driver.control.set_joint_impedance(np.full(7, 400.0))
    driver.hand_to(np.array([0.5, 0.0, -0.005]), 1.5)
    driver.hold(0.5)
    state = driver.state
    assert 5 < state.wrench[2] < 120  # the table pushes up
    balance = driver.control.compute_torque(0, state, driver.q, ZERO, ZERO) + state.tau_ext
    assert (np.abs(balance) < rest).all()  # at rest, what the motors give, what is felt and friction cancel
    jacobian = RobotModel(plant.arm).zero_jacobian(state.q)
    assert np.allclose(state.tau_ext, jacobian.T @ state.wrench, atol=0.02)
    assert not state.contact  # fingers may touch the table


def test_links_that_touch_are_told():
    plant = MujocoPlant(make_task("panda/reach"))
    assert not plant.reset(np.array(plant.arm.home)).contact
    low = np.array([0.0, 1.7, 0.0, -0.8, 0.0, 2.5, 0.8])  # the wrist in the table
    plant.reset(low)
    assert plant.step(ZERO).contact


def test_arms_do_not_touch_themselves_in_tasks(rng: np.random.Generator):
    """Every start and everything between the limits of the policy's box is free of self-contact."""
    plant = MujocoPlant(make_task("fr3/reach"))
    for _ in range(40):
        plant.reset()
        assert not plant.state().contact
    assert sum(_touches_itself(plant, rng) for _ in range(60)) < 20


def _touches_itself(plant: MujocoPlant, rng: np.random.Generator) -> bool:
    q = rng.uniform(plant.arm.q_min, plant.arm.q_max)
    pose = RobotModel(plant.arm).pose(q)
    return bool(plant.reset(q).contact) and pose[2, 3] > 0.3


def test_reset_puts_the_arm_where_it_is_told(lift: MujocoPlant):
    home = np.array(lift.arm.home)
    first = lift.task_state().cube_position.copy()
    state = lift.reset(home)
    assert np.array_equal(state.q, home) and state.time == 0.0 and not state.dq.any()
    assert not np.array_equal(lift.task_state().cube_position, first)
    with pytest.raises(WrongShape):
        lift.reset(np.zeros(6))


def test_rearranging_leaves_the_arm(lift: MujocoPlant):
    driver = Driver(lift)
    driver.hold(0.1)
    before, cube = driver.state, lift.task_state().cube_position.copy()
    start = lift.rearrange()
    assert start.shape == (7,) and np.array_equal(start, lift.start)
    assert np.abs(lift.task_state().cube_position - cube).max() > 1e-3
    driver.hold(0.05)
    assert driver.state.time == pytest.approx(before.time + 0.05)
    assert np.allclose(driver.state.q, before.q, atol=1e-9)


@pytest.mark.parametrize("name", ["panda/lift", "fr3/push", "panda/drawer"])
def test_an_expert_does_the_same_as_in_simulation(name: str):
    """Through impedance control at 1 kHz, with the task's lag in the command, the hand takes the same path."""
    task = make_task(name)
    for seed in range(2):
        (episode,) = collect_episodes(task, task.expert, 1, seed=seed, threads=1)
        plant = MujocoPlant(task, seed=seed)
        path, success = follow_expert(plant)
        reference = task.spec.view(episode.state).hand_position[1:]
        assert success and episode.success[-1]
        assert np.linalg.norm(path - reference, axis=1).max() < 0.03


@pytest.mark.slow
@pytest.mark.parametrize("name", ["panda/reach", "fr3/lift", "panda/push", "fr3/drawer", "panda/door", "fr3/stack"])
def test_experts_succeed_as_often(name: str):
    task, n = make_task(name), 10
    alike = sum(bool(e.success[-1]) for e in collect_episodes(task, task.expert, n, seed=0))
    assert sum(follow_expert(MujocoPlant(task, seed=100 + s))[1] for s in range(n)) >= alike - 1


def test_pictures_are_the_tasks_from_any_thread(lift: MujocoPlant):
    data = mujoco.MjData(lift.task.model)
    data.qpos[:] = lift._data.qpos
    try:
        with Renderer(lift.task.model, 64, 64, "front") as renderer:
            expected = renderer.render(data.qpos)
    except NoRenderer as error:
        pytest.skip(str(error))
    with ThreadPoolExecutor(3) as pool:
        frames = list(pool.map(lambda _: lift.render("front", 64), range(6)))
    assert all(np.array_equal(frame, expected) for frame in frames)
    assert lift.render("wrist", 32).shape == (32, 32, 3)
    with pytest.raises(UnknownName, match="'front'"):
        lift.render("frnt", 64)
    lift.close()
    lift.close()
    with pytest.raises(RoboRewardError, match="closed"):
        lift.render("front", 64)


def test_reading_while_stepping(lift: MujocoPlant):
    """States read from another thread are whole: the sensors of one moment."""
    driver, seen, done = Driver(lift), [], threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.append(lift.task_state().array)

    thread = threading.Thread(target=watch)
    thread.start()
    driver.hand_to(lift.task_state().hand_position + np.array((0.05, 0, 0.05)), 0.3)
    done.set()
    thread.join()
    model = RobotModel(lift.arm)
    for row in seen[:: max(1, len(seen) // 20)]:
        state = lift.task.spec.view(row)
        assert np.allclose(model.pose(state.joint_position)[:3, 3], state.hand_position, atol=1e-9)


def test_what_is_refused(lift: MujocoPlant):
    with pytest.raises(UsageError, match="panda/"):
        MujocoPlant(make_task("ur5e/group"))
    with pytest.raises(UsageError, match="seven finite numbers"):
        lift.step(np.full(7, np.nan))


def test_internal_control_can_share_the_plants_arm(lift: MujocoPlant):
    assert InternalControl(lift.arm).model.arm is lift.arm


def test_an_fr3_has_the_friction_and_the_rotors_that_were_identified_on_one():
    plant, still = MujocoPlant(make_task("fr3/reach")), np.zeros(7)
    begun = plant.state().q
    for _ in range(200):
        state = plant.step(0.8 * np.array(DRY))
    assert np.abs(state.q - begun).max() < 2e-3 and not state.tau_ext.any()  # friction is no contact
    np.testing.assert_allclose(state.tau_J - plant.reset(begun).tau_J, 0, atol=0.1)  # nothing gets through the gear
    plant.reset(begun)
    over = np.zeros(7)
    over[6] = 1.2 * DRY[6]
    for _ in range(100):
        state = plant.step(over)
    assert state.q[6] - begun[6] > 5 * np.abs(state.q - begun)[:6].max() > 0
    plant.reset(begun)
    strong = np.zeros(7)
    strong[6] = 3.0
    speed = plant.step(strong).dq[6]
    rotor = 0.074  # the last link adds little
    assert 0.6 < speed * rotor / (1e-3 * (3.0 - DRY[6])) < 1.0
    plant.reset(begun)
    assert not plant.step(still).tau_ext.any()


def test_friction_is_chosen_by_name_and_a_panda_has_no_dry_one():
    with pytest.raises(UnknownName, match="Did you mean 'none'"):
        MujocoPlant(make_task("fr3/reach"), friction="non")
    for plant in (MujocoPlant(make_task("fr3/reach"), friction="none"), MujocoPlant(make_task("panda/reach"))):
        begun = plant.state().q
        for _ in range(200):
            state = plant.step(0.5 * np.array(DRY))
        assert np.abs(state.q - begun).max() > 0.01


def test_masses_are_chosen_by_name_and_reach_body_model_and_description():
    panda = make_task("panda/reach")
    assert isinstance(panda, ArmTask)
    plants = {name: MujocoPlant(panda, inertia=name) for name in ("", "gaz2019", "franka_description")}
    masses = {name: [plant._model.body(f"link{i}").mass[0] for i in range(1, 8)] for name, plant in plants.items()}
    assert masses[""] == masses["gaz2019"] == pytest.approx([4.971, 0.647, 3.229, 3.588, 1.226, 1.667, 0.736], abs=1e-3)
    new = masses["franka_description"]
    assert new == pytest.approx([2.7907, 2.542, 2.2513, 2.2037, 2.2855, 1.353, 0.35973])
    arm = plants["franka_description"].arm
    held = RobotModel(arm).gravity(np.array(arm.home))
    assert abs(held - RobotModel(panda.arm).gravity(np.array(arm.home))).max() > 1.0
    plant = plants["franka_description"]
    np.testing.assert_allclose(
        plant.state().tau_J, RobotModel(arm).gravity(plant.start), atol=1.2
    )  # the fingers are the scene's
    assert '<mass value="2.2037"/>' in robot_urdf(arm)
    moments = np.sort(plant._model.body("link4").inertia)
    assert moments == pytest.approx([0.00367994, 0.00795554, 0.01163548], abs=1e-7)  # A + B = C
    with pytest.raises(UnknownName, match="inertia of fr3"):
        MujocoPlant(make_task("fr3/reach"), inertia="gaz2019")
