"""The page of discovered steps: the steps, their confidence, and how to train on them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from robo_reward.report.render import read_asset, template_environment, write_page


@dataclass(frozen=True)
class StepsPage:
    """The content of the page.

    Args:
        result: content of the result.json of `robo-reward discover`.
        pictures: PNG files, one per demonstration shown.
        command: command line that made it.
        folder: path of the run folder, as typed on a command line.
    """

    result: Mapping[str, Any]
    pictures: Sequence[Path]
    command: str
    folder: str


def write_steps_page(path: Path, page: StepsPage) -> Path:
    """Writes the page with embedded pictures, atomically, and returns its path."""
    shown = list(zip(page.result["demonstrations"], page.pictures, strict=False))
    uris = [
        (demo, "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii"))
        for demo, picture in shown
    ]
    text = (
        template_environment()
        .get_template("steps.html.jinja")
        .render(
            style=Markup(read_asset("style.css")),
            page=page,
            result=page.result,
            pictures=uris,
            chosen=str(page.result["steps"]),
        )
    )
    return write_page(path, text)
