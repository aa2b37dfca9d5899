"""Goals of the DeepMind Control Suite as sentences, and the tolerances that its tasks define."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Tolerance(NamedTuple):
    """When the quantities of a task lie within its tolerances.

    Attributes:
        text: as a sentence.
        holds: from the suite's `physics` and `task`.
    """

    text: str
    holds: Callable[[Any, Any], bool]


GOALS = {
    "acrobot-swingup": "Swing the arm up and hold its tip at the target.",
    "acrobot-swingup_sparse": "Swing the arm up and hold its tip at the target.",
    "ball_in_cup-catch": "Catch the ball in the cup.",
    "cartpole-balance": "Balance the pole upright on the cart, in the middle.",
    "cartpole-balance_sparse": "Balance the pole upright on the cart, in the middle.",
    "cartpole-swingup": "Swing the pole up and balance it on the cart, in the middle.",
    "cartpole-swingup_sparse": "Swing the pole up and balance it on the cart, in the middle.",
    "cartpole-three_poles": "Balance the three poles upright on the cart, in the middle.",
    "cartpole-two_poles": "Balance the two poles upright on the cart, in the middle.",
    "cheetah-run": "Run forward at 10 m/s.",
    "dog-fetch": "Fetch the ball and bring it to the target.",
    "dog-run": "Run forward at 9 m/s.",
    "dog-stand": "Stand upright on four legs.",
    "dog-trot": "Trot forward at 3 m/s.",
    "dog-walk": "Walk forward at 1 m/s.",
    "finger-spin": "Spin the body on the hinge quickly with the finger.",
    "finger-turn_easy": "Turn the body on the hinge with the finger until its tip is at the target.",
    "finger-turn_hard": "Turn the body on the hinge with the finger until its tip is at the target.",
    "fish-swim": "Swim to the target.",
    "fish-upright": "Turn upright.",
    "hopper-hop": "Hop forward at 2 m/s.",
    "hopper-stand": "Stand upright.",
    "humanoid-run": "Run at 10 m/s.",
    "humanoid-run_pure_state": "Run at 10 m/s.",
    "humanoid-stand": "Stand upright.",
    "humanoid-walk": "Walk at 1 m/s.",
    "humanoid_CMU-run": "Run at 10 m/s.",
    "humanoid_CMU-stand": "Stand upright.",
    "humanoid_CMU-walk": "Walk at 1 m/s.",
    "lqr-lqr_2_1": "Bring the masses to rest in the middle with little force.",
    "lqr-lqr_6_2": "Bring the masses to rest in the middle with little force.",
    "manipulator-bring_ball": "Grasp the ball and bring it to the target.",
    "manipulator-bring_peg": "Grasp the peg and bring it to the target.",
    "manipulator-insert_ball": "Grasp the ball and put it into the cup, at the target.",
    "manipulator-insert_peg": "Grasp the peg and insert it into the slot, at the target.",
    "pendulum-swingup": "Swing the pole up and hold it upright.",
    "point_mass-easy": "Move the mass to the target.",
    "point_mass-hard": "Move the mass to the target.",
    "quadruped-escape": "Walk out of the hilly terrain.",
    "quadruped-fetch": "Bring the ball to the target.",
    "quadruped-run": "Run forward at 5 m/s.",
    "quadruped-walk": "Walk forward at 0.5 m/s.",
    "reacher-easy": "Move the finger to the target.",
    "reacher-hard": "Move the finger to the target.",
    "stacker-stack_2": "Put a box on the target, on top of another where the target is high.",
    "stacker-stack_4": "Put a box on the target, on top of others where the target is high.",
    "swimmer-swimmer15": "Swim with the nose to the target.",
    "swimmer-swimmer6": "Swim with the nose to the target.",
    "walker-run": "Run forward at 8 m/s.",
    "walker-stand": "Stand upright.",
    "walker-walk": "Walk forward at 1 m/s.",
}
"""Goal sentence by task."""


def _is_balanced(physics: Any, task: Any) -> bool:
    return bool(abs(physics.cart_position()) <= 0.25 and np.all(physics.pole_angle_cosine() >= 0.995))


def _is_at_finger_target(physics: Any, task: Any) -> bool:
    return physics.finger_to_target_dist() <= physics.named.model.geom_size[["target", "finger"], 0].sum()


def _is_at_fish_target(physics: Any, task: Any) -> bool:
    reach = physics.named.model.geom_size[["mouth", "target"], 0].sum()
    return bool(np.linalg.norm(physics.mouth_to_target()) <= reach)


def _is_on_feet(height: float, speed: float) -> Callable[[Any, Any], bool]:
    """Returns whether a humanoid stands, and moves at a speed [m/s]."""

    def holds(physics: Any, task: Any) -> bool:
        upright = physics.torso_upright() if hasattr(physics, "torso_upright") else physics.thorax_upright()
        moving = np.linalg.norm(physics.center_of_mass_velocity()[:2]) >= speed
        return bool(physics.head_height() >= height and upright >= 0.9 and moving)

    return holds


def _is_walking(speed: float) -> Callable[[Any, Any], bool]:
    """Returns whether the planar walker is at its height, and moves at a speed [m/s]."""
    return lambda physics, task: physics.torso_height() >= 1.2 and physics.horizontal_velocity() >= speed


def _has_full_factors(physics: Any, task: Any) -> bool:
    return bool(np.all(task.get_reward_factors(physics) >= 1.0))


def _is_peg_in_place(physics: Any, task: Any) -> bool:
    return max(physics.site_distance("peg", "target_peg"), physics.site_distance("target_peg_tip", "peg_tip")) <= 0.01


def _has_escaped(physics: Any, task: Any) -> bool:
    upright = physics.torso_upright() >= np.cos(np.deg2rad(20))
    return bool(physics.origin_distance() >= physics.model.hfield_size[0, 0] and upright)


_BALANCED = Tolerance(
    "the cart is within 25 cm of the middle and every pole within 5.7 degrees of upright", _is_balanced
)
_REACHED = Tolerance("the finger touches the target", _is_at_finger_target)
_ACROBOT = Tolerance("the tip is within the target", lambda p, t: p.to_target() <= p.named.model.site_size["target", 0])
_TURNED = Tolerance("the tip of the body is within the target", lambda p, t: p.dist_to_target() <= 0)
_MASS = Tolerance(
    "the mass is within the target", lambda p, t: p.mass_to_target_dist() <= p.named.model.geom_size["target", 0]
)
_NOSE = Tolerance(
    "the nose is within the target", lambda p, t: p.nose_to_target_dist() <= p.named.model.geom_size["target", 0]
)
_BALL = Tolerance("the ball is within 1 cm of the target", lambda p, t: p.site_distance("ball", "target_ball") <= 0.01)
_PEG = Tolerance("both ends of the peg are within 1 cm of the target's", _is_peg_in_place)


def _make_standing(speed: float) -> Tolerance:
    moving = f", and moves at {speed:g} m/s or more" if speed else ""
    return Tolerance(f"the head is at least 1.4 m high, the trunk upright{moving}", _is_on_feet(1.4, speed))


def _make_walking(speed: float) -> Tolerance:
    moving = f", and moves forward at {speed:g} m/s or more" if speed else ""
    return Tolerance(f"the torso is at least 1.2 m high{moving}", _is_walking(speed if speed else -np.inf))


def _make_dog(what: str) -> Tolerance:
    return Tolerance(
        f"torso and pelvis are at standing height and upright, with its weight on the feet{what}", _has_full_factors
    )


def _make_forward(speed: float) -> Tolerance:
    return Tolerance(f"the torso moves forward at {speed:g} m/s or more", lambda p, t: p.torso_velocity()[0] >= speed)


TOLERANCES: dict[str, Tolerance] = {
    "acrobot-swingup": _ACROBOT,
    "acrobot-swingup_sparse": _ACROBOT,
    "ball_in_cup-catch": Tolerance("the ball is in the cup", lambda p, t: p.in_target() > 0),
    "cartpole-balance": _BALANCED,
    "cartpole-balance_sparse": _BALANCED,
    "cartpole-swingup": _BALANCED,
    "cartpole-swingup_sparse": _BALANCED,
    "cartpole-three_poles": _BALANCED,
    "cartpole-two_poles": _BALANCED,
    "cheetah-run": Tolerance("the torso moves forward at 10 m/s or more", lambda p, t: p.speed() >= 10),
    "dog-fetch": _make_dog(", and the ball is at the target"),
    "dog-run": _make_dog(", and it moves forward at 9 to 18 m/s"),
    "dog-stand": _make_dog(""),
    "dog-trot": _make_dog(", and it moves forward at 3 to 6 m/s"),
    "dog-walk": _make_dog(", and it moves forward at 1 to 2 m/s"),
    "finger-spin": Tolerance("the body spins at 15 rad/s or more", lambda p, t: p.hinge_velocity() <= -15.0),
    "finger-turn_easy": _TURNED,
    "finger-turn_hard": _TURNED,
    "fish-swim": Tolerance("the mouth touches the target", _is_at_fish_target),
    "hopper-hop": Tolerance(
        "the torso is 0.6 to 2 m above the foot and moves forward at 2 m/s or more",
        lambda p, t: 0.6 <= p.height() <= 2 and p.speed() >= 2,
    ),
    "hopper-stand": Tolerance("the torso is 0.6 to 2 m above the foot", lambda p, t: 0.6 <= p.height() <= 2),
    "humanoid-run": _make_standing(10.0),
    "humanoid-run_pure_state": _make_standing(10.0),
    "humanoid-stand": _make_standing(0.0),
    "humanoid-walk": _make_standing(1.0),
    "humanoid_CMU-run": _make_standing(10.0),
    "humanoid_CMU-stand": _make_standing(0.0),
    "humanoid_CMU-walk": _make_standing(1.0),
    "manipulator-bring_ball": _BALL,
    "manipulator-bring_peg": _PEG,
    "manipulator-insert_ball": _BALL,
    "manipulator-insert_peg": _PEG,
    "pendulum-swingup": Tolerance(
        "the pole is within 8 degrees of upright", lambda p, t: p.pole_vertical() >= np.cos(np.deg2rad(8))
    ),
    "point_mass-easy": _MASS,
    "point_mass-hard": _MASS,
    "quadruped-escape": Tolerance("the torso is upright and beyond the edge of the terrain", _has_escaped),
    "quadruped-fetch": Tolerance(
        "the ball is within the target",
        lambda p, t: p.ball_to_target_distance() <= p.named.model.site_size["target", 0],
    ),
    "quadruped-run": _make_forward(5.0),
    "quadruped-walk": _make_forward(0.5),
    "reacher-easy": _REACHED,
    "reacher-hard": _REACHED,
    "swimmer-swimmer15": _NOSE,
    "swimmer-swimmer6": _NOSE,
    "walker-run": _make_walking(8.0),
    "walker-stand": _make_walking(0.0),
    "walker-walk": _make_walking(1.0),
}
"""Tolerance by task; `fish-upright`, `lqr` and `stacker` define none."""
