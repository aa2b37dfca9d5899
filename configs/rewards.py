"""The keys of the verbs that make or use rewards, such as `record`, `discover`, `match` and `align`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from robo_reward.configs.training import TaskOptions
from robo_reward.configs.values import (
    FRAME_SIZE,
    Above0,
    Auto,
    Flag,
    Frames,
    Mappings,
    NameOrNames,
    Names,
    Natural,
    NotNegative,
    OrNull,
    Port,
    Portion,
    Positive,
    Real,
    RealOrNull,
    Seed,
    Share,
    Side,
    Whole,
)


@dataclass(frozen=True, kw_only=True)
class PythonConfig:
    """A Python function of yours. It runs with your rights and is not confined.

    Args:
        function: FILE.py:NAME or package.module:NAME; or NAME alone, with file=FILE.py
        file: a Python file; empty: function names it
        framework: what the function computes with: numpy, torch, or auto, which finds it by trial
    """

    function: str
    file: str = ""
    framework: Literal["auto", "numpy", "torch"] = "auto"


@dataclass(frozen=True, kw_only=True)
class HttpConfig:
    """A reward model behind a server, which gets frames and goal of whole episodes.

    Args:
        url: address of the server, such as http://127.0.0.1:8001
        protocol: simple (JSON, see docs/your_reward.md) or robometer (its evaluation server)
        goal: the goal sentence; empty: the one of the task, or of each episode
        cameras: cameras whose frames are sent, side by side; empty: front, or the first of the task
        size: largest side of a frame that is sent [pixels]
        max_frames: most frames of an episode that are sent, evenly spaced; 0: all
        batch: episodes per request
        output: with protocol=robometer: progress or success; empty: progress
        frame_steps: with protocol=robometer: score each frame by those before it, which takes longer
        timeout: for one request [s]
        retries: retries after temporary failures (429, 5xx, no connection)
        backoff: wait before the first retry [s], doubled each time; a Retry-After of the server takes precedence
        key_env: environment variable with a key, which is sent as Authorization; empty: none
        headers: further headers, such as {X-Key: $NAME}; $NAME stands for an environment variable
        answers: file that keeps the answers, which are not asked for again; empty: answers.jsonl in the run folder
    """

    url: str
    protocol: Literal["simple", "robometer"] = "simple"
    goal: str = ""
    cameras: Names = ()
    size: Side = 224
    max_frames: Natural = 16
    batch: Positive = 8
    output: str = ""
    frame_steps: Flag = False
    timeout: Above0 = 120.0
    retries: Natural = 4
    backoff: NotNegative = 1.0
    key_env: str = ""
    headers: Mappings = field(default_factory=dict)
    answers: str = ""


@dataclass(frozen=True, kw_only=True)
class RecordConfig:
    """The keys of `robo-reward record`.

    With `source=` or `n=` it records for cloning: many episodes at once, successes only, with clean actions beside
    the noisy ones. With `by=` and `episodes=` it records a few for `discover`, at the pace of a person.

    Args:
        source: for cloning: expert (scripted), policy (that of `policy=`), keyboard or spacemouse (you drive)
        policy: for cloning: the run or folder of the policy that acts
        n: for cloning: number of successful episodes that the store has in the end; 0: 200
        by: for discover: expert (scripted); keyboard: you drive in this terminal; or a run folder, whose policy acts
        episodes: number of episodes to add
        to: the episode store; empty: demos/TASK in the current folder
        cameras: cameras to record, side by side in one video; empty list: the first of the task; for cloning: none
        frames: exact: lossless, as a reward will see them; mp4: ten times smaller, slightly changed
        size: width and height of one camera's frame [pixels]
        seed: seed of the initial states and of the noise; with `by=`, the number of episodes in the store is added
        speed: by=expert: its speed, varied by 30 % either way between episodes; 1: as fast as the action allows
        noise: noise of the actions that are executed, as a fraction of a full step; null: 0.12 for the expert, else 0
        rest: by=: frames recorded after the task is done
        modes: for cloning: ways to solve a task that has several, each from the same starts: balanced (all, in equal
            numbers), or names of some
        failures: for cloning: keep: episodes that fail go to a store beside it, FOLDER-failures; or drop
        worlds: for cloning: number of episodes recorded side by side; 0: as many as suit task and memory
        goal: the goal sentence of a scene file without one
        success: another condition of success
        failure: another condition that ends an episode as failed
        view: keyboard: show the first camera in the terminal as blocks of colour
    """

    groups: ClassVar[dict[str, str | None]] = {"task": "panda/lift"}

    source: str = ""
    policy: str = ""
    n: Natural = 0
    by: str = "expert"
    episodes: Positive = 8
    to: str = ""
    cameras: Names = ()
    frames: Frames = "exact"
    size: Side = FRAME_SIZE
    seed: Seed = 0
    speed: Real = 0.5
    noise: OrNull = None
    rest: Natural = 12
    modes: NameOrNames = "balanced"
    failures: Literal["keep", "drop"] = "keep"
    worlds: Natural = 0
    goal: str = ""
    success: str = ""
    failure: str = ""
    view: Flag = True


@dataclass(frozen=True, kw_only=True)
class DiscoverConfig:
    """The keys of `robo-reward discover`.

    Args:
        demos: a video, a folder of videos or of pictures, an episode store, a LeRobot, robomimic or Minari data set, or
            minari:ID
        steps: number of steps, or auto
        method: ours, or paper: each demonstration segmented alone, the paper's objective, Gaussian rewards
        min_size: minimum length of a step [frames]
        camera: camera that the videos show, as named by the task; empty: as stored with the episodes, else front
        size: width and height of the frames that the reward reads [pixels]
        fps: frame rate of folders of pictures, which do not store one [Hz]
        pictures: number of demonstrations to show in the figure
        run: name of the run folder; empty: built from verb, demonstrations and a hash of the settings
        runs: folder that contains the run folders
    """

    groups: ClassVar[dict[str, str | None]] = {"encoder": "timm"}

    demos: str
    steps: Auto = "auto"
    method: str = "ours"
    min_size: Positive = 5
    camera: str = ""
    size: Side = FRAME_SIZE
    fps: Above0 = 20.0
    pictures: Natural = 6
    run: str = ""
    runs: str = "runs"


@dataclass(frozen=True, kw_only=True)
class MatchConfig:
    """The keys of `robo-reward match`.

    Args:
        demos: an episode store or a run, a LeRobot, robomimic or Minari data set; for pictures also a video or a folder
            of videos or of pictures
        rule: orca, temporal_ot, ot, unbalanced_ot, dtw, soft_dtw, min_distance, segment_match, final_frame or
            goal_distance
        settings: parameters of the rule, such as settings.epsilon=0.05; tau of orca is chosen for the demonstrations
            unless it is given
        fields: state fields to compare, such as [hand_position,puck_position]; empty: pictures through the encoder
        cost: cosine, euclidean or squared_euclidean; empty: euclidean for fields, cosine for pictures
        scale: factor of the reward, or first_episode: the first episode of a training sums to 10
        causal: each step of the reward depends on earlier steps alone
        failures: use episodes that failed, too
        camera: camera that the videos show, as named by the task; empty: as stored with the episodes, else front
        size: width and height of the frames that the reward reads [pixels]
        fps: frame rate of folders of pictures, which do not store one [Hz]
        run: name of the run folder; empty: built from verb, demonstrations and a hash of the settings
        runs: folder that contains the run folders
    """

    groups: ClassVar[dict[str, str | None]] = {"encoder": "timm"}

    demos: str
    rule: str = "orca"
    settings: Mappings = field(default_factory=dict)
    fields: Names = ()
    cost: str = ""
    scale: str = "1"
    causal: Flag = False
    failures: Flag = False
    camera: str = ""
    size: Side = FRAME_SIZE
    fps: Above0 = 20.0
    run: str = ""
    runs: str = "runs"


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """The keys of `robo-reward label`.

    Args:
        source: a run with videos, a folder of videos, an episode store, or a LeRobot, robomimic or Minari data set
        mode: pair: which is better? | triplet: best, middle, worst | rank: k clips from best to worst
        k: clips per query for mode=rank, 2 to 9; 0 means 4
        annotator: name of the annotator; empty: the page asks
        instructions: criterion shown to the annotator; empty: the goal of the clips' task
        target: number of answers wanted from each annotator
        preferences: where answers are stored: a file, or postgresql://user:password@host/database; empty: SOURCE/labels
        query: how the next clips are chosen: random, or disagreement of an ensemble's scores
        scores: for query=disagreement: JSON file, clip id -> the scores of the ensemble's members
        shared: fraction of queries that every annotator gets, to measure agreement
        seed: seed of the order of queries
        host: 0.0.0.0 accepts connections from other machines; not needed through SSH
        port: 0: any free port
    """

    source: str
    mode: Literal["pair", "triplet", "rank"] = "pair"
    k: Whole = 0
    annotator: str = ""
    instructions: str = ""
    target: Positive = 100
    preferences: str = ""
    query: Literal["random", "disagreement"] = "random"
    scores: str = ""
    shared: Share = 0.25
    seed: Seed = 0
    host: str = "127.0.0.1"
    port: Port = 8765


@dataclass(frozen=True, kw_only=True)
class AlignConfig:
    """The keys of `robo-reward align`.

    Args:
        min_chroma: with encoder=colour_slots: colours below this chroma, such as those of a white and grey arm, are
            ignored
        preferences: answers of `robo-reward label`: its SOURCE, a file, or postgresql://...
        clips: folder with the videos, where a file of answers names them without a folder or they were moved
        method: rapl, rapl-code (settings of the reference code), or bt (Bradley-Terry, the usual baseline)
        settings: overrides of the method's settings, such as settings.steps=500
        annotator: learn from this annotator only; empty: from all
        holdout: fraction of the clips held out in each fold of the cross-validation; 0: no cross-validation
        camera: camera that the clips show, as named by the task; empty: as stored with the episodes
        size: width and height of the frames that the reward reads [pixels]
        seed: random seed; the same seed gives the same reward
        run: name of the run folder; empty: built from verb, source and a hash of the settings
        runs: folder that contains the run folders
    """

    groups: ClassVar[dict[str, str | None]] = {"encoder": "colour_slots"}

    min_chroma: NotNegative = 0.12
    preferences: str
    clips: str = ""
    method: str = "rapl"
    settings: Mappings = field(default_factory=dict)
    annotator: str = ""
    holdout: Portion = 0.2
    camera: str = ""
    size: Side = FRAME_SIZE
    seed: Seed = 0
    run: str = ""
    runs: str = "runs"


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """The keys of `robo-reward check`; without `task=`, the task and options of the run.

    Args:
        run: a run or reward folder, FILE.py with a reward program, or FILE.py:NAME or package.module:NAME, a Python
            function
        task: with task=NAME: the task whose state a file or function reads
        preferences: answers to evaluate the reward on; empty: those that a run of align was learnt from, and any added
        clips: folder with the videos, where a file of answers names them without a folder or they were moved
        seed: seed of the episodes on which a program or function is checked
        json: also write the figures to this file
    """

    groups: ClassVar[dict[str, str | None]] = {"task": None}

    run: str
    task: TaskOptions = field(default_factory=TaskOptions)
    preferences: str = ""
    clips: str = ""
    seed: Seed = 0
    json: str = ""


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """The keys of `robo-reward score`.

    Args:
        data: a video, a folder of videos or of pictures, an episode store, a run that has episodes or videos, a
            LeRobot, robomimic or Minari data set, or minari:ID
        by: what ranks the episodes: final (mean of the last tenth of the steps), mean or total; auto: final for rewards
            that say how far a step is, mean for those that compare whole episodes
        curve: progress is the level of the reward, or the cumulative reward, scaled to 0..1 over the data set
        camera: camera of the data that the reward reads; empty: the one of the reward's own name
        fps: frame rate of folders of pictures, which do not store one [Hz]
        bad_below: label episodes with a lower score bad and others good; null: label by success where it is known
        success: condition on the state at the end by which episodes count as successes; empty: as the data says
        listed: number of worst and of best episodes that are printed and shown on the page
        pictures: most episodes that get a picture: the worst, and the best that are listed
        sidecar: also write robo_reward_scores.json and robo_reward_progress.parquet into the folder of the data
        json: also write the results to this file
        run: name of the run folder; empty: built from verb, data and a hash of the settings
        runs: folder that contains the run folders
    """

    groups: ClassVar[dict[str, str | None]] = {"reward": "artifact"}

    data: str
    by: Literal["auto", "final", "mean", "total"] = "auto"
    curve: Literal["level", "cumulative"] = "level"
    camera: str = ""
    fps: Above0 = 20.0
    bad_below: RealOrNull = None
    success: str = ""
    listed: Positive = 5
    pictures: Natural = 1000
    sidecar: Flag = False
    json: str = ""
    run: str = ""
    runs: str = "runs"
