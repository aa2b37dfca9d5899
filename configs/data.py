"""The keys of the verbs that bring data in and out: `import`, `export` and `preferences`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from robo_reward.configs.values import Names


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """The keys of `robo-reward import`.

    Args:
        source: an episode store or a run, a LeRobot data set, a robomimic file, a Minari data set (its folder, or
            minari:ID)
        out: the new episode store; empty: demos/NAME in the current folder
        frames: mp4: small, slightly changed; exact: lossless; drop: states and actions only
        cameras: cameras to keep, by name; empty list: all
        task: a task that the data must fit, such as panda/lift, and that its episodes then belong to; empty: no check
    """

    source: str
    out: str = ""
    frames: Literal["mp4", "exact", "drop"] = "mp4"
    cameras: Names = ()
    task: str = ""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """The keys of `robo-reward export`.

    Args:
        source: an episode store or a run, a LeRobot data set, a robomimic file, a Minari data set (its folder, or
            minari:ID); for onnx and torchscript: a run, or the policy folder in it
        to: lerobot (version 3), robomimic (HDF5) or minari (HDF5); for a policy: onnx or torchscript
        out: a new folder: the LeRobot data set, the folder of robomimic's demo.hdf5, or Minari's
            MINARI_DATASETS_PATH; for a policy: a new file
        frames: keep, or drop: states and actions only
        cameras: cameras to keep, by name; empty list: all
        input: input of the exported policy: state in SI units (its normalisation is in the file), or observation
    """

    source: str
    to: Literal["lerobot", "robomimic", "minari", "onnx", "torchscript"]
    out: str
    frames: Literal["keep", "drop"] = "keep"
    cameras: Names = ()
    input: Literal["state", "observation"] = "state"


@dataclass(frozen=True, kw_only=True)
class PreferencesConfig:
    """The keys of `robo-reward preferences`.

    Args:
        action: import or export; `robo-reward preferences import FILE` and `export STORE` are short for it
        file: import: a table with the columns chosen and rejected (.csv, .jsonl, .parquet), Label Studio's JSON,
            B-Pref's arrays (.npz), or our export; export: the store, a folder, a file or postgresql://...
        to: import: where answers are stored: a folder, a file, or postgresql://...; empty: the folder of the file;
            export: the new file: .jsonl or .parquet (everything), or .csv (comparisons)
        clips: folder in which the clips that the file names are looked up; empty: the folder of the file
        annotator: name of the annotator where the file names none
        left: for Label Studio: name in its data of the clip on the left, where names do not say it
        right: for Label Studio: name in its data of the clip on the right
    """

    action: Literal["import", "export"] = "import"
    file: str
    to: str = ""
    clips: str = ""
    annotator: str = "imported"
    left: str = ""
    right: str = ""
