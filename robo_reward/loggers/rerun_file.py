"""Rerun: a recording in the run folder, opened by the `rerun` viewer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robo_reward.errors import MissingExtra

if TYPE_CHECKING:
    from robo_reward.loggers.logger import LoggedRun


class RerunLogger:
    """Logs to `rerun/SITTING.rrd` in the run folder; the viewer joins the files of several sittings.

    Args:
        run: the run.

    Raises:
        MissingExtra: rerun-sdk is not installed.
    """

    def __init__(self, run: LoggedRun) -> None:
        try:
            import rerun
        except ModuleNotFoundError:
            raise MissingExtra("rerun", "rerun", "logger=rerun") from None
        self._rerun = rerun
        path = run.folder / "rerun" / f"{run.sitting}.rrd"
        path.parent.mkdir(exist_ok=True)
        self._stream = rerun.RecordingStream("robo-reward", recording_id=f"{run.folder.name}-{run.id}")
        self._stream.save(path)
        self._stream.send_recording_name(run.folder.name)
        self._log_document("config", run.config)
        self.place = str(path)

    def log_scalars(self, curve: str, step: int, values: Mapping[str, float]) -> None:
        self._stream.set_time("steps", sequence=step)
        for name, value in values.items():
            entity = [part for part in (curve, *name.split("/")) if part]
            self._stream.log(entity, self._rerun.Scalars(value))

    def log_video(self, name: str, path: Path) -> None:
        video = self._rerun.AssetVideo(path=path)
        self._stream.log(name, video, static=True)
        times = video.read_frame_timestamps_nanos()
        self._stream.send_columns(
            name,
            indexes=[self._rerun.TimeColumn("video", duration=1e-9 * times)],
            columns=self._rerun.VideoFrameReference.columns_nanos(times),
        )

    def finish(self, result: Mapping[str, Any]) -> None:
        if result:
            self._log_document("result", result)
        self._stream.disconnect()

    def _log_document(self, name: str, value: Mapping[str, Any]) -> None:
        text = json.dumps(value, indent=2, default=str)
        self._stream.log(name, self._rerun.TextDocument(text), static=True)
