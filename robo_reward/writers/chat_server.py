"""A client of OpenAI-compatible servers: the call, its retries, and explanations of its failures for the user."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from robo_reward.errors import MissingExtra, UnknownName, UsageError
from robo_reward.language.characters import strip_hidden_characters
from robo_reward.masking import MASK, find_secrets, mask_secrets
from robo_reward.web.addresses import is_loopback, read_retry_after
from robo_reward.writers.bounded_client import UnreadableReply, make_bounded_client
from robo_reward.writers.writer import WriterError

log = logging.getLogger(__name__)

MAX_BACKOFF = 60.0
"""Maximum wait between retries, unless the server asks for another [s]."""
MAX_RETRY_AFTER = 600.0
"""If a server asks for a longer wait than this, the request fails [s]."""
MODELS = 200
"""Maximum number of a server's models that an unknown name is compared with."""
MAX_COUNT = 10**9
"""Largest plausible token count; larger ones are ignored."""
RETRYABLE_STATUSES = (408, 409, 425, 429)


class ChatReply(NamedTuple):
    """The reply of a server.

    Attributes:
        text: of the first choice; empty when it is empty.
        finish_reason: as the server calls it.
        prompt_tokens: counted by the server, or `None`.
        completion_tokens: counted by the server, or `None`.
    """

    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None


class MalformedReply(ValueError):
    """Raised for a reply that is no chat completion.

    Attributes:
        problem: what is wrong with it.
        body: the reply, which may repeat secrets of the request; None where it was not read.
    """

    def __init__(self, problem: str, body: str | None = None) -> None:
        self.problem, self.body = problem, body
        super().__init__(problem)


def parse_reply(body: str) -> ChatReply:
    """Returns the first choice of a chat completion.

    Raises:
        MalformedReply: the text is not one.
    """
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedReply("not JSON", body) from None
    choices = reply.get("choices") if isinstance(reply, Mapping) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise MalformedReply("no choices in it", body)
    message = choices[0].get("message")
    if not isinstance(message, Mapping):
        raise MalformedReply("no message in its first choice", body)
    usage = reply.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    return ChatReply(
        _join_text(message.get("content")),
        _read_finish_reason(choices[0].get("finish_reason")),
        _read_token_count(usage.get("prompt_tokens")),
        _read_token_count(usage.get("completion_tokens")),
    )


def validate_url(url: str) -> str:
    """Returns the URL itself, empty for OpenAI's own.

    Raises:
        UsageError: no server can be reached at it.
    """
    try:
        parts = urlsplit(url)
        fine = not url or (parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0)
    except ValueError:
        fine = False
    if not fine:
        raise UsageError(
            f"writer.base_url={mask_secrets(url)} is no web address; expected one such as http://127.0.0.1:8000/v1"
        )
    return url


def validate_key(key: str, key_env: str) -> str:
    """Returns the key itself.

    Raises:
        UsageError: it holds characters that no header can carry; the message does not show it.
    """
    if not all("!" <= character <= "~" for character in key):
        raise UsageError(
            f"the key in {key_env} holds spaces, line breaks or letters outside ASCII, so it is not what the server "
            f"gave you. Set {key_env} again, to the key alone"
        )
    return key


@dataclass(frozen=True)
class RetryPolicy:
    """The timeout of a request and the waits after failures that may pass.

    Args:
        timeout: for one answer, from the request to its last byte [s].
        retries: after the first try.
        backoff: the first wait [s]; each further one is twice as long.
    """

    timeout: float = 300.0
    retries: int = 6
    backoff: float = 1.0

    def compute_wait(self, attempt: int, asked: float | None) -> float:
        """Returns the wait after a failed attempt, counted from 0 [s]; a wait that the server asked for counts."""
        return asked if asked is not None else min(self.backoff * 2.0**attempt, MAX_BACKOFF)


