"""From an argument list to a verb with a composed configuration, and from any error to an exit code."""

from __future__ import annotations

import importlib
import itertools
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robo_reward.cli.arguments.help import format_overview, format_verb_help, is_key
from robo_reward.cli.arguments.options import find_config_name, silence_override_warning
from robo_reward.cli.arguments.overrides import PreparedOverrides, prepare_overrides
from robo_reward.cli.arguments.quoting import quote_text
from robo_reward.cli.interrupt import interrupt_on_sigterm
from robo_reward.cli.verbs import VERBS
from robo_reward.errors import RoboRewardError, UnknownName, UsageError
from robo_reward.masking import mask_secrets
from robo_reward.printable import to_printable

if TYPE_CHECKING:
    from omegaconf import DictConfig

CONFIGS = "pkg://robo_reward.configs"
FLAGS = ("--help", "-h", "--multirun", "-m", "--config-dir", "-cd", "--cfg", "-c", "--info", "-i")
QUIET = ("hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; returns 0, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(format_overview())
        return 0
    if arguments[0] in ("-V", "--version"):
        from robo_reward import __version__

        print(f"robo-reward {__version__}")
        return 0
    with interrupt_on_sigterm():
        return _run_guarded(lambda: _run_verb(arguments[0], arguments[1:]))


def _run_guarded(work: Callable[[], int]) -> int:
    """Runs a verb; an error that a user can meet becomes one line and an exit code."""
    try:
        return work()
    except RoboRewardError as error:
        _print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _print_error("interrupted; run the same command again to resume", "\n")
        return 130
    except OSError as error:
        _print_error(f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}")
        return 1


def _print_error(text: str, before: str = "") -> None:
    print(f"{before}robo-reward: {to_printable(mask_secrets(text))}", file=sys.stderr)


def _run_verb(verb: str, arguments: list[str]) -> int:
    if verb not in VERBS:
        raise UnknownName("verb", verb, VERBS, "`robo-reward --help` describes each.")
    if any(a in ("-h", "--help") for a in arguments):
        print(format_verb_help(verb, [a for a in arguments if not a.startswith("-")]))
        return 0
    logging.basicConfig(
        level=os.environ.get("ROBO_REWARD_LOG", "WARNING"), format="%(levelname)s %(name)s: %(message)s"
    )
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # worlds and candidates already run in parallel
    module, _, function = VERBS[verb].entry.partition(":")
    overrides, flags = _split_arguments(verb, arguments)
    folder = _find_config_dir(flags)
    sweep = any(flag in ("-m", "--multirun") for flag in flags)
    prepared = prepare_overrides(verb, overrides, folder, sweep)
    if sweep or any(flag in ("--cfg", "-c", "--info", "-i") for flag in flags):
        return _run_hydra(verb, flags, prepared, getattr(importlib.import_module(module), function))
    config = _resolve_config(prepared)
    _check_values(verb, config, prepared)
    return getattr(importlib.import_module(module), function)(config, [verb, *arguments])


def compose_config(verb: str, overrides: Sequence[str], config_dir: str | None = None) -> DictConfig:
    """Returns the configuration of a verb.

    Raises:
        UsageError: an override that does not fit.
        UnknownName: a key or an option that does not exist.
    """
    return _resolve_config(prepare_overrides(verb, overrides, config_dir))


def compose_checked_config(verb: str, arguments: Sequence[str]) -> DictConfig:
    """Returns the configuration of a verb from `key=value` arguments, with every value checked.

    Raises:
        UsageError: an argument that does not fit.
        UnknownName: a key or an option that does not exist.
    """
    if verb not in VERBS:
        raise UnknownName("verb", verb, VERBS, "`robo-reward --help` describes each.")
    overrides = VERBS[verb].expand_arguments(arguments, partial(is_key, verb))
    prepared = prepare_overrides(verb, overrides)
    config = _resolve_config(prepared)
    _check_values(verb, config, prepared)
    return config


def _resolve_config(prepared: PreparedOverrides) -> DictConfig:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    config = prepared.build_config()
    try:
        OmegaConf.resolve(config)
    except OmegaConfBaseException as error:
        raise UsageError(str(error).splitlines()[0]) from error
    return config


def _check_values(verb: str, config: DictConfig, prepared: PreparedOverrides) -> None:
    from robo_reward.cli.arguments.schema import check_config  # not needed for `--help`, and msgspec takes its time

    check_config(verb, config, prepared.defaults)


def _split_arguments(verb: str, arguments: list[str]) -> tuple[list[str], list[str]]:
    """Returns the overrides and Hydra's own flags; a path given for a policy, reward or run becomes an override."""
    typed: list[str] = []
    flags: list[str] = []
    expected = ""  # the flag whose value comes next
    for argument in arguments:
        if expected == "--json":
            typed.append(f"json={quote_text(argument)}")
        elif not expected and argument.removeprefix("--") in VERBS[verb].switches and argument.startswith("--"):
            typed.append(f"{argument[2:]}=true")
        elif expected or (argument.startswith("-") and argument.partition("=")[0] != "--json"):
            flags.append(argument)
        elif argument.startswith("--json="):
            typed.append(f"json={quote_text(argument.partition('=')[2])}")
        elif argument != "--json":
            typed.append(argument)
        expected = argument if not expected and argument in ("--config-dir", "-cd", "--cfg", "-c", "--json") else ""
    if expected == "--json":
        raise UsageError("--json needs the name of a file: --json FILE")
    return VERBS[verb].expand_arguments(typed, partial(is_key, verb)), flags


def _find_config_dir(flags: list[str]) -> str | None:
    """Returns the folder of `--config-dir`, checked; raises an error for flags that do not exist."""
    folder = None
    for flag, value in itertools.pairwise([*flags, ""]):
        name, equals, given = flag.partition("=")
        if name in ("--config-dir", "-cd"):
            folder = given if equals else value
            if not folder or not Path(folder).is_dir():
                raise UsageError(f"{name} {folder}: no such folder; give one that contains configuration files")
        elif flag.startswith("-") and name not in FLAGS:
            raise UnknownName("flag", flag, FLAGS)
    return folder


def _run_hydra(verb: str, flags: list[str], prepared: PreparedOverrides, function: Any) -> int:
    """Runs the verb under Hydra, which does sweeps and inspection."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    codes: list[int] = []

    def run_job(config: DictConfig) -> None:
        own = list(HydraConfig.get().overrides.task)
        OmegaConf.resolve(config)
        codes.append(_run_guarded(lambda: _check_and_run(verb, config, prepared, function, [verb, *own])))

    with tempfile.TemporaryDirectory() as folder:  # for the files that Hydra writes about a sweep
        quiet = [f"hydra.run.dir={folder}", f"hydra.sweep.dir={folder}", "hydra.sweep.subdir=.", *QUIET]
        sys.argv = [f"robo-reward {verb}", *flags, *prepared.to_hydra_overrides(), *quiet]
        with silence_override_warning():
            hydra.main(version_base="1.3", config_path=CONFIGS, config_name=find_config_name(verb))(run_job)()
    return max(codes, default=0)


def _check_and_run(
    verb: str, config: DictConfig, prepared: PreparedOverrides, function: Any, arguments: list[str]
) -> int:
    _check_values(verb, config, prepared)
    return function(config, arguments)
