"""Names for the parts of models that others wrote: identifiers a program can use, and what a name says of its thing."""

from __future__ import annotations

import keyword
import re
import unicodedata
from itertools import chain, count

# Attributes of `State` itself, which a field of that name could not be read by.
_RESERVED = frozenset(("array", "spec", "rows", "batch_shape"))

GOAL = frozenset(("goal", "target", "destination", "desired", "waypoint"))
HAND = frozenset(("hand", "palm", "tip", "tips", "fingertip", "fingertips", "ee", "eef", "effector", "tcp", "tool"))
GRIPPER = frozenset(("gripper", "finger", "fingers", "claw", "jaw", "thumb", "pad"))
OBJECT = frozenset(("object", "obj", "cube", "block", "box", "ball", "puck", "peg", "mug", "cup", "can", "bottle"))


def identifier(name: str, otherwise: str) -> str:
    """A lower-case Python identifier that a person recognises the name in.

    `left Hand.2` becomes `left_hand_2`, `leftHand` `left_hand`, `robot0:hand` `robot0_hand`.

    Args:
        name: any text.
        otherwise: what to use, or to put in front, where nothing readable is left or a digit stands first.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", plain)
    text = re.sub(r"[^0-9a-z]+", "_", snake.lower()).strip("_")
    if not text:
        return otherwise
    if text[0].isdigit():
        text = f"{otherwise.rstrip('0123456789_')}_{text}"
    return f"{text}_value" if keyword.iskeyword(text) or text in _RESERVED else text


def words(name: str) -> frozenset[str]:
    """The words of a name: `leftHand_2` has `left`, `hand`."""
    return frozenset(word for word in re.split(r"[_0-9]+", identifier(name, "x")) if word)


class Names:
    """Gives each thing a name that no other has."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def subject(self, wanted: str, kind: str, quantities: tuple[str, ...]) -> str:
        """The first of `wanted`, `wanted_KIND`, `wanted_KIND_2`, ... none of whose quantities is taken; takes them.

        Args:
            wanted: an identifier.
            kind: `body`, `joint`, `site`, `sensor`.
            quantities: what will be said of it: `position` for the field `wanted_position`; "" for `wanted` itself.
        """
        longer = wanted if wanted.endswith(kind) else f"{wanted}_{kind}"
        for subject in chain((wanted, longer), (f"{longer}_{number}" for number in count(2))):
            fields = {f"{subject}_{quantity}" if quantity else subject for quantity in quantities}
            if not fields & self._taken:
                self._taken |= fields
                return subject
        raise AssertionError("unreachable: the numbers never end")
