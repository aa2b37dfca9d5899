"""Plans for hands: reach, grasp, lift, carry, stack, push, and mechanisms that open, close and turn."""

from __future__ import annotations

from dataclasses import dataclass

from robo_reward.writers.offline import facts
from robo_reward.writers.offline.scene import SceneFacts, SceneObject
from robo_reward.writers.offline.terms import (
    SourceLine,
    Style,
    Term,
    build_closeness_term,
    build_gate,
    build_precision_term,
    format_number,
    format_product,
)

FINGER_RADIUS = 0.015
"""Half the thickness of a typical fingertip [m]: the distance of the hand's centre from a surface."""
NEAR, HELD = 0.03, 0.04
"""Distances of the hand at which an object of a few centimetres counts as near, and as held [m]."""


@dataclass(frozen=True)
class TermBuilder:
    """Builds the terms that the plans for hands share.

    Args:
        scene: the objects.
        style: the choices of this composition.
        rule: the task's success rule in English, or empty.
    """

    scene: SceneFacts
    style: Style
    rule: str = ""

    @property
    def can_grasp(self) -> bool:
        """True if the scene has fingers that actions move."""
        return self.scene.hand is not None and self.scene.gripper is not None

    @property
    def hand_phrase(self) -> str:
        """Name of the hand in a sentence."""
        return self.scene.hand.noun_phrase if self.scene.hand is not None else "the hand"

    def choose_tolerance(self, usual: float) -> float:
        """Returns the distance at which a goal counts as reached [m]."""
        return min(max(facts.parse_tolerance(self.rule) or usual, 0.002), 1.0)

    def build_reach_terms(self, target: SceneObject) -> list[Term]:
        """Returns terms that bring the hand to a point."""
        gap = self.build_distance_line(self.scene.hand, target)
        if gap is None:
            return []
        what = target.noun_phrase
        return [
            build_closeness_term(self.style, "reach", 1.0, gap, 0.2, f"Bring {self.hand_phrase} to {what}."),
            *self.build_precision_terms("precise", 1.0, gap, self.choose_tolerance(0.02), "Be exact at the end."),
        ]

    def build_distance_line(
        self, a: SceneObject | None, b: SceneObject | None, flat: bool = False
    ) -> SourceLine | None:
        """Returns the line that computes the distance between two objects [m]; None when a position is unknown."""
        if a is None or b is None or a.position is None or b.position is None:
            return None
        columns = "[:, :2]" if flat else ""
        difference = f"{b.position_code} - {a.position_code}"
        code = f"np.linalg.norm(({difference}){columns}, axis=-1)" if flat else f"np.linalg.norm({difference}, axis=-1)"
        return SourceLine(f"{a.local_name}_to_{b.local_name}", code)

    def build_precision_terms(
        self, name: str, weight: float, gap: SourceLine, scale: float, note: str, *before: SourceLine, factor: str = ""
    ) -> list[Term]:
        """Returns a narrow bonus around zero distance if the style asks for one."""
        if not self.style.precise:
            return []
        return [build_precision_term(name, weight, gap, scale, note, *before, factor=factor)]

    def build_grasp_terms(
        self, item: SceneObject, always: SourceLine | None = None, before: tuple[SourceLine, ...] = ()
    ) -> tuple[list[Term], tuple[SourceLine, ...]]:
        """Returns terms that approach an object with open fingers and close them around it.

        Args:
            item: what to grasp.
            always: a factor that keeps these terms high once the object has arrived and may be released, or None.
            before: assignments that `always` needs.

        Returns:
            The terms, and the assignments of a factor `held`.
        """
        gap = self.build_distance_line(self.scene.hand, item)
        if gap is None:
            return [], (SourceLine("held", "1.0"),)
        if always is not None:
            before = (gap, *before)
            gap = SourceLine(f"{gap.local}_or_done", f"{gap.local} * (1.0 - {always.local})")
        terms = [
            build_closeness_term(
                self.style, "approach", 1.0, gap, 0.125, f"Bring {self.hand_phrase} to {item.noun_phrase}.", *before
            )
        ]
        held = (*before, gap, *build_gate(self.style, "held", gap.local, HELD))
        width = self.scene.gripper
        if not self.can_grasp or width is None:
            return terms, held
        _, wide = facts.parse_closed_and_open(width)
        grip = self.compute_grip_opening(item)
        span = SourceLine("grip_span", format_number(wide - grip))
        closed = SourceLine("closed", f"np.clip(({format_number(wide)} - state.{width.name}) / grip_span, 0.0, 1.0)")
        near = (*before, gap, *build_gate(self.style, "near", gap.local, NEAR if self.style.gate == "soft" else 0.025))
        if always is not None:
            missing = f"({format_number(wide)} - state.{width.name})"
            closed = SourceLine("closed", f"np.maximum({always.local}, np.clip({missing} / grip_span, 0.0, 1.0))")
        note = "Close the fingers around it, and only there."
        terms.append(
            Term("grasp", (*near, span, closed, SourceLine("grasp", format_product(0.5, "closed", "near"))), note)
        )
        opened = SourceLine("ready", format_product(0.2, "(1.0 - closed)", "(1.0 - near)"))
        note = "Come with open fingers: half closed ones strike the object from above, and a real arm stops itself."
        terms.append(Term("ready", (*near, span, closed, opened), note))
        return terms, held

    def compute_grip_opening(self, item: SceneObject) -> float:
        """Returns the opening of the fingers around an object [m]; half open if its width is unknown."""
        assert self.scene.gripper is not None
        shut, wide = facts.parse_closed_and_open(self.scene.gripper)
        width = 2.0 * (facts.parse_radius(item.description) or 0.0)
        return width if min(shut, wide) < width < max(shut, wide) else (shut + wide) / 2

    def build_raised_lines(self, item: SceneObject, amount: float) -> tuple[SourceLine, ...]:
        """Returns the lines of a factor `raised`: the share of a height [m] to which an object is raised, 0 to 1."""
        rest = facts.parse_rest_height(item.description)
        rest = rest if rest is not None else facts.parse_half_height(item.description) or 0.0
        name = item.local_name
        assert item.position is not None
        return (
            SourceLine(f"{name}_rest", format_number(rest)),
            SourceLine(f"{name}_rise", format_number(amount)),
            SourceLine("raised", f"np.clip((state.{item.position.name}[:, 2] - {name}_rest) / {name}_rise, 0.0, 1.0)"),
        )

    def build_lift_terms(self, item: SceneObject, amount: float | None) -> list[Term]:
        """Returns terms that lift an object by an amount [m].

        The goal lies 20 % higher than asked, so that the final state meets the success rule.
        """
        amount = amount or facts.parse_minimum(self.rule, "m") or 0.1
        terms, held = self.build_grasp_terms(item)
        value = SourceLine("lift", format_product(3.0 * self.style.stage, "raised", "held"))
        note = f"Raise {item.noun_phrase}, a little higher than asked."
        terms.append(Term("lift", (*held, *self.build_raised_lines(item, 1.2 * amount), value), note))
        if self.style.progress and item.velocity is not None:
            rise = SourceLine(
                "rise",
                format_product(
                    0.3, f"np.clip(state.{item.velocity.name}[:, 2] / 0.2, -1.0, 1.0)", "held", "(1.0 - raised)"
                ),
            )
            terms.append(
                Term(
                    "rise",
                    (*held, *self.build_raised_lines(item, 1.2 * amount), rise),
                    "Upward motion counts at once.",
                )
            )
        return terms

    def build_carry_terms(self, item: SceneObject, target: SceneObject, high: bool = False) -> list[Term]:
        """Returns terms that carry a grasped object to a point.

        Args:
            item: what to carry.
            target: where to.
            high: whether the object must leave the table; the approach to the target pays nothing before that.
        """
        gap = self.build_distance_line(item, target)
        if gap is None:
            return []
        terms, held = self.build_grasp_terms(item)
        raised = SourceLine("raise_up", format_product(self.style.stage, "raised", "held"))
        terms.append(Term("raise_up", (*held, *self.build_raised_lines(item, 0.05), raised), "Take it off the table."))
        note = f"Carry it to {target.noun_phrase}."
        stage = 3.0 * self.style.stage
        factor = "held * raised" if high else "held"
        held = (*held, *self.build_raised_lines(item, 0.05)) if high else held
        terms.append(build_closeness_term(self.style, "carry", stage, gap, 0.2, note, *held, factor=factor))
        goal = self.choose_tolerance(0.03)
        terms += self.build_precision_terms(
            "precise", self.style.stage, gap, goal, "Be exact at the end.", *held, factor=factor
        )
        return terms

    def build_push_terms(self, item: SceneObject, target: SceneObject) -> list[Term]:
        """Returns terms that push an object over the table to a point, from the opposite side."""
        flat = facts.is_planar(self.rule) or facts.is_planar(target.description)
        gap = self.build_distance_line(item, target, flat)
        if gap is None or item.position is None or target.position is None:
            return []
        terms = []
        if self.scene.hand is not None and self.scene.hand is not item:
            terms.append(self._build_contact_term(item, target))
        stage, goal = 2.0 * self.style.stage, self.choose_tolerance(0.03)
        terms.append(
            build_closeness_term(
                self.style, "deliver", stage, gap, 0.125, f"Bring {item.noun_phrase} to {target.noun_phrase}."
            )
        )
        terms += self.build_precision_terms("precise", 1.0, gap, goal, "Be exact at the end.")
        if self.style.progress and item.velocity is not None:
            way = SourceLine("way", f"({target.position_code} - {item.position_code}) / ({gap.local} + 0.02)[:, None]")
            speed = f"np.clip(np.sum(state.{item.velocity.name} * way, axis=-1) / 0.2, -1.0, 1.0)"
            terms.append(
                Term(
                    "advance",
                    (gap, way, SourceLine("advance", format_product(0.3, speed))),
                    "Motion to the goal counts at once.",
                )
            )
        return terms

    def _build_contact_term(self, item: SceneObject, target: SceneObject) -> Term:
        """Returns a term that brings the hand behind an object, as seen from the target."""
        hand = self.scene.hand
        assert (
            hand is not None and hand.position is not None and item.position is not None and target.position is not None
        )
        here, point = f"state.{hand.position.name}", f"state.{item.position.name}"
        if not self.style.contact:
            gap = self.build_distance_line(hand, item)
            assert gap is not None
            return build_closeness_term(
                self.style, "touch", 0.3, gap, 0.1, f"Bring {self.hand_phrase} to {item.noun_phrase}."
            )
        stand = facts.parse_radius(item.description) or 2 * FINGER_RADIUS
        note = f"Bring {self.hand_phrase} behind {item.noun_phrase}, opposite to its direction of motion."
        heading = facts.parse_heading(target.description)
        said = facts.parse_hand_offset(item.description, hand.name_tokens)
        if heading is not None or said is not None:
            axis, sign = heading or (0, 1)
            vector = list(said or (0.0, 0.0, 0.0))
            vector[axis] = vector[axis] if said else -sign * stand
            lines = [SourceLine("behind", f"{point} + np.array([{', '.join(map(format_number, vector))}])")]
        else:
            lines = [
                SourceLine("course", f"({target.position_code} - {point})[:, :2]"),
                SourceLine("course_length", "np.linalg.norm(course, axis=-1) + 0.01"),
                SourceLine("standoff", format_number(stand + FINGER_RADIUS / 2)),
                SourceLine("back", "-standoff * course / course_length[:, None]"),
                SourceLine(
                    "behind", f"{point} + np.stack([back[:, 0], back[:, 1], np.zeros_like(course_length)], axis=-1)"
                ),
            ]
        gap = SourceLine(f"{hand.local_name}_to_contact", f"np.linalg.norm(behind - {here}, axis=-1)")
        return build_closeness_term(self.style, "touch", 0.3, gap, 0.1, note, *lines)

    def build_drag_terms(self, item: SceneObject, axis: int, sign: int) -> list[Term]:
        """Returns terms that move an object along a direction, when only its position is known."""
        if item.position is None:
            return []
        gap = self.build_distance_line(self.scene.hand, item) if self.scene.hand is not item else None
        terms = (
            []
            if gap is None
            else [
                build_closeness_term(
                    self.style, "approach", 1.0, gap, 0.125, f"Bring {self.hand_phrase} to {item.noun_phrase}."
                )
            ]
        )
        name = item.position.name
        moved = f"{format_number(sign)} * (state.{name} - previous.{name})[:, {axis}]"
        value = SourceLine("drag", format_product(2.0 * self.style.stage, f"np.tanh({moved} / drag_scale)"))
        terms.append(
            Term("drag", (SourceLine("drag_scale", "0.02"), value), f"Move {item.noun_phrase} the way it should go.")
        )
        return terms
