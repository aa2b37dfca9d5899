"""Checks the results in a training job's folder before the search uses them: a job is confined, not trusted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated, Any

import msgspec

from robo_reward.files import Count, Finite, Share, convert_json
from robo_reward.jobs.job import REMEDY, Job
from robo_reward.rewards.contract import MAX_TERMS

MAX_POINTS = 10_000
FILES = ("reward.py", "curve.csv")
FOLDERS = ("checkpoint", "log", "policy")


class CurvePointForm(msgspec.Struct):
    """A point of the learning curve, see `policies.sb3.CurvePoint`."""

    steps: Count
    success: Share
    episode_return: Finite
    terms: Annotated[dict[str, Finite], msgspec.Meta(max_length=MAX_TERMS)]
    seconds: Finite


class EvaluationForm(msgspec.Struct):
    """Deterministic episodes, see `policies.evaluate.Evaluation`."""

    episodes: Annotated[int, msgspec.Meta(ge=1)]
    successes: Count
    success: Share
    low: Share
    high: Share
    held: Share
    mean_return: Finite | None = None


class TrainingForm(msgspec.Struct):
    """The result of a training job, see `policies.sb3.TrainingResult`."""

    steps: Count
    seconds: Finite
    points: Annotated[list[CurvePointForm], msgspec.Meta(max_length=MAX_POINTS)]
    evaluation: EvaluationForm

    def __post_init__(self) -> None:
        names = self.points[0].terms.keys() if self.points else set()
        for number, point in enumerate(self.points):
            if point.terms.keys() != names:
                raise ValueError(f"points[{number}].terms has other names than points[0].terms")


def check_outcome(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Checks the result of a training job and the policy in the job's folder, and returns the result.

    Raises:
        BadArtifact: the result is not of the form of `TrainingForm`, or there is no usable policy.
    """
    convert_json(result, TrainingForm, folder / "result.json", REMEDY)
    _load_policy(folder / "policy")
    return result


def require_usable_job(folder: Path, again: bool = True) -> None:
    """Checks the job folder of an earlier run, of which there may be none.

    Args:
        folder: of the job.
        again: whether the job would be run again for a result that cannot be used; else that is not checked here.

    Raises:
        BadArtifact: a job could not be run in it, or its result or policy cannot be used.
    """
    job = Job(folder)
    job.require_plain(FILES, FOLDERS)
    result = job.load_result()
    if again and result is not None:
        check_outcome(folder, result)


def was_set_aside(folder: Path) -> bool:
    """Returns whether a folder of that name was moved to `damaged/` before."""
    return os.path.lexists(_get_damaged_folder(folder) / f"{folder.name}-1")


def _get_damaged_folder(folder: Path) -> Path:
    return folder.parent.parent / "damaged"


def set_aside(folder: Path) -> Path:
    """Moves a damaged job folder to `damaged/` beside the folder of all jobs; returns where it is now.

    The sealed copy of its spec goes: the next `Job.create` writes it again.
    """
    sealed = Job(folder).sealed_path
    if sealed.is_dir() and not sealed.is_symlink():
        shutil.rmtree(sealed)
    sealed.unlink(missing_ok=True)
    if not os.path.lexists(folder):
        return folder
    place = _get_damaged_folder(folder)
    place.mkdir(exist_ok=True)
    number = 1
    while os.path.lexists(place / f"{folder.name}-{number}"):
        number += 1
    return folder.rename(place / f"{folder.name}-{number}")


def _load_policy(folder: Path) -> None:
    from robo_reward.policies.policy import load_policy  # imported here: policies are a higher layer

    load_policy(folder)
