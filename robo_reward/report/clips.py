"""Embeds videos as data URIs, within a budget that keeps the page small enough to mail."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from robo_reward.errors import BadArtifact
from robo_reward.files import read_inside
from robo_reward.report.data import ReportClip
from robo_reward.report.wording import format_plural

BUDGET_BYTES = 4_500_000
MAX_CLIP = 64 << 20  # [bytes] largest file that is read
MP4_MARK = b"ftyp"  # the type of the first box of an mp4 file


@dataclass(frozen=True)
class EmbeddedClip:
    """A clip prepared for the page: `uri` is empty if it could not be embedded, `problem` says why."""

    uri: str
    caption: str
    alt: str
    success: bool | None
    problem: str = ""


def embed_clips(clips: Iterable[ReportClip], folder: Path | None, budget: int = BUDGET_BYTES) -> list[EmbeddedClip]:
    """Embeds clips in order until the budget of base64 characters is spent; later ones are only named."""
    result = []
    for number, clip in enumerate(clips, start=1):
        alt = clip.alt or f"Video of the policy: {clip.caption or format_plural(number, 'episode')}"
        uri, problem = _make_data_uri(clip, folder, budget)
        budget -= len(uri)
        result.append(EmbeddedClip(uri, clip.caption, alt, clip.success, problem))
    return result


def _make_data_uri(clip: ReportClip, folder: Path | None, budget: int) -> tuple[str, str]:
    if isinstance(clip.video, bytes):
        name, content = "this clip", clip.video
    else:
        name = clip.video.as_posix()
        try:
            content = read_inside(folder or Path(), name, MAX_CLIP)
        except BadArtifact as error:
            return "", f"{name} could not be read: {error.problem}"
    if not content:
        return "", f"{name} is empty"
    if content[4:8] != MP4_MARK:
        return "", f"{name} is not an mp4 video"
    if len(content) * 4 / 3 > budget:
        return "", f"{name} ({len(content) / 1e6:.1f} MB) is left out to keep this page small"
    return "data:video/mp4;base64," + base64.b64encode(content).decode("ascii"), ""
