"""Converts the overrides that a user types after a verb to overrides in Hydra's grammar.

The type of the key decides how a value is parsed, not its characters: the value of a key that holds text (a goal, a
folder, a name) is everything after the first `=`, in any language and punctuation. Only other values (numbers,
lists, options of an algorithm) are parsed by Hydra's grammar.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from robo_reward.cli.arguments.choices import (
    PATHS,
    is_environment,
    is_own_group,
    is_own_option,
    is_scene_file,
    list_group_options,
    list_options,
    register_algorithm,
    register_environment,
    register_option,
    register_scene,
)
from robo_reward.cli.arguments.options import compose_options
from robo_reward.cli.arguments.quoting import quote_text, unquote_text
from robo_reward.cli.arguments.structured import find_verb_groups
from robo_reward.errors import UnknownName, UsageError

FREE = (
    "reward.headers",
    "policy.params",
    "policy.encoder",
    "task.params",
    "task.options",
    "writer.extra",
    "settings",
    "encoder",
    "vision",
    "logger_options",
)
"""Mappings that take any key: the algorithm, the task or the encoder checks them."""

SHORT = {"fast": "task.options.fast"}
"""Keys that stand for another one, in verbs with a task."""

SENTENCES = ("goal", "success", "failure", "instructions")
"""Texts that are taken literally, even `null`, which clears any other text."""

_OVERRIDE = re.compile(r"(?P<prefix>\+{0,2}|~)(?P<key>[^=~+]*)=(?P<value>.*)", re.DOTALL)


@dataclass
class PreparedOverrides:
    """The overrides of a command, checked and sorted.

    Attributes:
        groups: choices of options, such as `task=panda/lift`, for Hydra.
        values: key -> value in Hydra's grammar.
        more: overrides of Hydra itself, in a sweep.
        texts: key -> text, which is not parsed.
        free: mappings that take any key.
        defaults: the configuration of the chosen options, before `values` and `texts`.
    """

    groups: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    more: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    free: list[str] = field(default_factory=lambda: list(FREE))
    defaults: Any = None

    def to_hydra_overrides(self) -> list[str]:
        """Returns all of them in Hydra's grammar."""
        values = [f"++{key}={value}" for key, value in self.values.items()]
        return [*self.groups, *self.more, *values, *(f"{key}={quote_text(text)}" for key, text in self.texts.items())]

    def build_config(self) -> Any:
        """Returns the configuration; references in it are not resolved.

        Raises:
            UsageError: a value that does not fit its key.
        """
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        config = deepcopy(self.defaults)
        try:
            for key, value in self.values.items():
                OmegaConf.update(config, key, _parse_override(value).value(), merge=True, force_add=True)
            for key, text in self.texts.items():
                OmegaConf.update(config, key, text)
        except OmegaConfBaseException as error:
            raise UsageError(str(error).splitlines()[0]) from error
        return config


def prepare_overrides(
    verb: str, overrides: Sequence[str], config_dir: str | None = None, sweep: bool = False
) -> PreparedOverrides:
    """Returns the overrides of a verb, each checked separately.

    Args:
        verb: the verb whose keys are valid.
        overrides: `key=value`, as typed.
        config_dir: a folder of the user's own options, or none.
        sweep: whether a list of values, separated by commas, is a sweep over them.

    Raises:
        UsageError: an override without `=`, or a text that cannot be kept.
        UnknownName: a key or an option that does not exist.
    """
    found = PreparedOverrides()
    rest: list[tuple[str, str]] = []
    first: list[str] = []  # one option per group, to compose the defaults
    groups = find_verb_groups(verb)
    # Hydra must know the default task, and every task that a file of the user's folder may build on.
    for task in list_group_options("task") if config_dir else filter(None, [groups.get("task")]):
        register_option("task", task)
    for override in overrides:
        key, value = _split_override(override)
        key = SHORT.get(key, key) if "task" in groups else key
        key = "policy" if key == "policy.algorithm" and "policy" in groups else key
        own = is_own_group(key, config_dir)
        if key in groups or own:
            options = [part.strip() for part in (value.split(",") if sweep else [value])]
            for index, option in enumerate(options):
                if key == "task" and (is_scene_file(option) or is_environment(option)):
                    options[index] = register_scene(option) if is_scene_file(option) else register_environment(option)
                    continue
                if key == "policy" and ":" in option:
                    options[index] = register_algorithm(option)
                    continue
                _check_option(key, option, config_dir)
                found.free += [key] if register_option(key, option) else []
            mark = "" if key in groups else "+"
            found.groups.append(f"{mark}{key}={','.join(options)}")
            first.append(f"{mark}{key}={options[0]}")
        elif sweep and key.startswith(("hydra.", "hydra/")):
            found.more.append(override)
        else:
            rest.append((key, value))
    for key, default in groups.items():
        if default and key not in {choice.partition("=")[0] for choice in first}:
            _check_option(key, default, config_dir)
    found.defaults = compose_options(verb, first, config_dir)
    for key, value in rest:
        _store_override(found, verb, key, value, sweep)
    return found


