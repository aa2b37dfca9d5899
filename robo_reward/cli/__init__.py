"""The command line: `robo-reward VERB key=value …`."""

from robo_reward.cli.app import main

__all__ = ["main"]
