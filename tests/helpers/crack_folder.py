"""Made-up pictures with a dark crack each, as a folder of images and one of masks."""

from pathlib import Path

import numpy as np
from PIL import Image


def make_crack(rng, size=(48, 40), width=3):
    """A picture (H, W, 3), grey and noisy, and its mask: a slanted line, not where width is 0."""
    rows, columns = np.indices(size)
    slope, start = rng.uniform(-0.6, 0.6), rng.uniform(0.3, 0.7) * size[0]
    mask = np.abs(rows - start - slope * (columns - size[1] / 2)) < width / 2
    grey = 150 + rng.normal(0, 12, size) - 90 * mask
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2), mask


def make_folder(root, number=8, size=(48, 40), seed=0, width=3):
    root = Path(root)
    rng = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for i in range(number):
        image, mask = make_crack(rng, size, width)
        Image.fromarray(image).save(root / "images" / f"{i}.jpg")
        Image.fromarray(255 * mask.astype(np.uint8)).save(root / "masks" / f"{i}.png")
    return root
