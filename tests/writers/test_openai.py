"""The `openai` writer against a scripted server: what it asks, what it keeps, what it says when things go wrong."""

import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from robo_reward.errors import MissingExtra, UnknownName, UsageError
from robo_reward.web.addresses import read_retry_after
from robo_reward.writers import bounded_client
from robo_reward.writers.budget import SpendingBudget
from robo_reward.writers.chat_server import MAX_BACKOFF, MalformedReply, RetryPolicy, parse_reply
from robo_reward.writers.extract import MAX_ANSWER
from robo_reward.writers.ledger import Ledger
from robo_reward.writers.openai import OpenAIWriter
from robo_reward.writers.writer import WriterError
from tests.language.programs import FIVE_TERMS
from tests.writers.scripted_server import Reply, Script, chat, failure, serving
from tests.writers.test_prompts import REQUEST

GOOD = chat(f"```python\n{FIVE_TERMS}```")


def writer(script: Script | str, folder: Path, **options: Any) -> OpenAIWriter:
    url = script if isinstance(script, str) else script.url
    return OpenAIWriter(folder, **{"model": "m", "base_url": url, "backoff": 0.001, "retries": 2, **options})


def test_k_samples_are_k_requests_with_seeds_of_their_own(tmp_path: Path) -> None:
    with serving(GOOD) as script:
        answers = writer(script, tmp_path, extra={"top_p": 0.9}).write(REQUEST, 4)
    assert [a.source for a in answers] == [FIVE_TERMS] * 4
    assert [a.index for a in answers] == [0, 1, 2, 3]
    assert len({body["seed"] for body in script.asked}) == 4
    for body in script.asked:
        assert "n" not in body
        assert (body["model"], body["temperature"], body["max_tokens"], body["top_p"]) == ("m", 1.0, 4096, 0.9)
        assert [m["role"] for m in body["messages"]] == ["system", "user"]


def test_requests_run_at_the_same_time_up_to_the_limit(tmp_path: Path) -> None:
    with serving(GOOD, barrier=3) as script:
        writer(script, tmp_path, concurrency=3).write(REQUEST, 6)
    assert script.most == 3


def test_the_ledger_answers_again_without_the_server(tmp_path: Path) -> None:
    with serving(GOOD, chat("<think>a</think>no program"), chat("x", "length")) as script:
        first = writer(script, tmp_path, concurrency=1).write(REQUEST, 3)
    again = writer("http://127.0.0.1:9/v1", tmp_path, ledger="strict").write(REQUEST, 3)
    assert [a.cached for a in first + again] == [False] * 3 + [True] * 3
    strip = [(a.text, a.source, a.usage, a.finish_reason, a.index, a.error) for a in first + again]
    assert strip[:3] == strip[3:]


def test_only_missing_samples_are_asked_for(tmp_path: Path) -> None:
    with serving(GOOD) as script:
        writer(script, tmp_path).write(REQUEST, 2)
        answers = writer(script, tmp_path).write(REQUEST, 5)
    assert len(script.asked) == 5
    assert [a.cached for a in answers] == [True, True, False, False, False]


@pytest.mark.parametrize("status", [408, 429, 500, 503, 529])
def test_passing_failures_are_tried_again(tmp_path: Path, status: int) -> None:
    with serving(failure(status, headers={"Retry-After": "0"}), GOOD) as script:
        answer = writer(script, tmp_path).write(REQUEST, 1)[0]
    assert answer.source == FIVE_TERMS
    assert len(script.asked) == 2
    assert script.asked[0] == script.asked[1]


@pytest.mark.parametrize(
    "body", ["", "{", "[]", '"text"', "{}", '{"choices": []}', '{"choices": [{"message": 3}]}', "<html>"]
)
def test_garbled_replies_are_tried_again_then_named(tmp_path: Path, body: str) -> None:
    with serving(Reply(body=body), GOOD) as script:
        assert writer(script, tmp_path).write(REQUEST, 1)[0].source == FIVE_TERMS
    with serving(Reply(body=body)) as script, pytest.raises(WriterError, match=r"no chat completion.*writer\.base_url"):
        writer(script, tmp_path / "other").write(REQUEST, 1)
    assert len(script.asked) == 3


