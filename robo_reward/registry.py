"""One small registry for every kind of plug-in: names to factories, filled by code or by entry points."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from robo_reward.errors import RoboRewardError, UnknownName

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps names to factories.

    Args:
        kind: what the entries are, for messages ("task", "writer").
        group: the entry-point group that third parties fill, e.g. `robo_reward.tasks`.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind, self.group = kind, group
        self._factories: dict[str, Callable[..., T]] = {}

    def register(self, name: str, factory: Callable[..., T]) -> None:
        """Adds a factory; a name can be taken once.

        Raises:
            RoboRewardError: the name is already registered.
        """
        if name in self._factories:
            raise RoboRewardError(f"{self.kind} {name!r} is registered twice")
        self._factories[name] = factory

    def names(self) -> tuple[str, ...]:
        """All names, sorted, entry points included."""
        return tuple(sorted({*self._factories, *self._entry_points()}))

    def create(self, name: str, /, *args: object, **kwargs: object) -> T:
        """Calls the factory of that name.

        Raises:
            UnknownName: nothing of that name; the message lists the closest.
        """
        if name not in self._factories:
            found = self._entry_points().get(name)
            if found is None:
                raise UnknownName(self.kind, name, self.names())
            self._factories[name] = found.load()
        return self._factories[name](*args, **kwargs)

    def _entry_points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}
