"""Tells gymnasium of the built-in tasks, by name only: nothing of ours is imported before one is made."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

HAND = ("reach", "lift", "push", "pick", "stack", "drawer", "door")
PUSHER = ("group", "clutter")
STICKS = ("short", "medium", "long")
NAMES = {
    "panda": (*HAND, *PUSHER),
    "fr3": HAND,
    "ur5e": PUSHER,
    "magical": (*(f"{task}-{stick}" for task in ("sweep", "group") for stick in STICKS), "avoid-short", "avoid-medium"),
}


def register_tasks() -> None:
    """Registers `RoboReward/PandaPush-v0`, `RoboReward/MagicalSweepLong-v0` and so on, single and vectorised."""
    for group, names in NAMES.items():
        for name in names:
            words = (group, *name.split("-"))
            id = f"RoboReward/{''.join(map(str.capitalize, words))}-v0"
            if id not in registry:
                register(
                    id,
                    entry_point="robo_reward.envs.gym:TaskEnv",
                    vector_entry_point="robo_reward.envs.gym:TaskVectorEnv",
                    kwargs={"task": f"{group}/{name}"},
                )
