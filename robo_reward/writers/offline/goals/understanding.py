"""A goal as the offline writer understands it: word by word, with the conditions that follow, or a refusal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from robo_reward.errors import UsageError
from robo_reward.writers.offline.goals.conditions import Conditions, NoCondition, derive_conditions
from robo_reward.writers.offline.goals.reading import Reading, read_goal
from robo_reward.writers.offline.plans import mechanisms
from robo_reward.writers.offline.propose import read_request
from robo_reward.writers.offline.scene import SceneFacts
from robo_reward.writers.offline.sentence import extract_nouns
from robo_reward.writers.writer import WriteRequest


class GoalNotUnderstood(UsageError):
    """A goal sentence asks for something that the offline writer has no terms for.

    Args:
        goal: the sentence.
        reading: what was understood.
        remedy: what may be done besides another sentence; may be empty.
    """

    def __init__(self, goal: str, reading: Reading, remedy: str = "") -> None:
        self.reading = reading
        unclear = ", ".join(repr(word) for word in reading.unclear)
        reasons = [f"not understood: {unclear}"] if unclear else []
        nearest = find_nearest_sentence(goal, reading.scene)
        offer = f" The nearest that it can do: {nearest!r}." if nearest else ""
        reason = "; ".join([*reasons, *reading.problems])
        super().__init__(f"the offline writer cannot do {goal!r}: {reason}.{offer}{' ' + remedy if remedy else ''}")


@dataclass(frozen=True)
class Understanding:
    """A goal as the offline writer understands it.

    Args:
        goal: the sentence.
        reading: the meaning of each word.
        conditions: of success and failure, or None.
        reason: why there are none.
    """

    goal: str
    reading: Reading
    conditions: Conditions | None
    reason: str = ""

    def require_clear(self, remedy: str = "") -> None:
        """Raises an error unless everything in the sentence is understood and can be done.

        Raises:
            GoalNotUnderstood: the message names the words, and the nearest sentence.
        """
        if not self.reading.is_clear:
            raise GoalNotUnderstood(self.goal, self.reading, remedy)


def understand_goal(request: WriteRequest) -> Understanding:
    """Returns what the goal of a request means in its state."""
    reading = read_goal(*read_request(request))
    try:
        return Understanding(request.goal, reading, derive_conditions(reading))
    except NoCondition as error:
        return Understanding(request.goal, reading, None, str(error))


def find_nearest_sentence(goal: str, scene: SceneFacts) -> str:
    """Returns the sentence that can be done here and shares most words with a goal; empty if nothing can be done."""
    wanted = set(extract_nouns(goal)) | set(goal.lower().split())
    ranked = [(len(wanted & set(text.lower().strip(".").split())), -i, text) for i, text in enumerate(_offer(scene))]
    return max(ranked)[2] if ranked else ""


def _offer(scene: SceneFacts) -> Iterator[str]:
    """Yields sentences that the writer can do in a scene, most useful first."""
    goals = scene.find_objects("position", "goal")
    objects = [t for t in scene.find_objects("position", "object") if t is not scene.hand]
    for item in objects[:4]:
        if scene.hand is not None and scene.gripper is not None:
            yield f"Lift {item.noun_phrase} 10 cm."
        for goal in goals[:1]:
            yield f"Push {item.noun_phrase} to {goal.noun_phrase}."
        yield f"Push {item.noun_phrase} 10 cm to the left."
    for item in [t for t in scene.find_objects("travel") if t.role == "part"][:6]:
        is_wheel = mechanisms.is_continuous(item)
        yield f"Spin {item.noun_phrase}." if is_wheel else f"Open {item.noun_phrase}."
    if scene.hand is not None:
        for item in (*objects, *goals)[:4]:
            yield f"Move {scene.hand.noun_phrase} to {item.noun_phrase}."
    elif scene.root is not None:
        yield "Run forward at 1 m/s."
