"""What is left of a policy's success on an arm: `python -m benchmarks.deploy --json FILE [--quick] [--hand slow]`.

A policy of panda/lift (`--policy FOLDER`), such as that of `make demo`, or else one that is trained first, is deployed
to an emulated FR3 (through franky) and Panda (through franka-rs) over real sockets by the commands and settings that
users have: 50 episodes each, 5 with `--quick`. The emulator has the task's own scene and runs in lock-step, held to
real time. On the terminal of `robo-reward deploy` everything is confirmed. An episode that ends in a reflex is
made again at another start; what is kept counts it as a failure of the policy all the same (`success_at_least`). With
`--hand slow` the hand behaves as users report of the real one: half a second more per command, a `stop` that
waits, and a `move` onto an object that returns after 100 s.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.output import arguments, report
from robo_reward.envs.task import make_task
from robo_reward.policies.evaluate import evaluate_policy
from robo_reward.policies.policy import load_policy

HOSTS = {"fr3": "127.0.2.41", "panda": "127.0.2.42"}
ROBO_REWARD = (sys.executable, "-m", "robo_reward.cli")
SEED = 7
SLOW = ("hand.command_delay=0.5", "hand.blocked_move_hangs=100", "hand.stop_waits=true")
HANDS = {"": (), "ideal": (), "slow": SLOW}
KEPT = ("success", "low", "high", "success_at_least", "peak_force")


@contextlib.contextmanager
def emulator(robot: str, hand: tuple[str, ...]) -> Iterator[None]:
    """Emulates an arm in the scene of its lift task, at `HOSTS[robot]`."""
    words = [*ROBO_REWARD, "emulate", f"task={robot}/lift", f"host={HOSTS[robot]}", "view=false", *hand]
    server = subprocess.Popen([*words, "lockstep=true", "speed=1"], stdout=subprocess.DEVNULL)
    try:
        while server.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((HOSTS[robot], 1337), 1):
                break
            time.sleep(0.2)
        time.sleep(2)  # gives the server time to drop the probe connection above
        yield
    finally:
        server.terminate()
        server.wait()


def confirmed(words: list[str]) -> None:
    """Runs a command on a pseudo-terminal and answers every question with `enter`."""
    seen = b""

    def read(terminal: int) -> bytes:
        nonlocal seen
        new = os.read(terminal, 4096)
        seen = (seen + new)[-200:]
        if seen.rstrip().endswith(b"n: no]"):
            os.write(terminal, b"\n")
            seen = b""
        return new

    pty.spawn(words, read)


def deployed(policy: Path, robot: str, episodes: int, runs: Path, hand: tuple[str, ...]) -> dict[str, Any]:
    """Returns success, its 95 % interval, forces on the hand [N], and how often the robot stopped or was lost."""
    words = [*ROBO_REWARD, "deploy", f"policy={policy}", f"robot={robot}", f"host={HOSTS[robot]}", "clock=robot"]
    words += ["robot.realtime=ignore", "label=false", f"episodes={episodes}", f"seed={SEED}"]
    with emulator(robot, hand):
        confirmed([*words, f"runs={runs}", f"run={robot}"])
    result = json.loads((runs / robot / "result.json").read_text(encoding="utf-8"))
    return {"episodes": result["episodes"], **{name: result[name] for name in KEPT}, "faults": len(result["faults"])}


def trained(runs: Path) -> Path:
    """Trains a policy of panda/lift by PPO on its expert reward for one minute."""
    subprocess.run([*ROBO_REWARD, "train", "task=panda/lift", "videos=0", f"runs={runs}", "run=lift"], check=True)
    return runs / "lift"


def main() -> None:
    args = arguments(
        __doc__,
        policy="a run or policy folder of panda/lift; else one is trained",
        hand="ideal, or slow: with the real one's behaviour",
    )
    if args.hand not in HANDS:
        raise SystemExit(f"--hand {args.hand}: expected ideal or slow")
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        run = Path(args.policy).absolute() if args.policy else trained(runs)
        policy = run / "policy" if (run / "policy").is_dir() else run
        simulated = evaluate_policy(make_task("panda/lift"), load_policy(policy), 200, SEED)
        share = simulated.successes / simulated.episodes
        found = {robot: deployed(policy, robot, 5 if args.quick else 50, runs, HANDS[args.hand]) for robot in HOSTS}
    kept = {f"{robot}_kept": value["success_at_least"] / share for robot, value in found.items()}
    report(args, {"hand": args.hand or "ideal", "simulated": share, **kept, **found}, dict.fromkeys(kept, ">= 0.9"))


if __name__ == "__main__":
    main()
