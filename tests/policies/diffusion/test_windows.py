"""Windows of episodes against a loop over all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo_reward.data.episode import Episode
from robo_reward.envs.state import Field, StateSpec
from robo_reward.envs.task import Observable, ObservationSpec
from robo_reward.errors import UsageError
from robo_reward.policies.diffusion.settings import DiffusionSettings
from robo_reward.policies.diffusion.windows import cut_windows, find_short_episodes

SPEC = StateSpec((Field("place", (2,), "m", "where it is"),))
SEEN = ObservationSpec(SPEC, (Observable("place", 0.5),))


def make_episode(steps: int, offset: float = 0.0) -> Episode:
    """States and actions that say where they come from."""
    state = offset + np.arange(2.0 * (steps + 1)).reshape(-1, 2) / 1000
    action = offset + np.arange(3.0 * steps).reshape(-1, 3) / 1000
    return Episode(state, action, np.ones(steps, bool), SPEC)


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    history=st.integers(1, 3),
    more=st.integers(0, 6),
    data=st.data(),
)
def test_windows_equal_a_naive_loop(lengths: list[int], history: int, more: int, data: st.DataObject) -> None:
    horizon = history + more
    execute = data.draw(st.integers(1, horizon - history + 1))
    episodes = [make_episode(n, 0.1 * i) for i, n in enumerate(lengths)]
    expected = []
    for index, episode in enumerate(episodes):
        steps = len(episode)
        for first in range(-(history - 1), steps + (execute - 1) - horizon + 1):
            clamped = [min(max(first + k, 0), steps - 1) for k in range(horizon)]
            seen = np.stack([episode.state[k] / 0.5 for k in clamped[:history]])
            real = [0 <= first + k < steps for k in range(horizon)]
            expected.append((seen, episode.action[clamped], real, index, first + history - 1))
    if not expected:
        with pytest.raises(UsageError, match="too short for horizon"):
            cut_windows(episodes, SEEN, history, horizon, execute)
        return
    found = cut_windows(episodes, SEEN, history, horizon, execute)
    assert len(found) == len(expected)
    for ours, theirs in zip(
        (found.observation, found.action, found.mask, found.episode, found.step),
        zip(*expected, strict=True),
        strict=True,
    ):
        np.testing.assert_allclose(ours, np.array(theirs), rtol=1e-6)
    assert set(found.short) | set(found.episode.tolist()) == set(range(len(episodes)))


def test_padding_is_that_of_diffusion_policy() -> None:
    """pad_before = To - 1, pad_after = execute - 1, and action To - 1 of a window belongs to its newest observation."""
    found = cut_windows([make_episode(20)], SEEN, history=2, horizon=16, execute=8)
    assert found.step.tolist() == list(range(20 - 16 + 7 + 1 + 1))
    assert found.mask[0].tolist() == [False] + [True] * 15 and found.mask[-1].sum() == 16 - 7
    episode = make_episode(20)
    np.testing.assert_allclose(found.action[:, 1], episode.action[found.step], rtol=1e-6)
    np.testing.assert_allclose(found.observation[:, -1], episode.state[found.step] / 0.5, rtol=1e-6)


def test_too_few_steps_say_how_many_are_needed() -> None:
    with pytest.raises(UsageError, match=r"2 demonstrations of at most 4 steps .*at least 5 steps"):
        cut_windows([make_episode(4), make_episode(3)], SEEN, 1, 8, 4)
    mixed = [make_episode(5), make_episode(3)]
    found = cut_windows(mixed, SEEN, 1, 8, 4)
    assert len(found) == 1 and found.short == (1,)
    assert find_short_episodes(mixed, DiffusionSettings()) == [1]
    with pytest.raises(UsageError, match="at least 5 steps"):
        find_short_episodes(mixed[1:], DiffusionSettings())
