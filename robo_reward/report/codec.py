"""Conversion of a `RunReport` to strict JSON and back, so that other programs can read `report.json`."""

from __future__ import annotations

import base64
import json
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from robo_reward.errors import RoboRewardError
from robo_reward.report.data import RunReport

FORMAT = 1


class BadReportFile(RoboRewardError):
    """A `report.json` that is not valid; the message names the place."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(
            f"this is not a report of robo-reward: {where}: {problem}. "
            "Run the command that created the run folder again; it resumes and rewrites report.json."
        )


def encode_report(report: RunReport) -> str:
    """Returns a report as JSON text."""
    return json.dumps({"format": FORMAT, **_to_plain(report)}, indent=1, allow_nan=False, ensure_ascii=False)


def decode_report(text: str) -> RunReport:
    """Returns the report that `encode_report` wrote.

    Raises:
        BadReportFile: the text is not JSON, or not a report of a known format.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        problem = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise BadReportFile("the file", problem) from error
    if not isinstance(data, dict):
        raise BadReportFile("the file", "expected an object")
    if data.pop("format", FORMAT) != FORMAT:
        raise BadReportFile("format", f"expected {FORMAT}; a newer robo-reward may have written it")
    return _build_value(RunReport, data, "report")


def _to_plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _to_plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_to_plain(item) for item in value]
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, Path):
        return {"path": value.as_posix()}
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@cache
def _resolve_hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _build_value(kind: Any, value: Any, where: str) -> Any:
    """Returns `value` as an instance of the annotation `kind`.

    Unknown keys are ignored, so that newer files can be read.
    """
    if is_dataclass(kind) and isinstance(kind, type):
        return _build_dataclass(kind, value, where)
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _build_union(args, value, where)
    if origin is Literal:
        return value if value in args else _raise_bad_file(where, f"{value!r} is none of {', '.join(map(repr, args))}")
    if origin is tuple and isinstance(value, list):
        return tuple(_build_value(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is Mapping and isinstance(value, dict):
        return {key: _build_value(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind is float:
        return _parse_number(value, where)
    if kind in (str, int, bool) and type(value) is kind:
        return value
    return _raise_bad_file(where, f"{value!r:.60} does not fit {kind}")


def _build_dataclass(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        _raise_bad_file(where, "expected an object")
    hints = _resolve_hints(kind)
    missing = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    for name in missing:
        if name not in value:
            _raise_bad_file(where, f"{name!r} is missing")
    return kind(**{name: _build_value(hints[name], value[name], f"{where}.{name}") for name in hints if name in value})


def _build_union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in args:
        return None
    if bytes in args and isinstance(value, dict):
        if isinstance(value.get("path"), str):
            return Path(value["path"])
        try:
            return base64.b64decode(value.get("base64", ""), validate=True)
        except (ValueError, TypeError) as error:
            _raise_bad_file(where, f"bad base64 ({error})")
    return _build_value(next(arg for arg in args if arg is not type(None)), value, where)


def _parse_number(value: Any, where: str) -> float:
    if value is None:  # a gap in the data: JSON has no NaN
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        _raise_bad_file(where, f"{value!r:.60} is not a number")
    try:
        return float(value)
    except OverflowError:
        return _raise_bad_file(where, "this number is too large")


def _raise_bad_file(where: str, problem: str) -> Any:
    raise BadReportFile(where, problem)
