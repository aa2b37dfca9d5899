"""Colour slots: where each colour of the scene is, read off its pixels. No labels, no network, microseconds a frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from robo_reward.episode import Episode
from robo_reward.errors import UsageError
from robo_reward.reward import Weights, digest
from robo_reward.vision.encoder import tensors_of
from robo_reward.vision.views import WHOLE, checked_frames, checked_views, clips_of, crop, sample_frames

FAINT = 1.5
"""A slot of so many pixels is half believed [pixels]."""

LEVELS = 32
"""Colours are looked up in a table of 32 x 32 x 32 colours, 8 grey levels wide."""

MOMENTS = ("mass", "x", "y", "spread_x", "spread_y", "tilt", "left", "right", "top", "bottom")
PART = ("mass", "x", "y")


class ColourSlots:
    """Positions and spreads of the things of each colour.

    `fit` takes unlabelled clips, keeps the pixels that differ from the median frame (what moves, or stands elsewhere
    in each clip) and groups their colours: each group is a slot k. A pixel p of colour c belongs to slot k by

        w_k(p) = exp(-d_k²/2) / (Σ_j exp(-d_j²/2) + exp(-3²/2)),   d_j = |c - centre_j| / width_j

    where j runs over the slots and the groups of background colours, and w_k(p) = 0 where the pixel has this colour in
    nearly all clips. With X, Y in [-1, 1] over the view, the features of a slot are

        mass      √(2 Σ w / pixels)                 x, y       Σ w (X, Y) / (Σ w + m₀)
        spreads   standard deviations of X and Y    tilt       their covariance / (their spreads + ε)
        left, right, top, bottom: where 10 % and 90 % of the mass lie to the left, or above

    all relative to the slot's average over the clips, so that a slot that is hidden (Σ w << m₀ = 1.5 pixels) reads as
    average. `parts=n` adds mass, x and y of the slot's n largest connected pieces, sorted from left to right: things of
    the same colour apart. Colours are compared as ((r - g)/s, (r + g - 2b)/2s, brightness), s = r + g + b + ε: shade
    counts little.

    Use `fit`; the constructor takes what it has found.

    Args:
        colours: (K + B, 4): centres and widths, K slots first, then B background colours.
        static: (V, K, h, w) bool: pixels of a view that have this slot's colour in nearly all clips.
        average: (V, K, F) the average of each feature.
        slots: K.
        views: V boxes.
        parts: connected pieces told apart per slot.

    Attributes:
        dim: V K (10 + 3 parts).
        names: what each feature is, such as `v0.s1.x`.
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
        self.views, self.parts, self.slots = checked_views(views), parts, slots
        self._learnt = {"colours": colours.astype(np.float32), "static": static, "average": average.astype(np.float32)}
        kinds = [*MOMENTS, *(f"part{i}.{name}" for i in range(parts) for name in PART)]
        self.names = [f"v{v}.s{k}.{kind}" for v in range(len(self.views)) for k in range(slots) for kind in kinds]
        self.dim = len(self.names)
        self._size = (static.shape[2], static.shape[3])
        self._table = _memberships(self._learnt["colours"], slots)  # (32768, K)
        self._any = self._table.max(axis=1) > 0
        self._free = np.moveaxis(~static, 1, 3).reshape(len(self.views), -1, slots).astype(np.float32)  # (V, h w, K)

    @classmethod
    def fit(
        cls,
        source: Sequence[Episode] | Sequence[np.ndarray] | np.ndarray,
        slots: int = 8,
        views: Iterable[Sequence[float]] = WHOLE,
        parts: int = 0,
        min_chroma: float = 0.12,
        frames: int = 512,
        seed: int = 0,
    ) -> ColourSlots:
        """Finds the colours of what moves.

        Args:
            source: unlabelled clips: episodes with frames, or arrays (T, H, W, 3).
            slots: at most so many; shades of one colour share a slot, so that few are found in a plain scene.
            views: boxes, see `View`; the colours are shared between them, positions are not.
            parts: connected pieces told apart per slot.
            min_chroma: greyer colours are no slot (a white arm, a grey table); 0 admits all.
            frames: how many to look at.
            seed: of their choice.

        Raises:
            UsageError: nothing of such a colour moves.
        """
        boxes = checked_views(views)
        seen = sample_frames(clips_of(source), frames, np.random.default_rng(seed))
        changed, still = _split(seen)
        centres = _centres(changed, slots, min_chroma)
        colours = np.concatenate([centres, _background(still, centres)])
        parts_seen = [crop(seen[:1], box).shape[1:3] for box in boxes]
        size = max(h for h, _ in parts_seen), max(w for _, w in parts_seen)
        shape = (len(boxes), len(centres), *size)
        raw = cls(
            colours, np.zeros(shape, bool), np.zeros((*shape[:2], len(MOMENTS) + 3 * parts)), shape[1], boxes, parts
        )
        raw = cls(colours, raw._unchanging(seen), raw._learnt["average"], shape[1], boxes, parts)
        return cls(colours, raw._learnt["static"], raw._average(seen), shape[1], boxes, parts)

    def encode(self, frames: np.ndarray) -> np.ndarray:
        frames = checked_frames(frames)
        found = np.empty((len(frames), len(self.views), self.slots, len(MOMENTS) + 3 * self.parts), np.float32)
        for v, view in enumerate(self.views):
            pictures = crop(frames, view, self._size)
            for start in range(0, len(pictures), 64):  # stays in the cache
                found[start : start + 64, v] = self._read(pictures[start : start + 64], v)
        return found.reshape(len(frames), self.dim)

    def masks(self, frames: np.ndarray) -> np.ndarray:
        """Which pixel belongs to which slot, (T, V, K, h, w) float32, for pictures and checks."""
        frames = checked_frames(frames)
        found = []
        for view, free in zip(self.views, self._free, strict=True):
            weights = self._table[_indices(crop(frames, view, self._size))].reshape(len(frames), -1, self.slots) * free
            found.append(np.moveaxis(weights.reshape(len(frames), *self._size, self.slots), 3, 1))
        return np.stack(found, axis=1)

    def spec(self) -> dict[str, Any]:
        views = [list(view) for view in self.views]
        return {"kind": "colour_slots", "views": views, "parts": self.parts, "weights": digest(self._learnt)}

    def weights(self) -> Weights:
        return {digest(self._learnt): self._learnt}

    def _read(self, pictures: np.ndarray, view: int) -> np.ndarray:
        """Features (n, K, F) of pictures (n, h, w, 3)."""
        count, (height, width) = len(pictures), self._size
        index = _indices(pictures)
        places = np.flatnonzero(self._any[index])
        weights = self._table[index[places]] * self._free[view, places % (height * width)]  # (M, K)
        entry, slot = np.nonzero(weights)
        weight, (frame, row, column) = weights[entry, slot], np.unravel_index(places[entry], (count, height, width))
        key = frame * self.slots + slot
        along_x = np.bincount(key * width + column, weight, count * self.slots * width)
        along_y = np.bincount(key * height + row, weight, count * self.slots * height)
        product = np.bincount(key, weight * _centred(width)[column] * _centred(height)[row], count * self.slots)
        shape = (count, self.slots)
        values = _moments(along_x.reshape(*shape, width), along_y.reshape(*shape, height), product.reshape(shape))
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
        return np.concatenate([found, _pieces(masks, self.parts, average[:, moments:])], axis=2)

    def _unchanging(self, seen: np.ndarray) -> np.ndarray:
        """Pixels that belong to a slot to the same degree in nearly all of the frames, (V, K, h, w) bool."""
        total, square = np.zeros((2, len(self.views), self.slots, *self._size))
        for start in range(0, len(seen), 32):
            masks = self.masks(seen[start : start + 32])
            total += masks.sum(axis=0)
            square += (masks**2).sum(axis=0)
        mean, square = total / len(seen), square / len(seen)
        return (mean > 0.01) & (square - mean**2 < 0.05 * mean)  # a rare visitor's variance is about its mean

    def _average(self, seen: np.ndarray) -> np.ndarray:
        """The average of each feature over the frames that show the slot, (V, K, F)."""
        features = self.encode(seen).reshape(len(seen), len(self.views), self.slots, -1)
        visible = features[..., :1] > 0
        average = (features * visible).sum(axis=0) / np.maximum(visible.sum(axis=0), 1)
        average[..., 0] = 0.0
        return average


