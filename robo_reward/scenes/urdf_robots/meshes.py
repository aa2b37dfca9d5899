"""Reads meshes in formats that MuJoCo does not read: COLLADA, and STL as text."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np


def convert_mesh(path: Path) -> bytes | None:
    """Returns a mesh as an OBJ file if MuJoCo cannot read it as it is, else None.

    Raises:
        ValueError: it has no triangles, or is not of its format.
    """
    suffix = path.suffix.lower()
    if suffix == ".dae":
        vertices, faces = _read_collada(path)
    elif suffix == ".stl" and path.read_bytes()[:5] == b"solid" and b"facet" in path.read_bytes()[:1000]:
        numbers = re.findall(r"vertex\s+(\S+)\s+(\S+)\s+(\S+)", path.read_text(errors="replace"))
        vertices = np.array(numbers, float).reshape(-1, 3)
        faces = np.arange(len(vertices)).reshape(-1, 3)
    else:
        return None
    if not len(faces):
        raise ValueError(f"{path} has no triangles")
    lines = [f"v {x:.7g} {y:.7g} {z:.7g}" for x, y, z in vertices.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (faces + 1).tolist()]
    return "\n".join([*lines, ""]).encode()


def _read_collada(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns vertices (V, 3) [m] and triangles (F, 3) of the scene; the up axis is not applied, as in ROS."""
    text = re.sub(r'\sxmlns="[^"]*"', "", path.read_text(errors="replace"), count=1)
    try:
        root = ElementTree.fromstring(text.encode())
    except ElementTree.ParseError as error:
        raise ValueError(f"{path} is not XML ({error})") from error
    unit = root.find("asset/unit")
    scale = float(unit.get("meter", "1")) if unit is not None else 1.0
    meshes = {str(g.get("id")): _read_geometry(g) for g in root.iter("geometry")}
    vertices, faces, count = [np.zeros((0, 3))], [np.zeros((0, 3), int)], 0
    pending = [
        (node, np.diag([scale, scale, scale, 1.0]))
        for scene in root.iter("visual_scene")
        for node in scene.findall("node")
    ]
    while pending:
        node, outer = pending.pop()
        frame = outer @ _read_transform(node)
        pending += [(child, frame) for child in node.findall("node")]
        for instance in node.findall("instance_geometry"):
            points, triangles = meshes[str(instance.get("url")).removeprefix("#")]
            vertices.append(points @ frame[:3, :3].T + frame[:3, 3])
            faces.append(triangles + count)
            count += len(points)
    return np.concatenate(vertices), np.concatenate(faces)


def _read_transform(node: ElementTree.Element) -> np.ndarray:
    """Returns the transformation (4, 4) of a node: its elements in order."""
    total = np.eye(4)
    for element in node:
        if element.tag not in ("matrix", "translate", "rotate", "scale"):
            continue
        numbers, part = np.array((element.text or "").split(), float), np.eye(4)
        if element.tag == "matrix":
            part = numbers.reshape(4, 4)
        elif element.tag == "translate":
            part[:3, 3] = numbers
        elif element.tag == "scale":
            part[:3, :3] = np.diag(numbers)
        else:
            x, y, z = numbers[:3] / max(float(np.linalg.norm(numbers[:3])), 1e-12)
            angle, cross = np.radians(numbers[3]), np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
            part[:3, :3] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
        total = total @ part
    return total


def _read_geometry(geometry: ElementTree.Element) -> tuple[np.ndarray, np.ndarray]:
    """Returns vertices (V, 3) and triangles (F, 3) of a <geometry>; polygons become fans."""
    mesh = geometry.find("mesh")
    if mesh is None:
        return np.zeros((0, 3)), np.zeros((0, 3), int)
    sources = {str(s.get("id")): s for s in mesh.findall("source")}
    vertices, faces, count = [np.zeros((0, 3))], [np.zeros((0, 3), int)], 0
    positions = {str(v.get("id")): str(i.get("source")) for v in mesh.findall("vertices")
                 for i in v.findall("input") if i.get("semantic") == "POSITION"}  # fmt: skip
    for group in (part for tag in ("triangles", "polylist", "polygons") for part in mesh.findall(tag)):
        inputs = group.findall("input")
        stride = 1 + max(int(i.get("offset", "0")) for i in inputs)
        vertex = next(i for i in inputs if i.get("semantic") == "VERTEX")
        array = sources[positions[str(vertex.get("source")).removeprefix("#")].removeprefix("#")].find("float_array")
        text = (array.text if array is not None else None) or ""
        vertices.append(np.array(text.split(), float).reshape(-1, 3))
        rows = [
            np.array((p.text or "").split(), int)[int(vertex.get("offset", "0")) :: stride] for p in group.findall("p")
        ]
        sizes = group.findtext("vcount", "").split()
        if sizes and rows:
            rows = np.split(rows[0], np.cumsum(np.array(sizes, int))[:-1])
        elif group.tag == "triangles":
            rows = [row for p in rows for row in p.reshape(-1, 3)]
        fans = [(row[0], row[k], row[k + 1]) for row in rows for k in range(1, len(row) - 1)]
        faces.append(np.array(fans, int).reshape(-1, 3) + count)
        count += len(vertices[-1])
    return np.concatenate(vertices), np.concatenate(faces)
