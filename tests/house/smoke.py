"""Runs outside the source tree against an installed robo-reward: `python -I smoke.py BIN_FOLDER`."""

import importlib.metadata
import importlib.resources
import subprocess
import sys
from pathlib import Path


def main(scripts: Path) -> None:
    """Imports the package, reads its data files, asks the command line for its health and its tasks."""
    distribution = importlib.metadata.distribution("robo-reward")
    files = distribution.files or []
    tops = {file.parts[0] for file in files if file.parts[0] != ".." and not file.parts[0].endswith(".dist-info")}
    assert tops == {"robo_reward"}, f"the distribution installs {sorted(tops)}, wanted only robo_reward"

    package = importlib.resources.files("robo_reward")
    installed = Path(str(package))
    assert "site-packages" in installed.parts, f"robo_reward comes from {installed}"
    for folder in ("envs", "policies", "hardware", "configs"):
        assert (installed / folder).is_dir(), f"robo_reward/{folder} is missing"
        assert not (installed / folder).is_symlink(), f"robo_reward/{folder} is a link"
    assert (installed / "py.typed").is_file(), "py.typed is missing"

    from robo_reward.envs.batch import BatchSim
    from robo_reward.envs.task import make_task

    sim = BatchSim(make_task("panda/reach"), 2, 0)
    try:
        sim.reset()
    finally:
        sim.close()

    for words in (["doctor"], ["tasks"], ["task", "gymnasium/InvertedPendulum-v5"]):
        verb, command = " ".join(words), [scripts / "robo-reward", *words]
        done = subprocess.run(command, timeout=120, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, f"robo-reward {verb} ended with {done.returncode}:\n{done.stdout}"
    print(f"robo-reward {distribution.version}: imports, data files, doctor, tasks, an environment of gymnasium")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
