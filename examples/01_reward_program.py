"""Write a reward program, see what the language refuses, and score random actions in 256 simulated worlds."""

import numpy as np

import robo_reward as rr

SOURCE = '''
def compute_reward(state, action, previous):
    """Come close to the cube, then raise it."""
    distance = np.linalg.norm(state.cube_position - state.hand_position, axis=-1)
    reach = 1.0 - np.tanh(8.0 * distance)
    lift = 3.0 * np.where(distance < 0.04, np.clip((state.cube_position[:, 2] - 0.02) / 0.12, 0.0, 1.0), 0.0)
    return reach + lift, {"reach": reach, "lift": lift}
'''

task = rr.make_task("panda/lift")
try:
    rr.compile_program("import os\n" + SOURCE, task.spec, task.action.dim)
except rr.ProgramError as error:
    print(error)  # line, reason and remedy

reward = rr.compile_program(SOURCE, task.spec, task.action.dim)
sim = rr.BatchSim(task, n=256, seed=0, reward=reward)
rng = np.random.default_rng(0)
sim.reset()
for _ in range(20):
    result = sim.step(rng.uniform(-1.0, 1.0, (256, task.action.dim)))
print({name: float(value.mean().round(3)) for name, value in result.reward.terms.items()})
sim.close()
