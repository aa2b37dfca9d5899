"""A policy on another computer: a GPU computer runs it, the control computer beside the robot queries it.

The transport is websockets: one dependency in pure Python, message framing and keep-alives included, passes
proxies and TLS. The messages are those of `policy.process`; nothing in them is executed. A client must present the
token.
"""

from __future__ import annotations

import hmac
import importlib
import logging
import queue
import secrets
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from robo_reward.errors import MissingExtra, UsageError
from robo_reward.hardware.policy.messages import (
    PolicyDied,
    PolicyReply,
    answer,
    pack_query,
    read_ready,
    read_reply,
    reset_policy,
    specification,
    warm_up,
)
from robo_reward.hardware.policy.sender import BackgroundSender
from robo_reward.hardware.wire import MOST, BadMessage, pack_message, unpack_message

log = logging.getLogger(__name__)
MIN_TOKEN_LENGTH = 16
"""Shortest token [characters]."""
RETRY = (0.1, 2.0)
"""First and longest pause between attempts to reconnect [s]."""
MAX_BAD_MESSAGES = 3
"""Number of invalid replies in a row that ends the connection for good."""


def generate_token() -> str:
    """Returns a random token that cannot be guessed."""
    return secrets.token_urlsafe(24)


def _check_token(token: str) -> str:
    if len(token) < MIN_TOKEN_LENGTH:
        raise UsageError(
            f"the token has {len(token)} characters, expected at least {MIN_TOKEN_LENGTH}; serve-policy makes one"
        )
    return token


