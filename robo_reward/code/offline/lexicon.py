"""What words mean to the offline writer: verbs, synonyms, colours, units. General English, no task in it."""

from __future__ import annotations

from types import MappingProxyType

VERBS = MappingProxyType(
    {
        "reach": "reach touch approach contact hit tap poke point",
        "grasp": "grasp grab grip hold catch seize clasp",
        "lift": "lift raise pick hoist elevate levitate",
        "carry": "bring carry transport deliver transfer relocate",
        "move": "move position shift get send guide steer",
        "push": "push slide shove nudge roll drag sweep kick scoot press",
        "place": "place put stack set lay insert drop pile plug assemble pour load",
        "open": "open pull unlock uncover extend draw",
        "close": "close closed shut lock retract",
        "turn": "turn rotate twist spin unscrew screw flip switch toggle reorient align",
        "run": "run walk hop gallop crawl swim go travel move locomote drive trot sprint advance march fly race",
        "jump": "jump leap bounce",
        "balance": "stand balance stay keep hover remain rest standup",
        "swing": "swing swingup",
    }
)
"""Intent -> verbs. `move` and `go` stand for several; the sentence around them decides."""

AVOID = frozenset("fall falling fell tip tipping topple toppling crash crashing dropping tumble tumbling".split())
UPRIGHT = frozenset("upright upwards balance balanced balancing stand standing stable vertical straight".split())
STILL = frozenset("still motionless stop stopped steady calm rest resting".split())
FAST = frozenset("fast quickly quick rapidly speed far possible fastest".split())
GENTLE = frozenset("gently gentle softly smoothly smooth slowly careful carefully efficient efficiently".split())

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
"""Word -> (axis of the world, sign): x ahead, y to the left, z up."""

COLOURS = frozenset("red green blue yellow orange purple pink white black grey gray brown cyan magenta".split())

SYNONYMS = (
    frozenset("hand gripper arm tool effector fingers finger tcp palm end robot fingertip fingertips wrist tip".split()),
    frozenset("goal target marker destination spot location place position point region area".split()),
    frozenset("cube block box brick".split()),
    frozenset("puck disc disk".split()),
    frozenset("ball sphere".split()),
    frozenset("handle knob grip lever latch bar".split()),
    frozenset("drawer tray".split()),
    frozenset("door gate lid window hatch cover".split()),
    frozenset("button switch".split()),
    frozenset("valve faucet tap dial wheel crank".split()),
    frozenset("pole pendulum stick rod".split()),
    frozenset("cart slider trolley".split()),
    frozenset("torso trunk body root pelvis base chassis root hull".split()),
    frozenset("object thing item part".split()),
)

TO = frozenset("to onto into toward towards until at in inside".split())
ON = frozenset("on atop over upon above".split())
OTHER = frozenset("from off of with by against along through beside near under below across behind".split())
DETERMINERS = frozenset("the a an its this that his her their my your".split())
NOISE = DETERMINERS | frozenset(
    "and then it them as is are be without not don do does up down so such make makes let should must please can will "
    "while until when least most than more within all way top side middle centre center where shall there here out "
    "away for robot's which who you we i one".split()
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
    }
)
"""Unit as written -> (SI unit, factor)."""

NUMBER_WORDS = MappingProxyType(
    dict(zip("one two three four five six seven eight nine ten".split(), range(1, 11), strict=True))
    | {"fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "ninety": 90}
)


def stem(word: str) -> str:
    """A word without possessive and plural."""
    word = word.removesuffix("'s").removesuffix("’s")
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def related(a: str, b: str) -> bool:
    """Whether two words may name the same thing."""
    return any(a in group and b in group for group in SYNONYMS)
