"""The state's fields grouped into objects, and the search for the object that a word names."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from robo_reward.envs.state import Field, StateSpec
from robo_reward.language.grammar import RESERVED_NAMES
from robo_reward.writers.offline.lexicon import COLOURS, are_synonyms, split_words, stem_word
from robo_reward.writers.offline.sentence import extract_nouns

_HANDS = split_words("hand gripper effector tcp tool palm fingertip wrist")
_MOUNTED = split_words("camera cam lens light lamp sensor imu mount bracket")
"""Devices mounted on a hand: they touch nothing, although their names may contain the hand's."""
_ROOTS = split_words("torso trunk root pelvis base chassis hull body")
_VAGUE = split_words("centre center orientation velocity linear angular position speed")
_READABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)


@dataclass(frozen=True)
class SceneObject:
    """All fields about one subject.

    Args:
        name: of the subject, such as `cube`.
        fields: in the order of the state.
    """

    name: str
    fields: tuple[Field, ...]

    @property
    def role(self) -> str:
        """Role of its first field that has one: a sensor of a model may have the name of a body."""
        return next((f.role for f in self.fields if f.role != "other"), "other")

    @cached_property
    def description(self) -> str:
        """All distinct descriptions of its fields, joined."""
        return "; ".join(dict.fromkeys(f.description for f in self.fields))

    @cached_property
    def name_tokens(self) -> tuple[str, ...]:
        """Words of its name in lower case."""
        return tuple(stem_word(token) for token in re.split(r"[_\d]+", self.name.lower()) if token)

    @cached_property
    def head_nouns(self) -> tuple[str, ...]:
        """Nouns of its descriptions, each up to the first comma."""
        return tuple(
            word for f in self.fields for word in extract_nouns(re.split(r"[,;:(]", f.description, maxsplit=1)[0])
        )

    def _find_field(self, shape: tuple[int, ...], unit: str) -> Field | None:
        """Returns the first field of a shape and unit."""
        return next((f for f in self.fields if f.shape == shape and f.unit == unit), None)

    @property
    def position(self) -> Field | None:
        """Field of its position (3,) [m]."""
        return self._find_field((3,), "m")

    @property
    def velocity(self) -> Field | None:
        """Field of its linear velocity (3,) [m/s]."""
        return self._find_field((3,), "m/s")

    @property
    def angular_velocity(self) -> Field | None:
        """Field of its angular velocity (3,) [rad/s]."""
        return self._find_field((3,), "rad/s")

    @property
    def rotation(self) -> Field | None:
        """Field of its orientation (4,)."""
        return self._find_field((4,), "quaternion")

    @property
    def travel(self) -> Field | None:
        """Field of a displacement, opening or angle () [m or rad]."""
        return self._find_field((), "m") or self._find_field((), "rad")

    @property
    def rate(self) -> Field | None:
        """Field of the rate of change of `travel` () [m/s or rad/s]."""
        return self._find_field((), "m/s") or self._find_field((), "rad/s")

    @property
    def noun_phrase(self) -> str:
        """Its name in a sentence: `the cube A`."""
        said = [w.upper() if len(w) == 1 else w for w in self.local_name.split("_") if w]
        if COLOURS.issuperset(said):  # such as a field called red_position
            said += [word for word in self.head_nouns if word not in COLOURS and word not in _VAGUE][:1]
        return f"the {' '.join(said)}"

    @property
    def local_name(self) -> str:
        """A valid prefix for local variables."""
        plain = re.sub(r"[^a-z0-9_]", "", self.name.lower()).strip("_")
        ok = plain and plain[0].isalpha() and not keyword.iskeyword(plain) and plain not in RESERVED_NAMES
        return plain[:24].strip("_") if ok else "object"


class SceneFacts:
    """The contents of a state, as objects.

    Args:
        spec: the fields.
        action_names: of the action's components.
        action_kind: `native` when the names carry no meaning.
        rate: actions per second [Hz].
    """

    def __init__(
        self, spec: StateSpec, action_names: Iterable[str] = (), action_kind: str = "native", rate: float = 25.0
    ) -> None:
        self.spec, self.rate = spec, rate
        grouped: dict[str, list[Field]] = {}
        for field in spec:
            if field.role != "hidden" and _READABLE.fullmatch(field.name) and not keyword.iskeyword(field.name):
                grouped.setdefault(field.subject, []).append(field)
        self.items = tuple(SceneObject(name, tuple(fields)) for name, fields in grouped.items())
        self._actions, self._kind = tuple(action_names), action_kind

    def find_objects(self, quantity: str, *roles: str) -> list[SceneObject]:
        """Returns the objects that have a quantity, of the given roles or of any."""
        return [t for t in self.items if getattr(t, quantity) is not None and (not roles or t.role in roles)]

    @cached_property
    def hand(self) -> SceneObject | None:
        """The object with which the arm touches others."""
        for roles in (("hand",), ("gripper",), ("body", "other", "part")):
            found = [t for t in self.find_objects("position", *roles) if _MOUNTED.isdisjoint(t.name_tokens)]
            if "body" in roles:
                found = [t for t in found if not _HANDS.isdisjoint(t.name_tokens)]
            if found:  # the shortest name: `hand` before `right_hand`, which is often the arm's last link
                return min(found, key=lambda t: len(set(t.name_tokens) - _HANDS))
        return None

    @cached_property
    def gripper(self) -> Field | None:
        """The width between the fingers, if actions can change it."""
        widths = [f for t in self.items for f in t.fields if f.role == "gripper" and f.shape == () and f.unit in "m1"]
        commanded = self._kind == "native" or any("grip" in n or "finger" in n for n in self._actions)
        return widths[0] if widths and commanded else None

    @cached_property
    def root(self) -> SceneObject | None:
        """The trunk of a walking robot, or another object of it that moves."""
        bodies = self.find_objects("velocity", "body") or self.find_objects("velocity", "other", "hand", "object")
        floating = [t for t in bodies if "root" in t.description.lower().split()]
        named = [t for t in bodies if not _ROOTS.isdisjoint(t.name_tokens)]
        return next(iter(floating + named + bodies), None)

    def find_best_match(
        self, words: tuple[str, ...], quantity: str, roles: tuple[str, ...], besides: Iterable[SceneObject] = ()
    ) -> SceneObject | None:
        """Returns the object that words name best, among those with a quantity.

        Args:
            words: of the sentence.
            quantity: that the object must have: `position`, `travel`, ...
            roles: preferred ones, best first; they break ties and decide when no word fits.
            besides: objects to exclude.
        """
        ranked = [
            (
                self.score_match(item, words),
                -roles.index(item.role) if item.role in roles else -len(roles) - 3,
                -i,
                item,
            )
            for i, item in enumerate(self.items)
            if getattr(item, quantity) is not None and all(item is not other for other in besides)
        ]
        ranked = [entry for entry in ranked if entry[0] > 0 or entry[3].role in roles]
        return max(ranked, key=lambda entry: entry[:3])[3] if ranked else None

    @staticmethod
    def score_match(item: SceneObject, words: tuple[str, ...]) -> float:
        """Returns how well words name an object: by its name, by synonyms of it, by colour, by its description."""
        score = 0.0
        for word in words:
            if word in item.name_tokens:
                score += 4.0
            elif word in item.head_nouns:
                score += 2.0 if word in COLOURS else 1.0
            elif any(are_synonyms(word, token) for token in item.name_tokens) or are_synonyms(word, item.role):
                score += 2.5
        return score
