"""One small registry for every kind of plug-in: names to factories, filled by code or by entry points."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from robo_reward.errors import RoboRewardError, UnknownName

T = TypeVar("T")


class BrokenPlugin(RoboRewardError):
    """A plug-in of another package that fails where it is imported or made."""

    def __init__(self, kind: str, point: EntryPoint, error: BaseException, options: Iterable[str] = ()) -> None:
        package = f" of {point.dist.name}" if point.dist else ""
        said = " ".join(f"{type(error).__name__}: {error}".split())
        given = ", ".join(options)
        remedy = f"Check the options given to it ({given}), or fix or uninstall it" if given else "Fix or uninstall it"
        super().__init__(f"{kind} {point.name!r}, the plug-in {point.value!r}{package}, fails: {said[:300]}. {remedy}")


def load_plugin(kind: str, point: EntryPoint) -> Any:
    """Returns the object that an entry point names.

    Raises:
        BrokenPlugin: it cannot be imported.
    """
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # a module that calls sys.exit must not end the program
        raise BrokenPlugin(kind, point, error) from error


class Registry(Generic[T]):
    """Maps names to factories.

    Args:
        kind: the word for an entry in messages ("task", "writer").
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

    def has_factory(self, name: str) -> bool:
        """Returns whether a factory of that name was registered by code."""
        return name in self._factories

    def list_names(self) -> tuple[str, ...]:
        """Returns all names, sorted, entry points included."""
        return tuple(sorted({*self._factories, *self._entry_points()}))

    def load(self, name: str) -> Callable[..., T]:
        """Returns the factory of that name.

        Raises:
            UnknownName: nothing of that name; the message lists the closest.
            BrokenPlugin: another package's entry that cannot be imported.
        """
        if name in self._factories:
            return self._factories[name]
        point = self._entry_points().get(name)
        if point is None:
            raise UnknownName(self.kind, name, self.list_names())
        return load_plugin(self.kind, point)

    def create(self, name: str, /, *args: object, **kwargs: object) -> T:
        """Calls the factory of that name.

        Raises:
            UnknownName: nothing of that name; the message lists the closest.
            BrokenPlugin: another package's entry that cannot be imported or made.
        """
        if name in self._factories:
            return self._factories[name](*args, **kwargs)
        factory, point = self.load(name), self._entry_points()[name]
        try:
            return factory(*args, **kwargs)
        except RoboRewardError:
            raise
        except (Exception, SystemExit) as error:
            raise BrokenPlugin(self.kind, point, error, kwargs) from error

    def _entry_points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}
