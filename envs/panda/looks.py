"""What the arms look like: capsules and cylinders for each link, in its own Denavit-Hartenberg frame."""

from __future__ import annotations

from dataclasses import dataclass

WHITE, GREY, BLACK = "0.93 0.93 0.95 1", "0.55 0.57 0.60 1", "0.16 0.17 0.19 1"

Vector = tuple[float, float, float]
Part = tuple[float, Vector, Vector, str]
"""A capsule: radius, from, to [m], colour."""


@dataclass(frozen=True)
class Look:
    """The parts of an arm that are only to be seen.

    Args:
        base: of the pedestal, in the base frame.
        links: of each link, in its frame.
    """

    base: tuple[Part, ...]
    links: tuple[tuple[Part, ...], ...]


FRANKA = Look(
    base=(
        (0.075, (-0.03, 0, 0.04), (-0.03, 0, 0.14), WHITE),
        (0.055, (-0.10, 0, 0.05), (0.02, 0, 0.05), BLACK),
    ),
    links=(
        ((0.070, (0, 0, -0.19), (0, 0, -0.03), WHITE), (0.062, (0, -0.075, 0), (0, 0.075, 0), WHITE)),
        ((0.060, (0, 0, -0.06), (0, 0, 0.06), WHITE), (0.058, (0, -0.04, 0), (0, -0.19, 0), WHITE)),
        ((0.060, (0, 0, -0.13), (0, 0, -0.05), WHITE), (0.056, (0.0825, -0.07, 0), (0.0825, 0.07, 0), WHITE)),
        ((0.056, (0, 0, -0.055), (0, 0, 0.055), WHITE), (0.054, (-0.06, 0.04, 0), (-0.0825, 0.12, 0), WHITE)),
        ((0.056, (0, 0, -0.27), (0, 0, -0.20), WHITE), (0.034, (0, 0.07, -0.21), (0, 0.05, -0.03), WHITE)),
        ((0.050, (0, 0, -0.06), (0, 0, 0.03), WHITE), (0.046, (0.045, 0, 0), (0.088, 0, 0), WHITE)),
        ((0.042, (0, 0, -0.03), (0, 0, 0.07), WHITE), (0.030, (0.05, 0, 0.07), (0, 0, 0.07), GREY)),
    ),
)

LOOKS = {"panda": FRANKA, "fr3": FRANKA}


def capsule(radius: float, start: Vector, end: Vector, colour: str) -> str:
    """One part as MJCF."""
    ends = " ".join(f"{value:g}" for value in (*start, *end))
    return f'<geom class="look" size="{radius}" fromto="{ends}" rgba="{colour}"/>'
