"""The 50 tasks of Meta-World: goal sentence, objects of the observation, and the benchmark's test of success."""

from __future__ import annotations

from typing import NamedTuple


class ObservedObject(NamedTuple):
    """One object of the observation, in its order.

    Attributes:
        name: prefix of its fields.
        description: of its position.
        role: `object` if it lies free, `part` if it is a part of a mechanism.
        quaternion: order in which the benchmark writes its rotation, `wxyz` or `xyzw`; empty where it is constant.
    """

    name: str
    description: str
    role: str = "object"
    quaternion: str = ""

    @property
    def noun(self) -> str:
        """Its name in a sentence."""
        return self.name.replace("_", " ")


class MetaWorldScene(NamedTuple):
    """One task.

    Attributes:
        goal: as a sentence.
        objects: one or two.
        success: what the environment's `success` means, as a sentence.
    """

    goal: str
    objects: tuple[ObservedObject, ...]
    success: str


def _near(noun: str, centimetres: str) -> str:
    return f"the {noun} is within {centimetres} cm of the goal"


def _near_along(noun: str, axis: str, centimetres: str) -> str:
    return f"the {noun} is within {centimetres} cm of the goal along {axis}"


_BALL = ObservedObject("basketball", "centre of the basketball", quaternion="wxyz")
_SOCCER_BALL = ObservedObject("ball", "centre of the ball", quaternion="xyzw")
_BLOCK = ObservedObject("block", "centre of the block", quaternion="wxyz")
_SWEPT_BLOCK = ObservedObject("block", "centre of the block", quaternion="xyzw")
_PUCK = ObservedObject("puck", "centre of the puck", quaternion="xyzw")
_PLATE = ObservedObject("plate", "centre of the plate that slides on the table", quaternion="xyzw")
_MUG = ObservedObject("mug", "bottom of the mug", quaternion="xyzw")
_LID = ObservedObject("lid", "the lid of the box", quaternion="wxyz")
_NUT = ObservedObject("nut", "the handle of the nut, which has a ring at its other end", quaternion="wxyz")
_PEG = ObservedObject("peg", "the end of the peg where it is grasped", quaternion="xyzw")
_PLUG = ObservedObject("plug", "the end of the plug where it is grasped", quaternion="wxyz")
_BUTTON = ObservedObject("button", "front of the button", "part")
_DIAL = ObservedObject("dial", "a mark on the rim of the dial", "part")
_DOOR_HANDLE = ObservedObject("door_handle", "handle of the door", "part", "xyzw")
_DOOR_LOCK = ObservedObject("lock", "end of the lock of the door", "part")
_DRAWER_HANDLE = ObservedObject("drawer_handle", "handle of the drawer", "part")
_FAUCET_HANDLE = ObservedObject("faucet_handle", "end of the handle of the faucet", "part")
_HANDLE = ObservedObject("handle", "end of the handle", "part")
_LEVER = ObservedObject("lever", "end of the lever", "part", "xyzw")
_WINDOW_HANDLE = ObservedObject("window_handle", "handle of the window", "part")
_STICK = ObservedObject("stick", "centre of the stick", quaternion="xyzw")
_THERMOS = ObservedObject("thermos", "the handle of the thermos")
_HAMMER = ObservedObject("hammer", "handle of the hammer", quaternion="wxyz")
_NAIL = ObservedObject("nail", "head of the nail in the board", "part")

