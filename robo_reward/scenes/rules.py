"""Rules for success and failure: one condition on named state fields, in the language of reward programs.

`held`, `ever` and `count` look back over the episode (`robo_reward.scenes.operators`).

    success: "norm(ball_position - basket_position) < 0.1"
    failure: "torso_height < 0.7 or abs(torso_tilt) > 1.0"
    success: "held(norm(ball_position - cup_position) < 0.05, 3.0) and count(hand_z > 1) >= 2"

A rule is translated to a reward program and compiled by the same compiler, so that it is checked the same way.
"""

from __future__ import annotations

import ast
from itertools import pairwise

import numpy as np

from robo_reward.envs.state import Field, State, StateSpec, Transitions
from robo_reward.envs.task import Task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.language.builtins import FUNCTIONS as language_functions
from robo_reward.language.language import compile_program
from robo_reward.language.problems import ProgramError
from robo_reward.scenes.operators import (
    OPERATORS,
    OperatorError,
    extract_operators,
    find_operator,
    remove_operators,
)

COMPONENTS = {"x": 0, "y": 1, "z": 2, "height": 2}
"""`SUBJECT_x`, `_y`, `_z` and `_height` are components of the field `SUBJECT_position`."""
FUNCTIONS = ("norm", "abs", "minimum", "maximum", "min", "max", "sqrt", "exp", "sin", "cos", "tanh")
"""Functions that a rule may call; other functions of the language are called as `np.NAME`."""
LANGUAGE_FUNCTIONS = tuple(name for name in language_functions if name.startswith("quat_"))
MAX_LENGTH = 500


class ConditionError(UsageError):
    """A rule cannot be used.

    Args:
        rule: its text.
        problem: what is wrong.
        remedy: what to write instead.
    """

    def __init__(self, rule: str, problem: str, remedy: str) -> None:
        super().__init__(f"rule {rule!r}: {problem}. Remedy: {remedy}")
        self.problem, self.remedy = problem, remedy


class StateCondition:
    """A condition on states.

    Args:
        text: such as `norm(ball_position - basket_position) < 0.1`; comparisons, joined by `and`, `or`, `not`.
        spec: the fields that it may name.

    Attributes:
        source: the reward program that computes 1.0 where the rule holds, else 0.0.

    Raises:
        ConditionError: the text is not a condition in the language.
        UnknownName: it names a field that the state does not have.
    """

    def __init__(self, text: str, spec: StateSpec) -> None:
        self.text, self.spec = " ".join(text.split()), spec
        try:
            condition = _translate(self.text, spec)
        except RecursionError as error:
            raise ConditionError(self.text[:60], "it is nested too deeply", "write a shorter condition") from error
        self.source = (
            "def compute_reward(state, action, previous):\n"
            f"    holds = np.where({condition}, 1.0, 0.0)\n"
            '    return holds, {"holds": holds}\n'
        )
        try:
            self._program = compile_program(self.source, spec, 1)
        except ProgramError as error:
            found = error.problems[0]
            if "'holds' has shape" in found.reason:
                remedy = "use norm(...) or one component, such as cube_position[2] or cube_height"
                raise ConditionError(self.text, "it compares a vector, expected one number", remedy) from error
            raise ConditionError(self.text, found.reason, found.remedy) from error

    def __call__(self, state: State) -> np.ndarray:
        """Returns whether the rule holds, (...,) bool, for states of any batch shape."""
        flat = State(self.spec, np.ascontiguousarray(state.array.reshape(-1, self.spec.dim)))
        total = self._program(Transitions(flat, np.zeros((len(flat), 1)), flat)).total
        return (total > 0.5).reshape(state.batch_shape)


