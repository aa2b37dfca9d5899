"""The tasks are ordinary gymnasium environments: Stable-Baselines3 trains on one without anything of ours."""

import gymnasium as gym
from stable_baselines3 import PPO

env = gym.make("robo_reward.envs:RoboReward/PandaReach-v0", reward="expert")
model = PPO("MlpPolicy", env, n_steps=256, seed=0).learn(2_000)

observation, _ = env.reset(seed=1)
done = False
while not done:
    action, _ = model.predict(observation, deterministic=True)
    observation, reward, terminated, truncated, info = env.step(action)
    done = terminated or truncated
print("success:", info["is_success"])