def test_usage_is_counted_priced_and_guessed(tmp_path: Path) -> None:
    with serving(chat("abcdefgh", usage=(1000, 500)), chat("abcdefgh", usage=None)) as script:
        counted, guessed = writer(script, tmp_path, concurrency=1, price_in=2.0, price_out=10.0).write(REQUEST, 2)
    assert (counted.usage.prompt_tokens, counted.usage.completion_tokens, counted.usage.estimated) == (1000, 500, False)
    assert counted.usage.cost == pytest.approx(0.007)
    assert guessed.usage.estimated
    assert guessed.usage.completion_tokens == 2
    assert 1000 < guessed.usage.prompt_tokens < 4000
    assert [e.usage for e in Ledger(tmp_path / "ledger.jsonl").load_entries()] == [counted.usage, guessed.usage]


def test_a_cut_off_answer_is_a_failed_sample_even_if_it_holds_a_program(tmp_path: Path) -> None:
    with serving(chat(f"```python\n{FIVE_TERMS}```", "length")) as script:
        answer = writer(script, tmp_path).write(REQUEST, 1)[0]
    assert answer.source is None
    assert "token limit" in str(answer.error)
    assert answer.finish_reason == "length"


@pytest.mark.parametrize("text", [None, "", "  \n"])
def test_an_empty_answer_is_a_failed_sample(tmp_path: Path, text: str | None) -> None:
    with serving(chat(text)) as script:
        answer = writer(script, tmp_path).write(REQUEST, 1)[0]
    assert (answer.source, answer.error) == (None, "the answer is empty")


def test_reasoning_is_stripped(tmp_path: Path) -> None:
    with serving(chat(f"<think>```python\nx\n```</think>\n```python\n{FIVE_TERMS}```")) as script:
        answer = writer(script, tmp_path).write(REQUEST, 1)[0]
    assert answer.source == FIVE_TERMS
    assert "think" not in answer.text


@pytest.mark.parametrize(
    ("reply", "tries", "said"),
    [
        (failure(401, "Incorrect API key provided: sk-secret."), 1, r"refuses the key in MY_KEY.*\*\*\*.*Set MY_KEY"),
        (failure(403), 1, "refuses the key in MY_KEY"),
        (failure(404, "no such route"), 1, "does not know model 'm'.*/v1"),
        (failure(400, "max_tokens is not supported"), 1, "refuses the request: .*max_tokens=0"),
        (
            failure(429, "slow down", {"Retry-After": "0"}),
            3,
            "limits the request rate.*after 3 tries.*writer.concurrency",
        ),
        (failure(429, "pay", code="insufficient_quota"), 1, "account has no credit left"),
        (failure(429, "come tomorrow", {"Retry-After": "86400"}), 1, "limits the request rate"),
        (failure(500, "oops"), 3, "fails; gave up after 3 tries.*oops"),
    ],
)
def test_failures_are_explained(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    reply: Reply,
    tries: int,
    said: str,
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    caplog.set_level(logging.DEBUG, "robo_reward")
    with serving(reply) as script, pytest.raises(WriterError, match=said) as error:
        writer(script, tmp_path, key_env="MY_KEY").write(REQUEST, 1)
    assert len(script.asked) == tries
    assert script.authorizations[0] == "Bearer sk-secret"
    assert "sk-secret" not in str(error.value) + caplog.text


@pytest.mark.parametrize(
    "reply",
    [
        failure(400, "unknown field in {'user': {'api_key': 'EXTRA-SECRET'}} of http://ann:URL-SECRET@host"),
        failure(401, "URL-SECRET is not the password of ann"),
        failure(404, "no route /v1?api_key=KEY-SECRET&x=1"),
        Reply(200, "<html>Bearer KEY-SECRET EXTRA-SECRET</html>"),
        Reply(200, "x" * 115 + "KEY-SECRET"),  # across the end of what is shown
        Reply(200, '{"choices": [{"echo": "EXTRA-SECRET"}]}'),
        Reply(307, "", {"Location": "http://ann:URL-SECRET@elsewhere/v1?token=KEY-SECRET"}),
    ],
)
def test_no_secret_is_in_a_message_or_in_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, reply: Reply
) -> None:
    monkeypatch.setenv("MY_KEY", "KEY-SECRET")
    caplog.set_level(logging.DEBUG, "robo_reward")
    options: dict[str, Any] = {"key_env": "MY_KEY", "extra": {"user": {"api_key": "EXTRA-SECRET"}}, "concurrency": 1}
    with serving(GOOD, reply) as script:
        url = script.url.replace("http://", "http://ann:URL-SECRET@")
        with pytest.raises(WriterError) as error:
            writer(url, tmp_path, **options).write(REQUEST, 2)
        assert script.asked[0]["user"] == {"api_key": "EXTRA-SECRET"}
    kept = (tmp_path / "ledger.jsonl").read_text()
    assert "compute_reward" in kept
    for text in (str(error.value), caplog.text, kept):
        assert "SECRET" not in text and "KEY-S" not in text
    assert writer(url, tmp_path, **options, ledger="strict").write(REQUEST, 1)[0].cached


