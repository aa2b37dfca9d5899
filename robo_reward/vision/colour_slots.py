"""Colour slots: positions of the colours of a scene, computed from its pixels without labels or a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from robo_reward.configs.rewards import AlignConfig
from robo_reward.data.episode import Episode
from robo_reward.errors import UsageError
from robo_reward.rewards.contract import Weights, digest_tensors
from robo_reward.vision.encoder import select_tensors
from robo_reward.vision.views import WHOLE, check_frames, check_views, collect_clips, crop_view, sample_frames

FAINT = 1.5
"""Area at which the features of a slot get half their weight [pixels]."""

LEVELS = 32
"""Levels per channel of the colour table: 32 x 32 x 32 colours, each 8 grey levels wide."""

MOMENTS = ("mass", "x", "y", "spread_x", "spread_y", "tilt", "left", "right", "top", "bottom")
PART = ("mass", "x", "y")


class ColourSlots:
    """An encoder of the positions and spreads of the objects of each colour.

    `fit` takes unlabelled clips, keeps the pixels that differ from the median frame (what moves, or is elsewhere
    in each clip) and groups their colours: each group is a slot k. A pixel p of colour c belongs to slot k by

        w_k(p) = exp(-d_k²/2) / (Σ_j exp(-d_j²/2) + exp(-3²/2)),   d_j = |c - centre_j| / width_j

    where j runs over the slots and the groups of background colours, and w_k(p) = 0 where the pixel has this
    colour in nearly all clips. With X, Y in [-1, 1] over the view, the features of a slot are

        mass      √(2 Σ w / pixels)                 x, y       Σ w (X, Y) / (Σ w + m₀)
        spreads   standard deviations of X and Y    tilt       their covariance / (their spreads + ε)
        left, right, top, bottom: where 10 % and 90 % of the mass lie to the left, or above

    all relative to the slot's average over the clips, so that a slot that is hidden (Σ w << m₀ = 1.5 pixels) reads
    as average. `parts=n` adds mass, x and y of the slot's n largest connected pieces, sorted from left to right,
    so that objects of the same colour are separate. Colours are compared as ((r - g)/s, (r + g - 2b)/2s,
    brightness), s = r + g + b + ε: shade counts little.

    Use `fit`; the constructor takes its results.

    Args:
        colours: (K + B, 4): centres and widths, K slots first, then B background colours.
        static: (V, K, h, w) bool: pixels of a view that have this slot's colour in nearly all clips.
        average: (V, K, F) the average of each feature.
        slots: K, the number of slots.
        views: V boxes.
        parts: number of connected pieces per slot.

    Attributes:
        dim: V K (10 + 3 parts).
        names: name of each feature, such as `v0.s1.x`.
    """

    def __init__(
        self,
        colours: np.ndarray,
        static: np.ndarray,
        average: np.ndarray,
        slots: int,
        views: Iterable[Sequence[float]] = WHOLE,
        parts: int = 0,
    ) -> None:
        self.views, self.parts, self.slots = check_views(views), parts, slots
        self._learnt = {"colours": colours.astype(np.float32), "static": static, "average": average.astype(np.float32)}
        kinds = [*MOMENTS, *(f"part{i}.{name}" for i in range(parts) for name in PART)]
        self.names = [f"v{v}.s{k}.{kind}" for v in range(len(self.views)) for k in range(slots) for kind in kinds]
        self.dim = len(self.names)
        self._size = (static.shape[2], static.shape[3])
        self._table = _compute_memberships(self._learnt["colours"], slots)  # (32768, K)
        self._any = self._table.max(axis=1) > 0
        self._free = np.moveaxis(~static, 1, 3).reshape(len(self.views), -1, slots).astype(np.float32)  # (V, h w, K)

    @classmethod
    def fit(
        cls,
        source: Sequence[Episode] | Sequence[np.ndarray] | np.ndarray,
        slots: int = 8,
        views: Iterable[Sequence[float]] = WHOLE,
        parts: int = 0,
        min_chroma: float = AlignConfig.min_chroma,
        frames: int = 512,
        seed: int = 0,
    ) -> ColourSlots:
        """Fits the slots to the colours of what moves.

        Args:
            source: unlabelled clips: episodes with frames, or arrays (T, H, W, 3).
            slots: largest number of slots; shades of one colour share a slot, so that a plain scene has few.
            views: boxes, see `View`; the colours are shared between them, positions are not.
            parts: number of connected pieces per slot.
            min_chroma: greyer colours form no slot (a white arm, a grey table); 0 admits all.
            frames: number of frames to sample.
            seed: of the sampling.

        Raises:
            UsageError: nothing that moves is colourful enough.
        """
        boxes = check_views(views)
        seen = sample_frames(collect_clips(source), frames, np.random.default_rng(seed))
        changed, still = _count_colours(seen)
        centres = _cluster_changing(changed, slots, min_chroma)
        colours = np.concatenate([centres, _cluster_background(still, centres)])
        parts_seen = [crop_view(seen[:1], box).shape[1:3] for box in boxes]
        size = max(h for h, _ in parts_seen), max(w for _, w in parts_seen)
        shape = (len(boxes), len(centres), *size)
        raw = cls(
            colours, np.zeros(shape, bool), np.zeros((*shape[:2], len(MOMENTS) + 3 * parts)), shape[1], boxes, parts
        )
        raw = cls(colours, raw._find_static_pixels(seen), raw._learnt["average"], shape[1], boxes, parts)
        return cls(colours, raw._learnt["static"], raw._average_features(seen), shape[1], boxes, parts)

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """Returns the features (T, F) float32 of frames (T, H, W, 3) uint8."""
        frames = check_frames(frames)
        found = np.empty((len(frames), len(self.views), self.slots, len(MOMENTS) + 3 * self.parts), np.float32)
        for v, view in enumerate(self.views):
            pictures = crop_view(frames, view, self._size)
            for start in range(0, len(pictures), 64):  # batches that fit into the CPU cache
                found[start : start + 64, v] = self._compute_features(pictures[start : start + 64], v)
        return found.reshape(len(frames), self.dim)

    def compute_masks(self, frames: np.ndarray) -> np.ndarray:
        """Returns the membership of each pixel in each slot, (T, V, K, h, w) float32, for pictures and checks."""
        frames = check_frames(frames)
        found = []
        for view, free in zip(self.views, self._free, strict=True):
            weights = (
                self._table[_colour_indices(crop_view(frames, view, self._size))].reshape(len(frames), -1, self.slots)
                * free
            )
            found.append(np.moveaxis(weights.reshape(len(frames), *self._size, self.slots), 3, 1))
        return np.stack(found, axis=1)

    def spec(self) -> dict[str, Any]:
        """Returns the JSON description from which `build_encoder` rebuilds the encoder, given its `weights`."""
        views = [list(view) for view in self.views]
        return {"kind": "colour_slots", "views": views, "parts": self.parts, "weights": digest_tensors(self._learnt)}

    def weights(self) -> Weights:
        """Returns the learnt weights by their digest."""
        return {digest_tensors(self._learnt): self._learnt}

    def _compute_features(self, pictures: np.ndarray, view: int) -> np.ndarray:
        """Computes the features (n, K, F) of pictures (n, h, w, 3)."""
        count, (height, width) = len(pictures), self._size
        index = _colour_indices(pictures)
        places = np.flatnonzero(self._any[index])
        weights = self._table[index[places]] * self._free[view, places % (height * width)]  # (M, K)
        entry, slot = np.nonzero(weights)
        weight, (frame, row, column) = weights[entry, slot], np.unravel_index(places[entry], (count, height, width))
        key = frame * self.slots + slot
        along_x = np.bincount(key * width + column, weight, count * self.slots * width)
        along_y = np.bincount(key * height + row, weight, count * self.slots * height)
        product = np.bincount(
            key, weight * _pixel_centres(width)[column] * _pixel_centres(height)[row], count * self.slots
        )
        shape = (count, self.slots)
        values = _compute_moments(
            along_x.reshape(*shape, width), along_y.reshape(*shape, height), product.reshape(shape)
        )
        average, moments = self._learnt["average"][view], len(MOMENTS)
        mass = values[..., :1]
        found = np.concatenate([mass, (values[..., 1:] - average[:, 1:moments])], axis=2)
        found[..., 1:] *= mass / (mass + FAINT / (height * width))
        found[..., 0] = np.sqrt(2 * found[..., 0])
        if not self.parts:
            return found
        solid = weight > 0.5
        masks = np.zeros((count, self.slots, height, width), np.uint8)
        masks[frame[solid], slot[solid], row[solid], column[solid]] = 1
        return np.concatenate([found, _describe_pieces(masks, self.parts, average[:, moments:])], axis=2)

    def _find_static_pixels(self, seen: np.ndarray) -> np.ndarray:
        """Returns the pixels whose membership in a slot is the same in nearly all frames, (V, K, h, w) bool."""
        total, square = np.zeros((2, len(self.views), self.slots, *self._size))
        for start in range(0, len(seen), 32):
            masks = self.compute_masks(seen[start : start + 32])
            total += masks.sum(axis=0)
            square += (masks**2).sum(axis=0)
        mean, square = total / len(seen), square / len(seen)
        return (mean > 0.01) & (square - mean**2 < 0.05 * mean)  # variance of a rare object is about its mean

    def _average_features(self, seen: np.ndarray) -> np.ndarray:
        """Computes the average of each feature over the frames that show the slot, (V, K, F)."""
        features = self.encode(seen).reshape(len(seen), len(self.views), self.slots, -1)
        visible = features[..., :1] > 0
        average = (features * visible).sum(axis=0) / np.maximum(visible.sum(axis=0), 1)
        average[..., 0] = 0.0
        return average


def _count_colours(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts the colours (32768,) of the pixels that differ from the median frame, and of those that do not."""
    median = np.median(seen[:: max(len(seen) // 101, 1)], axis=0).astype(np.uint8)
    differs = np.stack([cv2.absdiff(frame, median).max(axis=2) > 24 for frame in seen]).ravel()
    index = _colour_indices(seen)
    return np.bincount(index[differs], minlength=LEVELS**3), np.bincount(index[~differs], minlength=LEVELS**3)


def _colour_indices(pictures: np.ndarray) -> np.ndarray:
    """Returns the row of the colour table for each pixel (n h w,) of pictures (n, h, w, 3)."""
    flat = pictures.reshape(-1, 3)
    index = (flat[:, 0] >> 3).astype(np.uint16)
    index <<= 5
    index |= flat[:, 1] >> 3
    index <<= 5
    index |= flat[:, 2] >> 3
    return index


def _table_colours() -> np.ndarray:
    """Returns the colours of the table in the colour space of the comparison, (32768, 3)."""
    grid = (np.arange(LEVELS) + 0.5) / LEVELS
    red, green, blue = (axis.ravel() for axis in np.meshgrid(grid, grid, grid, indexing="ij"))
    total = red + green + blue + 0.1
    return np.stack([(red - green) / total, (red + green - 2 * blue) / (2 * total), 0.1 * (total - 0.1)], axis=1)


def _cluster_changing(counts: np.ndarray, slots: int, min_chroma: float) -> np.ndarray:
    """Clusters the changing colours by farthest-first choice and Lloyd's iteration, (K, 4), sorted by colour."""
    palette = _table_colours()
    counts = np.where(np.linalg.norm(palette[:, :2], axis=1) >= min_chroma, counts, 0)
    floor = max(counts.sum() * 1e-4, 2)
    rows = np.flatnonzero(counts > floor)
    if not len(rows):
        problem = f"nothing moves that is more colourful than min_chroma={min_chroma:g}"
        raise UsageError(
            f"colour slots: {problem}. Give clips in which the objects move, or min_chroma=0 for grey objects"
        )
    points, weights = palette[rows], np.sqrt(counts[rows])  # square roots, so that small objects count
    return _cluster_points(points, weights, slots, apart=0.15)


def _cluster_background(counts: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Clusters the static colours, (B, 4), without clusters that resemble a slot."""
    palette = _table_colours()
    rows = np.flatnonzero(counts > counts.sum() * 1e-3)
    if not len(rows):
        return np.empty((0, 4))
    groups = _cluster_points(palette[rows], np.sqrt(counts[rows]), 8, apart=0.05)
    distance = np.linalg.norm(groups[:, None, :3] - centres[None, :, :3], axis=2) / centres[None, :, 3]
    return groups[distance.min(axis=1) > 1.5]


def _cluster_points(points: np.ndarray, weights: np.ndarray, most: int, apart: float) -> np.ndarray:
    """Returns centres at least `apart` from each other, and their widths, (k, 4)."""
    centres = points[[np.argmax(weights)]]
    while len(centres) < most:
        distance = np.linalg.norm(points[:, None] - centres[None], axis=2).min(axis=1)
        if distance.max() < apart:
            break
        near = distance >= 0.7 * distance.max()  # most frequent of the distant colours, not a stray edge pixel
        centres = np.concatenate([centres, points[[np.argmax(np.where(near, weights, 0))]]])
    for _ in range(20):
        owner = np.linalg.norm(points[:, None] - centres[None], axis=2).argmin(axis=1)
        kept = [k for k in range(len(centres)) if (owner == k).any()]
        centres = np.stack([np.average(points[owner == k], axis=0, weights=weights[owner == k]) for k in kept])
    owner = np.linalg.norm(points[:, None] - centres[None], axis=2).argmin(axis=1)
    square = ((points - centres[owner]) ** 2).sum(axis=1)
    sums = [np.bincount(owner, values, len(centres)) for values in (square * weights, weights)]
    width = np.sqrt(sums[0] / np.maximum(sums[1], 1e-9))
    groups = np.concatenate([centres, np.maximum(width, 0.04)[:, None]], axis=1)
    return groups[np.lexsort(groups[:, 2::-1].round(3).T)]


def _compute_memberships(colours: np.ndarray, slots: int) -> np.ndarray:
    """Computes the membership of each colour of the table in each slot, (32768, K) float32; small values are 0."""
    square = ((_table_colours()[:, None] - colours[None, :, :3]) ** 2).sum(axis=2) / colours[None, :, 3] ** 2
    density = np.exp(-square / 2)
    share = density[:, :slots] / (density.sum(axis=1, keepdims=True) + np.exp(-4.5))
    return np.where(share > 0.05, share, 0).astype(np.float32)


def _pixel_centres(length: int) -> np.ndarray:
    """Returns the pixel centres in [-1, 1], (length,)."""
    return (np.arange(length) + 0.5) * (2 / length) - 1


def _compute_moments(along_x: np.ndarray, along_y: np.ndarray, product: np.ndarray) -> np.ndarray:
    """Computes share of all pixels, means, spreads, tilt and edges (..., 10) of masses along each axis.

    Args:
        along_x: (..., w) mass of each column.
        along_y: (..., h) mass of each row.
        product: (...,) Σ w X Y.
    """
    mass = along_x.sum(axis=-1)
    whole = np.maximum(mass, 1e-6)
    means, spreads, edges = [], [], []
    for along in (along_x, along_y):
        places = _pixel_centres(along.shape[-1])
        mean = along @ places / whole
        means.append(mean)
        spreads.append(np.sqrt(np.maximum(along @ places**2 / whole - mean**2, 0)))
        edges += [_compute_quantile(along, share) for share in (0.1, 0.9)]
    tilt = (product / whole - means[0] * means[1]) / (spreads[0] + spreads[1] + 0.02)
    pixels = along_x.shape[-1] * along_y.shape[-1]
    return np.stack([mass / pixels, *means, *spreads, tilt, *edges], axis=-1)


def _compute_quantile(along: np.ndarray, share: float) -> np.ndarray:
    """Returns the place in [-1, 1] below which this share of the mass lies, (...,).

    Places are interpolated between pixels.
    """
    total = np.cumsum(along, axis=-1)
    wanted = share * total[..., -1:]
    at = np.minimum((total < wanted).sum(axis=-1, keepdims=True), along.shape[-1] - 1)
    inside = np.take_along_axis(along, at, axis=-1)
    over = np.take_along_axis(total, at, axis=-1) - wanted
    place = at + 1 - over / np.maximum(inside, 1e-6)
    return place[..., 0] * (2 / along.shape[-1]) - 1


def _describe_pieces(masks: np.ndarray, parts: int, average: np.ndarray) -> np.ndarray:
    """Returns mass, x, y of the largest pieces of each slot, (n, K, 3 parts).

    Pieces are sorted from left to right, and relative to the average.
    """
    count, slots, height, width = masks.shape
    found = np.zeros((count, slots, parts, 3))
    for frame, k in np.argwhere(masks.any(axis=(2, 3))):
        _, _, stats, centroids = cv2.connectedComponentsWithStats(masks[frame, k])
        area = stats[1:, cv2.CC_STAT_AREA]
        largest = np.argsort(-area, kind="stable")[:parts]
        places = (centroids[1 + largest] + 0.5) * (2 / width, 2 / height) - 1
        order = np.lexsort((places[:, 1], places[:, 0]))
        found[frame, k, : len(order), 0] = np.sqrt(2 * area[largest[order]] / (height * width))
        found[frame, k, : len(order), 1:] = places[order]
    found = found.reshape(count, slots, -1)
    return np.where(np.repeat(found[..., ::3] > 0, 3, axis=-1), found - average, 0.0)


def from_spec(spec: Mapping[str, Any], weights: Weights) -> ColourSlots:
    """Builds the encoder of a spec."""
    learnt = select_tensors(spec, weights)
    return ColourSlots(**learnt, slots=learnt["static"].shape[1], views=spec["views"], parts=spec["parts"])
