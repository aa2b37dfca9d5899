"""Success of recorded episodes by a rule of the user, instead of what the data says."""

from __future__ import annotations

import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.envs.state import State
from robo_reward.errors import UsageError
from robo_reward.scenes.rules import StateCondition, build_rule

USUAL_RATE = 25.0
"""Control rate of an episode that does not say its own [Hz]."""


def judge_recording(rule: str, episode: Episode) -> bool:
    """Returns whether a rule holds at the end of an episode; one over time looks back over all of it.

    Raises:
        ConditionError: the text is not a condition on the episode's state.
        UnknownName: it names a field that the episode does not have.
        UsageError: the episode has no states.
    """
    if not episode.spec.dim:
        raise UsageError("it has no states, so that no rule can judge it: leave out success=, or give states")
    dt = 1.0 / float(episode.meta.get("fps") or USUAL_RATE)
    found = build_rule(rule, episode.spec, dt, np.inf)  # a shorter episode is no success, and no mistake of the rule
    if isinstance(found, StateCondition):
        return bool(found(State(episode.spec, episode.state[-1:]))[0])
    memory, holds = found.start(State(episode.spec, episode.state[:1])), np.zeros(1, bool)
    for row in range(1, len(episode.state)):
        holds, memory = found.advance(State(episode.spec, episode.state[row : row + 1]), memory)
    return bool(holds[0])
