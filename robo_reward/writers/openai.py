"""A language model behind any OpenAI-compatible server."""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from robo_reward.configs.writers import OpenAIConfig
from robo_reward.errors import UsageError
from robo_reward.masking import find_secrets, mask_secrets, mask_value
from robo_reward.web.addresses import is_loopback
from robo_reward.writers.budget import MILLION, SpendingBudget, estimate_tokens
from robo_reward.writers.chat import ChatRequest, ChatWriter
from robo_reward.writers.chat_server import (
    ChatReply,
    ChatServer,
    RetryPolicy,
    validate_key,
    validate_url,
)
from robo_reward.writers.extract import MAX_ANSWER
from robo_reward.writers.ledger import LedgerEntry
from robo_reward.writers.writer import Usage

log = logging.getLogger(__name__)


class OpenAIWriter(ChatWriter):
    """Asks a server for each sample separately, several at a time, with distinct seeds.

    One request never asks for several samples: many servers ignore `n`, and one failure would lose them all. Answers
    that were cut off are failed samples. With the same ledger the same request gives the same answers, unasked.

    Args:
        folder: of the run.
        model: as the server calls it.
        base_url: such as `http://127.0.0.1:8000/v1`; empty for OpenAI's own.
        key_env: the environment variable with the key; a server on this machine needs none.
        temperature: of sampling; none to leave it to the server.
        max_tokens: per answer; 0 to leave it to the server.
        timeout: for one answer, from the request to its last byte [s].
        retries: after a failure that may pass.
        backoff: the first wait after one [s]; doubles each time, and a server's Retry-After takes precedence.
        concurrency: requests under way at a time.
        price_in: of a million tokens read [$].
        price_out: of a million tokens written [$].
        budget: of the whole run [$], 0 for none.
        ledger: one of `robo_reward.writers.ledger.MODES`.
        extra: further fields of the request's body, such as `{top_p: 0.9}`.

    Raises:
        UsageError: an option makes no sense, or the key is missing.
        MissingExtra: the package `openai` is not installed.
    """

    name = "openai"

    def __init__(
        self,
        folder: Path,
        model: str,
        base_url: str = OpenAIConfig.base_url,
        key_env: str = OpenAIConfig.key_env,
        temperature: float | None = OpenAIConfig.temperature,
        max_tokens: int = OpenAIConfig.max_tokens,
        timeout: float = OpenAIConfig.timeout,
        retries: int = OpenAIConfig.retries,
        backoff: float = OpenAIConfig.backoff,
        concurrency: int = OpenAIConfig.concurrency,
        price_in: float = OpenAIConfig.price_in,
        price_out: float = OpenAIConfig.price_out,
        budget: float = OpenAIConfig.budget,
        ledger: str = OpenAIConfig.ledger,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(folder, model, ledger)
        if not model:
            raise UsageError("writer=openai needs the name of a model: set writer.model=NAME")
        if concurrency < 1 or retries < 0 or timeout <= 0 or max_tokens < 0:
            raise UsageError(
                f"writer.concurrency={concurrency} must be at least 1, writer.retries={retries} and "
                f"writer.max_tokens={max_tokens} at least 0, writer.timeout={timeout} [s] more than 0"
            )
        _check_json(extra)
        if budget > 0 and (price_out <= 0 or price_in < 0 or max_tokens == 0):
            raise UsageError(
                f"writer.budget={budget:g} needs writer.price_in and writer.price_out ($ per million tokens) and a "
                "writer.max_tokens, so that costs can be foreseen"
            )
        self.base_url, self.key_env, self.concurrency = base_url, key_env, concurrency
        self.temperature, self.max_tokens, self.extra = temperature, max_tokens, dict(extra or {})
        self.price_in, self.price_out = price_in, price_out
        self._retry_policy = RetryPolicy(timeout, retries, backoff)
        self._budget = SpendingBudget(
            budget, sum(e.usage.cost for e in self.ledger.load_entries()) if budget > 0 else 0.0
        )
        if ledger in ("record", "off"):
            self._connect_to_server().close()  # reports a missing key or package before any work is done

    def options(self) -> dict[str, Any]:
        return {"temperature": self.temperature, "max_tokens": self.max_tokens, **mask_value(self.extra)}

    def ask(self, questions: Sequence[ChatRequest]) -> Iterator[LedgerEntry]:
        server = self._connect_to_server()
        waiting: queue.SimpleQueue[ChatRequest] = queue.SimpleQueue()
        for question in questions:
            waiting.put(question)
        done: queue.SimpleQueue[LedgerEntry | Exception | None] = queue.SimpleQueue()
        stop = threading.Event()
        # Daemon threads: Ctrl-C exits at once and does not wait minutes for answers.
        crew = [
            threading.Thread(target=self._run_worker, args=(server, waiting, done, stop), daemon=True)
            for _ in range(min(self.concurrency, len(questions)))
        ]
        for worker in crew:
            worker.start()
        try:
            yield from _collect_answers(done, len(crew), stop)
        finally:
            server.close()

    def _run_worker(
        self,
        server: ChatServer,
        waiting: queue.SimpleQueue[ChatRequest],
        done: queue.SimpleQueue[LedgerEntry | Exception | None],
        stop: threading.Event,
    ) -> None:
        """Answers questions until there are none left or a worker has failed; then puts `None` into `done`."""
        try:
            while not stop.is_set():
                entry = self._answer_question(server, waiting.get_nowait(), stop)
                self.ledger.put(entry)  # also here: a paid answer is kept even if the caller stops
                done.put(entry)
        except queue.Empty:
            pass
        except Exception as error:  # noqa: BLE001 - passed to the calling thread, which raises it
            done.put(error)  # before stopping the others, so that the first error is raised
            stop.set()
        finally:
            done.put(None)

    def _answer_question(self, server: ChatServer, question: ChatRequest, stop: threading.Event) -> LedgerEntry:
        read = sum(estimate_tokens(message["content"]) for message in question.messages)
        # The true token count may be twice the estimate, so reserve twice the cost of the input.
        with self._budget.reserve_cost(self._compute_cost(2 * read, self.max_tokens)):
            answer = server.request_completion(self._build_body(question), stop)
            usage = self._compute_usage(answer, read)
            self._budget.record_cost(usage.cost)
        if not answer.text.strip():
            log.warning("%s returned an empty answer for sample %d", server.url, question.index)
        text = answer.text[: MAX_ANSWER + 1]  # one over the limit, so that it is refused as too long
        return question.make_entry(text, finish_reason=answer.finish_reason, usage=usage)

    def _build_body(self, question: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "messages": list(question.messages), "seed": question.seed}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.max_tokens:
            body["max_tokens"] = self.max_tokens
        return {**body, "extra_body": self.extra} if self.extra else body

    def _compute_usage(self, answer: ChatReply, read: int) -> Usage:
        """Returns the tokens as the server counted them, or else as we estimate them, and their cost."""
        guessed = answer.prompt_tokens is None or answer.completion_tokens is None
        tokens_in = read if answer.prompt_tokens is None else answer.prompt_tokens
        written = estimate_tokens(answer.text) if answer.completion_tokens is None else answer.completion_tokens
        return Usage(tokens_in, written, guessed, self._compute_cost(tokens_in, written))

    def _compute_cost(self, tokens_in: int, tokens_out: int) -> float:
        return (tokens_in * self.price_in + tokens_out * self.price_out) / MILLION

    def _connect_to_server(self) -> ChatServer:
        url = validate_url(self.base_url or os.environ.get("OPENAI_BASE_URL", ""))
        key = validate_key(os.environ.get(self.key_env, "").strip(), self.key_env)
        if not key and not is_loopback(url):
            raise UsageError(
                f"writer=openai needs a key for {mask_secrets(url) or 'api.openai.com'}: put it into the environment "
                f"variable {self.key_env}, or name another variable with writer.key_env. A server on this machine "
                "(writer.base_url=http://127.0.0.1:PORT/v1) needs none, and neither does writer=offline"
            )
        return ChatServer(url, key, self.key_env, self._retry_policy, list(find_secrets(self.extra)))


def _check_json(extra: Mapping[str, Any] | None) -> None:
    try:
        json.dumps(dict(extra or {}), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"writer.extra={mask_value(extra)} cannot be sent as JSON: {error}") from None


def _collect_answers(
    done: queue.SimpleQueue[LedgerEntry | Exception | None], workers: int, stop: threading.Event
) -> Iterator[LedgerEntry]:
    """Yields answers until all workers are done, then raises the first of their errors.

    Workers finish the request that they are in, since it is paid for. Waiting is cut into pieces so that Ctrl-C is
    noticed.
    """
    first: Exception | None = None
    try:
        while workers:
            try:
                item = done.get(timeout=0.5)
            except queue.Empty:
                continue
            if item is None:
                workers -= 1
            elif isinstance(item, Exception):
                first = first or item
            else:
                yield item
    finally:
        stop.set()
    if first is not None:
        raise first
