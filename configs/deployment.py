"""The keys of `robo-reward deploy`, and of the verbs around it: `serve-policy`, `calibrate` and `identify`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from robo_reward.configs.robots import RobotConfig
from robo_reward.configs.values import (
    FRAME_SIZE,
    Above0,
    Box,
    Flag,
    Frames,
    Mappings,
    Names,
    Natural,
    NotNegative,
    Port,
    Positive,
    Real,
    Reals,
    Seed,
    Side,
    Whole,
)
from robo_reward.errors import UsageError


@dataclass(frozen=True)
class DeploySettings:
    """The settings of a deployment session.

    Args:
        episodes: valid episodes wanted in the run folder, including those of earlier runs; episodes cut short by a
            fault do not count
        retries: how often in a row an episode that a fault or a kill cut short is repeated, each time from a new
            initial state
        confirm: a person confirms the first motion and every recovery; false: unattended
        label: after each episode, ask whether it succeeded if the task cannot measure it
        label_all: ask even if the task can measure it
    """

    episodes: Positive = 1
    retries: Natural = 3
    confirm: Flag = True
    label: Flag = True
    label_all: Flag = False

    def __post_init__(self) -> None:
        if self.episodes < 1 or self.retries < 0:
            raise UsageError(
                f"episodes={self.episodes} retries={self.retries}: expected at least one episode, and 0 or more retries"
            )


@dataclass(frozen=True, kw_only=True)
class DeployConfig(DeploySettings):
    """The keys of `robo-reward deploy`.

    Args:
        policy_folder: give it as policy=RUN: a run folder, or the policy folder in it
        policy_server: ws://HOST:PORT of `robo-reward serve-policy`, used instead of a local policy; it reads the token
            from ROBO_REWARD_TOKEN
        host: address of the robot; empty: robot.host
        horizon: control steps per episode; 0: the task's default
        tempo: how fast time passes for the policy; 1 is the speed of training
        speed: fraction of the official speed limits that the policy may use
        acceleration: fraction of the official acceleration and jerk limits that the policy may use
        workspace: corners [[x,y,z],[x,y,z]] of the allowed box for the hand in the arm's base frame [m]; null: the
            task's box
        table: height of the table's top above the arm's base [m]
        ramp: control steps over which the tempo rises to its value
        reset_speed: fraction of the joint speed limits used for motions between episodes
        dry_run: read only: commands are recorded, the arm never moves
        teleop: none, keyboard or spacemouse: override the policy, or drive without one
        objects: source of the object poses: auto, none, emulator, or MODULE:FUNCTION that returns a tracker
        cameras: emulated cameras by name (front), USB cameras as uvc:0, RealSense cameras as realsense:SERIAL
        size: width and height of one camera's frame [pixels]
        calibration: a file written by `robo-reward calibrate`: frames are undistorted, and the calibration is stored
            with the episodes
        frames: how frames are stored: mp4, or exact (lossless)
        reward_path: give it as reward=PATH: this reward is computed for every episode
        clock: wall, or robot: the robot's time, for an emulator in lock-step
        missed: control steps without an action after which the arm holds
        silent: time without an action after which the arm stops [s]
        camera_age: age of the newest camera frame at which the arm holds [s]
        seed: seed of the initial states
        run: name of the run folder; empty: built from verb, task, seed and a hash of the settings
        runs: folder that contains the run folders
        robot: the chosen option of `robot=`
    """

    groups: ClassVar[dict[str, str | None]] = {"robot": "mujoco", "task": None}

    policy_folder: str = ""
    policy_server: str = ""
    host: str = ""
    horizon: Natural = 0
    tempo: Real = field(
        default=RobotConfig.tempo, metadata={"config": f"${{oc.select:robot.tempo,{RobotConfig.tempo}}}"}
    )
    speed: Real = 0.3
    acceleration: Real = 0.5
    workspace: Box = None
    table: Real = 0.0
    ramp: Natural = 10
    reset_speed: Real = 0.1
    dry_run: Flag = False
    teleop: Literal["none", "keyboard", "spacemouse"] = "none"
    objects: str = "auto"
    cameras: Names = ()
    size: Side = FRAME_SIZE
    calibration: str = ""
    frames: Frames = "mp4"
    reward_path: str = ""
    clock: Literal["auto", "wall", "robot", "none"] = "auto"
    missed: Positive = 3
    silent: Above0 = 0.75
    camera_age: Above0 = 0.5
    seed: Seed = 0
    run: str = ""
    runs: str = "runs"
    robot: Mapping[str, Any]

    @property
    def address(self) -> str:
        """The robot's address."""
        return self.host or str(self.robot.get("host", ""))

    @property
    def is_emulated(self) -> bool:
        """True if the robot is an emulator on this machine."""
        return self.address.startswith("127.")