class ChatServer:
    """A server that speaks the chat completions of OpenAI.

    Args:
        base_url: such as `http://127.0.0.1:8000/v1`; empty for OpenAI's own.
        key: sent with each request, shown nowhere; empty for a server that needs none.
        key_env: the variable that it came from, for messages.
        retry_policy: timeout and retries of a request.
        secrets: further texts in requests that are shown nowhere.

    Attributes:
        url: of the server, without passwords, for messages.

    Raises:
        MissingExtra: the package `openai` is not installed.
    """

    def __init__(
        self, base_url: str, key: str, key_env: str, retry_policy: RetryPolicy, secrets: Sequence[str] = ()
    ) -> None:
        try:
            import openai
        except ImportError:
            raise MissingExtra("openai", "llm", "writer=openai") from None
        self._api, self._key_env, self._retry_policy = openai, key_env, retry_policy
        parts = urlsplit(base_url)
        hidden = (key, parts.password, *secrets, *find_secrets(dict(parse_qsl(parts.query))))
        self._secrets = [secret for secret in hidden if secret and len(secret) > 4]  # not a stop token such as </s>
        client = make_bounded_client(openai, retry_policy.timeout, local=is_loopback(base_url))  # no proxy to itself
        self._client = openai.OpenAI(
            api_key=key or "none",
            base_url=base_url or None,
            timeout=retry_policy.timeout,
            max_retries=0,
            http_client=client,
        )
        self.url = mask_secrets(str(self._client.base_url))

    def close(self) -> None:
        """Closes its connections; a request under way fails."""
        self._client.close()

    def request_completion(self, body: Mapping[str, Any], stop: threading.Event) -> ChatReply:
        """Sends a request until it is answered, and returns the reply.

        Raises:
            WriterError: it is refused, or the retries are used up, or `stop` was set while waiting.
        """
        for attempt in range(self._retry_policy.retries + 1):
            try:
                raw = self._client.chat.completions.with_raw_response.create(**body)
                return parse_reply(raw.http_response.text)
            except (self._api.APIError, MalformedReply, UnreadableReply) as caught:
                inner = caught.__cause__ if isinstance(caught.__cause__, UnreadableReply) else caught
                error = MalformedReply(str(inner)) if isinstance(inner, UnreadableReply) else caught
                if attempt == self._retry_policy.retries or not self._is_retryable(error):
                    raise self._explain_error(error, str(body["model"]), attempt + 1) from None
                pause = self._retry_policy.compute_wait(
                    attempt, read_retry_after(getattr(getattr(error, "response", None), "headers", None))
                )
                if pause > MAX_RETRY_AFTER:
                    raise self._explain_error(error, str(body["model"]), attempt + 1) from None
                log.info("%s: %s; next try in %.1f s", self.url, self._summarize_error(error), pause)
                if stop.wait(pause):
                    break
        raise WriterError("stopped while waiting for the server; answers so far are in the ledger")

    def _is_retryable(self, error: Exception) -> bool:
        """Returns whether the next try may succeed."""
        status = getattr(error, "status_code", None)
        if status is not None:
            spent = getattr(error, "code", None) == "insufficient_quota"
            return status >= 500 or (status in RETRYABLE_STATUSES and not spent)
        return isinstance(error, self._api.APIConnectionError | MalformedReply)

    def _quote_text(self, text: str, length: int = 120) -> str:
        """Returns a text of the server or of its client for a message: without secrets, on one line."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        # Shortened before the patterns, too, whose time grows with the square of the length.
        return _shorten_text(mask_secrets(_shorten_text(text, 4 * length)), length)

    def _summarize_error(self, error: Exception) -> str:
        status = getattr(error, "status_code", None)
        return f"{f'status {status}, ' if status else ''}{self._quote_text(str(error), 300)}"

    def _explain_error(self, error: Exception, model: str, tries: int) -> Exception:
        """Returns the error for the user: what happened, and what to do about it."""
        status, said = getattr(error, "status_code", None), self._summarize_error(error)
        after = f"after {tries} tries" if tries > 1 else "at once"
        if isinstance(error, self._api.APITimeoutError):
            return WriterError(
                f"{self.url} gave no answer within {self._retry_policy.timeout:g} s, {tries} times. Raise "
                "writer.timeout or lower writer.max_tokens"
            )
        if isinstance(error, self._api.APIConnectionError):
            return WriterError(
                f"{self.url} cannot be reached, given up {after}: {self._quote_text(str(error.__cause__ or error))}. "
                "Check writer.base_url and that the server runs; writer=offline needs none"
            )
        if status is not None and 300 <= status < 400:
            response = getattr(error, "response", None)
            place = self._quote_text(str((getattr(response, "headers", None) or {}).get("location", "")))
            return WriterError(
                f"{self.url} redirects to {place}, and the prompt was not sent there. If that is where it belongs, set "
                "writer.base_url to the new address"
            )
        if isinstance(error, MalformedReply):
            body = "" if error.body is None else f": {self._quote_text(error.body)}"
            return WriterError(
                f"{self.url} sent no chat completion, given up {after}: {error.problem}{body}. Expected the OpenAI "
                "protocol: check that writer.base_url ends where the server's API begins, often in /v1"
            )
        if status in (401, 403):
            return WriterError(
                f"{self.url} refuses the key in {self._key_env}: {said}. Set {self._key_env} to a valid one"
            )
        if status == 404:
            return self._explain_missing_model(model, said)
        if status == 429:
            return WriterError(
                f"{self.url} limits the request rate or the account has no credit left; gave up {after}: {said}. Lower "
                "writer.concurrency, raise writer.retries, or check the account; then run the same command again"
            )
        if status is not None and status >= 500:
            return WriterError(f"{self.url} fails; gave up {after}: {said}. Run the same command again later")
        return WriterError(
            f"{self.url} refuses the request: {said}. Options that a model does not take can be changed: "
            "writer.max_tokens=0 and writer.temperature=null send none, writer.extra={name: value} adds others"
        )

    def _explain_missing_model(self, model: str, said: str) -> Exception:
        try:
            names = [str(m.id)[:100] for m in self._client.models.list().data][:MODELS]
        except (self._api.APIError, ValueError, TypeError, AttributeError, RecursionError):
            names = []
        if names and model not in names:
            return UnknownName(f"model at {self.url}", model, names, "Set writer.model.")
        return WriterError(
            f"{self.url} does not know model {model!r}, or has no chat completions there: {said}. Check writer.model, "
            "and that writer.base_url ends where the server's API begins, often in /v1"
        )


def _join_text(content: Any) -> str:
    """Returns the text of a message, which some servers send in parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""


def _read_token_count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT else None


def _read_finish_reason(value: Any) -> str:
    return strip_hidden_characters(value)[:40] if isinstance(value, str) and value else "stop"


def _shorten_text(text: str, length: int = 120) -> str:
    line = " ".join(strip_hidden_characters(text[: 100 * length]).split()) or "nothing"
    return line if len(line) <= length else line[: length - 1] + "…"
