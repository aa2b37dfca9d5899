"""From an argument list to a verb with a composed configuration, and from any error to an exit code."""

from __future__ import annotations

import importlib
import itertools
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robo_reward.cli.help import overview, verb_help
from robo_reward.cli.verbs import VERBS
from robo_reward.errors import RoboRewardError, UnknownName, UsageError

if TYPE_CHECKING:
    from omegaconf import DictConfig

CONFIGS = "pkg://robo_reward.configs"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; returns 0, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if arguments[0] in ("-V", "--version"):
        from robo_reward import __version__

        print(f"robo-reward {__version__}")
        return 0
    try:
        return _run(arguments[0], arguments[1:])
    except RoboRewardError as error:
        print(f"robo-reward: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nrobo-reward: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"robo-reward: {error.strerror or error}{where}", file=sys.stderr)
        return 1


def _run(verb: str, arguments: list[str]) -> int:
    if verb not in VERBS:
        raise UnknownName("verb", verb, VERBS, "`robo-reward --help` says what each does.")
    if any(a in ("-h", "--help") for a in arguments):
        print(verb_help(verb))
        return 0
    logging.basicConfig(
        level=os.environ.get("ROBO_REWARD_LOG", "WARNING"), format="%(levelname)s %(name)s: %(message)s"
    )
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # worlds and candidates are what runs in parallel
    module, _, function = VERBS[verb].entry.partition(":")
    overrides, flags = _split(verb, arguments)
    if any(flag in ("-m", "--multirun", "--cfg", "-c", "--info", "-i") for flag in flags):
        return _hydra(verb, flags, overrides, getattr(importlib.import_module(module), function))
    config = compose(verb, overrides, _config_dir(flags))
    return getattr(importlib.import_module(module), function)(config, [verb, *arguments])


def compose(verb: str, overrides: Sequence[str], config_dir: str | None = None) -> DictConfig:
    """The configuration of a verb.

    Raises:
        UsageError: an override that does not parse or does not fit.
        UnknownName: a key or an option that does not exist.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    GlobalHydra.instance().clear()
    search_path = [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"] if config_dir else []
    with initialize_config_module("robo_reward.configs", version_base="1.3"):
        try:
            config = hydra_compose(verb, overrides=[*overrides, *search_path])
            OmegaConf.resolve(config)
            return config
        except (HydraException, OmegaConfBaseException) as error:
            raise _explained(verb, overrides, error) from error
        finally:
            GlobalHydra.instance().clear()


def _explained(verb: str, overrides: Sequence[str], error: Exception) -> UsageError:
    """Hydra's complaint as one that names the nearest valid choice."""
    from robo_reward.cli.help import group_options, keys

    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if "=" not in override:
            return UsageError(f"{override!r} is not of the form key=value")
        if key in group_options() and value and value not in group_options()[key]:
            return UnknownName(f"value of {key}", value, group_options()[key])
        if key not in keys(verb) and not override.startswith(("+", "~")):
            return UnknownName("key", key, keys(verb), f"`robo-reward {verb} --help` explains them.")
    return UsageError(str(error).splitlines()[0])


def _split(verb: str, arguments: list[str]) -> tuple[list[str], list[str]]:
    """Overrides and Hydra's own flags; paths given for a policy, a reward or a run become overrides of their path."""
    overrides: list[str] = []
    flags: list[str] = []
    expects_value = False
    for argument in arguments:
        if expects_value or argument.startswith("-"):
            flags.append(argument)
            expects_value = argument in ("--config-dir", "-cd", "--cfg", "-c") and not expects_value
        else:
            overrides += [_open(override) for override in VERBS[verb].rewrite(argument)]
    return overrides, flags


def _open(override: str) -> str:
    """Lets any key stand below the free-form mappings, whose content the algorithm or the task checks."""
    free = ("policy.params.", "task.params.", "task.options.", "writer.extra.", "settings.", "encoder.")
    return f"++{override}" if override.startswith(free) else override


def _config_dir(flags: list[str]) -> str | None:
    for flag, value in itertools.pairwise([*flags, ""]):
        if flag in ("--config-dir", "-cd"):
            return value
        if flag.startswith("--config-dir="):
            return flag.partition("=")[2]
    unknown = [flag for flag in flags if flag.startswith("-")]
    if unknown:
        raise UnknownName("flag", unknown[0], ("--help", "--multirun", "--config-dir", "--cfg", "--info"))
    return None


def _hydra(verb: str, flags: list[str], overrides: list[str], function: Any) -> int:
    """Sweeps and inspection are Hydra's own business."""
    import hydra
    from omegaconf import OmegaConf

    codes: list[int] = []

    def job(config: DictConfig) -> None:
        OmegaConf.resolve(config)
        codes.append(function(config, [verb, *overrides]))

    quiet = ["hydra.run.dir=.", "hydra.sweep.dir=.", "hydra.sweep.subdir=.", "hydra.output_subdir=null"]
    sys.argv = [f"robo-reward {verb}", *flags, *overrides, *quiet]
    hydra.main(version_base="1.3", config_path=CONFIGS, config_name=verb)(job)()
    return max(codes, default=0)
