"""Help that a person can read, made from the configuration files themselves."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from robo_reward.cli.verbs import VERBS


def overview() -> str:
    """What `robo-reward --help` prints."""
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "robo-reward VERB [key=value ...]",
            "",
            "From what you want to a reward, a trained policy and a Franka arm.",
            "",
            *lines,
            "",
            "robo-reward VERB --help explains a verb's keys. Every verb takes -m for sweeps and --config-dir for",
            "configuration files of your own.",
        ]
    )


def verb_help(verb: str) -> str:
    """What `robo-reward VERB --help` prints: summary, example, groups, and the keys with their comments."""
    what = VERBS[verb]
    text = [f"robo-reward {verb}: {what.summary}", "", f"  {what.example}", ""]
    groups = {g: o for g, o in group_options().items() if f"- {g}:" in _raw(verb) or f"/{g}:" in _raw(verb)}
    if groups:
        text.append("Choices (group=option):")
        text += [f"  {group:<9} {', '.join(options)}" for group, options in groups.items()]
        text.append("")
    text.append("Keys and their defaults:")
    text += [f"  {line}" for line in _body(_raw(verb))]
    for group in groups:
        option = _default_option(verb, group)
        if option not in ("", "null") and group != "task":
            text += ["", f"  {group}.  (as in {group}={option})"]
            text += [
                f"    {line}" for line in _body((files("robo_reward.configs") / group / f"{option}.yaml").read_text())
            ]
    return "\n".join(text)


@cache
def group_options() -> dict[str, tuple[str, ...]]:
    """Option names by configuration group."""
    root = files("robo_reward.configs")
    return {d.name: tuple(sorted(_options(d))) for d in root.iterdir() if d.is_dir() and not d.name.startswith("_")}


def _options(folder: Traversable, prefix: str = "") -> list[str]:
    found = []
    for item in folder.iterdir():
        if item.name.endswith(".yaml"):
            found.append(prefix + item.name.removesuffix(".yaml"))
        elif item.is_dir() and not item.name.startswith("_"):
            found += _options(item, f"{prefix}{item.name}/")
    return found


@cache
def keys(verb: str) -> tuple[str, ...]:
    """Every key that a verb takes, dotted, groups included."""
    from omegaconf import DictConfig

    from robo_reward.cli.app import compose

    def walk(node: DictConfig, prefix: str) -> list[str]:
        found = []
        for key in node:
            found.append(f"{prefix}{key}")
            child = node._get_node(key)
            if isinstance(child, DictConfig) and not child._is_none():
                found += walk(child, f"{prefix}{key}.")
        return found

    return tuple(walk(compose(verb, []), ""))


def _raw(verb: str) -> str:
    return (files("robo_reward.configs") / f"{verb}.yaml").read_text()


def _body(text: str) -> list[str]:
    """The lines after the defaults list."""
    lines, inside = [], False
    for line in text.splitlines():
        if line.startswith("defaults:"):
            inside = True
        elif not inside or (line and not line.startswith((" ", "-"))):
            inside = False
            if line.strip() and not line.startswith("# @"):
                lines.append(line)
    return lines


def _default_option(verb: str, group: str) -> str:
    for line in _raw(verb).splitlines():
        name, _, option = line.strip(" -").partition(":")
        if name.rpartition(" ")[2].lstrip("/") == group:
            return option.split("#")[0].strip()
    return ""
