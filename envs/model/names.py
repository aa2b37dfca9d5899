"""Names for the parts of models from other authors: identifiers for programs, and the words a name consists of."""

from __future__ import annotations

import keyword
import re
import unicodedata
from itertools import chain, count

# Attributes of `State` itself: a field with one of these names would be hidden.
_RESERVED = frozenset(("array", "spec", "rows", "batch_shape"))

GOAL = frozenset(("goal", "target", "destination", "desired", "waypoint"))
HAND = frozenset(
    ("hand", "palm", "tip", "tips", "fingertip", "fingertips", "ee", "eef", "effector", "tcp", "tool", "attachment")
)
GRIPPER = frozenset(("gripper", "finger", "fingers", "claw", "jaw", "thumb", "pad"))
OBJECT = frozenset(("object", "obj", "cube", "block", "box", "ball", "puck", "peg", "mug", "cup", "can", "bottle"))


def make_identifier(name: str, fallback: str) -> str:
    """Returns a lower-case Python identifier in which a person recognises the name.

    `left Hand.2` becomes `left_hand_2`, `leftHand` `left_hand`, `robot0:hand` `robot0_hand`.

    Args:
        name: any text.
        fallback: what to use, or to put in front, where nothing readable is left or the name begins with a digit.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", plain)
    text = re.sub(r"[^0-9a-z]+", "_", snake.lower()).strip("_")
    if not text:
        return fallback
    if text[0].isdigit():
        text = f"{fallback.rstrip('0123456789_')}_{text}"
    return f"{text}_value" if keyword.iskeyword(text) or text in _RESERVED else text


def split_words(name: str) -> frozenset[str]:
    """Returns the words of a name: `leftHand_2` has `left`, `hand`."""
    return frozenset(word for word in re.split(r"[_0-9]+", make_identifier(name, "x")) if word)


class UniqueNames:
    """Assigns each subject a name that no other has."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def claim_subject(self, wanted: str, kind: str, quantities: tuple[str, ...]) -> str:
        """Reserves the first of `wanted`, `wanted_KIND`, `wanted_KIND_2`, ... whose quantities are all free.

        Args:
            wanted: an identifier.
            kind: `body`, `joint`, `site`, `sensor`.
            quantities: the suffixes of its fields: `position` for the field `wanted_position`; "" for `wanted`
                itself.
        """
        longer = wanted if wanted.endswith(kind) else f"{wanted}_{kind}"
        for subject in chain((wanted, longer), (f"{longer}_{number}" for number in count(2))):
            fields = {f"{subject}_{quantity}" if quantity else subject for quantity in quantities}
            if not fields & self._taken:
                self._taken |= fields
                return subject
        raise AssertionError("unreachable: the numbers never end")
