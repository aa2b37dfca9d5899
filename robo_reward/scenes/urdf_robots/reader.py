"""Loads URDF robots: meshes of packages, links that do not move, mimic joints, a fixed or free base."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import mujoco
import numpy as np

from robo_reward.errors import UsageError
from robo_reward.scenes.urdf_robots.meshes import convert_mesh

log = logging.getLogger(__name__)
MESH_SUFFIXES = (".stl", ".obj", ".msh", ".dae")
COMPILER = {"strippath": "false", "discardvisual": "false", "fusestatic": "false", "balanceinertia": "true"}
"""Settings of MuJoCo's compiler: the file's own come first."""
FLOOR = "floor"
_MOVABLE = ("revolute", "continuous", "prismatic")
_INTERFACES = {"position": "position", "effort": "motor", "velocity": "velocity"}


class UrdfError(UsageError):
    """A URDF file cannot be used.

    Args:
        problem: what is wrong.
        remedy: what to do about it.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}. Remedy: {remedy}")
        self.problem, self.remedy = problem, remedy


class UrdfJoint(NamedTuple):
    """Properties of a movable joint that MuJoCo does not read from a URDF.

    Attributes:
        effort: largest force or torque [N or N m]; 0 if there is none.
        actuator: kind of actuator that its <transmission> names: `position`, `motor`, `velocity`, or empty.
        mimic: another joint that it follows, or empty.
        factor: of the other joint's position.
        offset: added to it [rad or m].
    """

    effort: float
    actuator: str = ""
    mimic: str = ""
    factor: float = 1.0
    offset: float = 0.0


def load_urdf_spec(path: Path) -> mujoco.MjSpec:
    """Returns the editable model of a URDF file.

    Links that are fixed to others keep their names, meshes are found in their packages, mimic joints follow the other
    joint, and pairs of links that overlap in the zero position do not collide.

    Raises:
        UrdfError: a mesh is missing or of another format, a moving link has no inertia, or it is no URDF.
        ValueError: MuJoCo refuses it.
    """
    root = _parse(path)
    assets = _replace_meshes(root, path)
    massless, shaped = _correct_inertia(root, path)
    for number, shape in enumerate([*root.iter("visual"), *root.iter("collision")]):
        shape.set("name", f"{shape.tag}_{number}")  # MuJoCo warns about each name that appears twice
    extension = root.find("mujoco")
    if extension is None:
        extension = ElementTree.SubElement(root, "mujoco")
    compiler = extension.find("compiler")
    if compiler is None:
        compiler = ElementTree.SubElement(extension, "compiler")
    for key, value in COMPILER.items():
        compiler.attrib.setdefault(key, value)
    compiler.attrib["strippath"] = "false"
    compiler.attrib.pop("meshdir", None)
    spec = mujoco.MjSpec.from_string(ElementTree.tostring(root, encoding="unicode"), assets=assets)
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST  # stable with the damping of servos
    if compiler.get("inertiafromgeom") != "true":
        _remove_extra_mass(spec, massless, shaped)
    joints = read_urdf_joints(path)
    for name, joint in joints.items():
        if joint.mimic in joints:
            kind, joints_follow = mujoco.mjtEq.mjEQ_JOINT, mujoco.mjtObj.mjOBJ_JOINT
            equality = spec.add_equality(type=kind, name1=name, name2=joint.mimic, objtype=joints_follow)
            # Of the polynomial in the other joint's position; the size of `data` depends on the version of MuJoCo.
            equality.data = [joint.offset, joint.factor, *[0.0] * (len(equality.data) - 2)]
    _exclude_overlaps(spec)
    return spec


