"""The state's fields grouped into objects, and the search for the object that a word names."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
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
MIN_BEGINNING, MIN_INSIDE = 5, 4
"""Letters that two words must share at the beginning, or a word must have inside a compound, to mean the same."""
_READABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)


@dataclass(frozen=True)
class SceneObject:
    """All fields about one subject.

    Args:
        name: of the subject, such as `cube`.
        fields: in the order of the state.
        code: expression of its position, for a place that the sentence describes; it is no field of the state.
    """

    name: str
    fields: tuple[Field, ...]
    code: str = ""

    @property
    def position_code(self) -> str:
        """Expression of its position in a program, (B, 3) or (3,) [m]."""
        return self.code or f"state.{self.position.name if self.position is not None else ''}"

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


def share_beginning(a: str, b: str) -> bool:
    """Returns whether two words begin alike, as `microwave` and `microjoint` do."""
    return min(len(a), len(b)) >= MIN_BEGINNING and a[:MIN_BEGINNING] == b[:MIN_BEGINNING]


def is_inside(word: str, token: str) -> bool:
    """Returns whether a word is part of a compound, as the `door` of `microdoorroot`."""
    return len(word) >= MIN_INSIDE and word in token


class SceneFacts:
    """The contents of a state, as objects.

    Args:
        spec: the fields.
        action_names: of the action's components.
        action_kind: `native` when the names carry no meaning.
        rate: actions per second [Hz].
        hand_words: words that tell one of several hands from the others, such as `left`.
        start: field -> lowest and highest value of each component when an episode begins, as far as it is known.
    """

    def __init__(
        self,
        spec: StateSpec,
        action_names: Iterable[str] = (),
        action_kind: str = "native",
        rate: float = 25.0,
        hand_words: Iterable[str] = (),
        start: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    ) -> None:
        self.rate = rate
        grouped: dict[str, list[Field]] = {}
        for field in spec:
            if field.role != "hidden" and _READABLE.fullmatch(field.name) and not keyword.iskeyword(field.name):
                grouped.setdefault(field.subject, []).append(field)
        self.items = tuple(SceneObject(name, tuple(fields)) for name, fields in grouped.items())
        self.spec = spec
        self._actions, self._kind, self._hand_words = tuple(action_names), action_kind, frozenset(hand_words)
        self._start = start or {}

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
            named = [t for t in found if self._hand_words and self._is_meant(t)]
            if found:  # the shortest name: `hand` before `right_hand`, which is often the arm's last link
                return min(named or found, key=lambda t: len(set(t.name_tokens) - _HANDS))
        return None

    @property
    def only_object(self) -> SceneObject | None:
        """The object that `it` means in a sentence without nouns: the only one that can be moved, or None."""
        found = self.find_objects("position", "object")
        return found[0] if len(found) == 1 else None

    def is_hand(self, item: SceneObject) -> bool:
        """Returns whether an object is the hand, under this or another of its names."""
        return item is self.hand or (item.role in ("hand", "gripper") and self.hand is not None)

    @cached_property
    def gripper(self) -> Field | None:
        """The width between the fingers, if actions can change it."""
        widths = [f for t in self.items for f in t.fields if f.role == "gripper" and f.shape == () and f.unit in "m1"]
        commanded = self._kind == "native" or any("grip" in n or "finger" in n for n in self._actions)
        meant = [f for t in self.items for f in t.fields if f in widths and self._is_meant(t)]
        return (meant or widths)[0] if widths and commanded else None

    def _is_meant(self, item: SceneObject) -> bool:
        """Returns whether the words that tell hands apart name this object."""
        return all(
            any(word == token or are_synonyms(word, token) for token in item.name_tokens) or word in item.head_nouns
            for word in self._hand_words
        )

    def find_start(self, field: Field, axis: int = 0) -> tuple[float, float] | None:
        """Returns the lowest and highest value of a component when an episode begins, if they are known."""
        found = self._start.get(field.name)
        return None if found is None else (float(found[axis][0]), float(found[axis][1]))

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
            elif any(share_beginning(word, token) or is_inside(word, token) for token in item.name_tokens):
                score += 0.9
        return score
