"""Histories and pictures on their way to a policy in another process or on another machine."""

from typing import Any

import numpy as np
import pytest

from robo_reward.hardware.policy.messages import answer, pack_query, read_ready, read_reply, specification
from robo_reward.hardware.policy.process import PolicyDied, PolicyProcess
from robo_reward.hardware.policy.server import PolicyServer, RemotePolicy
from robo_reward.hardware.wire import BadMessage, pack_message
from robo_reward.policies.rollout.chunk import ChunkSpec
from tests.hardware.patience import eventually
from tests.policies import chunks

TOKEN, HOST = "a token of more than sixteen characters", "127.0.4.32"
TEXT = "fr3/lift front+side 16 3 5 2"


@pytest.fixture(scope="module")
def own() -> chunks.LinearChunks:
    return chunks.load(TEXT)


def shown(own: chunks.LinearChunks, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    pictures = {camera: rng.integers(0, 256, (3, 16, 16, 3), np.uint8) for camera in ("front", "side")}
    return {"state": rng.normal(size=(3, own.observation.dim)).astype(np.float32), **pictures}


def expected(own: chunks.LinearChunks, observation: dict[str, np.ndarray]) -> np.ndarray:
    return own.act({name: array[None] for name, array in observation.items()})[0]


def test_a_process_and_a_server_see_what_was_sent_and_say_what_does_not_fit(own: chunks.LinearChunks) -> None:
    server = PolicyServer(chunks.load(TEXT), TOKEN, HOST)
    server.start()
    sources: list[Any] = [PolicyProcess(TEXT, chunks.load), RemotePolicy(f"ws://{HOST}:{server.port}", TOKEN)]
    try:
        for source in sources:
            assert source.horizons == ChunkSpec(own.frames, 3, 5, 2)
            source.reset()
            for ticket in (1, 2):
                observation = shown(own, ticket)
                source.send_observation(ticket, observation)
                replies: list[Any] = []
                assert eventually(lambda r=replies, s=source: r.append(s.receive_reply(0.1)) or r[-1] is not None)
                assert replies[-1].ticket == ticket
                np.testing.assert_allclose(replies[-1].actions, expected(own, observation), atol=1e-6)
            source.send_observation(3, {**shown(own, 0), "front": np.zeros((3, 8, 8, 3), np.uint8)})
            with pytest.raises(PolicyDied, match=r"BadMessage: a query with .*\(3, 8, 8, 3\)"):
                source.receive_reply(10.0)
    finally:
        for source in sources:
            source.close()
        server.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"front": None}, "expects.*picture:front"),
        ({"front": np.zeros((3, 17, 17, 3), np.uint8)}, r"\(3, 17, 17, 3\)"),
        ({"front": np.zeros((2, 16, 16, 3), np.uint8)}, r"\(2, 16, 16, 3\)"),
        ({"front": np.zeros((3, 16, 16, 3), np.float32)}, "expected uint8"),
        ({"wrist": np.zeros((3, 16, 16, 3), np.uint8)}, "picture:wrist"),
        ({"state": np.zeros((1, 4), np.float32)}, r"observation \(1, 4\)"),
        ({"state": np.full((3, 1), np.nan, np.float32)}, "no finite numbers"),
    ],
)
def test_a_query_that_does_not_fit_is_refused(own: chunks.LinearChunks, change: dict[str, Any], words: str) -> None:
    observation = {**shown(own, 0), **change}
    if words.startswith("no finite"):
        observation["state"] = np.full((3, own.observation.dim), np.nan, np.float32)
    message = pack_query(1, {name: array for name, array in observation.items() if array is not None})
    with pytest.raises(BadMessage, match=words):
        answer(own, message)


def test_every_episode_has_its_own_noise() -> None:
    policy = chunks.load("fr3/lift 0 0 2 4 2")
    for seed in (3, 4, "no number", -1):
        assert answer(policy, pack_message({"kind": "reset", "seed": seed})) is None
    assert policy.seeds == [3, 4, 0, 0]


def test_horizons_are_read_as_they_were_meant_and_nonsense_is_refused(own: chunks.LinearChunks) -> None:
    head = {"kind": "ready", **specification(own)}
    assert read_ready(head).horizons == ChunkSpec(own.frames, 3, 5, 2)
    plain = {name: value for name, value in head.items() if name != "horizons"}
    assert read_ready(plain).horizons.is_single_step
    for change in (
        {"execute": 6}, {"history": 0}, {"chunk": 10**6}, {"frames": {"cameras": [], "size": 16}}, {"history": "two"},
        {"frames": {"cameras": ["a"] * 9, "size": 16}}, {"frames": {"cameras": ["a"], "size": 10**6}},
        {"frames": {"cameras": ["a"] * 8, "size": 2048}},
    ):  # fmt: skip
        with pytest.raises(BadMessage):
            read_ready({**head, "horizons": {**head["horizons"], **change}})


def test_an_answer_is_the_whole_chunk(own: chunks.LinearChunks) -> None:
    said = answer(own, pack_query(7, shown(own, 7)))
    assert said is not None
    assert read_reply(said).actions.shape == (5, own.action.dim)