def read_urdf_joints(path: Path) -> dict[str, UrdfJoint]:
    """Returns the movable joints of a URDF file by name."""
    root, found = _parse(path), {}
    interfaces: dict[str, str] = {}
    for transmission in root.iter("transmission"):
        text = " ".join(str(e.text) for e in transmission.iter() if e.tag in ("hardwareInterface", "type")).lower()
        kind = next((kind for word, kind in _INTERFACES.items() if f"{word}joint" in text or f"/{word}" in text), "")
        interfaces |= {str(joint.get("name")): kind for joint in transmission.findall("joint")}
    for joint in root.findall("joint"):
        if joint.get("type") not in _MOVABLE:
            continue
        name, limit, mimic = str(joint.get("name")), joint.find("limit"), joint.find("mimic")
        effort = _read_number(limit, "effort", 0.0)
        other = "" if mimic is None else str(mimic.get("joint"))
        factor, offset = _read_number(mimic, "multiplier", 1.0), _read_number(mimic, "offset", 0.0)
        found[name] = UrdfJoint(abs(effort), interfaces.get(name, ""), other, factor, offset)
    return found


def find_urdf_files(path: Path) -> tuple[Path, ...]:
    """Returns the mesh files of a URDF that exist, and the manifests that say where its packages are."""
    names = [str(mesh.get("filename")) for mesh in _parse(path).iter("mesh")]
    packages = {name.partition("://")[2].partition("/")[0] for name in names if name.startswith("package://")}
    manifests = [parent / "package.xml" for parent in path.parents
                 if any(_names_package(parent / "package.xml", package) for package in packages)]  # fmt: skip
    meshes = (file for name in names if (file := _find_mesh(name, path)) is not None)
    return tuple(dict.fromkeys((*meshes, *manifests)))


def free_base(spec: mujoco.MjSpec) -> None:
    """Gives the robot a free joint and a floor that its lowest point touches.

    Raises:
        UrdfError: it has one already.
    """
    base = spec.worldbody.first_body()
    if base is None or any(int(j.type) == int(mujoco.mjtJoint.mjJNT_FREE) for j in base.joints):
        raise UrdfError("base=free: the model has no fixed base", "leave `base` out")
    base.add_freejoint(name=f"{base.name} base")
    if any(int(geom.type) == int(mujoco.mjtGeom.mjGEOM_PLANE) for geom in spec.worldbody.geoms):
        return
    spec.worldbody.add_geom(name=FLOOR, type=mujoco.mjtGeom.mjGEOM_PLANE, size=[20, 20, 1], rgba=[0.6, 0.65, 0.7, 1])
    base.pos = [base.pos[0], base.pos[1], base.pos[2] + 100.0]
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    floor = model.geom(FLOOR).id
    solid = [g for g in range(model.ngeom) if g != floor and (model.geom_contype[g] or model.geom_conaffinity[g])]
    heights = [mujoco.mj_geomDistance(model, data, floor, g, 1000.0, None) for g in solid] or [100.0]
    base.pos = [base.pos[0], base.pos[1], base.pos[2] - min(heights)]


def _parse(path: Path) -> ElementTree.Element:
    # Tags of other programs, such as <gazebo:plugin>, may have a prefix without a namespace.
    text = re.sub(r"(</?\w+):(?=\w)", r"\1_", path.read_text(errors="replace"))
    try:
        root = ElementTree.fromstring(re.sub(r"(\s(?!xmlns)\w+):(?=\w+\s*=\s*[\"'])", r"\1_", text).encode())
    except (ElementTree.ParseError, ValueError) as error:
        raise UrdfError(f"it is not XML ({error})", "check it with `check_urdf FILE`") from error
    if root.tag != "robot":
        raise UrdfError(f"its outermost element is <{root.tag}>, expected <robot>", "give a URDF file")
    if any(element.tag in ("xacro_macro", "xacro_include", "xacro_property") for element in root.iter()):
        raise UrdfError("it is a xacro macro, not a URDF", "expand it first: `xacro FILE > robot.urdf`")
    return root


def _read_number(element: ElementTree.Element | None, key: str, default: float) -> float:
    text = None if element is None else element.get(key)
    try:
        return float(text) if text else default
    except ValueError:
        raise UrdfError(f"{key}={text!r} is not a number", "correct the file") from None


