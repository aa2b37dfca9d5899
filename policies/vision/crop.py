"""Crops of pictures: at random places while training, at the centre for acting."""

from __future__ import annotations

import torch


def crop_random(
    pictures: torch.Tensor, size: int, generator: torch.Generator | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns a crop at a random place of each sample, and that place; it is the same for all pictures of a history.

    Args:
        pictures: (B, T, h, w, 3).
        size: of the crop [pixels], at most h and w.
        generator: of the places; None for torch's global one.

    Returns:
        (B, T, size, size, 3), and (B, 2) from the centre of the picture to that of the crop, to the right and down
        [pixels].
    """
    height, width = pictures.shape[2:4]
    rows = torch.randint(0, height - size + 1, (len(pictures),), generator=generator)
    columns = torch.randint(0, width - size + 1, (len(pictures),), generator=generator)
    cut = pictures.new_empty((*pictures.shape[:2], size, size, pictures.shape[4]))
    for i, (row, column) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        cut[i] = pictures[i, :, row : row + size, column : column + size]
    return cut, torch.stack([columns - (width - size) // 2, rows - (height - size) // 2], dim=1)


def crop_centre(pictures: torch.Tensor, size: int) -> torch.Tensor:
    """Returns the centre (B, T, size, size, 3) of pictures (B, T, h, w, 3)."""
    row, column = (pictures.shape[2] - size) // 2, (pictures.shape[3] - size) // 2
    return pictures[:, :, row : row + size, column : column + size]
