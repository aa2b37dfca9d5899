"""N worlds of one task, stepped in C++ threads without a Python loop over worlds."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

import mujoco
import numpy as np
from mujoco.rollout import Rollout

from robo_reward.envs.judgement import judge_states, start_memory
from robo_reward.envs.state import State, Transitions
from robo_reward.envs.task import Task, Variant
from robo_reward.errors import UsageError, WrongShape

if TYPE_CHECKING:
    from robo_reward.rewards.contract import RewardOutput, StepReward

CONTROL = mujoco.mjtState.mjSTATE_CTRL | mujoco.mjtState.mjSTATE_MOCAP_POS | mujoco.mjtState.mjSTATE_MOCAP_QUAT


class StepResult(NamedTuple):
    """The result of one control step of N worlds.

    Attributes:
        transitions: previous state, action and state after it, before any reset.
        reward: of the transitions; None when the simulator has no reward.
        success: (N,) bool, of the state after the action.
        truncated: (N,) bool, the episode reached its horizon; `BatchSim.state` is then already the next start.
        terminated: (N,) bool, the episode ended by failure, or by success where that ends it.
        qpos: (N, nq), where the action led, before any reset; with `mocap` it is what a camera sees.
        mocap: (N, 7 nmocap), as `qpos`.
    """

    transitions: Transitions
    reward: RewardOutput | None
    success: np.ndarray
    truncated: np.ndarray
    qpos: np.ndarray
    mocap: np.ndarray
    terminated: np.ndarray

    @property
    def has_ended(self) -> np.ndarray:
        """(N,) bool, the episode ended, for either reason."""
        return self.truncated | self.terminated


class BatchSim:
    """Steps N worlds of a task with observation, reward, success and automatic reset.

    One control step is `task.substeps` physics steps under constant actuator targets. The state is the model's
    sensor data, which MuJoCo computes at the beginning of a physics step: observations are one physics step old, as
    on a real arm. Each control step starts the contact solver cold, so a world depends on its own state
    alone and a batch of N equals N single worlds stepped with `mj_step`.

    A task may give each world a model and a delay of its own (`Task.variants`). They are drawn again whenever the
    world begins an episode, from a random stream apart from that of the initial conditions.

    Args:
        task: the task to simulate.
        n: number of worlds N.
        seed: of initial conditions and physics; the same seed gives the same bits, whatever the number of threads.
            None draws one from the operating system.
        reward: of each step, or None.
        threads: C++ threads; by default all cores this process may use.

    Attributes:
        state: the current states, (N, D), as a view that the next step replaces.
        elapsed: control steps since each world's reset, (N,).
        variants: model and delay of each world in its present episode.

    Raises:
        UsageError: n is not positive.
    """

    def __init__(
        self,
        task: Task,
        n: int,
        seed: int | None = 0,
        reward: StepReward | None = None,
        threads: int | None = None,
    ) -> None:
        if n < 1:
            raise UsageError(f"number of worlds is {n}, expected at least 1")
        self.task, self.n, self.reward = task, n, reward
        self._seed_generators(secrets.randbits(63) if seed is None else seed)
        self.threads = min(threads or len(os.sched_getaffinity(0)), n)
        # One MjData per thread, not per world: rollout copies each world's state in and out.
        self._data = [mujoco.MjData(task.model) for _ in range(self.threads)]
        self._pool = Rollout(nthread=self.threads if self.threads > 1 else 0)
        model = task.model
        # FULLPHYSICS is [time, qpos, qvel, act, ...]: positions begin at index 1.
        self._nstate = mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_FULLPHYSICS)
        self._physics = np.zeros((n, self._nstate))
        self._controls = np.zeros((n, model.nu + 7 * model.nmocap))
        self._repeated = np.zeros((n, task.substeps, self._controls.shape[1]))  # one row per physics step
        self.variants: list[Variant] = [Variant(model)] * n
        self._variant_seeds = np.zeros(n, np.uint64)
        self._delay = np.zeros(n, np.int64)  # physics steps
        self._control_history = np.zeros(
            (n, 1, self._controls.shape[1])
        )  # targets of the last control steps, oldest first
        # Output buffers of rollout, allocated once: state and sensors after each physics step.
        self._trace = np.zeros((n, task.substeps, self._nstate))
        self._sensors = np.zeros((n, task.substeps, model.nsensordata))
        self.elapsed = np.zeros(n, dtype=np.int64)
        self.reset()

    def reset(self, seed: int | None = None) -> State:
        """Restarts all worlds, their physics included, from a new seed if one is given; returns their states."""
        if seed is not None:
            self._seed_generators(seed)
        self.state = State(self.task.spec, np.zeros((self.n, self.task.spec.dim)))
        self._memory = start_memory(self.task, self.state)  # of the rules over time, (N, M)
        self._restart_worlds(np.arange(self.n))
        return self.state

    def step(self, action: np.ndarray) -> StepResult:
        """Advances all worlds by one control step.

        Args:
            action: (N, A); components are clipped to [-1, 1].

        Raises:
            WrongShape: the action has another shape.
        """
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (self.n, self.task.action.dim):
            raise WrongShape("action", action.shape, f"({self.n}, {self.task.action.dim})")
        action = np.clip(action, -1.0, 1.0)
        nu = self.task.model.nu
        self._controls[:, :nu] = self.task.controller.advance(self._controls[:, :nu], self.qpos, action)
        previous, self.state = self.state, self._simulate_step()  # (N, D), before any reset
        self.elapsed += 1
        transitions = Transitions(previous, action, self.state)
        reward = self.reward(transitions) if self.reward else None
        success, terminated = self._judge_state(self.state)
        truncated = (self.elapsed >= self.task.horizon) & ~terminated
        result = StepResult(transitions, reward, success, truncated, self.qpos, self.mocap, terminated)
        if result.has_ended.any():
            # Copies: `result` keeps views of the arrays from before the reset.
            self.state = State(self.task.spec, self.state.array.copy())
            self._physics, self._controls = self._physics.copy(), self._controls.copy()
            self._restart_worlds(np.flatnonzero(result.has_ended))
        return result

    def _judge_state(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Returns success and the end of the episode by failure or success, (N,) bool each."""
        success, failed, self._memory = judge_states(self.task, state, self._memory)
        return success, failed | success if self.task.ends_on_success else failed

    def observation(self) -> np.ndarray:
        """Returns the policy's observations (N, O) float32 of the current states."""
        return self.task.observation(self.state)

    @property
    def qpos(self) -> np.ndarray:
        """Generalised positions (N, nq), a view."""
        return self._physics[:, 1 : 1 + self.task.model.nq]

    @property
    def mocap(self) -> np.ndarray:
        """Mocap positions and quaternions (N, 7 nmocap), a view in MuJoCo's order."""
        return self._controls[:, self.task.model.nu :]

    def snapshot(self) -> dict[str, np.ndarray]:
        """Returns everything that `restore` needs to continue bit for bit, the random generators included."""
        state = {
            "physics": self._physics,
            "controls": self._controls,
            "elapsed": self.elapsed,
            "past": self._control_history,
            **({"memory": self._memory} if self._memory.size else {}),
        }
        return {
            **{k: v.copy() for k, v in state.items()},
            "state": self.state.array.copy(),
            "rng": get_rng_words(self.rng),
            "variants": self._variant_seeds.copy(),
            "variants_rng": get_rng_words(self._variants_rng),
        }

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        """Goes back to a `snapshot` of a simulator of the same task and size."""
        if "variants" in snapshot:
            set_rng_words(self._variants_rng, snapshot["variants_rng"])
            self._set_variants(np.arange(self.n), snapshot["variants"])
        self._physics[:] = snapshot["physics"]
        self._controls[:] = snapshot["controls"]
        # Snapshots of earlier versions have no control history, as there was no delay.
        self._control_history = np.array(snapshot["past"]) if "past" in snapshot else self._controls[:, None].copy()
        self._extend_control_history()
        self.elapsed[:] = snapshot["elapsed"]
        self.state = State(self.task.spec, np.array(snapshot["state"]))
        self._memory = np.array(snapshot["memory"]) if "memory" in snapshot else start_memory(self.task, self.state)
        set_rng_words(self.rng, snapshot["rng"])

    def close(self) -> None:
        """Stops the threads."""
        self._pool.close()

    def _simulate_step(self) -> State:
        """Steps the physics by one control step; the last physics step's sensors are the new state."""
        self._repeated[:] = self._compute_delayed_controls()
        self._pool.rollout(
            [variant.model for variant in self.variants],
            self._data,
            self._physics,
            self._repeated,
            control_spec=CONTROL,
            skip_checks=True,  # all arrays have their final shape and type
            nstep=self.task.substeps,
            state=self._trace,
            sensordata=self._sensors,
        )
        self._physics = np.ascontiguousarray(self._trace[:, -1])
        return State(self.task.spec, self._sensors[:, -1].copy())

    def _compute_delayed_controls(self) -> np.ndarray:
        """Returns the controls (N, substeps, nu + 7 nmocap) that act in each physics step."""
        if self._control_history.shape[1] == 1:
            return self._controls[:, None]
        self._control_history = np.concatenate([self._control_history[:, 1:], self._controls[:, None]], axis=1)
        # In physics step k a delay of d steps reaches back ceil((d - k) / substeps) control steps, at least 0.
        steps = self._delay[:, None] - np.arange(self.task.substeps)  # physics steps, (N, substeps)
        back = np.maximum(-(-steps // self.task.substeps), 0)  # control steps, (N, substeps)
        return np.take_along_axis(self._control_history, (self._control_history.shape[1] - 1 - back)[..., None], axis=1)

    def _restart_worlds(self, worlds: np.ndarray) -> None:
        """Draws initial states and physics for some worlds; one discarded physics step computes their sensors."""
        start = self.task.sample(self.rng, len(worlds))
        physics = np.zeros((len(worlds), self._nstate))
        model = self.task.model
        physics[:, 1 : 1 + model.nq] = start.qpos
        if start.qvel is not None:
            physics[:, 1 + model.nq : 1 + model.nq + model.nv] = start.qvel
        if start.act is not None:
            first = 1 + model.nq + model.nv
            physics[:, first : first + model.na] = start.act
        controls = np.concatenate([self.task.controller.start(start.qpos), start.mocap], axis=1)
        # Always the task's own model, and the resulting physics state is dropped: only the sensors are used.
        _, sensors = self._pool.rollout(
            self.task.model, self._data, physics, controls[:, None], control_spec=CONTROL, nstep=1
        )
        self._set_variants(worlds, self._variants_rng.integers(2**63, size=len(worlds), dtype=np.uint64))
        self._physics[worlds], self._controls[worlds] = physics, controls
        self._control_history[worlds] = controls[:, None]
        self.state.array[worlds] = sensors[:, 0]
        self._memory[worlds] = start_memory(self.task, self.state.rows(worlds))
        self.elapsed[worlds] = 0

    def _seed_generators(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self._variants_rng = np.random.default_rng([seed, 1])

    def _set_variants(self, worlds: np.ndarray, seeds: np.ndarray) -> None:
        """Sets the physics of some worlds, each drawn from its seed."""
        self._variant_seeds[worlds] = seeds
        for world, seed in zip(worlds.tolist(), seeds.tolist(), strict=True):
            variant = self.task.redraw_variant(self.variants[world], np.random.default_rng(seed))
            self.variants[world] = variant
            self._delay[world] = round(variant.delay / self.task.model.opt.timestep)
        self._extend_control_history()

    def _extend_control_history(self) -> None:
        """Extends the history of controls to the present target and ceil(longest delay / substeps) past ones."""
        missing = 1 + -(-int(self._delay.max()) // self.task.substeps) - self._control_history.shape[1]
        if missing > 0:
            oldest = np.repeat(self._control_history[:, :1], missing, axis=1)
            self._control_history = np.concatenate([oldest, self._control_history], axis=1)


def get_rng_words(rng: np.random.Generator) -> np.ndarray:
    """Returns the state of a PCG64 generator as six 64-bit words."""
    state: Any = rng.bit_generator.state
    bits = state["state"]
    words = [(bits[key] >> shift) & (2**64 - 1) for key in ("state", "inc") for shift in (0, 64)]
    return np.array([*words, state["has_uint32"], state["uinteger"]], np.uint64)


def set_rng_words(rng: np.random.Generator, words: np.ndarray) -> None:
    """Sets a generator to the state that `get_rng_words` returned; the last two words may be missing."""
    # PCG64 has a 128-bit state and a 128-bit increment, each stored as two words.
    low, high, inc_low, inc_high, *half = (int(word) for word in words)
    state: Any = rng.bit_generator.state
    state["state"] = {"state": low | high << 64, "inc": inc_low | inc_high << 64}
    state["has_uint32"], state["uinteger"] = half or (0, 0)
    rng.bit_generator.state = state
