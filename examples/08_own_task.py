"""A task of your own from an MJCF: a ball on a rail must be brought to a mark."""

import mujoco
import numpy as np

import robo_reward as rr
from robo_reward.envs.state import Field, State, StateSpec
from robo_reward.envs.task import ActionSpec, Observable, ObservationSpec, Start, Task

SCENE = """
<mujoco><option timestep="0.01"/><worldbody>
  <body name="cart"><joint name="rail" type="slide" axis="1 0 0" damping="1"/><geom size=".05" mass="1"/></body>
</worldbody>
<actuator><motor joint="rail" gear="5"/></actuator>
<sensor><jointpos name="position" joint="rail"/><jointvel name="speed" joint="rail"/></sensor></mujoco>
"""


class Rail:
    """A force on the cart, one number in [-1, 1]."""

    spec = ActionSpec("native", ("force",), (5.0,), ("1",), rate_hz=20.0)

    def start(self, qpos: np.ndarray) -> np.ndarray:
        return np.zeros((len(qpos), 1))

    def advance(self, ctrl: np.ndarray, qpos: np.ndarray, action: np.ndarray) -> np.ndarray:
        return action


class BringToMark(Task):
    """The cart must stand at 0.5 m."""

    id, goal = "mylab/rail", "Bring the cart to the mark at 0.5 m and stop there."
    success_rule = "the cart is within 3 cm of the mark and slower than 5 cm/s"
    horizon, substeps, cameras = 100, 5, ()
    expert_reward = '''
def compute_reward(state, action, previous):
    """Be near the mark, and slow there."""
    near = 1.0 - np.tanh(4.0 * np.abs(state.position - 0.5))
    slow = 0.2 * near * (1.0 - np.tanh(np.abs(state.speed)))
    return near + slow, {"near": near, "slow": slow}
'''

    def __init__(self) -> None:
        self.spec = StateSpec([Field("position", (), "m", "of the cart"), Field("speed", (), "m/s", "of the cart")])
        self.observation = ObservationSpec(self.spec, [Observable("position"), Observable("speed")])
        self.model, self.controller = mujoco.MjModel.from_xml_string(SCENE), Rail()
        self.check()  # the model's sensors are the fields of the state

    def sample(self, rng: np.random.Generator, n: int) -> Start:
        return Start(rng.uniform(-0.5, 0.5, (n, 1)), np.zeros((n, 0)))

    def success(self, state: State) -> np.ndarray:
        return (np.abs(state.position - 0.5) < 0.03) & (np.abs(state.speed) < 0.05)


task = BringToMark()
reward = rr.compile_program(task.expert_reward, task.spec, task.action.dim)
sim = rr.BatchSim(task, n=64, seed=0, reward=reward)
sim.reset()
for _ in range(task.horizon - 1):
    place, speed = np.split(sim.observation(), 2, axis=1)
    result = sim.step(np.clip(4.0 * (0.5 - place) - 2.0 * speed, -1.0, 1.0))
print(f"a hand-written controller succeeds in {result.success.mean():.0%} of 64 worlds")
sim.close()
