"""Visual meshes of the arms from MuJoCo Menagerie on the bodies of this model; the physics does not change.

The package `mujoco-menagerie` finds the model: in the folder `MENAGERIE_ROOT` if that is set, else by downloading
it.
"""

from __future__ import annotations

import logging

import mujoco

from robo_reward.errors import MissingExtra, UsageError

log = logging.getLogger(__name__)

ROBOTS = {"panda": "franka_emika_panda", "fr3": "franka_fr3"}
VISUAL_GROUP = 2
"""Group of the visual geoms, by the convention of MuJoCo Menagerie."""
BODIES = {"link0": "base", "left_finger": "finger1", "right_finger": "finger2"}
"""Bodies with another name in this project. All frames agree: both models follow Franka's description."""


def menagerie_model(arm: str) -> mujoco.MjModel:
    """Returns the arm's model of the menagerie.

    Args:
        arm: `panda` or `fr3`.

    Raises:
        MissingExtra: `mujoco-menagerie` is not installed.
        UsageError: the model is neither there nor can be downloaded.
    """
    try:
        import mujoco_menagerie
    except ModuleNotFoundError:
        raise MissingExtra("mujoco_menagerie", "menagerie", "assets=menagerie") from None
    try:
        return mujoco.MjModel.from_xml_path(str(mujoco_menagerie.get(ROBOTS[arm]).xml(arm)))
    except (OSError, ValueError, mujoco_menagerie.MenagerieError) as error:
        remedy = "set MENAGERIE_ROOT to a clone of google-deepmind/mujoco_menagerie, or leave assets=primitive"
        raise UsageError(f"no {ROBOTS[arm]} for assets=menagerie: {error}. To continue, {remedy}") from error


def replace_visuals(scene: mujoco.MjSpec, donor: mujoco.MjModel) -> None:
    """Replaces the visual geoms of the arm by the donor's meshes, in place.

    Args:
        scene: the one to change, with the bodies `base`, `link1` to `link7`, `hand`, `finger1` and `finger2`.
        donor: a Franka arm of the menagerie.
    """
    for number in range(donor.nbody):
        meshes = _find_visible_meshes(donor, number)
        owner = donor.body(number).name.removeprefix("fr3_")
        body = scene.body(BODIES.get(owner, owner))
        if meshes and body is None:
            log.warning("the menagerie's body %r is not in this model; it is not drawn", owner)
        elif meshes:
            _hide_primitives(body)
            for geom in meshes:
                _add_mesh(scene, body, donor, geom)


def _find_visible_meshes(donor: mujoco.MjModel, body: int) -> list[int]:
    """Returns the geoms of a body that are visual meshes."""
    first = donor.body_geomadr[body]
    geoms = range(first, first + donor.body_geomnum[body])
    return [g for g in geoms if donor.geom_dataid[g] >= 0 and donor.geom_group[g] == VISUAL_GROUP]


def _add_mesh(scene: mujoco.MjSpec, body: mujoco.MjsBody, donor: mujoco.MjModel, geom: int) -> None:
    """Adds one of the donor's geoms to a body of the scene: visible, without mass or contact."""
    name, material = f"menagerie{geom}", donor.geom_matid[geom]
    _copy_mesh(scene, donor, donor.geom_dataid[geom], name)
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_MESH,
        meshname=name,
        pos=donor.geom_pos[geom],
        quat=donor.geom_quat[geom],
        rgba=donor.mat_rgba[material] if material >= 0 else donor.geom_rgba[geom],
        contype=0,
        conaffinity=0,
        group=1,
        mass=0,
    )


def _hide_primitives(body: mujoco.MjsBody) -> None:
    """Makes a body's own primitives invisible; those that collide still do."""
    for geom in body.geoms:
        if geom.type != mujoco.mjtGeom.mjGEOM_MESH:
            geom.rgba = (0, 0, 0, 0)


def _copy_mesh(scene: mujoco.MjSpec, donor: mujoco.MjModel, mesh: int, name: str) -> None:
    """Adds a compiled mesh of the donor to the scene.

    The compiler has turned its points into the mesh's principal frame, and the geom's pose says where that is.
    """
    first, last = donor.mesh_vertadr[mesh], donor.mesh_vertadr[mesh] + donor.mesh_vertnum[mesh]
    vertices = donor.mesh_vert[first:last].ravel()
    first, last = donor.mesh_faceadr[mesh], donor.mesh_faceadr[mesh] + donor.mesh_facenum[mesh]
    faces = donor.mesh_face[first:last].ravel()
    shell = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL  # visual meshes need not be closed
    scene.add_mesh(name=name, uservert=vertices, userface=faces, inertia=shell)
