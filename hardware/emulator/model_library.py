"""The shared library of the arm's model that version 5 sends to its clients."""

from __future__ import annotations

from robo_reward.envs.panda.arm import Arm


def model_library(arm: Arm, architecture: int, system: int) -> bytes:
    """The library for x86-64 Linux, or nothing where it cannot be made."""
    return b""
