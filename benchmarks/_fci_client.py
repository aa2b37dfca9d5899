"""A smooth joint motion through pylibfranka, timed; a process of its own, as any client is.

`python _fci_client.py HOST SECONDS` prints JSON: robot and wall time of the motion, its cycles, and the longest gap
between two states [ms].
"""

import json
import math
import sys
import time

import pylibfranka as fci


def main() -> None:
    """Moves joints 4 and 6 out and back, from rest to rest."""
    host, seconds = sys.argv[1], float(sys.argv[2])
    robot = fci.Robot(host, fci.RealtimeConfig.kIgnore)
    robot.set_collision_behavior([100.0] * 7, [100.0] * 7, [100.0] * 6, [100.0] * 6)
    control = robot.start_joint_position_control(fci.ControllerMode.JointImpedance)
    elapsed, start, cycles, gap = 0.0, None, 0, 0.0
    begun = last = time.perf_counter()
    while True:
        state, duration = control.readOnce()
        now = time.perf_counter()
        if start is None:
            start, begun = list(state.q_d), now
        else:
            elapsed, gap, cycles = elapsed + duration.to_sec(), max(gap, now - last), cycles + 1
        last = now
        phase = min(elapsed / seconds, 1.0)
        swing = 0.15 * math.sin(math.pi * (phase - math.sin(2 * math.pi * phase) / (2 * math.pi))) ** 2
        q = list(start)
        q[3], q[5] = q[3] + swing, q[5] + swing
        command = fci.JointPositions(q)
        command.motion_finished = elapsed >= seconds
        control.writeOnce(command)
        if command.motion_finished:
            break
    wall = time.perf_counter() - begun
    print(json.dumps({"robot": elapsed, "wall": wall, "cycles": cycles, "gap_ms": 1000 * gap}))


if __name__ == "__main__":
    main()
