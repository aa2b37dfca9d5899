"""What surrounds the emulated robot: physics, hand, cameras and the scene."""