class RuleOverTime:
    """A condition on the course of an episode, with the operators `held`, `ever` and `count`.

    Each operator remembers two numbers of each world: its own (`RuleOperator.slot`), and whether its condition was
    true in the last state. The rule and the conditions are programs on the state, extended by these numbers.

    Args:
        text: such as `held(norm(ball_position - cup_position) < 0.05, 3.0)`.
        spec: the fields that it may name.
        dt: control period [s].
        longest: length of an episode [s].

    Attributes:
        memory_size: numbers that it remembers of each world.
        source: a reward program: 1.0 where the conditions under the operators hold.

    Raises:
        ConditionError: the text is not a condition in the language.
        UnknownName: it names a field that the state does not have.
    """

    def __init__(self, text: str, spec: StateSpec, dt: float, longest: float) -> None:
        self.text, self.spec = " ".join(text.split()), spec
        try:
            rule, self._operators = extract_operators(self.text, dt, longest)
        except OperatorError as error:
            raise ConditionError(self.text, error.problem, error.remedy) from error
        self.memory_size = 2 * len(self._operators)
        slots = [Field(operator.slot) for operator in self._operators]
        self._extended = StateSpec([*spec, *slots])
        self._conditions = [self._compile(operator.condition) for operator in self._operators]
        self._rule = self._compile(rule)
        self.source = StateCondition(remove_operators(self.text), spec).source

    def start(self, state: State) -> np.ndarray:
        """Returns the memory (n, memory_size) at the start states of n episodes."""
        memory = np.zeros((len(state), self.memory_size))
        for index, operator in enumerate(self._operators):
            holds = self._conditions[index](self._extend(state, memory))
            memory[:, 2 * index] = holds if operator.kind == "ever" else 0.0
            memory[:, 2 * index + 1] = holds
        return memory

    def advance(self, state: State, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns whether the rule holds after a step (n,) bool, and the next memory (n, memory_size)."""
        memory = memory.copy()
        for index, operator in enumerate(self._operators):  # inner operators come first
            holds = self._conditions[index](self._extend(state, memory))
            value, before = memory[:, 2 * index], memory[:, 2 * index + 1] > 0.5
            memory[:, 2 * index], memory[:, 2 * index + 1] = operator.advance(holds, before, value), holds
        return self._rule(self._extend(state, memory)), memory

    def __call__(self, state: State) -> np.ndarray:
        """Returns whether the rule holds (...,) bool for episodes that consist of one state each."""
        flat = State(self.spec, state.array.reshape(-1, self.spec.dim))
        return self._rule(self._extend(flat, self.start(flat))).reshape(state.batch_shape)

    def _extend(self, state: State, memory: np.ndarray) -> State:
        return State(self._extended, np.concatenate([state.array, memory[:, ::2]], axis=1))

    def _compile(self, condition: str) -> StateCondition:
        try:
            return StateCondition(condition, self._extended)
        except ConditionError as error:
            problem, remedy = error.problem, error.remedy
            for operator in reversed(self._operators):
                problem, remedy = (part.replace(operator.slot, operator.source) for part in (problem, remedy))
            raise ConditionError(self.text, problem, remedy) from error


def make_rule(text: str, task: Task) -> StateCondition | RuleOverTime:
    """Returns the condition that a text says about the states, or the course of the episodes, of a task.

    Raises:
        ConditionError: the text is not a condition in the language.
        UnknownName: it names a field that the state does not have.
    """
    return build_rule(text, task.spec, task.control_dt, task.horizon * task.control_dt)


def build_rule(text: str, spec: StateSpec, dt: float, longest: float) -> StateCondition | RuleOverTime:
    """Returns the condition that a text says about states, or about the course of episodes.

    Args:
        text: the condition.
        spec: the fields that it may name.
        dt: control period [s].
        longest: length of an episode [s].

    Raises:
        ConditionError: the text is not a condition in the language.
        UnknownName: it names a field that the state does not have.
    """
    try:
        uses_time = find_operator(ast.parse(text.strip(), mode="eval")) is not None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        uses_time = False  # `StateCondition` says what is wrong
    if uses_time and len(text) <= MAX_LENGTH:
        return RuleOverTime(text, spec, dt, longest)
    return StateCondition(text, spec)


def set_rule(task: Task, name: str, text: str) -> StateCondition | RuleOverTime:
    """Gives a task a rule for `success` or `failure`, and returns it."""
    rule = make_rule(text, task)
    setattr(task, name, rule)
    setattr(task, f"{name}_rule", rule.text)
    others = {key: value for key, value in task.timed_rules.items() if key != name}
    task.timed_rules = {**others, **({name: rule} if isinstance(rule, RuleOverTime) else {})}
    return rule


def apply_rules(task: Task, goal: str = "", success: str = "", failure: str = "") -> None:
    """Gives a task another goal sentence and conditions of success and failure; an empty text changes nothing.

    The rewards that came with the task measure its own goal: with another condition of success, the baseline
    `expert_reward` is that condition.

    Raises:
        ConditionError: a text that is not a condition in the language.
        UnknownName: a field that the state does not have.
        UsageError: another goal without a condition of success.
    """
    if goal and not success:
        require_same_goal(task.id, goal, task.goal)
    if goal:
        task.goal = goal
    if success:
        task.expert_reward = set_rule(task, "success", success).source
    if failure:
        set_rule(task, "failure", failure)
    given = {"goal": goal, "success": success, "failure": failure}
    task.options = {**task.options, **{name: text for name, text in given.items() if text}}


def require_same_goal(name: str, goal: str, own: str) -> None:
    """Raises an error for another goal than the one that the success of a task or scene measures.

    Raises:
        UsageError: the sentences differ.
    """
    if not is_same_sentence(goal, own):
        raise UsageError(
            f"{name}: the goal {goal!r} is not the one that its success measures ({own!r}): give success=... as well. "
            "The command line derives a condition from the sentence where it can"
        )


def is_same_sentence(a: str, b: str) -> bool:
    """Returns whether two sentences differ in nothing but case, spaces and the full stop."""
    return " ".join(a.split()).strip(" .").lower() == " ".join(b.split()).strip(" .").lower()


def _translate(text: str, spec: StateSpec) -> str:
    """Returns the condition as an expression of the reward language over `state`."""
    if not text or len(text) > MAX_LENGTH:
        raise ConditionError(text[:60], f"it has {len(text)} characters", f"write a condition of 1 to {MAX_LENGTH}")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConditionError(
            text, f"it is not an expression ({error})", "write for example 'cube_height > 0.1'"
        ) from error
    is_condition = _is_condition(tree.body)
    translated = _Translator(text, spec).visit(tree.body)  # names what does not exist first
    if not is_condition:
        raise ConditionError(
            text, "it is a number, not a condition", f"compare it with something, as in '{text} < 0.05'"
        )
    return ast.unparse(ast.fix_missing_locations(translated))


def _is_condition(node: ast.expr) -> bool:
    if isinstance(node, ast.BoolOp):
        return all(_is_condition(value) for value in node.values)
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not | ast.Invert) and _is_condition(node.operand)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.BitAnd | ast.BitOr) and _is_condition(node.left) and _is_condition(node.right)
    return isinstance(node, ast.Compare)


class _Translator(ast.NodeTransformer):
    """Turns bare names into state fields, and Python's conditions into those of arrays."""

    def __init__(self, text: str, spec: StateSpec) -> None:
        self.text, self.spec = text, spec

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in ("np", "state", *LANGUAGE_FUNCTIONS):
            return node
        return ast.parse(self._field(node.id), mode="eval").body

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if isinstance(node.value, ast.Name) and node.value.id == "state":
            return ast.parse(self._field(node.attr), mode="eval").body
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in LANGUAGE_FUNCTIONS:
            node.args = [self.visit(argument) for argument in node.args]
            return node
        if name and name not in FUNCTIONS:
            raise UnknownName(
                f"function in the rule {self.text!r}", name, (*FUNCTIONS, *OPERATORS, *LANGUAGE_FUNCTIONS)
            )
        arguments = [self.visit(argument) for argument in node.args]
        keywords = [ast.keyword(k.arg, self.visit(k.value)) for k in node.keywords]
        if name == "norm":
            keywords = keywords or [ast.keyword("axis", ast.parse("-1", mode="eval").body)]
            return ast.Call(ast.parse("np.linalg.norm", mode="eval").body, arguments, keywords)
        if name in ("min", "max"):
            name += "imum"
        func = ast.parse(f"np.{name}", mode="eval").body if name else node.func
        return ast.Call(func, arguments, keywords)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        """Turns `ball_position[2]`, written for one state, into the component of all states."""
        value, index = self.visit(node.value), node.slice
        if not isinstance(index, ast.Tuple):
            index = ast.Tuple([ast.Slice(), index])
        return ast.Subscript(value, index)

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        values = [self.visit(value) for value in (node.left, *node.comparators)]
        parts: list[ast.expr] = []
        for (left, right), operator in zip(pairwise(values), node.ops, strict=True):
            if isinstance(left, ast.Constant) and isinstance(right, ast.Constant):
                same = f"{ast.unparse(left)} with {ast.unparse(right)}"
                raise ConditionError(self.text, f"it compares {same}", "compare a state field with a number")
            parts.append(ast.Compare(left, [operator], [right]))
        return _join(parts, ast.BitAnd())

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        return _join(
            [self.visit(v) for v in node.values], ast.BitAnd() if isinstance(node.op, ast.And) else ast.BitOr()
        )

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        operand = self.visit(node.operand)
        return ast.UnaryOp(ast.Invert() if isinstance(node.op, ast.Not) else node.op, operand)

    def _field(self, name: str) -> str:
        if name in self.spec:
            return f"state.{name}"
        subject, _, component = name.rpartition("_")
        field = f"{subject}_position"
        if component in COMPONENTS and field in self.spec and self.spec[field].shape == (3,):
            return f"state.{field}[:, {COMPONENTS[component]}]"
        places = [f.subject for f in self.spec if f.quantity == "position" and f.shape == (3,)]
        short = {f"{subject}_{component}" for subject in places for component in COMPONENTS}
        raise UnknownName(f"state field in the rule {self.text!r}", name, (*self.spec.names, *sorted(short)))


def _join(parts: list[ast.expr], operator: ast.operator) -> ast.expr:
    joined = parts[0]
    for part in parts[1:]:
        joined = ast.BinOp(joined, operator, part)
    return joined