def test_an_error_of_a_server_without_a_key_is_quoted_whole(tmp_path: Path) -> None:
    with serving(failure(400, "none of the fields fits")) as script, pytest.raises(WriterError, match="none of the"):
        writer(script, tmp_path).write(REQUEST, 1)


def test_an_unknown_model_is_answered_with_those_the_server_has(tmp_path: Path) -> None:
    expected = pytest.raises(UnknownName, match=r"small-2.*small-1.*writer\.model")
    with serving(failure(404, "model not found"), models=("small-1", "large-1")) as script, expected:
        writer(script, tmp_path, model="small-2").write(REQUEST, 1)


def test_an_unreachable_server_is_named(tmp_path: Path) -> None:
    with serving(GOOD) as script:
        gone = script.url
    with pytest.raises(WriterError, match=rf"{gone}.*cannot be reached.*writer\.base_url"):
        writer(gone, tmp_path, retries=1).write(REQUEST, 2)


def test_a_silent_server_times_out(tmp_path: Path) -> None:
    with serving(GOOD, barrier=2) as script:
        with pytest.raises(WriterError, match=r"no answer within 0\.2 s.*writer\.timeout"):
            writer(script, tmp_path, timeout=0.2, retries=0).write(REQUEST, 1)
        assert script.barrier is not None
        script.barrier.abort()


@contextmanager
def dripping(whole: bytes) -> Iterator[tuple[str, threading.Event]]:
    """A server that sends something at once and then a space every 20 ms; its address, and whether the client left."""
    gone = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                connection.recv(1 << 16)
                connection.sendall(whole)
                while not gone.wait(0.02):
                    connection.sendall(b" ")
            except OSError:
                gone.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", gone
        assert gone.wait(5.0), "the connection is still open"
        thread.join()


@pytest.mark.parametrize(
    "whole",
    [
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + GOOD.body.encode(),
        b"HTTP/1.1 500 Oops\r\nContent-Length: 100000\r\n\r\n",
    ],
    ids=["header", "body", "endless body", "error"],
)
def test_a_server_that_drips_is_given_up_on_time(tmp_path: Path, whole: bytes) -> None:
    with dripping(whole) as (url, _), pytest.raises(WriterError, match=r"no answer within 0\.3 s.*writer\.timeout"):
        writer(url, tmp_path, timeout=0.3, retries=0).write(REQUEST, 1)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_prompt_is_not_sent_where_a_redirect_points(tmp_path: Path, status: int) -> None:
    with serving(GOOD) as other:
        place = f"{other.url}/chat/completions"
        moved = Reply(status, "", {"Location": place})
        with serving(moved) as script, pytest.raises(WriterError, match=rf"redirects to {place}.*writer\.base_url"):
            writer(script, tmp_path).write(REQUEST, 1)
        assert len(script.asked) == 1
        assert other.asked == []