SCENES: dict[str, MetaWorldScene] = {
    "assembly-v3": MetaWorldScene(
        "Lift the nut by its handle and place its ring on the peg, at the goal.",
        (_NUT,),
        "the ring of the nut is around the peg: within 2 cm of its axis and below its top",
    ),
    "basketball-v3": MetaWorldScene(
        "Lift the basketball and put it into the basket at the goal.",
        (_BALL,),
        "the basketball is within 8 cm of the middle of the hoop, 30 cm high, where height counts twice",
    ),
    "bin-picking-v3": MetaWorldScene(
        "Pick up the block and put it into the other bin, at the goal.", (_BLOCK,), _near("block", "5")
    ),
    "box-close-v3": MetaWorldScene("Pick up the lid and place it on the box, at the goal.", (_LID,), _near("lid", "8")),
    "button-press-topdown-v3": MetaWorldScene(
        "Press the button down to the goal.", (_BUTTON,), _near_along("button", "z", "2.4")
    ),
    "button-press-topdown-wall-v3": MetaWorldScene(
        "Press the button behind the wall down to the goal.", (_BUTTON,), _near_along("button", "z", "2.4")
    ),
    "button-press-v3": MetaWorldScene("Press the button to the goal.", (_BUTTON,), _near_along("button", "y", "2")),
    "button-press-wall-v3": MetaWorldScene(
        "Press the button behind the wall to the goal.", (_BUTTON,), _near_along("button", "y", "3")
    ),
    "coffee-button-v3": MetaWorldScene(
        "Press the button of the coffee machine to the goal.", (_BUTTON,), _near_along("button", "y", "2")
    ),
    "coffee-pull-v3": MetaWorldScene("Pull the mug to the goal.", (_MUG,), _near("mug", "7")),
    "coffee-push-v3": MetaWorldScene("Push the mug to the goal, under the coffee machine.", (_MUG,), _near("mug", "7")),
    "dial-turn-v3": MetaWorldScene("Turn the dial: push its mark to the goal.", (_DIAL,), _near("mark", "7")),
    "disassemble-v3": MetaWorldScene(
        "Lift the nut off the peg, up to the goal.", (_NUT,), "the handle of the nut is higher than the goal"
    ),
    "door-close-v3": MetaWorldScene(
        "Close the door: push its handle to the goal.", (_DOOR_HANDLE,), _near("handle", "8")
    ),
    "door-lock-v3": MetaWorldScene(
        "Lock the door: push its lock down to the goal.", (_DOOR_LOCK,), _near_along("lock", "z", "2")
    ),
    "door-open-v3": MetaWorldScene(
        "Open the door: pull its handle to the goal.", (_DOOR_HANDLE,), _near_along("handle", "x", "8")
    ),
    "door-unlock-v3": MetaWorldScene(
        "Unlock the door: push its lock to the goal.", (_DOOR_LOCK,), _near_along("lock", "x", "2")
    ),
    "drawer-close-v3": MetaWorldScene(
        "Close the drawer: push its handle to the goal.", (_DRAWER_HANDLE,), _near("handle", "6.5")
    ),
    "drawer-open-v3": MetaWorldScene(
        "Open the drawer: pull its handle to the goal.", (_DRAWER_HANDLE,), _near("handle", "3")
    ),
    "faucet-close-v3": MetaWorldScene(
        "Close the faucet: push its handle to the goal.", (_FAUCET_HANDLE,), _near("handle", "7")
    ),
    "faucet-open-v3": MetaWorldScene(
        "Open the faucet: push its handle to the goal.",
        (_FAUCET_HANDLE,),
        "the tip of the handle, 5 cm from the measured point, is within 7 cm of the goal",
    ),
    "hammer-v3": MetaWorldScene(
        "Grasp the hammer and push the nail into the board with it, to the goal.",
        (_HAMMER, _NAIL),
        "the nail is driven in by more than 9 cm",
    ),
    "hand-insert-v3": MetaWorldScene(
        "Grasp the block and insert it into the hole, at the goal.", (_BLOCK,), _near("block", "5")
    ),
    "handle-press-side-v3": MetaWorldScene(
        "Press the handle down to the goal, from the side.", (_HANDLE,), _near_along("handle", "z", "2")
    ),
    "handle-press-v3": MetaWorldScene(
        "Press the handle down to the goal.", (_HANDLE,), _near_along("handle", "z", "2")
    ),
    "handle-pull-side-v3": MetaWorldScene(
        "Pull the handle up to the goal, from the side.", (_HANDLE,), _near("handle", "8")
    ),
    "handle-pull-v3": MetaWorldScene("Pull the handle up to the goal.", (_HANDLE,), _near_along("handle", "z", "5")),
    "lever-pull-v3": MetaWorldScene(
        "Pull the lever up to the goal.", (_LEVER,), "the lever is within 7.5 degrees of upright"
    ),
    "peg-insert-side-v3": MetaWorldScene(
        "Grasp the peg and insert it into the hole at the goal.",
        (_PEG,),
        "the head of the peg is within 7 cm of the goal, where distances along y and z count more than along x",
    ),
    "peg-unplug-side-v3": MetaWorldScene("Pull the plug out of the socket, to the goal.", (_PLUG,), _near("plug", "7")),
    "pick-out-of-hole-v3": MetaWorldScene(
        "Grasp the block in the hole and lift it to the goal.", (_BLOCK,), _near("block", "7")
    ),
    "pick-place-v3": MetaWorldScene("Pick up the puck and carry it to the goal.", (_PUCK,), _near("puck", "7")),
    "pick-place-wall-v3": MetaWorldScene(
        "Pick up the puck and carry it over the wall to the goal.", (_PUCK,), _near("puck", "7")
    ),
    "plate-slide-back-side-v3": MetaWorldScene(
        "Slide the plate sideways to the goal, out of the cabinet.", (_PLATE,), _near("plate", "7")
    ),
    "plate-slide-back-v3": MetaWorldScene(
        "Slide the plate back to the goal, out of the cabinet.", (_PLATE,), _near("plate", "7")
    ),
    "plate-slide-side-v3": MetaWorldScene(
        "Slide the plate sideways to the goal, into the cabinet.", (_PLATE,), _near("plate", "7")
    ),
    "plate-slide-v3": MetaWorldScene("Slide the plate to the goal, into the cabinet.", (_PLATE,), _near("plate", "7")),
    "push-back-v3": MetaWorldScene("Push the puck back to the goal.", (_PUCK,), _near("puck", "7")),
    "push-v3": MetaWorldScene("Push the puck to the goal.", (_PUCK,), _near("puck", "5")),
    "push-wall-v3": MetaWorldScene("Push the puck to the goal, around the wall.", (_PUCK,), _near("puck", "7")),
    "reach-v3": MetaWorldScene(
        "Move the fingertips to the goal.", (_PUCK,), "the fingertips are within 5 cm of the goal"
    ),
    "reach-wall-v3": MetaWorldScene(
        "Move the fingertips to the goal, over the wall.", (_PUCK,), "the fingertips are within 5 cm of the goal"
    ),
    "shelf-place-v3": MetaWorldScene(
        "Pick up the block and place it on the shelf, at the goal.", (_SWEPT_BLOCK,), _near("block", "7")
    ),
    "soccer-v3": MetaWorldScene(
        "Kick the ball into the goal.", (_SOCCER_BALL,), "the ball is within 7 cm of the goal, where x counts threefold"
    ),
    "stick-pull-v3": MetaWorldScene(
        "Pull the thermos to the goal with the stick.",
        (_STICK, _THERMOS),
        "the thermos is within 12 cm of the goal and the stick is in its handle",
    ),
    "stick-push-v3": MetaWorldScene(
        "Push the thermos to the goal with the stick.",
        (_STICK, _THERMOS),
        "the thermos is within 12 cm of the goal and the gripper holds the stick",
    ),
    "sweep-into-v3": MetaWorldScene(
        "Sweep the block into the hole, at the goal.",
        (_SWEPT_BLOCK,),
        "the block is within 5 cm of the goal along the table",
    ),
    "sweep-v3": MetaWorldScene("Sweep the block off the table to the goal.", (_BLOCK,), _near("block", "5")),
    "window-close-v3": MetaWorldScene(
        "Close the window: push its handle to the goal.", (_WINDOW_HANDLE,), _near_along("handle", "x", "5")
    ),
    "window-open-v3": MetaWorldScene(
        "Open the window: push its handle to the goal.", (_WINDOW_HANDLE,), _near_along("handle", "x", "5")
    ),
}