def _replace_meshes(root: ElementTree.Element, path: Path) -> dict[str, bytes]:
    """Replaces mesh names by absolute paths, and returns the converted meshes by their new names.

    Visual meshes that are missing or cannot be read are left out.
    """
    lost: list[str] = []
    assets: dict[str, bytes] = {}
    for link in root.findall("link"):
        for part in [*link.findall("visual"), *link.findall("collision")]:
            mesh = part.find("geometry/mesh")
            if mesh is None:
                continue
            name = str(mesh.get("filename"))
            try:
                mesh.set("filename", _load_mesh(name, path, assets))
            except UrdfError as error:
                if part.tag == "collision":
                    raise UrdfError(f"link {link.get('name')!r}: {error.problem}", error.remedy) from error
                lost.append(name)
                link.remove(part)
    if lost:
        log.warning("%s: %d visual meshes are missing or cannot be read and are left out: %s",
                    path.name, len(lost), ", ".join(sorted(set(lost))[:5]))  # fmt: skip
    return assets


def _load_mesh(name: str, path: Path, assets: dict[str, bytes]) -> str:
    """Returns the file of a mesh, or the name under which it is added to `assets`, converted."""
    file = _find_mesh(name, path)
    if file is None:
        scheme, _, rest = name.rpartition("://")
        where = f"where it counts from, {path.parent}"
        if scheme == "package":
            where = f"in a folder {rest.partition('/')[0]!r} above {path.parent}, or on ROS_PACKAGE_PATH"
        raise UrdfError(f"the mesh {name!r} is not there", f"put it {where}, or copy the whole package of the robot")
    if file.suffix.lower() not in MESH_SUFFIXES:
        raise UrdfError(f"the mesh {name!r} cannot be read", f"convert it to {' or '.join(MESH_SUFFIXES)}")
    try:
        converted = convert_mesh(file)
    except (ValueError, KeyError, StopIteration) as error:
        raise UrdfError(f"the mesh {name!r} cannot be read ({error})", "convert it to .stl or .obj") from error
    if converted is None:
        return str(file)
    key = f"{hashlib.sha256(str(file).encode()).hexdigest()[:8]}_{file.stem}.obj"
    assets[key] = converted
    return key


def _find_mesh(name: str, path: Path) -> Path | None:
    """Returns the file of a mesh, or one of the same name in a format that can be read, or None."""
    places = list(_list_places(name, path))
    found = [file for p in places for s in (p.suffix, *MESH_SUFFIXES) if (file := p.with_suffix(s)).is_file()]
    return next((file for file in found if file.suffix.lower() in MESH_SUFFIXES), found[0] if found else None)


def _list_places(name: str, path: Path) -> Iterator[Path]:
    """Yields where a mesh may be: in its package above the URDF or on ROS_PACKAGE_PATH, or relative to the URDF."""
    scheme, separator, rest = name.rpartition("://")
    if not separator or scheme == "file":
        yield path.parent / rest
        yield from (parent / rest for parent in list(path.parents)[1:4])
        return
    package, _, inner = rest.partition("/")
    for parent in path.parents:
        yield parent / package / inner
        if parent.name == package or _names_package(parent / "package.xml", package):
            yield parent / inner
    variables = ("ROS_PACKAGE_PATH", "AMENT_PREFIX_PATH", "GZ_SIM_RESOURCE_PATH")
    roots = [Path(root) for key in variables for root in os.environ.get(key, "").split(os.pathsep) if root]
    yield from (root / package / inner for root in roots)
    yield from (root / "share" / package / inner for root in roots)
    yield path.parent / inner
    yield path.parent / Path(inner).name


def _names_package(manifest: Path, package: str) -> bool:
    try:
        return f"<name>{package}</name>" in manifest.read_text(errors="replace")
    except OSError:  # there is none, or a confined process may not read it
        return False


