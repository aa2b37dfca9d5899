"""The keys of `demo`, `search`, `train`, `evaluate` and `compare`, and of `tasks`, `report` and `doctor`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from robo_reward.configs.values import (
    Above0,
    Flag,
    Mappings,
    NameOrNames,
    Names,
    Natural,
    Positive,
    Real,
    Seed,
    Seeds,
    Share,
    Side,
)


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """The keys of `robo-reward search`.

    Args:
        goal: the goal sentence; empty: the task's default
        success: condition of success, such as success="cube_height > 0.1"; propose: the writer proposes one; empty: the
            task's own, or for a goal of yours the one that follows from the sentence
        failure: condition that ends an episode as failed; empty: the task's own
        seed: random seed; the same seed gives the same run
        run: name of the run folder; empty: built from verb, task, seed and a hash of the settings
        runs: folder that contains the run folders
        videos: number of episodes of the final policy to record
        camera: camera of the videos; empty: the first of the task
        logger: wandb, trackio, rerun, or several, such as [wandb,rerun]; TensorBoard files are always written
        logger_options: options of a logger, such as logger_options.wandb.project=NAME
    """

    groups: ClassVar[dict[str, str | None]] = {
        "task": "panda/lift",
        "writer": "offline",
        "search": "eureka",
        "policy": "ppo",
        "executor": "local",
    }

    goal: str = ""
    success: str = ""
    failure: str = ""
    seed: Seed = 0
    run: str = ""
    runs: str = "runs"
    videos: Natural = 3
    camera: str = ""
    logger: NameOrNames = ("tensorboard",)
    logger_options: Mappings = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DemoConfig(SearchConfig):
    """The keys of `robo-reward demo`."""

    camera: str = "front"


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The keys of `robo-reward train`.

    Args:
        goal: the goal sentence; empty: the task's default
        success: condition of success, such as success="cube_height > 0.1"; propose: the writer proposes one; empty: the
            task's own, or for a goal of yours the one that follows from the sentence
        failure: condition that ends an episode as failed; empty: the task's own
        steps: environment steps
        seed: random seed; the same seed gives the same run
        episodes: episodes of the final evaluation
        threads: threads of the simulator; 0: all cores
        run: name of the run folder; empty: built from verb, task, seed and a hash of the settings
        runs: folder that contains the run folders
        videos: number of episodes of the final policy to record
        camera: from which camera; empty: the first of the task
        logger: wandb, trackio, rerun, or several, such as [wandb,rerun]; TensorBoard files are always written
        logger_options: options of a logger, such as logger_options.wandb.project=NAME
    """

    groups: ClassVar[dict[str, str | None]] = {"task": "panda/lift", "reward": "expert", "policy": "ppo"}

    goal: str = ""
    success: str = ""
    failure: str = ""
    steps: Positive = field(metadata={"config": "${task.steps}"})
    seed: Seed = 0
    episodes: Positive = 100
    threads: Natural = 0
    run: str = ""
    runs: str = "runs"
    videos: Natural = 2
    camera: str = ""
    logger: NameOrNames = ("tensorboard",)
    logger_options: Mappings = field(default_factory=dict)


