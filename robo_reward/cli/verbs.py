"""The verbs of the command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from robo_reward.cli.arguments.quoting import quote_text
from robo_reward.errors import UsageError

_FUNCTION = re.compile(r"(?:.+\.py|[^\W\d][\w.]*):[^\W\d][\w.]*")


@dataclass(frozen=True)
class Verb:
    """One verb.

    Args:
        summary: one line for the overview.
        entry: `module:function`, called with the configuration and the argument list.
        config: `module:class` of the dataclass that holds its keys.
        example: a command to copy.
        paths: keys whose value may be a path: key -> what `key=PATH` is rewritten to.
        bare: the keys that bare paths mean, in order, separated by spaces.
        actions: words that are a value of the key `action`.
        switches: keys that may be written as `--KEY` instead of `KEY=true`.
    """

    summary: str
    entry: str
    config: str
    example: str
    paths: dict[str, tuple[str, ...]] = field(default_factory=dict)
    bare: str = ""
    actions: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()

    def expand_arguments(self, arguments: Sequence[str], is_key: Callable[[str], bool]) -> list[str]:
        """Returns the overrides that arguments mean.

        Args:
            arguments: as typed.
            is_key: whether the verb has a key; a folder may have `=` in its name.

        Raises:
            UsageError: more bare paths than the verb takes, if it takes several or has actions.
        """
        found: list[str] = []
        taken, bare = "", self.bare.split()
        for argument in arguments:
            key, equals, value = argument.partition("=")
            if argument in self.actions:
                found.append(f"action={argument}")
            elif self.bare and (not equals or (Path(argument).exists() and not is_key(key))):
                if bare:
                    taken = bare.pop(0)
                elif " " in self.bare or self.actions:
                    raise UsageError(f"{argument!r} is one path too many. Such as: {self.example}")
                found.append(f"{taken}={quote_text(argument)}")
            elif key == "reward" and key in self.paths and is_function_reference(value):
                found += ["reward=python", f"reward.function={quote_text(value)}"]
            elif key in self.paths and (_is_path(value) or (value and not is_key(key))):
                found += [text.format(quote_text(value)) for text in self.paths[key]]
            else:
                found.append(argument)
        return found


def _is_path(value: str) -> bool:
    is_named = value.startswith((".", "/", "~", "runs/")) or value.endswith(".py")
    return bool(value) and (is_named or Path(value).exists())


def is_function_reference(value: str) -> bool:
    """Returns whether the value of `reward=` names a Python function: `FILE.py:NAME` or `package.module:NAME`."""
    return _FUNCTION.fullmatch(value) is not None and not Path(value).exists()


REWARD = {"reward": ("reward=artifact", "reward.path={}")}

VERBS = {
    "demo": Verb(
        "the full workflow, offline, in minutes: sentence, reward program, trained policy, report",
        "robo_reward.cli.training.search:run",
        "robo_reward.configs.training:DemoConfig",
        "robo-reward demo",
    ),
    "tasks": Verb(
        "list simulated tasks",
        "robo_reward.cli.training.tasks:run",
        "robo_reward.configs.training:TasksConfig",
        "robo-reward tasks name=panda/push",
    ),
    "task": Verb(
        "show a task or scene file, and check what will go wrong before training",
        "robo_reward.cli.training.tasks:run_one",
        "robo_reward.configs.training:TaskConfig",
        "robo-reward task scene.yaml --check",
        bare="name",
        switches=("check",),
    ),
    "search": Verb(
        "find a reward program for a goal sentence and train a policy on it",
        "robo_reward.cli.training.search:run",
        "robo_reward.configs.training:SearchConfig",
        "robo-reward search task=panda/push writer=openai writer.model=MODEL",
    ),
    "train": Verb(
        "train any algorithm on any task and reward",
        "robo_reward.cli.training.train:run",
        "robo_reward.configs.training:TrainConfig",
        "robo-reward train task=panda/drawer reward=expert policy=sac",
        REWARD,
    ),
    "clone": Verb(
        "train a diffusion or flow policy to imitate demonstrations",
        "robo_reward.cli.training.clone:run",
        "robo_reward.configs.cloning:CloneConfig",
        "robo-reward clone data=demos/panda-lift task=panda/lift policy=diffusion",
        {"data": ("data={}",)},
    ),
    "record": Verb(
        "record demonstrations of a task: by its scripted expert, a policy, or you at the keyboard or SpaceMouse",
        "robo_reward.cli.rewards.record:run",
        "robo_reward.configs.rewards:RecordConfig",
        "robo-reward record task=panda/drawer source=expert n=200",
    ),
    "import": Verb(
        "copy a LeRobot, robomimic or Minari data set into an episode store",
        "robo_reward.cli.data.exchange:run_import",
        "robo_reward.configs.data:ImportConfig",
        "robo-reward import FOLDER out=demos/theirs",
        bare="source",
    ),
    "export": Verb(
        "write episodes as a LeRobot, robomimic or Minari data set, or a policy as ONNX or TorchScript",
        "robo_reward.cli.data.exchange:run_export",
        "robo_reward.configs.data:ExportConfig",
        "robo-reward export demos/panda-lift to=lerobot out=FOLDER",
        bare="source",
    ),
    "discover": Verb(
        "learn a reward from a few demonstrations: find the steps of the task and recognise them",
        "robo_reward.cli.rewards.discover:run",
        "robo_reward.configs.rewards:DiscoverConfig",
        "robo-reward discover demos=FOLDER steps=auto camera=front",
    ),
    "match": Verb(
        "make a reward that compares episodes with demonstrations: ORCA, optimal transport, DTW and others",
        "robo_reward.cli.rewards.match:run",
        "robo_reward.configs.rewards:MatchConfig",
        "robo-reward match demos=FOLDER rule=orca fields=[hand_position,puck_position]",
    ),
    "evaluate": Verb(
        "measure the success rate of a trained policy",
        "robo_reward.cli.training.evaluate:run",
        "robo_reward.configs.training:EvaluateConfig",
        "robo-reward evaluate runs/NAME episodes=200 min_success=0.9",
        bare="run",
    ),
    "label": Verb(
        "serve a web page on which people compare clips",
        "robo_reward.cli.rewards.label:run",
        "robo_reward.configs.rewards:LabelConfig",
        "robo-reward label runs/NAME mode=triplet",
        bare="source",
    ),
    "preferences": Verb(
        "import people's preferences from CSV, JSONL, Parquet, Label Studio or arrays, or export a store",
        "robo_reward.cli.data.preferences:run",
        "robo_reward.configs.data:PreferencesConfig",
        "robo-reward preferences import FILE clips=FOLDER",
        bare="file",
        actions=("import", "export"),
    ),
    "align": Verb(
        "learn a reward from people's comparisons of clips, by RAPL or Bradley-Terry",
        "robo_reward.cli.rewards.align:run",
        "robo_reward.configs.rewards:AlignConfig",
        "robo-reward align preferences=FOLDER method=rapl",
    ),
    "finetune": Verb(
        "align a diffusion or flow policy with people's preferences or a reward",
        "robo_reward.cli.training.finetune:run",
        "robo_reward.configs.training:FinetuneConfig",
        "robo-reward finetune policy=runs/NAME preferences=FOLDER method=dpo",
        REWARD,
    ),
    "check": Verb(
        "check a reward before training: a program, a function or a run; agreement with people and the ground truth",
        "robo_reward.cli.rewards.check:run",
        "robo_reward.configs.rewards:CheckConfig",
        "robo-reward check reward.py task=panda/lift",
        bare="run",
    ),
    "score": Verb(
        "score every episode of a data set with any reward, and list the worst and the best",
        "robo_reward.cli.rewards.score:run",
        "robo_reward.configs.rewards:ScoreConfig",
        "robo-reward score DATA reward=runs/NAME",
        REWARD,
        bare="data",
    ),
    "compare": Verb(
        "compare two policies on the same initial states, or two rewards on the same episodes",
        "robo_reward.cli.training.compare:run",
        "robo_reward.configs.training:CompareConfig",
        "robo-reward compare runs/NEW runs/OLD episodes=200",
        bare="a b",
    ),
    "deploy": Verb(
        "run a policy on an arm: a Panda, an FR3, their emulator, or a simulation",
        "robo_reward.cli.robot.deploy:run",
        "robo_reward.configs.deployment:DeployConfig",
        "robo-reward deploy policy=runs/NAME robot=fr3 host=172.16.0.2 episodes=10",
        {"policy": ("policy_folder={}",), "reward": ("reward_path={}",)},
    ),
    "serve-policy": Verb(
        "serve a policy to a control box that has no GPU",
        "robo_reward.cli.robot.serve_policy:run",
        "robo_reward.configs.deployment:ServePolicyConfig",
        "robo-reward serve-policy policy=runs/NAME host=0.0.0.0",
        {"policy": ("policy_folder={}",)},
    ),
    "import-policy": Verb(
        "make a LeRobot checkpoint (ACT or diffusion) a policy folder that evaluate, record and deploy take",
        "robo_reward.cli.robot.lerobot:run_import",
        "robo_reward.configs.deployment:ImportPolicyConfig",
        "robo-reward import-policy CHECKPOINT python=VENV task=panda/lift out=policies/theirs",
        bare="checkpoint",
    ),
    "calibrate": Verb(
        "calibrate a camera's lens and pose from pictures of a chessboard or a ChArUco board",
        "robo_reward.cli.robot.calibrate:run",
        "robo_reward.configs.deployment:CalibrateConfig",
        "robo-reward calibrate pictures=FOLDER camera=uvc:0 square=0.025",
    ),
    "identify": Verb(
        "identify delay, damping and friction of a real arm from recorded episodes, for the next training",
        "robo_reward.cli.robot.identify:run",
        "robo_reward.configs.deployment:IdentifyConfig",
        "robo-reward identify runs/NAME",
        bare="run",
    ),
    "report": Verb(
        "rewrite a run's report.html",
        "robo_reward.cli.training.report:run",
        "robo_reward.configs.training:ReportConfig",
        "robo-reward report runs/NAME",
        bare="folder",
    ),
    "emulate": Verb(
        "emulate a Franka arm on the network, with a task's scene, for any libfranka client",
        "robo_reward.cli.robot.emulate:run",
        "robo_reward.configs.emulation:EmulateConfig",
        "robo-reward emulate task=panda/push robot=fr3 host=127.0.0.1",
    ),
    "doctor": Verb(
        "check what works here and what to install",
        "robo_reward.cli.training.doctor:run",
        "robo_reward.configs.training:DoctorConfig",
        "robo-reward doctor",
    ),
}
