"""Albumentations as MMSegmentation wraps it, random by the seed of the run; and Fig. 2's."""

from __future__ import annotations

import random

import numpy as np
from mmseg.datasets.transforms import Albu
from mmseg.registry import TRANSFORMS

#: The policy of Fig. 2 of the crack paper. A flip is one of the two, or both; the variance of the
#: noise is 10 to 50 on the scale of 0 to 255.
FIGURE_2 = [
    dict(type="RandomRotate90", p=0.5),
    dict(
        type="OneOf",
        p=0.5,
        transforms=[
            dict(type="HorizontalFlip", p=1.0),
            dict(type="VerticalFlip", p=1.0),
            dict(
                type="Sequential",
                p=1.0,
                transforms=[
                    dict(type="HorizontalFlip", p=1.0),
                    dict(type="VerticalFlip", p=1.0),
                ],
            ),
        ],
    ),
    dict(
        type="OneOf",
        p=1.0,
        transforms=[
            dict(
                type="HueSaturationValue",
                hue_shift_limit=(-20, 20),
                sat_shift_limit=(-30, 30),
                val_shift_limit=(-20, 20),
                p=0.5,
            ),
            dict(
                type="RandomBrightnessContrast",
                brightness_limit=(-0.2, 0.2),
                contrast_limit=(-0.2, 0.2),
                p=0.5,
            ),
        ],
    ),
    dict(type="GaussNoise", std_range=(10**0.5 / 255, 50**0.5 / 255), p=1.0),
    dict(type="GaussianBlur", blur_limit=(1, 7), sigma_limit=(1.0, 8.0), p=1.0),
]


@TRANSFORMS.register_module()
class SeededAlbu(Albu):
    """`Albu` whose random numbers follow NumPy's, which MMEngine seeds in every worker.

    Albumentations 2 draws from generators of its own, which no seed of a config reaches, so that
    no run with `Albu` could be repeated.

    Args:
        **kwargs: As for `Albu`: ``transforms``, ``keymap``, ``bgr_to_rgb``.
    """

    def transform(self, results: dict) -> dict:
        """Augment an image with its mask."""
        seed = int(np.random.randint(2**31))  # noqa: NPY002
        # One generator for all: set_random_seed would give every transform one of its own with
        # the same seed, so that all those of one probability are applied together or not at all.
        self.aug.set_random_state(np.random.default_rng(seed), random.Random(seed))
        return super().transform(results)


@TRANSFORMS.register_module()
class CrackAugmentation(SeededAlbu):
    """The augmentation of the crack paper (Fig. 2): turns, flips, colour, noise and blur.

    Args:
        transforms: Instead of those of the paper, as for `Albu`.
        **kwargs: As for `Albu`.
    """

    def __init__(self, transforms: list[dict] | None = None, **kwargs) -> None:
        super().__init__(transforms=FIGURE_2 if transforms is None else transforms, **kwargs)
