"""Rewards of a server over real HTTP: both protocols, every failure, and no question asked twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo_reward.data.episode import Episode
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.state import StateSpec
from robo_reward.errors import UnknownName, UsageError
from robo_reward.rewards.artifact import load_reward, save_reward
from robo_reward.rewards.http.connection import RewardServerError, ServerSettings, ServerUnavailable
from robo_reward.rewards.http.reward import HttpReward
from robo_reward.testing.episode_reward import EpisodeRewardContract
from tests.rewards.reward_server import RewardServerScript, brightness, serve_rewards


@pytest.fixture
def server() -> Iterator[RewardServerScript]:
    with serve_rewards(RewardServerScript()) as script:
        yield script


def make_episode(steps: int, seed: int = 0, size: tuple[int, int] = (12, 16)) -> Episode:
    """An episode whose frames grow brighter, each with noise of its own."""
    rng = np.random.default_rng(seed)
    level = np.linspace(0, 200, steps + 1)[:, None, None, None]
    frames = np.clip(level + rng.integers(0, 50, (steps + 1, *size, 3)), 0, 255).astype(np.uint8)
    spec, meta = StateSpec([]), {"task": f"Light up {seed}."}
    return Episode(
        np.zeros((steps + 1, 0)), np.zeros((steps, 0)), np.zeros(steps, bool), spec, frames=frames, meta=meta
    )


def make_reward(script: RewardServerScript, protocol: str = "simple", **more: Any) -> HttpReward:
    patience = {name: more.pop(name) for name in ("timeout", "retries", "key_env", "headers") if name in more}
    return HttpReward(ServerSettings(script.url, backoff=0.01, **patience), protocol, **more)


@pytest.mark.parametrize("protocol", ["simple", "robometer"])
def test_each_step_gets_the_number_of_the_frame_after_it(server: RewardServerScript, protocol: str) -> None:
    episodes = [make_episode(9, seed) for seed in range(3)]
    outputs = make_reward(server, protocol, max_frames=0, batch=2).batch(episodes)
    for episode, output in zip(episodes, outputs, strict=True):
        assert episode.frames is not None
        np.testing.assert_allclose(output.total, brightness(episode.frames)[1:], rtol=1e-12)
    assert [len(seen.frames) for seen in server.seen] == [2, 1]
    assert server.seen[0].path == {"simple": "/", "robometer": "/evaluate_batch_npy"}[protocol]
    assert [goal for seen in server.seen for goal in seen.goals] == ["Light up 0.", "Light up 1.", "Light up 2."]
    np.testing.assert_array_equal(server.seen[0].frames[1], episodes[1].frames)  # bit for bit
    if protocol == "robometer":
        np.testing.assert_array_equal(outputs[0].terms["success"], outputs[0].total > 0.5)
        assert server.seen[0].fields == {}


def test_success_as_the_reward_and_frame_steps(server: RewardServerScript) -> None:
    episode = make_episode(9)
    output = make_reward(server, "robometer", output="success", frame_steps=True)(episode)
    np.testing.assert_array_equal(output.total, output.terms["progress"] > 0.5)
    assert server.seen[0].fields == {"use_frame_steps": "true"}
    server.success = False
    assert list(make_reward(server, "robometer")(episode).terms) == ["progress"]
    with pytest.raises(UsageError, match="answers only progress"):
        make_reward(server, "robometer", output="success")(episode)


def test_long_episodes_are_thinned_and_large_frames_made_smaller(server: RewardServerScript) -> None:
    episode = make_episode(40, size=(30, 60))
    output = make_reward(server, max_frames=5, frames=FrameSpec(size=20), goal="Shine.")(episode)
    sent = server.seen[0].frames[0]
    assert sent.shape == (5, 10, 20, 3) and server.seen[0].goals == ["Shine."]
    at = [0, 10, 20, 30, 40]
    np.testing.assert_allclose(output.total, np.interp(np.arange(1, 41), at, brightness(sent)), rtol=1e-12)
    assert output.total[9] == brightness(sent)[1] and output.total[-1] == brightness(sent)[-1]


def test_one_request_holds_episodes_of_one_length(server: RewardServerScript) -> None:
    """Robometer's server stacks the frames of a request, so those of another length go on their own."""
    episodes = [make_episode(steps, seed) for seed, steps in enumerate((4, 7, 4, 7, 4))]
    outputs = make_reward(server, "robometer").batch(episodes)
    assert sorted(len(seen.frames) for seen in server.seen) == [2, 3]
    for episode, output in zip(episodes, outputs, strict=True):
        np.testing.assert_allclose(output.total, brightness(episode.frames)[1:])  # type: ignore[arg-type]


