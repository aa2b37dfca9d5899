import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from robo_reward.errors import UsageError
from robo_reward.hardware.policy import process as policy_process
from robo_reward.hardware.policy import server as policy_server
from robo_reward.hardware.policy.process import PolicyDied
from robo_reward.hardware.policy.server import PolicyServer, RemotePolicy, generate_token
from robo_reward.hardware.wire import LENGTH, pack_message
from tests.hardware import policies
from tests.hardware.patience import eventually, repeated

TOKEN = "a token of more than sixteen characters"
HOST = "127.0.4.31"


@pytest.fixture
def server() -> Iterator[PolicyServer]:
    server = PolicyServer(policies.load("fr3/lift steady"), TOKEN, HOST)
    server.start()
    yield server
    server.close()


def address(server: PolicyServer) -> str:
    return f"ws://{HOST}:{server.port}"


def answered(policy: RemotePolicy, ticket: int, seconds: float = 10.0) -> np.ndarray | None:
    policy.send_observation(ticket, np.zeros(policy.observation.dim, np.float32))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        reply = policy.receive_reply(0.1)
        if reply is not None and reply.ticket == ticket:
            return reply.actions
    return None


def test_it_answers_over_the_network_as_the_policy_does(server: PolicyServer) -> None:
    own, remote = policies.load("fr3/lift steady"), RemotePolicy(address(server), TOKEN)
    try:
        assert remote.action == own.action and remote.meta == own.meta
        assert remote.observation.to_json() == own.observation.to_json()
        for ticket in range(8):
            np.testing.assert_array_equal(answered(remote, ticket), own.act(np.zeros((1, 3))))
        remote.reset()
        np.testing.assert_array_equal(answered(remote, 99), policies.load("fr3/lift steady").act(np.zeros((1, 3))))
        assert remote.receive_reply(0.0) is None
    finally:
        remote.close()


@pytest.mark.parametrize("token", ["another token of sixteen and more", TOKEN[:-1], TOKEN.upper()])
def test_whoever_does_not_know_the_token_gets_nothing(server: PolicyServer, token: str) -> None:
    with pytest.raises(PolicyDied, match="token"):
        RemotePolicy(address(server), token)


def test_tokens_that_can_be_guessed_are_refused(server: PolicyServer) -> None:
    with pytest.raises(UsageError, match="16"):
        RemotePolicy(address(server), "short")
    with pytest.raises(UsageError, match="16"):
        PolicyServer(policies.load("fr3/lift steady"), "", HOST)
    assert generate_token() != generate_token() and len(generate_token()) >= 16


def test_an_address_of_another_kind_or_without_a_server_is_named() -> None:
    with pytest.raises(UsageError, match="ws://"):
        RemotePolicy("http://somewhere", TOKEN)
    with pytest.raises(PolicyDied, match="no policy is served"):
        RemotePolicy(f"ws://{HOST}:9", TOKEN, patience=2.0)


def test_it_connects_again_when_the_server_comes_back() -> None:
    first = PolicyServer(policies.load("fr3/lift steady"), TOKEN, HOST)
    first.start()
    port = first.port
    remote = RemotePolicy(f"ws://{HOST}:{port}", TOKEN)
    try:
        assert answered(remote, 1) is not None
        first.close()
        assert eventually(lambda: remote._connection is None)
        remote.send_observation(2, np.zeros(3))  # goes nowhere, and harms nobody
        second = PolicyServer(policies.load("fr3/lift steady"), TOKEN, HOST, port)
        second.start()
        end, found = time.monotonic() + 20, None
        while found is None and time.monotonic() < end:
            found = answered(remote, 3, 0.5)
        assert found is not None and remote.reconnects >= 1
        second.close()
    finally:
        remote.close()


def test_a_bug_in_the_policy_is_told_to_the_client() -> None:
    server = PolicyServer(policies.load("fr3/lift raises"), TOKEN, HOST)
    server.start()
    remote = RemotePolicy(address(server), TOKEN)
    try:
        with pytest.raises(PolicyDied, match="ZeroDivisionError"):
            repeated(
                lambda: remote.send_observation(1, np.zeros(remote.observation.dim)), lambda: remote.receive_reply(5.0)
            )
    finally:
        remote.close()
        server.close()


ACTIONS = {"actions": np.zeros((1, 4))}
DEEP = b"[" * 100_000
BAD: dict[str, Any] = {
    "no ticket": pack_message({"kind": "reply", "seconds": 0.1}, ACTIONS),
    "seconds null": pack_message({"kind": "reply", "ticket": 1, "seconds": None}, ACTIONS),
    "seconds text": pack_message({"kind": "reply", "ticket": 1, "seconds": "x"}, ACTIONS),
    "no actions": pack_message({"kind": "reply", "ticket": 1, "seconds": 0.1}),
    "deep": LENGTH.pack(len(DEEP)) + DEEP,
    "text": "hello",
}


@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_reply_is_told_and_the_client_connects_again(
    server: PolicyServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, bad: str
) -> None:
    original, sent = policy_server.answer, []

    def once(policy: Any, data: bytes) -> Any:
        reply = original(policy, data)
        if reply is not None and not sent:
            sent.append(reply)
            return BAD[bad]
        return reply

    monkeypatch.setattr(policy_server, "answer", once)
    monkeypatch.setattr(policy_server, "RETRY", (0.01, 0.1))
    remote = RemotePolicy(address(server), TOKEN)
    try:
        remote.send_observation(1, np.zeros(remote.observation.dim, np.float32))
        assert eventually(lambda: remote.reconnects == 1)
        assert answered(remote, 2) is not None and "an invalid reply" in caplog.text
    finally:
        remote.close()


def test_a_server_of_nonsense_ends_it_with_a_message(server: PolicyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_server, "answer", lambda policy, data: BAD["no ticket"])
    monkeypatch.setattr(policy_server, "RETRY", (0.01, 0.1))
    remote = RemotePolicy(address(server), TOKEN)
    try:
        with pytest.raises(PolicyDied, match="3 invalid replies in a row"):
            repeated(
                lambda: remote.send_observation(1, np.zeros(remote.observation.dim)), lambda: remote.receive_reply(0.02)
            )
    finally:
        remote.close()


@pytest.mark.parametrize("lacks", ["action", "observation", "meta"])
def test_a_handshake_that_lacks_something_is_no_policy_server(
    server: PolicyServer, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    whole = policy_process.specification(policies.load("fr3/lift steady"))
    del whole[lacks]
    monkeypatch.setattr(policy_server, "specification", lambda policy: whole)
    with pytest.raises(PolicyDied, match=rf"is not a policy server: .*{lacks}"):
        RemotePolicy(address(server), TOKEN)
