"""An emulator of Franka's control interface (FCI) that unmodified clients drive over sockets."""
