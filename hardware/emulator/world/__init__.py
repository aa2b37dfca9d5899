"""The surroundings of the emulated robot: physics, hand, cameras and the scene."""