def test_deep_giant_and_compressed_replies_are_no_chat_completions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_client, "MAX_REPLY", 200_000)
    replies = {
        "not JSON": Reply(body='{"choices": ' + "[" * 100_000),
        "more than 200000 bytes": Reply(body=" " * 200_001 + GOOD.body),
        "compressed as 'gzip'": Reply(body=GOOD.body, headers={"Content-Encoding": "gzip"}),
    }
    for said, reply in replies.items():
        with serving(reply) as script, pytest.raises(WriterError, match=rf"no chat completion.*{said}"):
            writer(script, tmp_path, retries=0).write(REQUEST, 1)


@pytest.mark.parametrize("count", [10**400, -1, 1e400, True, "7", 10**12])
def test_counts_that_cannot_be_are_guessed(tmp_path: Path, count: Any) -> None:
    body = json.loads(chat("x").body)
    body["usage"] = {"prompt_tokens": count, "completion_tokens": count}
    body["choices"][0]["finish_reason"] = {"deep": "\x1b[2J"}
    with serving(Reply(body=json.dumps(body))) as script:
        answer = writer(script, tmp_path, price_in=1.0, price_out=1.0).write(REQUEST, 1)[0]
    assert answer.usage.estimated
    assert answer.usage.completion_tokens == 1
    assert answer.finish_reason == "stop"


def test_what_a_server_says_cannot_drive_the_terminal(tmp_path: Path) -> None:
    with serving(failure(400, "\x1b[2J\u202eno")) as script, pytest.raises(WriterError) as error:
        writer(script, tmp_path).write(REQUEST, 1)
    assert "[2Jno" in str(error.value)
    assert "\x1b" not in str(error.value) and "\u202e" not in str(error.value)


def test_a_giant_answer_is_kept_and_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(chat("a" * (MAX_ANSWER + 500))) as script:
        answer = writer(script, tmp_path).write(REQUEST, 1)[0]
    assert answer.source is None
    assert "more than 1048576 characters" in str(answer.error)
    assert [a.error for a in writer(script.url, tmp_path, ledger="strict").write(REQUEST, 1)] == [answer.error]


def test_what_was_answered_before_a_failure_is_kept(tmp_path: Path) -> None:
    with serving(GOOD, GOOD, failure(401)) as script:
        with pytest.raises(WriterError):
            writer(script, tmp_path, concurrency=1).write(REQUEST, 4)
        script.replies = [GOOD]
        answers = writer(script, tmp_path).write(REQUEST, 4)
    assert [a.cached for a in answers] == [True, True, False, False]


def test_a_missing_key_names_its_variable(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="MY_KEY"):
        OpenAIWriter(tmp_path, "m", key_env="MY_KEY")
    with pytest.raises(UsageError, match=r"example\.org.*OPENAI_API_KEY"):
        OpenAIWriter(tmp_path, "m", base_url="https://example.org/v1")
    OpenAIWriter(tmp_path, "m", ledger="strict")  # a recording needs no key


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtra, match=r"robo-reward\[llm\]"):
        writer("http://127.0.0.1:9/v1", tmp_path)


@pytest.mark.parametrize(
    "options", [{"model": ""}, {"concurrency": 0}, {"retries": -1}, {"timeout": 0}, {"budget": 1.0}, {"max_tokens": -1}]
)
def test_senseless_options_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"writer\."):
        writer("http://127.0.0.1:9/v1", tmp_path, **options)


