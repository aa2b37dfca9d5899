"""The protocol of the robot and its hand on the network, and the emulator's own line services."""
