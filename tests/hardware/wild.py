"""Wild policies for the safety filter, and a judge of its commands that shares no code with it.

The judge has the official numbers typed in once more, MuJoCo's kinematics of the task's own scene, and differences of
its own. The strategy makes everything a broken policy, robot or scheduler may do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from hypothesis import strategies as st

from robo_reward.envs.task import make_task
from robo_reward.hardware.arm import ArmState, Mode
from robo_reward.hardware.safety.filter import Decision, SafetyFilter, SafetySettings, Verdict
from robo_reward.hardware.safety.limits import policy_limits

OFFICIAL: dict[str, dict[str, Any]] = {
    "panda": {
        "q_max": (2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
        "q_min": (-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
        "dq": (2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
        "ddq": (15, 7.5, 10, 12.5, 15, 20, 20),
        "jerk": (7500, 3750, 5000, 6250, 7500, 10000, 10000),
        "hand": (1.7, 13.0),
        "turn": (2.5, 25.0),
    },
    "fr3": {
        "q_max": (2.9007, 1.8361, 2.9007, -0.1169, 2.8763, 4.6216, 3.0508),
        "q_min": (-2.9007, -1.8361, -2.9007, -3.0770, -2.8763, 0.4398, -3.0508),
        "dq": (2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26),
        "ddq": (10,) * 7,
        "jerk": (5000,) * 7,
        "hand": (3.0, 9.0),
        "turn": (2.5, 17.0),
        "offset": (0.6599, 0.2517, 0.2, 0.3533, 0.5757, 0.4878, 0.4628),
        "dec": (6, 2.585, 3.5, 4, 17, 5.5, 17),
    },
}
TOLERANCE = 1e-5
LONGEST_REST = 2.05  # [s]
CONE, INSET, CLEARANCE, MARGIN = 0.5, 0.002, 0.08, 0.1


class Judge:
    """Worst ratio of what was commanded to what is allowed, per rule; above 1 is a violation.

    Args:
        task: whose scene tells where the hand is.
        share: of the official speeds and accelerations.
        rate: of the stream [Hz].
    """

    def __init__(self, task: Any, share: float, rate: float) -> None:
        self.task, self.share, self.rate = task, share, rate
        self.numbers = {key: np.array(value) for key, value in OFFICIAL[task.arm.name].items()}
        self.data = mujoco.MjData(task.model)
        self.site = task.model.site("tcp").id
        bodies = ("link4", "link5", "link6", "link7", "hand")  # the flange is where the hand begins
        self.heights = [task.model.body(name).id for name in bodies]

    def __call__(self, path: np.ndarray) -> dict[str, float]:
        """The worst ratios of a stream of joint commands (K, 7) that begins at rest."""
        path = np.concatenate([np.repeat(path[:1], 3, axis=0), path])
        place, quats, lowest, down = self._scene(path)
        n, f, share = self.numbers, self.rate, self.share
        speed, out = f * (path[1:] - path[:-1]), {}
        middle, half = (n["q_max"] + n["q_min"]) / 2, (n["q_max"] - n["q_min"]) / 2 - MARGIN
        out["joint_position"] = np.max(np.abs(path - middle) / half)
        out["joint_speed"] = np.max(np.abs(speed) / (share * n["dq"]))
        if "offset" in n:
            out["joint_speed_near_the_end"] = self._near_the_end(path, speed)
        out["joint_acceleration"] = np.max(np.abs(f * (speed[1:] - speed[:-1])) / (share * n["ddq"]))
        out["joint_jerk"] = np.max(np.abs(f * f * (speed[2:] - 2 * speed[1:-1] + speed[:-2])) / (share * n["jerk"]))
        velocity = f * (place[1:] - place[:-1])
        spin = np.zeros_like(velocity)
        for k in range(len(spin)):
            mujoco.mju_subQuat(spin[k], quats[k + 1], quats[k])
            mujoco.mju_rotVecQuat(spin[k], spin[k].copy(), quats[k])  # subQuat answers in the hand's frame
        spin *= f
        for name, rates in (("hand", velocity), ("turn", spin)):
            most = share * n[name]
            out[f"{name}_speed"] = np.max(np.linalg.norm(rates, axis=1)) / most[0]
            out[f"{name}_acceleration"] = np.max(np.linalg.norm(f * (rates[1:] - rates[:-1]), axis=1)) / most[1]
        low, high = np.array(self.task.low) - INSET, np.array(self.task.high) + INSET
        low[2] = max(low[2], 0.0)
        out["workspace"] = np.max(np.abs(place - (low + high) / 2) / ((high - low) / 2))
        out["orientation"] = np.max(np.arccos(np.clip(down, -1, 1))) / CONE
        out["table"] = CLEARANCE / lowest.min()
        return {rule: float(ratio) for rule, ratio in out.items()}

    def _near_the_end(self, path: np.ndarray, speed: np.ndarray) -> float:
        n, worst = self.numbers, 0.0
        for k in (0, 1):  # at both ends of a step
            q = path[k : len(path) - 1 + k]
            up = np.sqrt(2 * n["dec"] * (n["q_max"] - q)) - n["offset"]
            down = np.sqrt(2 * n["dec"] * (q - n["q_min"])) - n["offset"]
            allowed = self.share * np.where(speed > 0, up, down)
            worst = max(worst, float(np.max(np.where(np.abs(speed) > 1e-9, np.abs(speed) / allowed, 0.0))))
        return worst

    def _scene(self, path: np.ndarray) -> tuple[np.ndarray, ...]:
        place, quats = np.empty((len(path), 3)), np.empty((len(path), 4))
        lowest, down = np.empty(len(path)), np.empty(len(path))
        for k, q in enumerate(path):
            self.data.qpos[:7] = q
            mujoco.mj_kinematics(self.task.model, self.data)
            place[k] = self.data.site_xpos[self.site]
            mujoco.mju_mat2Quat(quats[k], self.data.site_xmat[self.site])
            lowest[k] = self.data.xpos[self.heights, 2].min()
            down[k] = -self.data.site_xmat[self.site].reshape(3, 3)[2, 2]
        return place, quats, lowest, down


numbers = st.floats(-1.0, 1.0, width=32)
anything = st.one_of(
    st.floats(width=32), st.sampled_from([np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-300, 1.0, -1.0, 0.0, 5.0])
)
rubbish = st.sampled_from(
    [
        None,
        "left",
        [],
        [[0.1]],
        {},
        {"dx": 1},
        1 + 2j,
        [None] * 4,
        np.zeros((2, 4)),
        np.zeros(0),
        np.zeros(99),
        object(),
    ]
)


@dataclass(frozen=True)
class Event:
    """One control step of a broken world.

    Args:
        action: what the policy says, or a list to be cut or filled to the action's length.
        fit: whether to do so.
        repeat: for so many control steps.
        ticks: commands that are sent before the next action; the right number is 8.
        measured: what is wrong with the measurement: nothing, `frozen`, `noisy`, `far`, `nan`, `shape`, `mode`.
        dt: what the caller believes a control step lasts [s].
        hold: whether the watchdog holds first.
    """

    action: Any
    fit: bool
    repeat: int
    ticks: int
    measured: str
    dt: float
    hold: bool


def events() -> st.SearchStrategy[Event]:
    """Mostly plausible actions, so that the arm gets somewhere, and everything else now and then."""
    fitting = st.one_of(
        st.lists(numbers, min_size=8, max_size=8),
        st.lists(st.sampled_from([-1.0, 1.0]), min_size=8, max_size=8),
        st.lists(anything, min_size=8, max_size=8),
    )  # cut to the length of the action
    action = st.one_of(*[fitting.map(lambda a: (a, True))] * 9, rubbish.map(lambda a: (a, False)))
    return st.builds(
        lambda action, **rest: Event(*action, **rest),
        action,
        repeat=st.sampled_from([1, 1, 2, 4, 8, 25]),
        ticks=st.sampled_from([8, 8, 8, 8, 0, 1, 7, 9, 16, 40]),
        measured=st.sampled_from([""] * 12 + ["frozen", "noisy", "noisy", "far", "nan", "mode"]),
        dt=st.sampled_from([0.04, 0.04, 0.04, 0.08, 0.0, 1e-9, -1.0, 1e9, float("nan")]),
        hold=st.sampled_from([False] * 7 + [True]),
    )


WORLDS = [(arm, name, control) for arm in ("panda", "fr3") for name in ("lift", "push") for control in
          ("ee_delta", "ee_delta_yaw", "joint_delta")]  # fmt: skip


SHARES = (0.2, 0.3, 0.8)


class World:
    """A filter, its judge, and a stream of commands."""

    def __init__(self, arm: str, name: str, control: str, share: float = 0.3, rate: float = 200.0) -> None:
        self.task: Any = make_task(f"{arm}/{name}", control=control)
        limits = policy_limits(self.task.arm, share, share)
        self.filter = SafetyFilter.from_task(self.task, limits, CONE, SafetySettings(rate=rate))
        self.judge = Judge(self.task, share, rate)
        self.rng = np.random.default_rng(0)
        self.rest: dict[bool, float] = {True: 0.0, False: 0.0}  # longest time to rest [s], with hold() and without

    def run(self, seed: int, sequence: list[Event]) -> tuple[dict[str, float], list[Decision]]:
        """Streams everything a sequence leads to, and on until rest; returns the worst ratios and all decisions."""
        self.rng = np.random.default_rng(seed)
        self._begin(self.task.sample(self.rng, 1).qpos[0, :7])
        worst: dict[str, float] = {}
        decisions = []
        for event in sequence:
            for _ in range(event.repeat):
                if event.hold:
                    self.filter.hold()
                decision = self.filter.filter_action(self._action(event), self._measured(event.measured), event.dt)
                decisions.append(decision)
                self._tick(event.ticks)
                if decision.verdict is Verdict.STOP:
                    self._rest(hold=True)
                    self._note(worst)
                    self._begin(self.filter.planner.last_command.q)
        self._rest(hold=bool(seed % 2))
        self._note(worst)
        return worst, decisions

    def _begin(self, q: np.ndarray) -> None:
        self.filter.start(state_at(q))
        self.path = [q.copy()]

    def _tick(self, n: int) -> None:
        for _ in range(n):
            target = self.filter.next_command()
            assert -1.0 <= target.gripper <= 0.0801
            self.path.append(target.joints)

    def _rest(self, hold: bool) -> None:
        """Nobody decides any more: the stream must come to rest by itself, and soon."""
        if hold:
            self.filter.hold()
        for count in range(1000):
            self._tick(1)
            if len(self.path) > 4 and np.ptp(self.path[-4:], axis=0).max() < 1e-12:
                assert count / self.filter.settings.rate <= LONGEST_REST
                self.rest[hold] = max(self.rest[hold], count / self.filter.settings.rate)
                return
        raise AssertionError("the stream does not come to rest")

    def _note(self, worst: dict[str, float]) -> None:
        for rule, ratio in self.judge(np.array(self.path)).items():
            worst[rule] = max(worst.get(rule, 0.0), ratio)

    def _action(self, event: Event) -> Any:
        return np.array(event.action[: self.task.action.dim]) if event.fit else event.action

    def _measured(self, wrong: str) -> ArmState:
        q = self.path[-1].copy()
        if wrong == "frozen":
            q = self.path[0].copy()
        elif wrong == "noisy":
            q = q + self.rng.normal(0, 0.05, 7)
        elif wrong == "far":
            q = self.rng.uniform(-3, 3, 7)
        elif wrong == "nan":
            q[self.rng.integers(7)] = self.rng.choice([np.nan, np.inf])
        return state_at(q, Mode.REFLEX if wrong == "mode" else Mode.MOVING)


def state_at(q: np.ndarray, mode: Mode = Mode.MOVING) -> ArmState:
    """A state at rest at joint angles (7,)."""
    zero = np.zeros(7)
    down = np.array((0.0, 1.0, 0.0, 0.0))
    return ArmState(0.0, 0.0, np.array(q, float), zero, zero, np.zeros(6), np.zeros(3), down, 0.06, mode)


def violations(worst: dict[str, float]) -> dict[str, float]:
    """The rules that were broken."""
    return {rule: ratio for rule, ratio in worst.items() if not ratio <= 1.0 + TOLERANCE}
