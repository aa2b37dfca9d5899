"""Sends large messages without making the control loop wait for the receiver."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class BackgroundSender:
    """Sends messages in order from a thread of its own.

    A pipe or a connection takes a message of pictures only as fast as the other side reads it; a policy that hangs
    would stop the stream of commands.

    Args:
        send: sends one message and waits until it is sent; an error ends the thread.
    """

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send, self._waiting = send, queue.SimpleQueue[bytes | None]()
        self.failure: OSError | None = None
        self._thread = threading.Thread(target=self._send_messages, name="policy-sender", daemon=True)
        self._thread.start()

    def put(self, data: bytes) -> None:
        """Adds a message.

        Raises:
            OSError: an earlier message could not be sent.
        """
        if self.failure is not None:
            raise self.failure
        self._waiting.put(data)

    def close(self) -> None:
        """Ends the thread once it has nothing to send; does not wait for it."""
        self._waiting.put(None)

    def _send_messages(self) -> None:
        while (data := self._waiting.get()) is not None:
            try:
                self._send(data)
            except (OSError, TypeError, ValueError) as error:  # a pipe that was closed meanwhile has no handle
                self.failure = OSError(f"not sent: {error}")
                return