class PolicyServer:
    """Serves one policy to clients that present the token, one query at a time.

    Args:
        policy: with `act`, `action`, `observation` and `meta`.
        token: what a client must present.
        host: address to listen on; 127.0.0.1 accepts local clients only.
        port: 0 for any that is free.
        tls: certificate and key, for networks that others use.

    Raises:
        MissingExtra: websockets is not installed.
        UsageError: a token that is too short, or a busy address.
    """

    def __init__(
        self, policy: Any, token: str, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        library = _import_library("websockets.sync.server")
        self._policy, self._token = policy, _check_token(token)
        self._lock = threading.Lock()
        warm_up(policy)
        try:
            self._server = library.serve(
                self._handle_connection,
                host,
                port,
                process_request=self._check_authorization,
                max_size=MOST,
                compression=None,
                ssl=tls,
            )
        except OSError as error:
            raise UsageError(f"the policy cannot be served at {host}:{port} ({error.strerror or error})") from error

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.socket.getsockname()[1]

    def serve_forever(self) -> None:
        """Serves clients until `close`."""
        self._server.serve_forever()

    def start(self) -> None:
        """Serves clients in a thread."""
        threading.Thread(target=self.serve_forever, name="policy-server", daemon=True).start()

    def close(self) -> None:
        """Ends the service."""
        self._server.shutdown()

    def _check_authorization(self, connection: Any, request: Any) -> Any:
        """Returns a response of status 401 to a client without the token, before its first message; else None."""
        given = request.headers.get("Authorization", "")
        if hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            return None
        return connection.respond(401, "the token is wrong\n")

    def _handle_connection(self, connection: Any) -> None:
        with self._lock:
            reset_policy(self._policy, 0)  # it may remember what another client, or a lost connection, showed it
        connection.send(pack_message({"kind": "ready", **specification(self._policy)}))
        for data in connection:
            try:
                if not isinstance(data, bytes):
                    raise BadMessage("text, expected a binary message")
                with self._lock:
                    reply = answer(self._policy, data)
            except Exception as error:  # noqa: BLE001  any error must be reported to the client
                reply = pack_message({"kind": "failed", "cause": f"{type(error).__name__}: {error}"})
            if reply is not None:
                connection.send(reply)


class RemotePolicy:
    """Client of a `PolicyServer`: a `PolicySource` that reconnects by itself.

    While there is no connection, queries are not sent and no replies come, which the watchdog notices: the arm
    holds, then stops.

    Args:
        address: `ws://HOST:PORT` or `wss://HOST:PORT`.
        token: of the server.
        patience: how long the first connection may take [s].
        clock: returns the time [s].

    Raises:
        PolicyDied: no server there, a wrong token, or something that is no policy server.
        MissingExtra: websockets is not installed.
        UsageError: an address of another kind.
    """

    def __init__(
        self, address: str, token: str, patience: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if not address.startswith(("ws://", "wss://")):
            raise UsageError(
                f"policy_server={address!r}: expected ws://HOST:PORT, or wss:// where the server has a certificate"
            )
        self._library = _import_library("websockets.sync.client")
        self._errors = _import_library("websockets.exceptions")
        self._address, self._token, self._clock = address, _check_token(token), clock
        self._replies: queue.Queue[PolicyReply | Exception] = queue.Queue()
        self._closing = threading.Event()
        self.reconnects = 0
        self._connection, self._ready_header = self._open_connection(patience)
        said = read_ready(self._ready_header)
        self.action, self.observation = said.action, said.observation
        self.meta: dict[str, Any] = said.meta
        self.horizons, self._resets = said.horizons, 0
        self._sender = BackgroundSender(self._send_now) if self.horizons.frames else None
        self._thread = threading.Thread(target=self._receive_replies, name="policy-client", daemon=True)
        self._thread.start()

    def send_observation(self, ticket: int, observation: Any) -> None:
        self._send_message(pack_query(ticket, observation))

    def receive_reply(self, timeout: float) -> PolicyReply | None:
        try:
            got = self._replies.get(timeout=timeout) if timeout > 0 else self._replies.get_nowait()
        except queue.Empty:
            return None
        if isinstance(got, Exception):
            raise got
        return got

    def reset(self) -> None:
        while self.receive_reply(0.0) is not None:  # drop replies to the last episode
            pass
        self._send_message(pack_message({"kind": "reset", "seed": self._resets}))
        self._resets += 1

    def close(self) -> None:
        self._closing.set()
        if self._sender is not None:
            self._sender.close()
        if self._connection is not None:
            self._connection.close()
        self._thread.join(3)

    def _send_message(self, data: bytes) -> None:
        self._sender.put(data) if self._sender else self._send_now(data)

    def _send_now(self, data: bytes) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            connection.send(data)
        except (OSError, self._errors.ConnectionClosed) as error:
            log.debug("question not sent: %s", error)

    def _open_connection(self, patience: float) -> tuple[Any, dict[str, Any]]:
        """Opens a connection; returns it with the header of the server's first message."""
        try:
            with ExitStack() as stack:
                connection = stack.enter_context(
                    self._library.connect(
                        self._address,
                        additional_headers={"Authorization": f"Bearer {self._token}"},
                        open_timeout=patience,
                        max_size=MOST,
                        compression=None,
                        proxy=None,
                        ping_interval=1.0,
                        ping_timeout=2.0,
                    )
                )
                head, _ = unpack_message(connection.recv(timeout=patience))
                read_ready(head)
                stack.pop_all()  # keep the connection open; `close` or the peer ends it
        except self._errors.InvalidStatus as error:
            raise PolicyDied(f"the server at {self._address} refused: {error}; check the token") from error
        except BadMessage as error:
            raise PolicyDied(f"the program at {self._address} is not a policy server: {error}") from error
        except (OSError, TimeoutError, self._errors.WebSocketException) as error:
            raise PolicyDied(f"no policy is served at {self._address} ({error})") from error
        return connection, head

    def _receive_replies(self) -> None:
        bad = 0
        while not self._closing.is_set():
            connection = self._connection
            if connection is None:
                if not self._reconnect():
                    return
                continue
            try:
                self._replies.put(read_reply(connection.recv()))
                bad = 0
            except (OSError, self._errors.ConnectionClosed):
                self._connection = None
            except PolicyDied as died:
                self._replies.put(died)
            except Exception as error:  # noqa: BLE001  this thread must continue or report why it ended
                bad += 1
                log.warning("the policy server sent an invalid reply (%s); reconnecting", error)
                self._connection = None
                connection.close()
                if bad >= MAX_BAD_MESSAGES:
                    self._replies.put(PolicyDied(f"its server sent {bad} invalid replies in a row: {error}"))
                    return

    def _reconnect(self) -> bool:
        """Reconnects, with growing pauses; returns False if there is nothing to go on with."""
        pause = RETRY[0]
        while not self._closing.wait(pause):
            try:
                connection, said = self._open_connection(2.0)
            except PolicyDied as died:
                log.warning("%s", died)
                pause = min(2 * pause, RETRY[1])
                continue
            if said != self._ready_header:
                self._replies.put(PolicyDied("another policy is served now"))
                connection.close()
                return False
            self._connection, self.reconnects = connection, self.reconnects + 1
            return True
        return False


def _import_library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra("websockets", "serve", "a policy on another computer") from error