def _correct_inertia(root: ElementTree.Element, path: Path) -> tuple[set[str], set[str]]:
    """Removes or completes the <inertial> elements that MuJoCo refuses.

    Returns:
        The links without mass, and those whose mass is computed from their shape.

    Raises:
        UrdfError: a link that moves has neither mass nor a shape; all are named.
    """
    links = {str(link.get("name")): link for link in root.findall("link")}
    incomplete = [name for name, link in links.items() if not _has_valid_inertia(link)]
    if incomplete:
        log.warning("%s: the inertia of %s is missing or impossible; that of a ball of 10 cm replaces it",
                    path.name, ", ".join(incomplete[:8]))  # fmt: skip
    fixed: dict[str, list[str]] = {}
    movable: list[str] = []
    for joint in root.findall("joint"):
        parent, child = joint.find("parent"), joint.find("child")
        if parent is not None and child is not None:
            if joint.get("type") == "fixed":
                fixed.setdefault(str(parent.get("link")), []).append(str(child.get("link")))
            else:
                movable.append(str(child.get("link")))
    heavy = {name for name, link in links.items() if link.find("inertial") is not None}
    # A link that moves needs mass: its own, that of a link fixed to it, or that of its shape.
    shaped = {name for name in movable if not _find_fixed({name}, fixed) & heavy and name in links
              and links[name].find("collision") is not None}  # fmt: skip
    lost = [name for name in movable if not _find_fixed({name}, fixed) & (heavy | shaped)]
    if lost:
        raise UrdfError(
            f"{len(lost)} links move and have no mass: {', '.join(lost[:8])}",
            "give each an <inertial> with mass and inertia, or a <collision> shape from which they are computed",
        )
    if shaped:
        log.warning("%s: links without <inertial> get the mass of water in their shape: %s",
                    path.name, ", ".join(sorted(shaped)[:8]))  # fmt: skip
    return set(links) - heavy - shaped, shaped


def _has_valid_inertia(link: ElementTree.Element) -> bool:
    """Removes an <inertial> without mass; returns False where it has replaced the inertia of one."""
    inertial = link.find("inertial")
    if inertial is None:
        return True
    mass = _read_number(inertial.find("mass"), "value", 0.0)
    if mass <= 0:
        link.remove(inertial)
        return True
    inertia = inertial.find("inertia")
    xx, yy, zz, xy, xz, yz = (_read_number(inertia, key, 0.0) for key in ("ixx", "iyy", "izz", "ixy", "ixz", "iyz"))
    if inertia is not None and np.linalg.eigvalsh([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])[0] > 1e-12:
        return True
    if inertia is None:
        inertia = ElementTree.SubElement(inertial, "inertia")
    for key in ("ixx", "iyy", "izz", "ixy", "ixz", "iyz"):
        inertia.set(key, repr(0.4 * mass * 0.05**2) if key[1] == key[2] else "0")  # 2/5 m r² with r = 5 cm
    return False


def _find_fixed(names: set[str], fixed: dict[str, list[str]]) -> set[str]:
    """Returns links and all that are fixed to them."""
    more = names | {child for name in names for child in fixed.get(name, [])}
    return names if more == names else _find_fixed(more, fixed)


def _remove_extra_mass(spec: mujoco.MjSpec, massless: set[str], shaped: set[str]) -> None:
    """Takes the mass that MuJoCo computes from shapes off visual geoms and off links without mass."""
    needed: set[str] = set()
    for body in spec.bodies:
        for geom in body.geoms:
            if not (geom.contype or geom.conaffinity):
                geom.mass = 0.0
            elif body.name in shaped:
                needed.add(geom.meshname)
        if body.name in massless:
            body.explicitinertial, body.ipos, body.iquat = True, [0, 0, 0], [1, 0, 0, 0]
            body.mass, body.inertia = 1e-6, [1e-9] * 3  # MuJoCo refuses zeros
    for mesh in spec.meshes:
        if mesh.name not in needed:
            mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL  # need not be closed


def _exclude_overlaps(spec: mujoco.MjSpec) -> None:
    """Excludes contacts between links that overlap in the zero position, as motion planners do."""
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    pairs = {tuple(sorted(model.geom_bodyid[c.geom].tolist())) for c in data.contact if c.dist < 0}
    for first, second in sorted(pairs):
        if first and second:
            spec.add_exclude(bodyname1=model.body(first).name, bodyname2=model.body(second).name)
    if pairs:
        log.info("contacts between %d pairs of overlapping links are excluded", len(pairs))
