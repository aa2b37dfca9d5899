"""The paths of robo-reward's plug-ins: a confined job must be able to import them."""

from __future__ import annotations

import functools
from importlib.metadata import Distribution, distributions
from importlib.util import find_spec
from pathlib import Path

GROUPS = "robo_reward."


@functools.cache
def find_plugin_paths() -> tuple[Path, ...]:
    """Returns the sources and the metadata folders of all packages that register a robo-reward plug-in.

    A package that is installed in editable form, or that lies on PYTHONPATH, is outside of the interpreter's folders.
    """
    found: dict[Path, None] = {}
    for distribution in distributions():
        modules = {
            entry.value.split(":")[0].split(".")[0]
            for entry in distribution.entry_points
            if entry.group.startswith(GROUPS)
        }
        if modules:
            found |= dict.fromkeys(
                (*_find_metadata_folders(distribution), *(p for m in sorted(modules) for p in _find_source_folders(m)))
            )
    return tuple(found)


def _find_metadata_folders(distribution: Distribution) -> list[Path]:
    folder = getattr(distribution, "_path", None)  # private: the public API does not reveal the folder
    return [Path(folder)] if folder is not None else []


def _find_source_folders(module: str) -> list[Path]:
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    return [Path(place) for place in spec.submodule_search_locations or ([spec.origin] if spec.origin else [])]
