"""Environments of a package of one's own, good ones and bad ones; importing it registers them."""

from __future__ import annotations

import importlib
import os
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np

XML = """
<mujoco><option timestep="0.01"/>
  <worldbody>
    <body name="cart"><joint name="rail" type="slide" axis="1 0 0" range="-1 1" limited="true" damping="6"/>
      <geom size="0.05" mass="1"/><site name="flag"/></body>
    <body name="target" pos="0.5 0 0"><geom size="0.02" contype="0" conaffinity="0"/></body>
  </worldbody>
  <actuator><motor name="push" joint="rail" ctrlrange="-5 5"/></actuator>
</mujoco>
"""


class Cart(gym.Env):
    """A cart that shall reach a target, whose body its code moves at each reset; success is in the info.

    Args:
        fault: what is wrong with it.
    """

    def __init__(self, fault: str = "", cut: int = 0, render_mode: str | None = None) -> None:
        self.fault, self.cut, self.render_mode = fault, cut, render_mode
        self.model = mujoco.MjModel.from_xml_string(XML)
        self.data = mujoco.MjData(self.model)
        self.dt, self.steps = 0.05, 0
        box = gym.spaces.Box(-np.inf, np.inf, (3,), np.float64)
        goal = {name: gym.spaces.Box(-9, 9, (1,), np.float64) for name in ("achieved_goal", "desired_goal")}
        self.observation_space: Any = gym.spaces.Dict({"observation": box, **goal}) if fault == "" else box
        self.action_space: Any = gym.spaces.Box(-5, 5, (1,), np.float32)
        if fault == "discrete":
            self.action_space = gym.spaces.Discrete(2)
        if fault == "unbounded":
            self.action_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
        if fault == "pictures":
            self.observation_space = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
        if fault == "make":
            raise OSError("no such mesh: arm.stl")
        if fault == "package":
            importlib.import_module("no_such_package")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.steps = 0
        self.model.body("target").pos[0] = self.np_random.uniform(0.3, 0.8)
        self.data.qpos[0] = self.np_random.uniform(-0.1, 0.1)
        if self.fault == "forgets":
            self.data.qpos[0] = np.random.default_rng().uniform(-0.1, 0.1)
        mujoco.mj_forward(self.model, self.data)
        return self.observe(), {}

    def step(self, action: np.ndarray) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.steps += 1
        if self.fault == "step" and self.steps > 30 and self.data.qpos[0] > 0.8:
            raise ValueError("the gripper is gone")
        if self.fault == "dies" and self.steps > 30 and self.data.qpos[0] > 0.8:
            os._exit(3)
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data, 5)
        gap = abs(self.data.qpos[0] - self.model.body("target").pos[0])
        if self.fault in ("diverges", "shrinks") and self.data.qpos[0] > 0.8:
            return np.full(3 if self.fault == "diverges" else 2, np.nan), -gap, False, False, {"is_success": 0.0}
        lost = bool(self.data.qpos[0] < -0.9)
        truncated = bool(self.cut and self.steps >= self.cut)
        info = {} if self.fault == "silent" else {"is_success": float(gap < 0.05)}
        return self.observe(), None if self.fault == "reward" else -gap, lost, truncated, info

    def observe(self) -> Any:
        x, target = self.data.qpos[0], self.model.body("target").pos[0]
        flat = np.array([x, self.data.qvel[0], target])
        if self.fault == "pictures":
            return np.zeros((64, 64, 3), np.uint8)
        return flat if self.fault else {"observation": flat, "achieved_goal": flat[:1], "desired_goal": flat[2:]}


FAULTS = (
    "discrete", "unbounded", "pictures", "make", "package", "forgets", "step", "dies", "silent", "diverges", "shrinks",
    "reward",
)  # fmt: skip
PLACE = f"{__name__}:Cart"
if "Cart-v0" not in gym.registry:
    gym.register("Cart-v0", PLACE, max_episode_steps=40)
    for name in FAULTS:
        gym.register(f"Cart{name.title()}-v0", PLACE, max_episode_steps=40, kwargs={"fault": name})
