"""Tells gymnasium of the built-in tasks, by name only: nothing of ours is imported before one is made."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

HAND = ("reach", "lift", "push", "pick", "stack", "drawer", "door")
PUSHER = ("group", "clutter")
NAMES = {"panda": (*HAND, *PUSHER), "fr3": HAND, "ur5e": PUSHER}


def register_tasks() -> None:
    """Registers `RoboReward/PandaPush-v0` and all the others, single and vectorised."""
    for arm, names in NAMES.items():
        for name in names:
            id = f"RoboReward/{arm.capitalize()}{name.capitalize()}-v0"
            if id not in registry:
                register(
                    id,
                    entry_point="robo_reward.envs.gym:TaskEnv",
                    vector_entry_point="robo_reward.envs.gym:TaskVectorEnv",
                    kwargs={"task": f"{arm}/{name}"},
                )
