"""Queries of one episode to the policy, and the queue of its actions."""

from __future__ import annotations

import math
import time
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from robo_reward.envs.state import State
from robo_reward.hardware.deployment.latency import LatencyStatistics
from robo_reward.hardware.policy.action_queue import ActionQueue
from robo_reward.hardware.policy.observation import PolicyObservation

if TYPE_CHECKING:
    from robo_reward.hardware.deployment.control_loop import ControlContext

MAX_OPEN = 2
"""Most queries without a reply: one that the policy works on, and one that waits behind it."""
PROMPT = 0.25
"""Part of a control step within which a reply counts as immediate."""
REMEMBERED = 5
"""Number of replies whose longest latency is expected of the next."""

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

    A policy of single steps is asked in every step. A policy of chunks (H actions, of which e are executed) is asked
    when H - e actions are left, and not while an earlier query may still be answered in time, so that plans of
    different modes are not mixed. The actions that are left bridge its latency; where it takes longer than that, it
    is asked as many steps earlier as its last replies were late. Actions whose step has passed are dropped.

    Args:
        rig: components of the deployment; without a policy, a person decides.
        latencies: collects the time from each query to its reply.
    """

    def __init__(self, rig: ControlContext, latencies: LatencyStatistics) -> None:
        self.rig, self.latencies = rig, latencies
        self._queue = ActionQueue(rig.task.control_dt)
        self._observation = PolicyObservation(rig.policy, rig.observer, rig.views)
        self._horizons = self._observation.horizons
        self._open: dict[int, tuple[float, float]] = {}  # ticket -> policy's time, wall time of the query [s]
        self._inference = np.nan
        self._step, self._step_start = 0, 0.0
        self._is_seeing, self._is_paused = True, False
        self._was_asked = False  # since the last reset
        self._late_steps: deque[int] = deque([0], REMEMBERED)

    @property
    def looks(self) -> bool:
        """True for a policy that looks at pictures."""
        return self._horizons.frames is not None

    def start_step(self, step: int) -> None:
        """Starts a control step: it is this step's action that is returned from now on."""
        self._step, self._step_start, self._is_seeing = step, self.rig.clock.read_time(), True

    def send_observation(self, state: State, frame: np.ndarray | None = None) -> None:
        """Adds the present observation to the history, and sends it to the policy if that is due.

        Args:
            state: the task's state (D,).
            frame: pictures of the robot's cameras side by side (H, W, 3), or None.
        """
        while self._receive_reply(0.0):
            pass
        if self.rig.policy is None:
            return
        scale = self.rig.tempo.scale_at(self._step)
        self._observation.add(state, frame, scale)
        if self._is_paused or not self._is_due():
            self._is_paused = False
            return
        ticket = next(_ticket_numbers)
        self._open[ticket] = (self._step * self.rig.task.control_dt, time.monotonic())
        self.rig.policy.send_observation(ticket, self._observation.build())
        self._was_asked = True

    def skip_observation(self) -> None:
        """Begins a new history, as this step's state or pictures are unknown; its queued action is not returned.

        A policy of single steps is not asked, and has no queued action.
        """
        if not self._horizons.is_single_step:
            self._is_seeing = False
            self._observation.restart()

    def take_action(self) -> ActionRequest | None:
        """Returns the action of this control step, or None where it is not there before the next command is due."""
        if not self._is_seeing:
            return None
        now = self._step * self.rig.task.control_dt
        # The reply to this step's own observation is better than what an earlier plan has left: the arm goes on
        # towards its last target for a moment, instead of acting for a whole step on older pictures.
        if self._queue.count_remaining(now) and self._is_answer_open(now):
            self._receive_reply(max(self.rig.clock.time_until_next(), 0.0))
            moment = now + PROMPT * self.rig.task.control_dt
            if self._is_answer_open(now) and 0 in self._late_steps and self._compute_policy_time() < moment:
                return None
        while True:
            action = self._queue.take_action(now)
            if action is not None:
                return ActionRequest(action, "follow", time.monotonic(), self._inference)
            if not self._receive_reply(max(self.rig.clock.time_until_next(), 0.0)):
                return None

    def clear(self) -> None:
        """Removes the queued actions: the arm is no longer where they were decided."""
        self._queue.clear()

    def restart(self, pause: bool = False) -> None:
        """Removes the queued actions; a policy of chunks also forgets what it saw and decided, and its open queries.

        Args:
            pause: whether a policy of chunks is not asked in the next step, as a person may still drive.
        """
        self.clear()
        if self._horizons.is_single_step or self.rig.policy is None:
            return
        self._is_paused = pause
        self._observation.restart()
        if self._was_asked:  # not at every step in which a person drives
            self._was_asked = False
            self._open.clear()
            self.rig.policy.reset()

    def _is_answer_open(self, now: float) -> bool:
        """Returns whether the policy works on the observation of the step at `now`, in its time [s]."""
        return any(start == now for start, _ in self._open.values())

    def _is_due(self) -> bool:
        """Returns whether the policy is to be asked in this step."""
        if len(self._open) >= MAX_OPEN:
            return False
        if self._horizons.is_single_step:
            return True
        now, dt = self._step * self.rig.task.control_dt, self.rig.task.control_dt
        spare = max(self._count_usable_rows() - self._horizons.execute, *self._late_steps)
        if self._queue.count_remaining(now) > spare:
            return False
        # A query is given up only when every action of its reply would come too late.
        return all(now > start + (self._count_usable_rows() - 0.5) * dt for start, _ in self._open.values())

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
        rows, now = reply.actions, self._compute_policy_time()
        if rows.ndim < 2 or not len(rows):  # not a chunk: an empty row makes the safety filter hold
            rows = np.zeros((1, 0))
        if not self._horizons.is_single_step:
            rows = rows[: self._count_usable_rows()]
            self._late_steps.append(max(math.ceil((now - start) / self.rig.task.control_dt - PROMPT), 0))
            now = self._step * self.rig.task.control_dt  # the action of the present step is still of use
        # Late only if every row of the chunk is for a step that has passed.
        if self._queue.add_chunk(start, rows, now) == len(rows):
            self.rig.watchdog.record_late_action()
        return True

    def _count_usable_rows(self) -> int:
        """Returns the number of a chunk's actions that may be executed without a newer one.

        An arm whose policy is silent stops after the watchdog's time, however long the chunks are.
        """
        scale = self.rig.tempo.scale_at(self._step)
        bridged = math.floor(self.rig.watchdog.silent * scale / self.rig.task.control_dt)
        return min(self._horizons.chunk, self._horizons.execute + bridged)

    def _compute_policy_time(self) -> float:
        """Computes the policy's time [s]: steps at the time scale of training, however long they take on the arm."""
        tempo, dt = self.rig.tempo.scale_at(self._step), self.rig.task.control_dt
        # Within a step, real time is scaled by `tempo` and ends with the step.
        return self._step * dt + min((self.rig.clock.read_time() - self._step_start) * tempo, dt)
