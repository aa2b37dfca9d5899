"""Train PPO on a program of your own, load the policy again, and measure its success."""

import robo_reward as rr

SOURCE = '''
def compute_reward(state, action, previous):
    """Bring the hand to the goal."""
    distance = np.linalg.norm(state.goal_position - state.hand_position, axis=-1)
    near = 1.0 - np.tanh(5.0 * distance)
    there = 1.0 * (distance < 0.02)
    return near + there, {"near": near, "there": there}
'''

task = rr.make_task("panda/reach")
reward = rr.compile_program(SOURCE, task.spec, task.action.dim)
run = rr.train("panda/reach", reward, steps=60_000, videos=0, run="example-reach")
policy = rr.load_policy("runs/example-reach")
evaluation = rr.evaluate(policy, task, episodes=50)
print(f"success {evaluation.success:.2f} ({evaluation.low:.2f} to {evaluation.high:.2f}); report: {run.report}")
