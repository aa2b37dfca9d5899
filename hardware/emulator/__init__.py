"""An emulated Franka arm: the robot's protocol on real sockets, with the task's own MuJoCo scene behind it."""
