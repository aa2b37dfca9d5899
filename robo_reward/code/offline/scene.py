"""The state's fields grouped into things, and which thing a word means."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from robo_reward.code.grammar import RESERVED_NAMES
from robo_reward.code.offline.lexicon import COLOURS, related, stem, words
from robo_reward.code.offline.sentence import nouns_of
from robo_reward.envs.state import Field, StateSpec

_HANDS = words("hand gripper effector tcp tool palm fingertip wrist")
_MOUNTED = words("camera cam lens light lamp sensor imu mount bracket")
"""What sits on a hand and touches nothing, although its name may hold the hand's."""
_ROOTS = words("torso trunk root pelvis base chassis hull body")
_VAGUE = words("centre center orientation velocity linear angular position speed")
_READABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)


@dataclass(frozen=True)
class Thing:
    """All fields about one subject.

    Args:
        name: of the subject, such as `cube`.
        fields: in the order of the state.
    """

    name: str
    fields: tuple[Field, ...]

    @property
    def role(self) -> str:
        """The role of its first field."""
        return self.fields[0].role

    @cached_property
    def text(self) -> str:
        """All descriptions, each once."""
        return "; ".join(dict.fromkeys(f.description for f in self.fields))

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """The words of its name, lower case."""
        return tuple(stem(token) for token in re.split(r"[_\d]+", self.name.lower()) if token)

    @cached_property
    def head(self) -> tuple[str, ...]:
        """The nouns of its descriptions, up to the first comma each."""
        return tuple(word for f in self.fields for word in nouns_of(re.split(r"[,;:(]", f.description, maxsplit=1)[0]))

    def _first(self, shape: tuple[int, ...], unit: str) -> Field | None:
        return next((f for f in self.fields if f.shape == shape and f.unit == unit), None)

    @property
    def position(self) -> Field | None:
        """Where it is (3,) [m]."""
        return self._first((3,), "m")

    @property
    def velocity(self) -> Field | None:
        """Its linear velocity (3,) [m/s]."""
        return self._first((3,), "m/s")

    @property
    def spin(self) -> Field | None:
        """Its angular velocity (3,) [rad/s]."""
        return self._first((3,), "rad/s")

    @property
    def rotation(self) -> Field | None:
        """Its orientation (4,)."""
        return self._first((4,), "quaternion")

    @property
    def travel(self) -> Field | None:
        """A displacement, opening or angle () [m or rad]."""
        return self._first((), "m") or self._first((), "rad")

    @property
    def rate(self) -> Field | None:
        """How fast `travel` changes () [m/s or rad/s]."""
        return self._first((), "m/s") or self._first((), "rad/s")

    @property
    def said(self) -> str:
        """Its name in a sentence: `the cube A`."""
        said = [w.upper() if len(w) == 1 else w for w in self.label.split("_") if w]
        if COLOURS.issuperset(said):  # a field called red_position
            said += [word for word in self.head if word not in COLOURS and word not in _VAGUE][:1]
        return f"the {' '.join(said)}"

    @property
    def label(self) -> str:
        """A name for local variables."""
        plain = re.sub(r"[^a-z0-9_]", "", self.name.lower()).strip("_")
        ok = plain and plain[0].isalpha() and not keyword.iskeyword(plain) and plain not in RESERVED_NAMES
        return plain[:24].strip("_") if ok else "thing"


class Scene:
    """What a state holds, as things.

    Args:
        spec: the fields.
        action_names: of the action's components.
        action_kind: `native` when the names say nothing.
    """

    def __init__(self, spec: StateSpec, action_names: Iterable[str] = (), action_kind: str = "native") -> None:
        grouped: dict[str, list[Field]] = {}
        for field in spec:
            if _READABLE.fullmatch(field.name) and not keyword.iskeyword(field.name):
                grouped.setdefault(field.subject, []).append(field)
        self.things = tuple(Thing(name, tuple(fields)) for name, fields in grouped.items())
        self._actions, self._kind = tuple(action_names), action_kind

    def having(self, quantity: str, *roles: str) -> list[Thing]:
        """Things with a quantity, of these roles or of any."""
        return [t for t in self.things if getattr(t, quantity) is not None and (not roles or t.role in roles)]

    @cached_property
    def hand(self) -> Thing | None:
        """What the arm touches things with."""
        for roles in (("hand",), ("gripper",), ("body", "other", "part")):
            found = [t for t in self.having("position", *roles) if _MOUNTED.isdisjoint(t.tokens)]
            if "body" in roles:
                found = [t for t in found if not _HANDS.isdisjoint(t.tokens)]
            if found:  # the name that says least besides: `hand` before `right_hand`, often the arm's last link
                return min(found, key=lambda t: len(set(t.tokens) - _HANDS))
        return None

    @cached_property
    def gripper(self) -> Field | None:
        """The width between the fingers, if actions can change it."""
        widths = [f for t in self.things for f in t.fields if f.role == "gripper" and f.shape == () and f.unit in "m1"]
        commanded = self._kind == "native" or any("grip" in n or "finger" in n for n in self._actions)
        return widths[0] if widths and commanded else None

    @cached_property
    def root(self) -> Thing | None:
        """The trunk of a robot that walks, or whatever of it moves."""
        bodies = self.having("velocity", "body") or self.having("velocity", "other", "hand", "object")
        floating = [t for t in bodies if "root" in t.text.lower().split()]
        named = [t for t in bodies if not _ROOTS.isdisjoint(t.tokens)]
        return next(iter(floating + named + bodies), None)

    def match(
        self, words: tuple[str, ...], quantity: str, roles: tuple[str, ...], besides: Iterable[Thing] = ()
    ) -> Thing | None:
        """The thing that words name best, among those with a quantity.

        Args:
            words: of the sentence.
            quantity: what it must have: `position`, `travel`, ...
            roles: preferred ones, best first; they break ties and decide when no word fits.
            besides: things that it is not.
        """
        ranked = [
            (self.score(thing, words), -roles.index(thing.role) if thing.role in roles else -len(roles) - 3, -i, thing)
            for i, thing in enumerate(self.things)
            if getattr(thing, quantity) is not None and all(thing is not other for other in besides)
        ]
        ranked = [entry for entry in ranked if entry[0] > 0 or entry[3].role in roles]
        return max(ranked, key=lambda entry: entry[:3])[3] if ranked else None

    @staticmethod
    def score(thing: Thing, words: tuple[str, ...]) -> float:
        """How well words name a thing: by its name, by synonyms of it, by colour, by its description."""
        score = 0.0
        for word in words:
            if word in thing.tokens:
                score += 4.0
            elif word in thing.head:
                score += 2.0 if word in COLOURS else 1.0
            elif any(related(word, token) for token in thing.tokens) or related(word, thing.role):
                score += 2.5
        return score