def test_the_budget_is_never_exceeded_and_counts_earlier_sittings(tmp_path: Path) -> None:
    prices: dict[str, Any] = {"price_in": 1.0, "price_out": 100.0, "max_tokens": 1000, "budget": 0.5}
    with serving(chat("x", usage=(0, 1000))) as script:  # each costs 0.1, what is set aside is a little more
        with pytest.raises(WriterError, match=r"budget of \$0\.5 .*\$0\.4 are spent.*Raise writer\.budget"):
            writer(script, tmp_path, **prices).write(REQUEST, 8)
        assert len(script.asked) == 4
        with pytest.raises(WriterError, match=r"\$0\.4 are spent"):
            writer(script, tmp_path, **prices).write(REQUEST, 8)
        assert len(script.asked) == 4
        assert len(writer(script, tmp_path, **prices).write(REQUEST, 1)) == 1
    assert sum(e.usage.cost for e in Ledger(tmp_path / "ledger.jsonl").load_entries()) == pytest.approx(0.4)


def test_purse_waits_for_money_to_come_back() -> None:
    purse, order = SpendingBudget(1.0), []

    def second() -> None:
        with purse.reserve_cost(0.8):
            order.append("second")

    with purse.reserve_cost(0.8):
        thread = threading.Thread(target=second)
        thread.start()
        order.append("first")
        purse.record_cost(0.1)
    thread.join(5)
    assert order == ["first", "second"]


def test_ctrl_c_leaves_at_once_and_keeps_what_was_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(GOOD) as script:
        busy = writer(script, tmp_path, concurrency=1)
        keep = busy.ledger.put

        def put(entry: Any) -> None:
            keep(entry)
            if threading.current_thread() is threading.main_thread():
                raise KeyboardInterrupt

        monkeypatch.setattr(busy.ledger, "put", put)
        with pytest.raises(KeyboardInterrupt):
            busy.write(REQUEST, 3)
    assert len(Ledger(tmp_path / "ledger.jsonl").load_entries()) >= 1


def test_waits_grow_to_a_bound_and_the_server_goes_first() -> None:
    patience = RetryPolicy(backoff=1.0)
    assert [patience.compute_wait(i, None) for i in range(8)] == [1, 2, 4, 8, 16, 32, MAX_BACKOFF, MAX_BACKOFF]
    assert patience.compute_wait(5, 0.5) == 0.5


def test_retry_after_in_all_its_forms() -> None:
    assert read_retry_after({"retry-after": "7"}) == 7.0
    assert read_retry_after({"retry-after-ms": "250", "retry-after": "7"}) == 0.25
    assert read_retry_after({"retry-after": "-3"}) == 0.0
    soon = read_retry_after({"retry-after": formatdate(time.time() + 100, usegmt=True)})
    assert soon == pytest.approx(100, abs=5)
    for nothing in (None, {}, {"retry-after": "soon"}, {"retry-after": "nan"}):
        assert read_retry_after(nothing) is None


def test_content_in_parts_is_joined() -> None:
    body = '{"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"text": "b"}, 3]}}]}'
    assert parse_reply(body) == ("ab", "stop", None, None)
    with pytest.raises(MalformedReply):
        parse_reply("null")


@pytest.mark.parametrize(
    "url", ["http://[bad/v1", "localhost:8000/v1", "foo", "http://127.0.0.1:abc/v1", "ftp://127.0.0.1/v1"]
)
def test_what_is_no_address_is_told_at_once(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    with pytest.raises(UsageError, match=r"writer.base_url=.*http://127.0.0.1:8000/v1"):
        writer(url, tmp_path)


@pytest.mark.parametrize("key", ["sk-first\nsecond", "sk-first second", "sk-first…second"])
def test_a_key_that_is_none_is_told_and_not_shown(tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(UsageError, match="OPENAI_API_KEY") as refused:
        writer("http://127.0.0.1:9/v1", tmp_path)
    assert "first" not in str(refused.value) and "second" not in str(refused.value)


def test_extra_fields_are_json(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"writer\.extra"):
        writer("http://127.0.0.1:9/v1", tmp_path, extra={"x": float("nan")})
