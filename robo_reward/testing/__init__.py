"""Conformance tests for plug-ins: inherit a mixin in a pytest class, and say how to make yours.

from robo_reward.testing.task import TaskContract

class TestTouch(TaskContract):
def make_task(self):
return Touch()
"""