@dataclass(frozen=True, kw_only=True)
class LeRobotKeys:
    """The keys that say how a LeRobot policy runs, and what its inputs are in a task.

    Args:
        python: for a LeRobot policy: the folder of a virtual environment that has lerobot, or its interpreter
        state: state fields of observation.state, such as [hand_position,gripper_opening]; empty: those that its data
            set names, or all fields of the task if their number fits
        environment: state fields of observation.environment_state, such as [cube_position]
        cameras: NAME of observation.images.NAME to a camera of the task, such as {top: front}; empty: cameras of the
            same names
        rate: how often the LeRobot policy acts [Hz]; 0: as its data set says, or else as the task
        device: such as cpu or cuda; empty: the one of the checkpoint if it is here
        sampling_steps: DDIM steps of a diffusion policy; 0: the sampler of the checkpoint
    """

    groups: ClassVar[dict[str, str | None]] = {"task": None}

    python: str = ""
    state: Names = ()
    environment: Names = ()
    cameras: Mappings = field(default_factory=dict)
    rate: NotNegative = 0.0
    device: str = ""
    sampling_steps: Natural = 0


@dataclass(frozen=True, kw_only=True)
class ImportPolicyConfig(LeRobotKeys):
    """The keys of `robo-reward import-policy`.

    Args:
        checkpoint: a LeRobot policy (ACT or diffusion): the folder that save_pretrained wrote, or the name of one on
            the Hugging Face hub
        out: the new policy folder, which names the checkpoint and the Python; the weights stay where they are
    """

    checkpoint: str
    out: str


@dataclass(frozen=True, kw_only=True)
class ServePolicyConfig(LeRobotKeys):
    """The keys of `robo-reward serve-policy`.

    Args:
        policy_folder: give it as policy=RUN: a run folder, or the policy folder in it; with adapter=lerobot a LeRobot
            policy
        adapter: lerobot: the policy is a LeRobot checkpoint, run by the Python of python=
        host: 0.0.0.0 accepts connections from other machines
        port: 0: any free port
        certificate: PEM file, for networks shared with others
        key: PEM file with the key of the certificate
    """

    policy_folder: str
    adapter: Literal["none", "lerobot"] = "none"
    host: str = "127.0.0.1"
    port: Port = 8766
    certificate: str = ""
    key: str = ""


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig:
    """The keys of `robo-reward calibrate`.

    Args:
        pictures: a folder of 10 to 20 pictures of the board at many angles and positions, at the camera's full
            resolution
        camera: named as in `robo-reward deploy cameras=`
        columns: squares of the board from left to right
        rows: squares of the board from top to bottom
        square: side of a square [m]
        marker: side of the markers of a ChArUco board [m]; 0: a plain chessboard
        dictionary: ArUco dictionary of the markers
        file: file to which this camera's entry is written; other entries in it are kept
        place: one more picture, of the board lying flat, face up: determines the camera's pose
        first: with place=: position of the first inner corner in the robot's base frame [m]; the written picture marks
            it
        last: with place=: position of the last corner of the first row [m]
    """

    pictures: str
    camera: str = "uvc:0"
    columns: Whole = 10
    rows: Whole = 7
    square: Real = 0.025
    marker: Real = 0.0
    dictionary: str = "DICT_5X5_100"
    file: str = "cameras.json"
    place: str = ""
    first: Reals = ()
    last: Reals = ()


@dataclass(frozen=True, kw_only=True)
class IdentifyConfig:
    """The keys of `robo-reward identify`.

    Args:
        run: a run of `robo-reward deploy`, or its folder of episodes
        most: maximum number of episodes; more take longer and add little
    """

    run: str
    most: Positive = 5
