"""The page of discovered steps: what was found, how surely, and how to train on it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from robo_reward.report.render import asset, environment, write_page


@dataclass(frozen=True)
class StepsPage:
    """What the page shows.

    Args:
        result: what `robo-reward discover` wrote to result.json.
        pictures: PNG files, one per demonstration shown.
        command: that made it.
        folder: the run folder, as a person would type it.
    """

    result: Mapping[str, Any]
    pictures: Sequence[Path]
    command: str
    folder: str


def write_steps_page(path: Path, page: StepsPage) -> Path:
    """Writes the page, with its pictures inside, by rename; gives its path."""
    shown = list(zip(page.result["demonstrations"], page.pictures, strict=False))
    uris = [
        (demo, "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii"))
        for demo, picture in shown
    ]
    text = (
        environment()
        .get_template("steps.html.jinja")
        .render(
            style=Markup(asset("style.css")),
            page=page,
            result=page.result,
            pictures=uris,
            chosen=str(page.result["steps"]),
        )
    )
    return write_page(path, text)
