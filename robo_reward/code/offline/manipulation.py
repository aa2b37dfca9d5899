"""Plans for hands: reach, grasp, lift, carry, stack, push, and mechanisms that open, close and turn."""

from __future__ import annotations

from dataclasses import dataclass

from robo_reward.code.offline import facts
from robo_reward.code.offline.scene import Scene, Thing
from robo_reward.code.offline.terms import Line, Style, Term, gate, near_term, number, precise_term, weighted

FINGER = 0.015
"""Half the thickness of a usual finger tip [m]: how far from a surface the hand's centre stays."""
NEAR, HELD = 0.03, 0.04
"""The hand is around a thing of a few centimetres, or has it, within these distances [m]."""


@dataclass(frozen=True)
class Workshop:
    """What the plans for hands share.

    Args:
        scene: the things.
        style: the choices of this composition.
        rule: how success is told, or nothing.
    """

    scene: Scene
    style: Style
    rule: str = ""

    @property
    def can_grasp(self) -> bool:
        """Whether there are fingers that actions move."""
        return self.scene.hand is not None and self.scene.gripper is not None

    @property
    def hand_said(self) -> str:
        """The hand in a sentence."""
        return self.scene.hand.said if self.scene.hand is not None else "the hand"

    def precision(self, usual: float) -> float:
        """How close is close enough [m]."""
        return min(max(facts.within(self.rule) or usual, 0.002), 1.0)

    def reach(self, target: Thing) -> list[Term]:
        """The hand to a point."""
        gap = self.distance(self.scene.hand, target)
        if gap is None:
            return []
        what = target.said
        return [
            near_term(self.style, "reach", 1.0, gap, 0.2, f"Bring {self.hand_said} to {what}."),
            *self.precisely("precise", 1.0, gap, self.precision(0.02), "Be exact at the end."),
        ]

    def distance(self, a: Thing | None, b: Thing | None, flat: bool = False) -> Line | None:
        """Metres between two things."""
        if a is None or b is None or a.position is None or b.position is None:
            return None
        columns = "[:, :2]" if flat else ""
        difference = f"state.{b.position.name} - state.{a.position.name}"
        code = f"np.linalg.norm(({difference}){columns}, axis=-1)" if flat else f"np.linalg.norm({difference}, axis=-1)"
        return Line(f"{a.label}_to_{b.label}", code)

    def precisely(
        self, name: str, weight: float, gap: Line, scale: float, note: str, *before: Line, factor: str = ""
    ) -> list[Term]:
        """A narrow bonus, where the style wants one."""
        if not self.style.precise:
            return []
        return [precise_term(name, weight, gap, scale, note, *before, factor=factor)]

    def grasp(
        self, thing: Thing, always: Line | None = None, before: tuple[Line, ...] = ()
    ) -> tuple[list[Term], tuple[Line, ...]]:
        """Comes with open fingers and closes them around a thing.

        Args:
            thing: what to grasp.
            always: a factor that keeps these terms up once the thing has arrived and may be let go, or none.
            before: assignments that `always` needs.

        Returns:
            The terms, and the assignments of a factor `held`.
        """
        gap = self.distance(self.scene.hand, thing)
        if gap is None:
            return [], (Line("held", "1.0"),)
        if always is not None:
            before = (gap, *before)
            gap = Line(f"{gap.local}_or_done", f"{gap.local} * (1.0 - {always.local})")
        terms = [
            near_term(self.style, "approach", 1.0, gap, 0.125, f"Bring {self.hand_said} to {thing.said}.", *before)
        ]
        held = (*before, gap, *gate(self.style, "held", gap.local, HELD))
        width = self.scene.gripper
        if not self.can_grasp or width is None:
            return terms, held
        _, wide = facts.open_end(width)
        grip = self.grip(thing)
        span = Line("grip_span", number(wide - grip))
        closed = Line("closed", f"np.clip(({number(wide)} - state.{width.name}) / grip_span, 0.0, 1.0)")
        near = (*before, gap, *gate(self.style, "near", gap.local, NEAR if self.style.gate == "soft" else 0.025))
        if always is not None:
            closed = Line(
                "closed",
                f"np.maximum({always.local}, np.clip(({number(wide)} - state.{width.name}) / grip_span, 0.0, 1.0))",
            )
        note = "Close the fingers around it, and only there."
        terms.append(Term("grasp", (*near, span, closed, Line("grasp", weighted(0.5, "closed", "near"))), note))
        opened = Line("ready", weighted(0.2, "(1.0 - closed)", "(1.0 - near)"))
        note = "Come with open fingers: half closed ones strike the thing from above, and a real arm stops itself."
        terms.append(Term("ready", (*near, span, closed, opened), note))
        return terms, held

    def grip(self, thing: Thing) -> float:
        """The opening of the fingers when they hold a thing [m]; half open when its width is not known."""
        assert self.scene.gripper is not None
        shut, wide = facts.open_end(self.scene.gripper)
        width = 2.0 * (facts.radius(thing.text) or 0.0)
        return width if min(shut, wide) < width < max(shut, wide) else (shut + wide) / 2

    def raised(self, thing: Thing, amount: float) -> tuple[Line, ...]:
        """How much of a height [m] a thing has been raised, 0 to 1."""
        rest = facts.rest_height(thing.text)
        rest = rest if rest is not None else facts.half_height(thing.text) or 0.0
        name = thing.label
        assert thing.position is not None
        return (
            Line(f"{name}_rest", number(rest)),
            Line(f"{name}_rise", number(amount)),
            Line("raised", f"np.clip((state.{thing.position.name}[:, 2] - {name}_rest) / {name}_rise, 0.0, 1.0)"),
        )

    def lift(self, thing: Thing, amount: float | None) -> list[Term]:
        """A thing up by an amount [m], a little farther than asked, for the end decides."""
        amount = amount or facts.least(self.rule, "m") or 0.1
        terms, held = self.grasp(thing)
        value = Line("lift", weighted(3.0 * self.style.stage, "raised", "held"))
        note = f"Raise {thing.said}, a little higher than asked."
        terms.append(Term("lift", (*held, *self.raised(thing, 1.2 * amount), value), note))
        if self.style.progress and thing.velocity is not None:
            rise = Line(
                "rise",
                weighted(0.3, f"np.clip(state.{thing.velocity.name}[:, 2] / 0.2, -1.0, 1.0)", "held", "(1.0 - raised)"),
            )
            terms.append(
                Term("rise", (*held, *self.raised(thing, 1.2 * amount), rise), "Upward motion counts at once.")
            )
        return terms

    def carry(self, thing: Thing, target: Thing, high: bool = False) -> list[Term]:
        """A grasped thing to a point.

        Args:
            thing: what to carry.
            target: where to.
            high: whether it must leave the table: nothing is paid for the way until it has.
        """
        gap = self.distance(thing, target)
        if gap is None:
            return []
        terms, held = self.grasp(thing)
        raised = Line("raise_up", weighted(self.style.stage, "raised", "held"))
        terms.append(Term("raise_up", (*held, *self.raised(thing, 0.05), raised), "Take it off the table."))
        note = f"Carry it to {target.said}."
        stage = 3.0 * self.style.stage
        factor = "held * raised" if high else "held"
        held = (*held, *self.raised(thing, 0.05)) if high else held
        terms.append(near_term(self.style, "carry", stage, gap, 0.2, note, *held, factor=factor))
        goal = self.precision(0.03)
        terms += self.precisely("precise", self.style.stage, gap, goal, "Be exact at the end.", *held, factor=factor)
        return terms

    def push(self, thing: Thing, target: Thing) -> list[Term]:
        """A thing over the table to a point, from the side opposite to it."""
        flat = facts.planar(self.rule) or facts.planar(target.text)
        gap = self.distance(thing, target, flat)
        if gap is None or thing.position is None or target.position is None:
            return []
        terms = []
        if self.scene.hand is not None and self.scene.hand is not thing:
            terms.append(self._touch(thing, target))
        stage, goal = 2.0 * self.style.stage, self.precision(0.03)
        terms.append(near_term(self.style, "deliver", stage, gap, 0.125, f"Bring {thing.said} to {target.said}."))
        terms += self.precisely("precise", 1.0, gap, goal, "Be exact at the end.")
        if self.style.progress and thing.velocity is not None:
            way = Line(
                "way", f"(state.{target.position.name} - state.{thing.position.name}) / ({gap.local} + 0.02)[:, None]"
            )
            speed = f"np.clip(np.sum(state.{thing.velocity.name} * way, axis=-1) / 0.2, -1.0, 1.0)"
            terms.append(
                Term("advance", (gap, way, Line("advance", weighted(0.3, speed))), "Motion to the goal counts at once.")
            )
        return terms

    def _touch(self, thing: Thing, target: Thing) -> Term:
        """The hand behind a thing, as seen from where it shall go."""
        hand = self.scene.hand
        assert (
            hand is not None
            and hand.position is not None
            and thing.position is not None
            and target.position is not None
        )
        here, point = f"state.{hand.position.name}", f"state.{thing.position.name}"
        if not self.style.contact:
            gap = self.distance(hand, thing)
            assert gap is not None
            return near_term(self.style, "touch", 0.3, gap, 0.1, f"Bring {self.hand_said} to {thing.said}.")
        stand = facts.radius(thing.text) or 2 * FINGER
        note = f"Bring {self.hand_said} behind {thing.said}, opposite to where it shall go."
        heading = facts.heading(target.text)
        said = facts.hold(thing.text, hand.tokens)
        if heading is not None or said is not None:
            axis, sign = heading or (0, 1)
            vector = list(said or (0.0, 0.0, 0.0))
            vector[axis] = vector[axis] if said else -sign * stand
            lines = [Line("behind", f"{point} + np.array([{', '.join(map(number, vector))}])")]
        else:
            lines = [
                Line("course", f"(state.{target.position.name} - {point})[:, :2]"),
                Line("course_length", "np.linalg.norm(course, axis=-1) + 0.01"),
                Line("standoff", number(stand + FINGER / 2)),
                Line("back", "-standoff * course / course_length[:, None]"),
                Line("behind", f"{point} + np.stack([back[:, 0], back[:, 1], np.zeros_like(course_length)], axis=-1)"),
            ]
        gap = Line(f"{hand.label}_to_contact", f"np.linalg.norm(behind - {here}, axis=-1)")
        return near_term(self.style, "touch", 0.3, gap, 0.1, note, *lines)

    def drag(self, thing: Thing, axis: int, sign: int) -> list[Term]:
        """A thing along a direction, when only its position is known."""
        if thing.position is None:
            return []
        gap = self.distance(self.scene.hand, thing) if self.scene.hand is not thing else None
        terms = (
            []
            if gap is None
            else [near_term(self.style, "approach", 1.0, gap, 0.125, f"Bring {self.hand_said} to {thing.said}.")]
        )
        name = thing.position.name
        moved = f"{number(sign)} * (state.{name} - previous.{name})[:, {axis}]"
        value = Line("drag", weighted(2.0 * self.style.stage, f"np.tanh({moved} / drag_scale)"))
        terms.append(Term("drag", (Line("drag_scale", "0.02"), value), f"Move {thing.said} the way it should go."))
        return terms