@dataclass(frozen=True)
class TaskOptions:
    """The part of a chosen task that `evaluate` and `compare` add to that of the training.

    Args:
        options: overrides single options of that task, such as task.options.ranges={}
    """

    options: Mappings = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """The keys of `robo-reward evaluate`; without `task=`, the task and options of the training.

    Args:
        run: a run folder, or the policy folder in it
        episodes: per seed
        success: another condition of success than that of the training
        failure: another condition that ends an episode as failed
        task: with task=NAME: another task than that of the training
        seeds: seeds of initial states and physics, in a range separate from the training seeds
        min_success: exit with 1 if the lower end of the 95 % interval of the success rate is below this
        runtime: torch, openvino (faster for diffusion and flow policies), or auto: OpenVINO if it is installed
        json: also write the results to this file
    """

    groups: ClassVar[dict[str, str | None]] = {"task": None}

    run: str
    episodes: Positive = 100
    success: str = ""
    failure: str = ""
    task: TaskOptions = field(default_factory=TaskOptions)
    seeds: Seeds = (0,)
    min_success: Real = 0.0
    runtime: Literal["torch", "openvino", "auto"] = "torch"
    json: str = ""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """The keys of `robo-reward finetune`.

    Args:
        policy: a run or policy folder of `robo-reward clone`
        preferences: answers about episodes of the policy: the SOURCE of `robo-reward label`, a file, or postgresql://...
        method: dpo, kto, dro, clone (the preferred half), rwr (reward-weighted cloning), best_of_n, or dsrl
        data: demonstrations that hold the policy; empty: those that it was cloned from, else the preferred episodes
        annotator: learn from this annotator only; empty: from all
        clips: folder with the clips, where they were moved
        settings: overrides of the method's settings, such as settings.beta=100
        steps: updates, or environment steps of dsrl; 0: what suits the method
        seed: random seed; the same seed gives the same policy
        episodes: episodes before and after, in which success and modes are counted
        threads: threads of the simulator; 0: all cores
        run: name of the run folder; empty: built from verb, task, method, seed and a hash of the settings
        runs: folder that contains the run folders
        videos: number of episodes of the aligned policy to record
        camera: camera of the videos; empty: the first of the task
    """

    groups: ClassVar[dict[str, str | None]] = {"reward": None}

    policy: str
    preferences: str = ""
    method: str = "dpo"
    data: str = ""
    annotator: str = ""
    clips: str = ""
    settings: Mappings = field(default_factory=dict)
    steps: Natural = 0
    seed: Seed = 0
    episodes: Positive = 100
    threads: Natural = 0
    run: str = ""
    runs: str = "runs"
    videos: Natural = 2
    camera: str = ""


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """The keys of `robo-reward compare`; without `task=`, the task and options of the training.

    Args:
        a: a run or policy folder, several separated by commas, or a folder of runs; or a reward
        b: as many runs or policies as in a; or a reward
        metric: success: compare policies; reward: compare rewards; auto: policies where both sides have one
        episodes: per run and seed
        success: for policies: another condition of success than that of the trainings
        failure: for policies: another condition that ends an episode as failed
        task: with task=NAME: another task than that of the training
        seeds: seeds of initial states and physics, in a range separate from the training seeds
        require: exit with 1 unless shown: better (A succeeds more often) or not_worse (A loses at most the margin)
        margin: of require=not_worse: loss of success rate that is accepted
        data: for rewards: the episodes on which they are compared, as `robo-reward score` takes them
        camera: for rewards: camera of the data that they read; empty: the one of each reward's own name
        fps: for rewards: frame rate of folders of pictures [Hz]
        json: also write the results to this file
    """

    groups: ClassVar[dict[str, str | None]] = {"task": None}

    a: str
    b: str
    metric: Literal["auto", "success", "reward"] = "auto"
    episodes: Positive = 200
    success: str = ""
    failure: str = ""
    task: TaskOptions = field(default_factory=TaskOptions)
    seeds: Seeds = (0,)
    require: Literal["none", "better", "not_worse"] = "none"
    margin: Share = 0.05
    data: str = ""
    camera: str = ""
    fps: Above0 = 20.0
    json: str = ""


@dataclass(frozen=True, kw_only=True)
class TasksConfig:
    """The keys of `robo-reward tasks`.

    Args:
        name: one task in detail, or a scene file
        goal: with a scene file without one: the goal sentence
        success: with name: another condition of success
        failure: with name: another condition of failure
        check: with name: run random episodes and report what will go wrong in training; a scene file is always checked
    """

    name: str = ""
    goal: str = ""
    success: str = ""
    failure: str = ""
    check: Flag = False


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """The keys of `robo-reward task`.

    Args:
        name: a task, or a scene or model file; it may still lack goal and success rule
        goal: with a scene file without one: the goal sentence
        success: another condition of success
        failure: another condition of failure
        check: run random episodes and report what will go wrong in training, with a picture of each camera
        out: folder for the pictures
    """

    name: str = ""
    goal: str = ""
    success: str = ""
    failure: str = ""
    check: Flag = False
    out: str = "checks"


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """The keys of `robo-reward report`.

    Args:
        folder: the run folder
    """

    folder: str


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """The keys of `robo-reward doctor`.

    Args:
        host: with robot=fr3 or robot=panda: address of the robot; empty: robot.host
        cameras: with robot=fr3 or robot=panda: cameras to check, named as in `robo-reward deploy`
        json: also write the findings to this file
    """

    groups: ClassVar[dict[str, str | None]] = {"robot": None}

    host: str = ""
    cameras: Names = ()
    json: str = ""


@dataclass(frozen=True)
class ExecutorConfig:
    """Jobs on this machine; executors of plug-ins have the same keys.

    Args:
        workers: parallel jobs; 0: one per core
    """

    workers: Natural = 0


@dataclass(frozen=True)
class PolicyConfig:
    """The training algorithm, of Stable-Baselines3 or sb3-contrib.

    Args:
        params: overrides of the default settings, such as policy.params.gamma=0.95
        normalise_reward: divide rewards by the spread of the return while training, so that their scale does not matter
        observation: what the policy observes: cameras and state fields, such as [front,hand_position]; empty: the
            task's own observation
        picture_size: width and height of the pictures of its cameras [pixels]
        features: network for the pictures: small, nature or resnet18 learn with the policy; timm or pixels are frozen
        encoder: options of a frozen network, such as policy.encoder.model=resnet18
    """

    params: Mappings = field(default_factory=dict)
    normalise_reward: Flag = False
    observation: Names = ()
    picture_size: Side = 96
    features: str = "small"
    encoder: Mappings = field(default_factory=dict)