def _split(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts of colours (32768,) of the pixels that differ from the median frame, and of those that do not."""
    median = np.median(seen[:: max(len(seen) // 101, 1)], axis=0).astype(np.uint8)
    differs = np.stack([cv2.absdiff(frame, median).max(axis=2) > 24 for frame in seen]).ravel()
    index = _indices(seen)
    bins = LEVELS**3
    return np.bincount(index[differs], minlength=bins), np.bincount(index[~differs], minlength=bins)


def _indices(pictures: np.ndarray) -> np.ndarray:
    """The row of the colour table for each pixel (n h w,) of pictures (n, h, w, 3)."""
    flat = pictures.reshape(-1, 3)
    index = (flat[:, 0] >> 3).astype(np.uint16)
    index <<= 5
    index |= flat[:, 1] >> 3
    index <<= 5
    index |= flat[:, 2] >> 3
    return index


def _palette() -> np.ndarray:
    """The colours of the table in the space where they are compared, (32768, 3)."""
    grid = (np.arange(LEVELS) + 0.5) / LEVELS
    red, green, blue = (axis.ravel() for axis in np.meshgrid(grid, grid, grid, indexing="ij"))
    total = red + green + blue + 0.1
    return np.stack([(red - green) / total, (red + green - 2 * blue) / (2 * total), 0.1 * (total - 0.1)], axis=1)


def _centres(counts: np.ndarray, slots: int, min_chroma: float) -> np.ndarray:
    """Groups of the changing colours by farthest-first choice and Lloyd's iteration, (K, 4), sorted by colour."""
    palette = _palette()
    counts = np.where(np.linalg.norm(palette[:, :2], axis=1) >= min_chroma, counts, 0)
    floor = max(counts.sum() * 1e-4, 2)
    rows = np.flatnonzero(counts > floor)
    if not len(rows):
        problem = f"nothing moves that is more colourful than min_chroma={min_chroma:g}"
        raise UsageError(f"colour slots: {problem}. Give clips in which the things move, or min_chroma=0 for grey ones")
    points, weights = palette[rows], np.sqrt(counts[rows])  # roots: small things count as well
    return _grouped(points, weights, slots, apart=0.15)


def _background(counts: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Groups of the colours that stay, (B, 4), those that look like a slot left out."""
    palette = _palette()
    rows = np.flatnonzero(counts > counts.sum() * 1e-3)
    if not len(rows):
        return np.empty((0, 4))
    groups = _grouped(palette[rows], np.sqrt(counts[rows]), 8, apart=0.05)
    distance = np.linalg.norm(groups[:, None, :3] - centres[None, :, :3], axis=2) / centres[None, :, 3]
    return groups[distance.min(axis=1) > 1.5]


def _grouped(points: np.ndarray, weights: np.ndarray, most: int, apart: float) -> np.ndarray:
    """Centres at least `apart` from each other, and widths, (k, 4)."""
    centres = points[[np.argmax(weights)]]
    while len(centres) < most:
        distance = np.linalg.norm(points[:, None] - centres[None], axis=2).min(axis=1)
        if distance.max() < apart:
            break
        near = distance >= 0.7 * distance.max()  # the commonest among the far ones: not an odd edge pixel
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


def _memberships(colours: np.ndarray, slots: int) -> np.ndarray:
    """How much each colour of the table belongs to each slot, (32768, K) float32, small values 0."""
    square = ((_palette()[:, None] - colours[None, :, :3]) ** 2).sum(axis=2) / colours[None, :, 3] ** 2
    density = np.exp(-square / 2)
    share = density[:, :slots] / (density.sum(axis=1, keepdims=True) + np.exp(-4.5))
    return np.where(share > 0.05, share, 0).astype(np.float32)


def _centred(length: int) -> np.ndarray:
    """Pixel centres in [-1, 1], (length,)."""
    return (np.arange(length) + 0.5) * (2 / length) - 1


def _moments(along_x: np.ndarray, along_y: np.ndarray, product: np.ndarray) -> np.ndarray:
    """Share of all pixels, means, spreads, tilt and edges (..., 10) of masses along each axis.

    Args:
        along_x: (..., w) mass of each column.
        along_y: (..., h) mass of each row.
        product: (...,) Σ w X Y.
    """
    mass = along_x.sum(axis=-1)
    whole = np.maximum(mass, 1e-6)
    means, spreads, edges = [], [], []
    for along in (along_x, along_y):
        places = _centred(along.shape[-1])
        mean = along @ places / whole
        means.append(mean)
        spreads.append(np.sqrt(np.maximum(along @ places**2 / whole - mean**2, 0)))
        edges += [_quantile(along, share) for share in (0.1, 0.9)]
    tilt = (product / whole - means[0] * means[1]) / (spreads[0] + spreads[1] + 0.02)
    pixels = along_x.shape[-1] * along_y.shape[-1]
    return np.stack([mass / pixels, *means, *spreads, tilt, *edges], axis=-1)


def _quantile(along: np.ndarray, share: float) -> np.ndarray:
    """Where in [-1, 1] this share of the mass lies below, between pixels too, (...,)."""
    total = np.cumsum(along, axis=-1)
    wanted = share * total[..., -1:]
    at = np.minimum((total < wanted).sum(axis=-1, keepdims=True), along.shape[-1] - 1)
    inside = np.take_along_axis(along, at, axis=-1)
    over = np.take_along_axis(total, at, axis=-1) - wanted
    place = at + 1 - over / np.maximum(inside, 1e-6)
    return place[..., 0] * (2 / along.shape[-1]) - 1


def _pieces(masks: np.ndarray, parts: int, average: np.ndarray) -> np.ndarray:
    """Mass, x, y of the largest pieces of each slot from left to right, relative to the average, (n, K, 3 parts)."""
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
    learnt = tensors_of(spec, weights)
    return ColourSlots(**learnt, slots=learnt["static"].shape[1], views=spec["views"], parts=spec["parts"])