def _split_override(override: str) -> tuple[str, str]:
    match = _OVERRIDE.fullmatch(override)
    if override.startswith("~"):
        raise UsageError(f"{override!r}: a key cannot be removed; give it another value")
    if not match:
        raise UsageError(f"{override!r} is not of the form key=value")
    return match["key"], match["value"]


def _check_option(group: str, value: str, config_dir: str | None) -> None:
    from robo_reward.policies.algorithms import require_no_memory

    known = list_options(group, config_dir)
    if value != "null" and value not in known:
        if group == "policy":
            require_no_memory(value)
        remedy = f"Or give {PATHS[group]}." if group in PATHS else ""
        raise UnknownName(f"value of {group}", value, known, remedy)
    if group != "task" and is_own_option(group, value, config_dir) and value in list_group_options(group):
        raise UsageError(f"--config-dir {config_dir}: robo-reward has a {group}={value} of its own; rename this file")


def _store_override(found: PreparedOverrides, verb: str, key: str, value: str, sweep: bool) -> None:
    """Stores an override where it belongs: among the texts, or among the values that Hydra reads."""
    from robo_reward.cli.arguments.schema import is_text

    known, default = _look_up(found.defaults, key)
    inner = f"reward.{key}"
    if not known and (_look_up(found.defaults, inner)[0] or _is_free(found, inner)):  # reward=http url=...
        key = inner
        known, default = _look_up(found.defaults, key)
    free = not known and _is_free(found, key)
    if not known and not free:
        raise _unknown_key_error(verb, key, found.defaults)
    literal = known and is_text(verb, key, default, found.defaults)
    parses = _is_parsable(value, sweep)
    is_sweep = sweep and parses and not re.search(r",\s", value)  # a comma and a space: a sentence, not a sweep
    if literal and not is_sweep:
        is_cleared = value == "null" and default == "" and key not in SENTENCES
        found.texts[key] = "" if is_cleared else _parse_text(key, value)
        return
    if not parses:
        value = quote_text(value)  # a plain text: the schema, or the reader of the free key, reports a wrong type
    found.values[key] = value


def _parse_text(key: str, value: str) -> str:
    """Returns the text that a value means: itself, without the quotes of a user who knows Hydra's grammar."""
    value = unquote_text(value)
    if "${" in value:
        raise UsageError(f"{key}={value!r}: '${{' begins a reference in configuration files; remove it")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{key}={value!r} is not valid UTF-8; rename the file or folder") from None
    return value


def _look_up(config: Any, key: str) -> tuple[bool, Any]:
    """Returns whether the configuration has the key, and its value; `???` where it must be given."""
    from omegaconf import DictConfig

    node: Any = config
    for name in key.split("."):
        if not isinstance(node, DictConfig) or node._is_none() or name not in list(node.keys()):
            return False, None
        child = node._get_node(name)
        node = (
            child
            if isinstance(child, DictConfig)
            else ("???" if (child is None or child._is_missing()) else node[name])
        )
    return True, node


def _is_free(found: PreparedOverrides, key: str) -> bool:
    roots = [root for root in found.free if key.startswith(f"{root}.") and _look_up(found.defaults, root)[0]]
    return bool(roots) and re.fullmatch(r"[\w.\-/]+", key) is not None


def _unknown_key_error(verb: str, key: str, config: Any) -> UsageError:
    from robo_reward.cli.arguments.help import list_config_keys

    group = key.partition(".")[0]
    if key.startswith(tuple(f"{root}." for root in FREE)) and group in find_verb_groups(verb):
        return UsageError(f"{key}: give {group}=NAME as well; `robo-reward {verb} --help` lists the names")
    known = {*list_config_keys(config), *find_verb_groups(verb)}
    remedy = f"`robo-reward {verb} --help` explains them."
    longer = _find_longer_keys(key, known)
    if longer:
        return UsageError(f"unknown key {key!r}. Did you mean {' or '.join(map(repr, longer))}? {remedy}")
    return UnknownName("key", key, known, remedy)


def _find_longer_keys(key: str, known: set[str]) -> list[str]:
    """Returns up to three keys that end with a key: `policy.params.gamma` for `params.gamma` and for `gamma`."""
    from robo_reward.policies.algorithms import DEFAULTS

    group, _, name = key.partition(".")
    if "policy.params" in known and (name if group == "params" else key) in {n for d in DEFAULTS.values() for n in d}:
        return [f"policy.params.{name or key}"]
    free = [f"{root}.{name}" for root in FREE if name and root in known and root.endswith(f".{group}")]
    return (free or sorted(one for one in known if one.endswith(f".{key}")))[:3]


def _is_parsable(value: str, sweep: bool) -> bool:
    """Returns whether Hydra's grammar reads a value, as one value unless it is a sweep."""
    from hydra.errors import HydraException

    try:
        parsed = _parse_override(value)
    except HydraException:
        return False
    return sweep or not parsed.is_sweep_override()


def _parse_override(value: str) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_override(f"value={value}")
