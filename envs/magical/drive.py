"""Action convention of the stick: forward and turn."""

from __future__ import annotations

import numpy as np

from robo_reward.envs.task import ActionSpec

SPEED = 0.8
"""Full speed along the heading [m/s]; X-MAGICAL's limit, four robot radii a second."""

TURN = 2.5
"""Full turning speed [rad/s]; X-MAGICAL's limit, which all but the smallest actions reach there."""


class DriveController:
    """A robot that moves along its heading only, as fast as the action says.

    Args:
        dt: control period [s].
    """

    def __init__(self, dt: float) -> None:
        self.dt = dt
        self.spec = ActionSpec("drive", ("forward", "turn"), (SPEED, TURN), ("m/s", "rad/s"), round(1 / dt, 6))

    def start(self, qpos: np.ndarray) -> np.ndarray:
        """Returns the targets (n, 3) at rest."""
        return np.zeros((len(qpos), 3))

    def advance(self, ctrl: np.ndarray, qpos: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Returns the next targets (n, 3): vx, vy [m/s] along the mid-turn heading, and the turn rate [rad/s]."""
        speed, turn = SPEED * action[:, 0], TURN * action[:, 1]
        # Midpoint rule: the heading in the middle of the control period; angle 0 points along +y.
        heading = qpos[:, 2] + 0.5 * self.dt * turn
        return np.stack([-speed * np.sin(heading), speed * np.cos(heading), turn], axis=1)
