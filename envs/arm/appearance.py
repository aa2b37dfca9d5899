"""Appearance of the arms: capsules and cylinders for each link, in its own Denavit-Hartenberg frame."""

from __future__ import annotations

from dataclasses import dataclass

WHITE, GREY, BLACK = "0.93 0.93 0.95 1", "0.55 0.57 0.60 1", "0.16 0.17 0.19 1"
SILVER, SKY = "0.74 0.76 0.78 1", "0.44 0.68 0.86 1"

Vector = tuple[float, float, float]
Part = tuple[float, Vector, Vector, str] | tuple[float, Vector, Vector, str, str]
"""Radius, start point, end point [m], colour, and `cylinder` if the shape is not a capsule."""


@dataclass(frozen=True)
class Appearance:
    """The visual parts of an arm.

    Args:
        base: of the pedestal, in the base frame.
        links: of each link, in its frame.
    """

    base: tuple[Part, ...]
    links: tuple[tuple[Part, ...], ...]


FRANKA = Appearance(
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


def _make_drum_parts(radius: float, start: Vector, end: Vector, cap: Vector | None = None) -> tuple[Part, ...]:
    """Returns a joint's housing: a cylinder, with a blue lid from its end to `cap`."""
    body: Part = (radius, start, end, SILVER, "cylinder")
    return (body,) if cap is None else (body, (radius - 0.001, end, cap, SKY, "cylinder"))


UR5E = Appearance(
    base=((0.075, (0, 0, 0), (0, 0, 0.02), BLACK, "cylinder"), *_make_drum_parts(0.062, (0, 0, 0.02), (0, 0, 0.09))),
    links=(
        (
            *_make_drum_parts(0.062, (0, 0, -0.07), (0, 0, 0.035)),
            *_make_drum_parts(0.059, (0, -0.078, 0), (0, 0.05, 0), (0, 0.068, 0)),
        ),
        (
            *_make_drum_parts(0.059, (0, 0, 0.080), (0, 0, 0.185), (0, 0, 0.203)),
            (0.045, (-0.03, 0, 0.138), (-0.40, 0, 0.138), SILVER),
            *_make_drum_parts(0.052, (-0.425, 0, 0.085), (-0.425, 0, 0.180), (-0.425, 0, 0.196)),
        ),
        (
            *_make_drum_parts(0.052, (0, 0, 0.083), (0, 0, -0.035), (0, 0, -0.051)),
            (0.037, (-0.03, 0, 0.007), (-0.37, 0, 0.007), SILVER),
            *_make_drum_parts(0.040, (-0.3922, 0, 0.048), (-0.3922, 0, -0.035), (-0.3922, 0, -0.047)),
        ),
        (
            *_make_drum_parts(0.040, (0, 0, -0.085), (0, 0, 0.035), (0, 0, 0.047)),
            *_make_drum_parts(0.038, (0, 0, 0), (0, -0.052, 0)),
        ),
        (
            *_make_drum_parts(0.040, (0, 0, -0.047), (0, 0, 0.035), (0, 0, 0.047)),
            *_make_drum_parts(0.038, (0, 0, 0), (0, 0.052, 0)),
        ),
        (
            *_make_drum_parts(0.038, (0, 0, -0.047), (0, 0, -0.012)),
            (0.032, (0, 0, -0.012), (0, 0, 0), BLACK, "cylinder"),
        ),
    ),
)

APPEARANCES = {"panda": FRANKA, "fr3": FRANKA, "ur5e": UR5E}


def part_xml(part: Part) -> str:
    """Returns one part as MJCF."""
    radius, start, end, colour, *kind = part
    ends = " ".join(f"{value:g}" for value in (*start, *end))
    return f'<geom class="look" type="{"".join(kind) or "capsule"}" size="{radius}" fromto="{ends}" rgba="{colour}"/>'
