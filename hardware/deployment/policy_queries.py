"""Queries of one episode to the policy, and the queue of its actions."""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from robo_reward.envs.state import State
from robo_reward.hardware.deployment.latency import LatencyStatistics
from robo_reward.hardware.policy.action_queue import ActionQueue

if TYPE_CHECKING:
    from robo_reward.hardware.deployment.control_loop import ControlContext

MAX_OPEN = 2
"""Most queries without a reply: one that the policy works on, and one that waits behind it."""

_ticket_numbers = count(1)
"""Numbers of queries; never reused, so that a late reply is not taken for the reply to a later query."""


class ActionRequest(NamedTuple):
    """An action that the policy or a person requests for one control step.

    Attributes:
        action: (A,), not yet checked.
        verdict: recorded if the action is followed: `follow` for the policy, `person` for a person.
        answered: arrival of the policy's action, by this computer's monotonic clock [s].
        inference: duration of the policy's inference [s].
    """

    action: np.ndarray
    verdict: str
    answered: float = np.nan
    inference: float = np.nan


class PolicyQueries:
    """Sends observations to the policy, and returns each of its actions in the control step it is meant for.

    Args:
        rig: components of the deployment; without a policy, a person decides.
        latencies: collects the time from each query to its reply.
    """

    def __init__(self, rig: ControlContext, latencies: LatencyStatistics) -> None:
        self.rig, self.latencies = rig, latencies
        self._queue = ActionQueue(rig.task.control_dt)
        self._open: dict[int, tuple[float, float]] = {}  # ticket -> policy's time, wall time of the query [s]
        self._inference = np.nan
        self._step, self._step_start = 0, 0.0

    def start_step(self, step: int) -> None:
        """Starts a control step: it is this step's action that is returned from now on."""
        self._step, self._step_start = step, self.rig.clock.read_time()

    def send_observation(self, state: State) -> None:
        """Sends the present observation to the policy, unless two queries are still unanswered."""
        while self._receive_reply(0.0):
            pass
        if self.rig.policy is None or len(self._open) >= MAX_OPEN:
            return
        ticket = next(_ticket_numbers)
        self._open[ticket] = (self._step * self.rig.task.control_dt, time.monotonic())
        scale = self.rig.tempo.scale_at(self._step)
        self.rig.policy.send_observation(ticket, self.rig.observer.compute_observation(state, scale))

    def take_action(self) -> ActionRequest | None:
        """Returns the action of this control step, or None where it is not there before the next command is due."""
        now = self._step * self.rig.task.control_dt
        while True:
            action = self._queue.take_action(now)
            if action is not None:
                return ActionRequest(action, "follow", time.monotonic(), self._inference)
            if not self._receive_reply(max(self.rig.clock.time_until_next(), 0.0)):
                return None

    def clear(self) -> None:
        """Removes the queued actions: the arm is no longer where they were decided."""
        self._queue.clear()

    def _receive_reply(self, timeout: float) -> bool:
        """Receives one reply of the policy and queues its actions; returns False if none arrives within the time.

        A reply to a query of an earlier episode is dropped.

        Args:
            timeout: [s].
        """
        if self.rig.policy is None or not self._open:
            return False
        reply = self.rig.policy.receive_reply(timeout)
        if reply is None:
            return False
        if reply.ticket not in self._open:
            return True
        start, asked = self._open.pop(reply.ticket)
        self.latencies.add_durations(answer=time.monotonic() - asked)
        self._inference = reply.seconds
        rows = reply.actions
        if rows.ndim < 2 or not len(rows):  # not a chunk: an empty row makes the safety filter hold
            rows = np.zeros((1, 0))
        # Late only if every row of the chunk is for a step that has passed.
        if self._queue.add_chunk(start, rows, self._compute_policy_time()) == len(rows):
            self.rig.watchdog.record_late_action()
        return True

    def _compute_policy_time(self) -> float:
        """Computes the policy's time [s]: steps at the time scale of training, however long they take on the arm."""
        tempo, dt = self.rig.tempo.scale_at(self._step), self.rig.task.control_dt
        # Within a step, real time is scaled by `tempo` and ends with the step.
        return self._step * dt + min((self.rig.clock.read_time() - self._step_start) * tempo, dt)
