"""What people type reaches the program as they typed it; what cannot be meant is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from robo_reward.cli.app import compose_config, main
from robo_reward.cli.arguments.overrides import prepare_overrides
from robo_reward.cli.arguments.quoting import quote_text, unquote_text
from robo_reward.cli.arguments.schema import check_config
from robo_reward.errors import UnknownName, UsageError

SENTENCES = [
    "Pick up the red cube, then lift it 10 cm above the table.",
    "Don't drop the cube.",
    "Lift the cube (10 cm).",
    "Pick up the cube: gently!",
    "Push the puck to x=0.5",
    "Lift it 100%",
    'Lift the cube "slowly".',
    '"Lift" the "cube"',
    "Lift the cube & hold it; then wait",
    "Lift #1 cube",
    "把红色方块抬起来",
    "Hebe den Würfel hoch",
    "Lift it ~10 cm",
    "[lift] the cube",
    "lift [/the] cube",
    "Lift the cube {red}",
    "Lift the cube\nand hold it",
    "null",
    "5",
    "$ and \\ and | and *",
    "'tis the cube",
    "  two  spaces ",
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_sentence_reaches_the_goal_as_it_was_typed(sentence: str) -> None:
    assert compose_config("search", ["task=panda/lift", f"goal={sentence}"]).goal == sentence


def test_quotes_of_those_who_know_the_grammar_are_taken_off() -> None:
    assert compose_config("search", ["goal='Lift it, gently.'"]).goal == "Lift it, gently."
    assert compose_config("search", ['goal="Don\'t drop it."']).goal == "Don't drop it."


@given(text=st.text(st.characters(codec="utf-8"), max_size=30))
@settings(max_examples=60, deadline=None)
def test_a_quoted_text_is_read_as_the_same_text(text: str) -> None:
    parsed = OverridesParser.create().parse_override(f"goal={quote_text(text)}")
    assert str(parsed.value()) == text
    assert unquote_text(quote_text(text)) == text


@given(text=st.text("abc'\"\\,=[]{}() $!#~:\n", max_size=12))
@settings(max_examples=60, deadline=None)
def test_any_punctuation_is_text_where_text_is_expected(text: str) -> None:
    if "${" in text:
        with pytest.raises(UsageError, match="reference"):
            prepare_overrides("report", [f"folder={text}"])
    else:
        assert prepare_overrides("report", [f"folder={text}"]).texts["folder"] == unquote_text(text)


def test_a_sweep_takes_commas_apart_and_keeps_other_text() -> None:
    prepared = prepare_overrides("search", ["task=panda/lift,fr3/lift", "goal=Don't drop it", "seed=1,2"], sweep=True)
    assert prepared.to_hydra_overrides() == ["task=panda/lift,fr3/lift", "++seed=1,2", "goal='Don\\'t drop it'"]
    assert prepare_overrides("search", ["seed=1,2"]).values == {"seed": "'1,2'"}


@pytest.mark.parametrize("name", ["ausgäbe", "out (1)", "out,b", "out=c", "o'brien", "it's, [x]", "[/b]"])
def test_folders_take_any_name(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compose_config("train", [f"runs={tmp_path / name}", f"run={name}"]).runs == str(tmp_path / name)
    (tmp_path / name).mkdir(parents=True)
    assert main(["report", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / name} holds no finished run" in said


def test_text_with_a_reference_or_no_encoding_is_refused() -> None:
    with pytest.raises(UsageError, match=r"\$\{"):
        compose_config("search", ["goal=${oc.env:HOME}"])
    with pytest.raises(UsageError, match="UTF-8"):
        compose_config("search", ["runs=\udc80"])


ONE_LINE = [
    ("train steps=abc", "steps=abc: expected a whole number from 1"),
    ("train steps=1.5", "steps=1.5: expected a whole number"),
    ("train steps=null", "steps=None: expected a whole number"),
    ("train seed=-1", "seed=-1: expected a whole number from 0"),
    ("train seed=1,2", "seed='1,2': expected"),
    ("train threads=-2", "threads=-2: expected a whole number from 0"),
    ("train episodes=0", "episodes=0: expected a whole number from 1"),
    ("train seeds=3", "Did you mean 'seed'"),
    ("train params.gamma=0.9", "unknown key 'params.gamma'. Did you mean 'policy.params.gamma'?"),
    ("train learning_rate=0.1", "Did you mean 'policy.params.learning_rate'?"),
    ("search options.control=x", "Did you mean 'task.options.control'?"),
    ("search candidates=3", "Did you mean 'search.candidates'?"),
    ("search --config-dir", "--config-dir needs a folder"),
    ("train policy.params.gamma=high", "setting gamma of ppo is 'high', expected a number from 0 to 1"),
    ("train policy.params.gamma=(x", "setting gamma of ppo is '(x'"),
    ("train +policy.params.gamm=1", "Did you mean 'gamma'"),
    ("train reward=artifact", "reward=PATH is missing"),
    ("train reward=nowhere.py", "no reward program at nowhere.py"),
    ("search videos=many", "videos=many: expected a whole number from 0"),
    ("search search.rungs=0.4", "search.rungs=0.4: expected a list"),
    ("search search.steps=abc", "search.steps=abc: expected"),
    ("search writer=openai writer.temperature=hot", "writer.temperature=hot: expected a number from 0, or null"),
    ("search search.candidates=many", "search.candidates=many: expected a whole number from 1"),
    ("search search.timeout=-1", "search.timeout=-1: expected a number from 0"),
    ("search executor.workers=-1", "executor.workers=-1: expected a whole number from 0"),
    ("search writer=openai writer.ledger=recrd", "Did you mean 'record'"),
    ("search writer=replay writer.ledgr=x", "'writer.ledger'"),
    ("search +unknown=1", "unknown key 'unknown'"),
    ("search ++task.success=a", "unknown key 'task.success'"),
    ("search ~goal=a", "a key cannot be removed"),
    ("train task=Hopper", "Or give a path: FILE.xml with a MuJoCo model"),
    (
        "train reward=my",
        "artifact, expert, http, python, sparse. Or give a path: FILE.py with a reward program",
    ),
    ("search writer=mine", "unknown value of writer 'mine'"),
    ("search policy=[x", "unknown value of policy '[x'"),
    ("search --config-dir nosuch", "--config-dir nosuch: no such folder"),
    ("search --config-dir=nosuch", "--config-dir nosuch: no such folder"),
    (
        "evaluate run seeds=3",
        "seeds=3: expected a list of whole numbers from 0, such as [0,1,2]. Did you mean seeds=[3]?",
    ),
    ("evaluate run seeds=[]", "seeds=[]: expected a list"),
    ("evaluate run episodes=0", "episodes=0: expected"),
    ("record frames=mpeg", "Did you mean 'mp4'"),
    ("record episodes=0", "episodes=0: expected"),
    ("label clips mode=pare", "Did you mean 'pair'"),
    ("label clips port=70000", "port=70000: expected"),
    ("deploy task.options.control=x", "give task=NAME as well"),
    ("deploy episodes=many", "episodes=many: expected a whole number from 1"),
    ("deploy retries=-1", "retries=-1: expected a whole number from 0"),
    ("deploy tempo=slow", "tempo=slow: expected a number"),
    ("deploy silent=0", "silent=0: expected a number above 0"),
    ("deploy workspace=[[0,0,0],[1,1]]", "workspace=[[0, 0, 0], [1, 1]]: expected two corners"),
    ("deploy cameras=front", "cameras=front: expected a list of names"),
    ("deploy confirm=maybe", "confirm=maybe: expected true or false"),
    ("deploy teleop=keybord", "Did you mean 'keyboard'"),
    ("deploy robot=fr3 robot.force=much", "robot.force=much: expected a number"),
    ("deploy robot=panda robot.gripper=2", "robot.gripper=2: expected true or false"),
    ("deploy robot=fr3 robot.compliance.stiffness=300", "robot.compliance.stiffness=300: expected a list of numbers"),
    ("emulate checks.limits=perhaps", "checks.limits=perhaps: expected true or false"),
    ("emulate hand.command_delay=long", "hand.command_delay=long: expected a number"),
    ("calibrate pictures=x columns=ten", "columns=ten: expected a whole number"),
    ("discover demos=x fps=0", "fps=0: expected a number above 0"),
    ("doctor cameras=front", "Did you mean cameras=[front]?"),
    ("align preferences=x holdout=1", "holdout=1: expected"),
    ("discover", "demos=... is missing: a video"),
    ("label", "source=... is missing"),
    ("align", "preferences=... is missing"),
    ("check", "run=... is missing"),
    ("evaluate", "run=... is missing"),
    ("score", "data=... is missing"),
    ("score data", "reward=PATH is missing"),
    ("compare one", "b=... is missing"),
    ("report", "folder=... is missing"),
    ("identify", "run=... is missing"),
    ("calibrate", "pictures=... is missing"),
    ("serve-policy", "policy=RUN is missing"),
]


@pytest.mark.parametrize(("typed", "message"), ONE_LINE)
def test_wrong_values_and_missing_keys_are_told_in_one_line_before_any_work(
    typed: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(typed.split()) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert len(said.err.splitlines()) == 1
    assert not said.out
    assert not list(tmp_path.iterdir())


def test_large_numbers_have_short_forms() -> None:
    for typed, value in (("200k", 200_000), ("1.5M", 1_500_000), ("1e5", 100_000), ("20_000", 20_000)):
        prepared = prepare_overrides("train", [f"steps={typed}"])
        config = compose_config("train", [f"steps={typed}"])
        check_config("train", config, prepared.defaults)
        assert config.steps == value
        assert isinstance(config.steps, int)


def test_the_key_that_is_wrong_is_named_not_another() -> None:
    config = compose_config("search", ["goal=Don't", "writer=replay", "writer.ledger=a, b"])
    assert (config.goal, config.writer.ledger) == ("Don't", "a, b")
    with pytest.raises(UnknownName, match=r"'writer\.ledgre'"):
        compose_config("search", ["goal=Don't", "writer=replay", "writer.ledgre=a"])


def test_options_of_ones_own_folder_are_choices(tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "mine.yaml").write_text("algorithm: sac\nparams: {gamma: 0.9}\n")
    assert compose_config("train", ["policy=mine"], str(tmp_path)).policy.params.gamma == 0.9
    with pytest.raises(UnknownName, match="'mine'"):
        compose_config("train", ["policy=mien"], str(tmp_path))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("panda/lift", "steps: 9\noptions: {control: joint_delta}\nparams: {gamma: 0.9}\n"),
        ("mine", "defaults: [panda/lift, _self_]\nsteps: 9\noptions: {control: joint_delta}\nparams: {gamma: 0.9}\n"),
        ("lab/full", "id: panda/lift\nsteps: 9\noptions: {control: joint_delta}\nparams: {gamma: 0.9}\n"),
    ],
)
def test_a_file_of_ones_own_overrides_a_task(
    file: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "task" / f"{file}.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    config = compose_config("train", [f"task={file}"], str(tmp_path))
    expected = {"id": "panda/lift", "steps": 9, "options": {"control": "joint_delta"}, "params": {"gamma": 0.9}}
    assert config.task == expected
    assert main(["train", "--config-dir", str(tmp_path), f"task={file}", "--cfg", "job"]) == 0
    assert OmegaConf.create(capsys.readouterr().out).task == expected


@pytest.mark.parametrize(
    ("file", "text"), [("fr3/stack", "steps: 9"), ("mine", "defaults: [fr3/stack, _self_]\nsteps: 9")]
)
def test_what_a_file_of_ones_own_leaves_out_is_the_tasks(file: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "task" / f"{file}.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    config = compose_config("train", [f"task={file}"], str(tmp_path))
    assert config.task == {"id": "fr3/stack", "steps": 9, "options": {}, "params": {"ent_coef": 0.002}}


def test_null_clears_a_text() -> None:
    assert compose_config("train", ["run=null", "camera=null"]).run == ""
    assert compose_config("train", ["run='null'"]).run == "null"


def test_a_sentence_with_a_comma_is_one_value_in_a_sweep() -> None:
    prepared = prepare_overrides("search", ["seed=0,1", "goal=Pick up the cube, then lift it"], sweep=True)
    assert prepared.texts == {"goal": "Pick up the cube, then lift it"} and prepared.values == {"seed": "0,1"}


@pytest.mark.parametrize("options", ["artifact,expert", "expert,artifact"])
def test_a_sweep_over_options_with_other_keys_is_checked(options: str) -> None:
    defaults = prepare_overrides("train", [f"reward={options}"], sweep=True).defaults
    for option in options.split(","):
        given = ["reward=expert"] if option == "expert" else ["reward=artifact", "reward.path=x.py"]
        config = compose_config("train", given)
        check_config("train", config, defaults)
        assert ("path" in config.reward) == (option == "artifact")
