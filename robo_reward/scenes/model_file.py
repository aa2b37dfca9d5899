"""Loads model files (MJCF, URDF) that other people wrote."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import mujoco

from robo_reward.errors import UsageError
from robo_reward.scenes.urdf_robots.reader import UrdfError, find_urdf_files, load_urdf_spec

MODEL_SUFFIXES = (".xml", ".mjcf", ".urdf")
MAX_FILES = 4096
"""Most files of one model."""
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
    _require_model_file(path)
    try:
        return load_urdf_spec(path) if is_urdf(path) else mujoco.MjSpec.from_file(str(path))
    except UrdfError as error:
        raise ModelFileError(path, error.problem, error.remedy) from error
    except (ValueError, mujoco.FatalError) as error:
        raise _to_model_error(path, error) from error


def is_urdf(path: Path) -> bool:
    """Returns whether a model file is a URDF."""
    return path.suffix.lower() == ".urdf"


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


def delete_element(spec: mujoco.MjSpec, element: Any) -> None:
    """Removes an element from an editable model; MuJoCo 4 has another method for it than MuJoCo 3.3."""
    remove: Any = getattr(spec, "delete", None)
    remove(element) if remove else element.delete()


def find_model_files(path: Path) -> tuple[Path, ...]:
    """Returns the files of a model: the model, what it includes or attaches, meshes, textures, height fields, skins.

    They are the only files that a process needs to build it again. What does not exist is left out.

    Raises:
        ModelFileError: there is no such file, or it has another suffix.
    """
    _require_model_file(path)
    if is_urdf(path):
        return tuple(dict.fromkeys(f for file in (path, *find_urdf_files(path)) for f in (file, file.resolve())))
    models: dict[Path, Path] = {}  # of each XML file, the folder from which its file names count
    names: set[str] = set()
    folders = {""}
    _add_model_files(path, path.parent, models, names, folders)
    found = dict.fromkeys((*models, *(model.resolve() for model in models)))
    for base in set(models.values()):
        for name in sorted(names):
            # As MuJoCo does: the folders of <compiler>, and for the packages of URDF the bare name.
            bare = name.rpartition("://")[2]
            places = [base / folder / part for folder in folders for part in (bare, Path(bare).name)]
            found |= dict.fromkeys(file for place in places if place.is_file() for file in (place, place.resolve()))
    return tuple(found)


def compute_digest(files: Iterable[Path]) -> str:
    """Returns sixteen hex digits that change when the content of any of the files does."""
    total = hashlib.sha256()
    for file in files:
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:16]


def _require_model_file(path: Path) -> None:
    if path.suffix.lower() not in MODEL_SUFFIXES:
        raise ModelFileError(path, f"the suffix is {path.suffix!r}", f"expected one of {', '.join(MODEL_SUFFIXES)}")
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*") if p.suffix.lower() in MODEL_SUFFIXES)[:8]
        found = f"that folder has {', '.join(near)}" if near else "that folder has no model file"
        raise ModelFileError(path, "there is no such file", found)


def _add_model_files(path: Path, base: Path, models: dict[Path, Path], names: set[str], folders: set[str]) -> None:
    """Adds an XML file, the names of the files that it uses, and the folders that its <compiler> names."""
    if not path.is_file() or path in models or len(models) >= MAX_FILES:
        return
    models[path] = base
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError, ValueError):
        return
    for element in root.iter():
        if element.tag == "compiler":
            folders |= {element.attrib[key] for key in ("meshdir", "texturedir", "assetdir") if key in element.attrib}
        used = {value for key, value in element.attrib.items() if key.startswith("file")}
        if element.tag in ("include", "model"):
            for name in used:
                place = base / name
                _add_model_files(place, base if element.tag == "include" else place.parent, models, names, folders)
        else:
            names |= used


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
