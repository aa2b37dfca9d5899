"""Loads model files (MJCF, URDF) that other people wrote."""

from __future__ import annotations

import re
from pathlib import Path

import mujoco

from robo_reward.errors import UsageError

MODEL_SUFFIXES = (".xml", ".mjcf", ".urdf")
_URDF_REMEDY = (
    "give every moving <link> an <inertial> with mass and inertia, or add "
    '<mujoco><compiler inertiafromgeom="true"/></mujoco> to the URDF'
)


class ModelFileError(UsageError):
    """A model file cannot be used.

    Args:
        path: the file.
        problem: what is wrong.
        remedy: what to do about it.
    """

    def __init__(self, path: Path | str, problem: str, remedy: str) -> None:
        super().__init__(f"model {path}: {problem}. Remedy: {remedy}")


def load_model_spec(path: Path) -> mujoco.MjSpec:
    """Returns the editable model of an MJCF or URDF file; meshes and textures are found relative to it.

    Raises:
        ModelFileError: there is no such file, it is not a model, or a file that it needs is missing.
    """
    if path.suffix.lower() not in MODEL_SUFFIXES:
        raise ModelFileError(path, f"the suffix is {path.suffix!r}", f"expected one of {', '.join(MODEL_SUFFIXES)}")
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*") if p.suffix.lower() in MODEL_SUFFIXES)[:8]
        found = f"that folder has {', '.join(near)}" if near else "that folder has no model file"
        raise ModelFileError(path, "there is no such file", found)
    try:
        return mujoco.MjSpec.from_file(str(path))
    except (ValueError, mujoco.FatalError) as error:
        raise _to_model_error(path, error) from error


def compile_model(spec: mujoco.MjSpec, path: Path) -> mujoco.MjModel:
    """Returns the compiled model.

    Args:
        spec: of the file, perhaps with additions.
        path: the file, for error messages.

    Raises:
        ModelFileError: MuJoCo refuses it; the message names a missing file and where it was expected.
    """
    try:
        return spec.compile()
    except (ValueError, mujoco.FatalError) as error:
        raise _to_model_error(path, error) from error


def find_model_files(spec: mujoco.MjSpec, path: Path) -> tuple[Path, ...]:
    """Returns the folders that a process must be able to read to build the model again."""
    folders = {path.parent}
    for place in (spec.meshdir, spec.texturedir):
        if place:
            folders.add((path.parent / place).resolve())
    for element in (*spec.meshes, *spec.textures, *spec.hfields):
        if getattr(element, "file", ""):
            directory = spec.texturedir if element in spec.textures else spec.meshdir
            folders.add((path.parent / (directory or "") / element.file).resolve().parent)
    return tuple(sorted(folders))


def _to_model_error(path: Path, error: Exception) -> ModelFileError:
    text = " ".join(str(error).split())
    missing = re.search(r"[Ee]rror opening file '([^']+)'", text)
    if missing:
        return ModelFileError(
            path,
            f"the file {missing[1]!r}, which it uses, is not there",
            f"put it where the model expects it (meshdir and texturedir count from {path.parent}), or copy the whole "
            "folder of the model",
        )
    if "mass and inertia" in text or "inertia must satisfy" in text:
        remedy = _URDF_REMEDY if path.suffix.lower() == ".urdf" else "give the body a geom with mass, or <inertial>"
        return ModelFileError(path, text, remedy)
    return ModelFileError(path, text, "open it with `python -m mujoco.viewer --mjcf=FILE`, which reports the same")
