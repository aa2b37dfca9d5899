"""Prices, and a cap on what a run may spend."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from robo_reward.writers.writer import WriterError

MILLION = 1e6
CHARACTERS_PER_TOKEN = 4
"""Rule of thumb for English and code; used only if the server reports no token counts."""


def estimate_tokens(text: str) -> int:
    """Returns an estimate of the number of tokens of a text."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


class SpendingBudget:
    """A budget that several threads spend from; never spends more than the cap.

    Before a request its worst case is reserved. A request that does not fit waits for those under way, which mostly
    cost less than was reserved, and is refused when none is left to wait for.

    Args:
        cap: on everything spent by the run [$], 0 for none.
        spent: by earlier starts of the run [$].
    """

    def __init__(self, cap: float, spent: float = 0.0) -> None:
        self.cap, self.spent = cap, spent
        self._reserved: list[float] = []
        self._changed = threading.Condition()

    @contextmanager
    def reserve_cost(self, worst: float) -> Iterator[None]:
        """Reserves the worst case of a request while the block runs [$].

        Raises:
            WriterError: it might exceed the cap.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._reserved or self._is_affordable(worst))
            if not self._is_affordable(worst):
                raise WriterError(
                    f"the budget of ${self.cap:.4g} does not allow another request: ${self.spent:.4g} are spent and it "
                    f"may cost up to ${worst:.4g}. Raise writer.budget and run the same command again; "
                    "the answers so far are in the ledger and are not requested again"
                )
            self._reserved.append(worst)
        try:
            yield
        finally:
            with self._changed:
                self._reserved.remove(worst)
                self._changed.notify_all()

    def record_cost(self, cost: float) -> None:
        """Adds the actual cost of an answer [$]."""
        with self._changed:
            self.spent += cost

    def _is_affordable(self, worst: float) -> bool:
        return self.cap <= 0 or self.spent + sum(self._reserved) + worst <= self.cap + 1e-12
