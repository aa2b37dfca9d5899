"""The keys of `clone`, and the settings of a policy that decides on chunks of actions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from robo_reward.configs.values import (
    Above0,
    Flag,
    Mappings,
    NameOrNames,
    Names,
    Natural,
    NotNegative,
    Positive,
    Seed,
    Share,
    Side,
)

NetworkName = Literal["mlp", "unet", "transformer"]
Size = Literal["cpu", "paper"]
PredictionType = Literal["standard", "sample"]
Count = Annotated[int, Meta(ge=1, le=4096, description="a whole number from 1 to 4096")]
WarmStart = Annotated[float, Meta(ge=0.0, le=0.99, description="a number from 0 to 0.99")]


@dataclass(frozen=True, kw_only=True)
class ChunkPolicyConfig:
    """Settings of a policy that decides on chunks of actions.

    Args:
        network: mlp (residual perceptron), unet or transformer
        size: cpu trains in minutes on one core; paper is the size of the published policies
        history: number of observations that the policy is given, newest last
        horizon: number of actions that it predicts, the first for the oldest observation
        execute: number of actions that are executed before it is asked again
        prediction_type: what the network predicts: standard (the noise, or the velocity of policy=flow) or sample (the
            chunk without noise, from which both follow)
        train_steps: number of noise levels of policy=diffusion
        sampling_steps: network evaluations per chunk: DDIM steps of policy=diffusion, Euler steps of policy=flow
        warm_start: share of the sampling steps that is skipped by starting from the previous chunk; 0: from noise
        learning_rate: the largest, after the warm-up; it falls to 0 along a cosine
        weight_decay: of AdamW
        warmup: updates in which the learning rate rises from 0
        ema_power: the average of the weights decays by 1 - (1 + update)^-power
        ema_max: the largest decay of the average
    """

    network: NetworkName = "mlp"
    size: Size = "cpu"
    history: Count = 1
    horizon: Count = 8
    execute: Count = 4
    prediction_type: PredictionType = "standard"
    train_steps: Count = 100
    sampling_steps: Count = 8
    warm_start: WarmStart = 0.0
    learning_rate: Above0 = 1e-3
    weight_decay: NotNegative = 1e-6
    warmup: Natural = 200
    ema_power: Share = 0.75
    ema_max: Share = 0.999


@dataclass(frozen=True, kw_only=True)
class CloneConfig(ChunkPolicyConfig):
    """The keys of `robo-reward clone`.

    Args:
        data: the demonstrations: an episode store, a run, or a LeRobot, robomimic or Minari data set
        policy: diffusion (DDPM), flow (flow matching), or regression (predicts the chunk itself; a baseline)
        goal: the goal sentence; empty: the task's default
        success: condition of success, such as success="cube_height > 0.1"; empty: the task's own
        failure: condition that ends an episode as failed; empty: the task's own
        observation: what the policy observes: cameras and state fields, such as [front,wrist,hand_position]; empty: the
            task's own observation
        picture_size: width and height of the pictures of its cameras [pixels]
        vision: networks for the pictures, such as vision.network=resnet18; small, nature, resnet18 or timm
        reuse: noise levels per observation with pictures: each is encoded once for several
        auxiliary: weight of a linear layer that finds the state in the pictures, in training alone; 0: none
        picture_share: share of the updates in which the networks for pictures learn; then the rest learns from
            their features, which are computed once
        steps: updates of the network
        batch: noisy chunks per update; windows, if the policy does not look
        seed: random seed; the same seed gives the same run
        failures: learn from episodes without success, too
        evaluate_every: updates between two points of the learning curve; 0: ten points
        evaluate_episodes: episodes of each point
        episodes: episodes of the final evaluation
        threads: threads of the simulator; 0: all cores
        torch_threads: threads of the learner
        run: name of the run folder; empty: built from verb, task, seed and a hash of the settings
        runs: folder that contains the run folders
        videos: number of episodes of the final policy to record
        camera: from which camera; empty: the first of the task
        logger: wandb, trackio, rerun, or several, such as [wandb,rerun]
        logger_options: options of a logger, such as logger_options.wandb.project=NAME
    """

    groups: ClassVar[dict[str, str | None]] = {"task": "panda/lift"}

    data: str
    policy: Literal["diffusion", "flow", "regression"] = "diffusion"
    goal: str = ""
    success: str = ""
    failure: str = ""
    observation: Names = ()
    picture_size: Side = 96
    vision: Mappings = field(default_factory=dict)
    reuse: Positive = 4
    auxiliary: NotNegative = 1.0
    picture_share: Share = 0.25
    steps: Positive = 6000
    batch: Positive = 256
    seed: Seed = 0
    failures: Flag = False
    evaluate_every: Natural = 0
    evaluate_episodes: Positive = 25
    episodes: Positive = 100
    threads: Natural = 0
    torch_threads: Positive = 1
    run: str = ""
    runs: str = "runs"
    videos: Natural = 2
    camera: str = ""
    logger: NameOrNames = ()
    logger_options: Mappings = field(default_factory=dict)
