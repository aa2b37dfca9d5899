"""What franky computes from the robot model that an emulator serves: `python franky_model.py HOST < numbers.json`."""

import json
import sys

import franky
import numpy as np


def main() -> None:
    robot = franky.Robot(sys.argv[1], realtime_config=franky.RealtimeConfig.Ignore)
    model, asked = robot.model, json.load(sys.stdin)
    m, com, inertia = asked["m"], np.array(asked["com"]), np.array(asked["inertia"])
    tool, still = franky.Affine(np.array(asked["F_T_EE"])), franky.Affine(np.eye(4))
    found = []
    for q, dq in zip(np.array(asked["q"]), np.array(asked["dq"]), strict=True):
        found.append(
            {
                "mass": model.mass(q, inertia, m, com).tolist(),
                "coriolis": model.coriolis(q, dq, inertia, m, com).ravel().tolist(),
                "gravity": model.gravity(q, m, com).ravel().tolist(),
                "pose": model.pose(franky.Frame.EndEffector, q, tool, still).matrix.tolist(),
                "zero_jacobian": model.zero_jacobian(franky.Frame.EndEffector, q, tool, still).tolist(),
                "body_jacobian": model.body_jacobian(franky.Frame.EndEffector, q, tool, still).tolist(),
            }
        )
    json.dump(found, sys.stdout)


main()
