"""The options of `writer=`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from robo_reward.configs.values import Above0, Flag, Mappings, Natural, NotNegative, OrNull, Positive

LedgerMode = Literal["record", "replay", "strict", "off"]


@dataclass(frozen=True)
class OfflineConfig:
    """No network: composes programs from the goal sentence and the state's fields.

    Args:
        strict: refuse a goal sentence of yours with words that are not understood; false: go on without them
    """

    strict: Flag = True


@dataclass(frozen=True)
class MailboxConfig:
    """Prompts appear as DIR/prompts/ID.json, answers are read from DIR/answers/ID.md.

    Args:
        dir: DIR; empty: mailbox in the run folder
        timeout: time limit for an answer [s]; 0: no limit
        poll: interval at which DIR is checked [s]
        ledger: record, replay, strict or off
    """

    dir: str = ""
    timeout: NotNegative = 0
    poll: Above0 = 0.5
    ledger: LedgerMode = "record"


@dataclass(frozen=True)
class OpenAIConfig:
    """A language model behind any OpenAI-compatible server; needs the extra [llm].

    Args:
        model: model name on the server
        base_url: such as http://127.0.0.1:8000/v1 (vLLM, llama.cpp, Ollama, ...); empty: that of OpenAI
        key_env: environment variable that contains the key; a server on this machine needs none
        temperature: sampling temperature; null: the server's default
        max_tokens: per answer, reasoning included; 0: the server's default
        timeout: for one answer, from the request to its last byte [s]
        retries: retries after temporary failures (429, 5xx, no connection, malformed replies)
        backoff: wait before the first retry [s], doubled each time; a Retry-After of the server takes precedence
        concurrency: number of parallel requests
        price_in: price per million input tokens [$]
        price_out: price per million output tokens [$]
        budget: maximum cost of the whole run [$], never exceeded; 0: no limit
        ledger: record, replay (use known answers, ask for others without storing them), strict (known answers only),
            off
        extra: additional fields of the request, such as {top_p: 0.9}
    """

    model: str = ""
    base_url: str = ""
    key_env: str = "OPENAI_API_KEY"
    temperature: OrNull = 1.0
    max_tokens: Natural = 4096
    timeout: NotNegative = 300
    retries: Natural = 6
    backoff: NotNegative = 1.0
    concurrency: Positive = 8
    price_in: NotNegative = 0.0
    price_out: NotNegative = 0.0
    budget: NotNegative = 0.0
    ledger: LedgerMode = "record"
    extra: Mappings = field(default_factory=dict)


@dataclass(frozen=True)
class ReplayConfig:
    """Reuses recorded answers: no network, no cost.

    Args:
        ledger: the folder of an earlier run, its ledger.jsonl, or a folder of answers (*.md, *.py) in order of their
            names
    """

    ledger: str = ""
