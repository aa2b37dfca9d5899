"""Robots in URDF files: their meshes, inertia and joints as a MuJoCo model."""
