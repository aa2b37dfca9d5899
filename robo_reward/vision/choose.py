"""Selects the encoder named by a configuration: published, or fitted to the given clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from robo_reward.errors import UnknownName, UsageError
from robo_reward.vision.encoder import Encoder, encoders
from robo_reward.vision.views import camera_views

PUBLISHED = {"timm": "timm_encoder:TimmEncoder", "pixels": "pixels:PixelsEncoder"}
FITTED = {"colour_slots": "colour_slots:ColourSlots", "keypoints": "keypoints:KeypointEncoder"}
KINDS = (*FITTED, *PUBLISHED)
BUILT_ONLY = ("headed",)  # created by a method, not by name


def choose_encoder(config: Mapping[str, Any], clips: Sequence[np.ndarray], seed: int = 0, cameras: int = 1) -> Encoder:
    """Returns the configured encoder; encoders that learn without labels are fitted to the clips.

    Args:
        config: its `kind`, one of `KINDS` or of a plug-in, and options of its class or of its `fit`.
        clips: unlabelled clips, (T, H, W, 3) uint8 each.
        seed: of the fit.
        cameras: number of cameras side by side in a frame; each becomes a view unless the options give views.

    Raises:
        UnknownName: no such kind.
        UsageError: no kind is given, or the encoder does not accept the options.
    """
    options = {"views": camera_views(cameras), **config}
    kind = options.pop("kind", "")
    if kind not in KINDS:
        if kind in encoders.list_names() and kind not in BUILT_ONLY:  # from another package
            return encoders.create(kind, dict(config), {})
        raise UnknownName("encoder kind", kind, {*KINDS, *encoders.list_names()} - {*BUILT_ONLY})
    module, _, name = {**PUBLISHED, **FITTED}[kind].partition(":")
    made = getattr(import_module(f"robo_reward.vision.{module}"), name)
    try:
        return made.fit(clips, seed=seed, **options) if kind in FITTED else made(**options)
    except TypeError as error:
        raise UsageError(f"encoder {kind!r} does not take these options: {error}") from error
