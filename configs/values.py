"""Types of the values that keys take, with their ranges; the description is what an error message says was expected.

They annotate the fields of the dataclasses that hold the keys of the command line. For a type checker each is its
plain type; `robo_reward.cli.arguments.schema` checks the range with msgspec.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

Flag = Annotated[bool, Meta(description="true or false")]
Whole = Annotated[int, Meta(description="a whole number")]
Natural = Annotated[int, Meta(ge=0, le=2**53, description="a whole number from 0")]
Positive = Annotated[int, Meta(ge=1, le=2**53, description="a whole number from 1")]
Seed = Annotated[int, Meta(ge=0, lt=2**31, description="a whole number from 0 to 2147483647")]
Seeds = Annotated[Sequence[Seed], Meta(min_length=1, description="a list of whole numbers from 0, such as [0,1,2]")]
Names = Annotated[Sequence[str], Meta(description="a list of names, such as [front]")]
NameOrNames = Annotated[str | Sequence[str], Meta(description="a name, or a list of names, such as [wandb,rerun]")]
Real = Annotated[float, Meta(ge=-1e300, le=1e300, description="a number")]
Reals = Annotated[Sequence[Real], Meta(description="a list of numbers, such as [0.1,0.2]")]
Shares = Annotated[Sequence[Real], Meta(description="a list of shares, such as [0.4,1.0]")]
NotNegative = Annotated[float, Meta(ge=0.0, le=1e300, description="a number from 0")]
Above0 = Annotated[float, Meta(gt=0.0, le=1e300, description="a number above 0")]
Share = Annotated[float, Meta(ge=0.0, le=1.0, description="a number from 0 to 1")]
Portion = Annotated[float, Meta(ge=0.0, lt=1.0, description="a number from 0, below 1")]
Side = Annotated[int, Meta(ge=8, le=4096, description="a whole number from 8 to 4096")]
Port = Annotated[int, Meta(ge=0, le=65535, description="a whole number from 0 to 65535")]
Auto = Annotated[
    Annotated[int, Meta(ge=2, le=1000)] | Literal["auto"], Meta(description="auto or a whole number from 2 to 1000")
]
RealOrNull = Annotated[Real | None, Meta(description="a number, or null")]
OrNull = Annotated[NotNegative | None, Meta(description="a number from 0, or null")]
Corner = Annotated[Sequence[Real], Meta(min_length=3, max_length=3)]
Box = Annotated[
    Annotated[Sequence[Corner], Meta(min_length=2, max_length=2)] | None,
    Meta(description="two corners [[x, y, z], [x, y, z]] in m, or null"),
]
Mappings = Annotated[Mapping[str, Any], Meta(description="keys with values, such as {a: 1}")]
Frames = Literal["mp4", "exact"]

FRAME_SIZE = 112
"""Default width and height of a camera's frame [pixels]."""

SCENE_SUFFIXES = (".yaml", ".yml", ".xml", ".mjcf", ".urdf")
"""Endings of the files that `task=` takes: scene files and models."""
