"""A Franka arm that is not there: the protocol on real sockets, the task's own scene behind it."""
