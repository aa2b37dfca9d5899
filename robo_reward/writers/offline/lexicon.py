"""Vocabulary of the offline writer: verbs, synonyms, colours, units. General English, specific to no task."""

from __future__ import annotations

from types import MappingProxyType


def split_words(text: str) -> frozenset[str]:
    """Returns the words of a text as a set."""
    return frozenset(text.split())


VERBS = MappingProxyType(
    {
        "reach": "reach touch approach contact tap poke point",
        "grasp": "grasp grab grip hold catch seize clasp",
        "lift": "lift raise pick hoist elevate levitate",
        "carry": "bring carry transport deliver transfer relocate",
        "move": "move position shift get send guide steer",
        "push": "push slide shove nudge roll drag sweep scoot press",
        "place": "place put stack set lay insert pile plug assemble pour load",
        "open": "open pull unlock uncover extend draw",
        "close": "close closed shut lock retract",
        "turn": "turn rotate twist spin unscrew screw flip switch toggle reorient align",
        "run": "run walk hop gallop crawl swim go travel move locomote drive trot sprint advance march fly race",
        "release": "release drop",
        "jump": "jump leap bounce",
        "balance": "stand balance stay keep hover remain rest standup",
        "swing": "swing swingup",
    }
)
"""Intent -> verbs. `move` and `go` are ambiguous; the rest of the sentence decides."""

AVOID = split_words("fall falling fell tip tipping topple toppling crash crashing dropping tumble tumbling")
UPRIGHT = split_words("upright upwards balance balanced balancing stand standing stable vertical straight")
STILL = split_words("still motionless stop stopped steady calm rest resting")
FAST = split_words("fast quickly quick rapidly speed far possible fastest")
GENTLE = split_words("gently gentle softly smoothly smooth slowly careful carefully efficient efficiently")

DIRECTIONS = MappingProxyType(
    {
        "forward": (0, 1),
        "forwards": (0, 1),
        "ahead": (0, 1),
        "right": (1, -1),
        "left": (1, 1),
        "backward": (0, -1),
        "backwards": (0, -1),
        "back": (0, -1),
        "upward": (2, 1),
        "sideways": (1, 1),
    }
)
"""Word -> (world axis, sign): x ahead, y to the left, z up."""

COLOURS = split_words("red green blue yellow orange purple pink white black grey gray brown cyan magenta")

SYNONYMS = (
    split_words("hand gripper arm tool effector fingers finger tcp palm end robot fingertip fingertips wrist tip"),
    split_words("goal target marker destination spot location place position point region area"),
    split_words("cube block box brick"),
    split_words("puck disc disk"),
    split_words("ball sphere"),
    split_words("handle knob grip lever latch bar"),
    split_words("drawer tray"),
    split_words("door gate lid window hatch cover"),
    split_words("button switch"),
    split_words("valve faucet tap dial wheel crank"),
    split_words("pole pendulum stick rod"),
    split_words("cart slider trolley"),
    split_words("torso trunk body root pelvis base chassis root hull"),
    split_words("object thing item part"),
    split_words("left l"),
    split_words("right r"),
)

TO = split_words("to onto into toward towards until at in inside")
ON = split_words("on atop over upon above")
OTHER = split_words("of from off with by against along through beside near under below across behind")
SUPPORTS = split_words("table ground floor desk surface bench counter")
"""What objects rest on: heights are counted from it."""
DETERMINERS = split_words("the a an its this that his her their my your")
NOISE = DETERMINERS | split_words(
    "and then it them as is are be without not don do does up down so such make makes let should must please can will "
    "while until when least most than more within all way top side middle centre center where shall there here out "
    "away for robot's which who you we i one as can"
)

UNITS = MappingProxyType(
    {
        "m": ("m", 1.0),
        "metre": ("m", 1.0),
        "metres": ("m", 1.0),
        "meter": ("m", 1.0),
        "meters": ("m", 1.0),
        "cm": ("m", 0.01),
        "centimetre": ("m", 0.01),
        "centimetres": ("m", 0.01),
        "centimeter": ("m", 0.01),
        "centimeters": ("m", 0.01),
        "mm": ("m", 0.001),
        "millimetres": ("m", 0.001),
        "millimeters": ("m", 0.001),
        "inch": ("m", 0.0254),
        "inches": ("m", 0.0254),
        "deg": ("rad", 0.017453292519943295),
        "degree": ("rad", 0.017453292519943295),
        "degrees": ("rad", 0.017453292519943295),
        "°": ("rad", 0.017453292519943295),
        "rad": ("rad", 1.0),
        "radians": ("rad", 1.0),
        "%": ("1", 0.01),
        "percent": ("1", 0.01),
        "m/s": ("m/s", 1.0),
        "cm/s": ("m/s", 0.01),
        "mm/s": ("m/s", 0.001),
        "km/h": ("m/s", 1 / 3.6),
        "rad/s": ("rad/s", 1.0),
        "deg/s": ("rad/s", 0.017453292519943295),
    }
)
"""Unit as written -> (SI unit, factor)."""

NUMBER_WORDS = MappingProxyType(
    {
        "one": 1,
        "two": 2,
        "three": 3,
        "four": 4,
        "five": 5,
        "six": 6,
        "seven": 7,
        "eight": 8,
        "nine": 9,
        "ten": 10,
        "fifteen": 15,
        "twenty": 20,
        "thirty": 30,
        "forty": 40,
        "ninety": 90,
    }
)


def stem_word(word: str) -> str:
    """Returns a word without possessive and plural endings."""
    word = word.removesuffix("'s").removesuffix("’s")
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def are_synonyms(a: str, b: str) -> bool:
    """Returns whether two words may name the same thing."""
    return any(a in group and b in group for group in SYNONYMS)