def test_answers_are_kept_so_that_an_interrupted_run_does_not_ask_twice(
    server: RewardServerScript, tmp_path: Path
) -> None:
    path, episodes = tmp_path / "run" / "answers.jsonl", [make_episode(6, seed) for seed in range(4)]
    server.replies = [lambda answer: answer, 400]  # the second request of two fails
    with pytest.raises(RewardServerError):
        make_reward(server, batch=2, store=path).batch(episodes)
    server.seen.clear()
    outputs = make_reward(server, batch=2, store=path).batch(episodes)
    assert [goal for seen in server.seen for goal in seen.goals] == ["Light up 2.", "Light up 3."]
    server.seen.clear()
    with open(path, "ab") as file:
        file.write(b'{"key": "cut short by a k')
    again = make_reward(server, batch=2, store=path)
    assert [output.total.tolist() for output in again.batch(episodes)] == [o.total.tolist() for o in outputs]
    assert not server.seen
    # Other frames, another goal and another protocol are other questions; the damaged line does no harm to the next.
    again(replace(episodes[0], meta={"task": "Another goal."}))
    again(make_episode(6, 9))
    make_reward(server, "robometer", store=path)(episodes[0])
    assert len(server.seen) == 3
    assert len(make_reward(server, store=path).answers) == 7


@pytest.mark.parametrize(
    ("replies", "requests", "said"),
    [
        ([503, 429], 3, ""),
        ([(429, {"Retry-After": "0.01"}, "slow down")], 2, ""),
        ([0], 2, ""),
        ([500] * 5, 3, r"the server answers 500 .*as told.*\(3 tries\).*reward.batch=1"),
        ([(429, {"Retry-After": "7200"}, "tomorrow")], 1, "answers 429 .*tomorrow"),
        ([400], 1, "does not understand the request"),
        ([401], 1, "reward.key_env=NAME"),
        ([404], 1, "protocol=... is the one it speaks"),
        ([413], 1, "lower reward.batch"),
        ([(307, {"Location": "http://elsewhere.example/x"}, "")], 1, "points to http://elsewhere.example/x"),
        (["no JSON"], 1, "it is not JSON"),
        (['{"scores": []}'], 1, "missing required field `rewards`"),
        (['{"rewards": [[1, 2, 3], [4]]}'], 1, "rewards of 2 episodes, 1 were sent"),
        (['{"rewards": [[1, 2, 3]]}'], 1, "3 rewards for episode 0 of the request, which has 5 frames"),
        (['{"rewards": [[1, NaN, 3, 4, 5]]}'], 1, "nan as rewards of frame 1"),
        (['{"rewards": [[1, 2, 3, 4, 1e999]]}'], 1, "inf as rewards of frame 4"),
        (['{"rewards": [[1, null, 3, 4, 5]]}'], 1, "Expected `float`, got `null`"),
        ([(200, {"Content-Length": "999"}, "{")] * 3, 3, "no connection: IncompleteRead"),
    ],
)
def test_failures(server: RewardServerScript, replies: list[Any], requests: int, said: str) -> None:
    server.replies = list(replies)
    reward, episode = make_reward(server, retries=2, timeout=2.0), make_episode(4)
    if said:
        with pytest.raises(RewardServerError, match=said):
            reward(episode)
    else:
        np.testing.assert_allclose(reward(episode).total, brightness(episode.frames)[1:])  # type: ignore[arg-type]
    assert len(server.seen) == requests


def test_robometer_answers_that_cannot_be_used(server: RewardServerScript) -> None:
    server.replies = ['{"outputs_progress": null}', '{"outputs_progress": {"progress_pred": [[0.5]]}}', "[]"]
    for said in ("no head for progress", "1 progress_pred for episode 0", "Expected `object`"):
        with pytest.raises(RewardServerError, match=said):
            make_reward(server, "robometer")(make_episode(4))


def test_time_limits_and_servers_that_are_not_there(server: RewardServerScript) -> None:
    server.replies = [0.6]
    with pytest.raises(RewardServerError, match=r"no answer within 0\.2 s.*Raise reward\.timeout"):
        make_reward(server, retries=0, timeout=0.2)(make_episode(4))
    gone = HttpReward(ServerSettings("http://127.0.0.1:1", retries=1, backoff=0.01))
    with pytest.raises(ServerUnavailable, match=r"no connection: Connection refused \(2 tries\)\. Start the server"):
        gone(make_episode(4))


def test_keys_are_sent_and_never_shown_or_stored(
    server: RewardServerScript, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MY_KEY", "sesame-1234")
    monkeypatch.setenv("OTHER_KEY", "hidden-5678")
    server.replies = [(403, {}, "the key sesame-1234 with hidden-5678 is not known")]
    reward = make_reward(
        server, key_env="MY_KEY", headers={"X-Key": "$OTHER_KEY", "X-Plain": "1"}, store=tmp_path / "a"
    )
    with pytest.raises(RewardServerError, match=r"the key \*\*\* with \*\*\* is not known") as raised:
        reward(make_episode(4))
    assert server.seen[0].headers["authorization"] == "Bearer sesame-1234"
    assert server.seen[0].headers["x-key"] == "hidden-5678" and server.seen[0].headers["x-plain"] == "1"
    reward(make_episode(4))
    save_reward(reward, tmp_path / "reward")
    kept = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert "sesame" not in kept + str(raised.value) and "hidden" not in kept + repr(reward.server.settings)
    monkeypatch.delenv("OTHER_KEY")
    with pytest.raises(UsageError, match="OTHER_KEY, for the header X-Key, is not set"):
        reward(make_episode(5))


def test_wrong_settings(server: RewardServerScript) -> None:
    for url in ("", "127.0.0.1:8000", "ftp://host", "http://", "http://host:0", "http://a b", "http://host:port"):
        with pytest.raises(UsageError, match="is no web address"):
            ServerSettings(url)
    for url in ("http://user:sesame@host", "http://sesame@host", "http://host/v1?token=sesame"):
        with pytest.raises(UsageError, match=r"holds a password or key") as raised:
            ServerSettings(url)
        assert "sesame" not in str(raised.value)
    with pytest.raises(UnknownName, match="protocol of a reward server"):
        make_reward(server, "soap")
    with pytest.raises(UnknownName, match="output of protocol=simple"):
        make_reward(server, output="success")
    with pytest.raises(UsageError, match="max_frames=1"):
        make_reward(server, max_frames=1)
    with pytest.raises(UsageError, match="has none"):
        make_reward(server)(replace(make_episode(4), frames=None))
    with pytest.raises(UsageError, match="needs the goal"):
        make_reward(server)(replace(make_episode(4), meta={}))


def test_a_saved_one_is_loaded_on_trust(server: RewardServerScript, tmp_path: Path) -> None:
    reward = make_reward(server, "robometer", goal="Shine.", max_frames=4, frames=FrameSpec(("side",), 64))
    folder = save_reward(reward, tmp_path / "reward")
    with pytest.raises(UsageError, match="sends frames to http"):
        load_reward(folder)
    loaded = load_reward(folder, trusted=True)
    assert loaded.spec() == json.loads(json.dumps(reward.spec())) and loaded.frames == FrameSpec(("side",), 64)
    np.testing.assert_array_equal(loaded(make_episode(6)).total, reward(make_episode(6)).total)


class TestContract(EpisodeRewardContract):
    """The contract of an episode reward, with a server for the whole class."""

    saved = False  # on trust only, as tested above
    script = RewardServerScript()

    serving = serve_rewards(script)

    @classmethod
    def setup_class(cls) -> None:
        cls.serving.__enter__()

    @classmethod
    def teardown_class(cls) -> None:
        cls.serving.__exit__(None, None, None)

    def make_reward(self) -> HttpReward:
        return make_reward(self.script, "robometer", max_frames=6)

    def make_episode(self, steps: int, seed: int) -> Episode:
        return make_episode(steps, seed)
