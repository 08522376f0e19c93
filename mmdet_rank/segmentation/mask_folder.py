"""A data set of MMSegmentation from a folder of images and one of masks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import ClassVar

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, TRANSFORMS

from mmdet_rank.annotations.mask_files import MaskReader, check_sizes, find_pairs

SPLITS = ("train", "val", "all")


@DATASETS.register_module()
class MaskFolderDataset(BaseSegDataset):
    """Images and masks of one kind of foreground, from two folders (or one).

    Every mask is read once when the data set is built, so that a mistake is told before training
    and not in the middle of it; the share of foreground, by which a margin is chosen, is logged.
    Masks without any foreground, and of nothing else, are fine.

    Args:
        data_root: Folder of both.
        data_prefix: ``img_path`` and ``seg_map_path``: folders under it. Default: ``images`` and
            ``masks``.
        img_suffix: End of the images' names. Default: that of any image format.
        seg_map_suffix: End of the masks' names, such as "_mask.png". Default: that of any image
            format, ".mat" or ".npy".
        threshold: Share of white from which a mask's pixel is foreground.
        mat_field: Path of the array in ``.mat`` masks.
        mask_value: The one value that is foreground. Default: decided by ``threshold``.
        split: "train", "val" or "all". The first two share the images out by ``split_seed``.
        train_share: Share of the images that are for training.
        split_seed: Seed of that choice.
        classes: Names of background and foreground.
        check_masks: Whether to read every mask beforehand.
        **kwargs: As for `BaseSegDataset`: ``pipeline``, ``test_mode``, ``indices``.

    Raises:
        FileNotFoundError: If a folder, or a mask or image of a pair, is missing.
        ValueError: If a mask cannot be read or has another size than its image, or an option is
            out of range.
    """

    METAINFO: ClassVar[dict] = dict(
        classes=("background", "crack"), palette=[[0, 0, 0], [255, 64, 0]]
    )

    def __init__(
        self,
        data_root: str,
        data_prefix: dict | None = None,
        img_suffix: str | None = None,
        seg_map_suffix: str | None = None,
        threshold: float = 0.5,
        mat_field: str = "groundTruth.Segmentation",
        mask_value: int | None = None,
        split: str = "all",
        train_share: float = 0.75,
        split_seed: int = 0,
        check_masks: bool = True,
        **kwargs,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"Expected split 'train', 'val' or 'all', but got {split!r}.")
        if not 0 < train_share < 1:
            raise ValueError(f"Expected train_share between 0 and 1, but got {train_share}.")
        self.reader = MaskReader(threshold, mat_field, mask_value)
        self.split = split
        self.train_share = train_share
        self.split_seed = split_seed
        self.check_masks = check_masks
        super().__init__(
            data_root=data_root,
            data_prefix=data_prefix or dict(img_path="images", seg_map_path="masks"),
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Find, choose and check the pairs."""
        pairs = find_pairs(
            self.data_prefix["img_path"],
            self.data_prefix["seg_map_path"],
            self.img_suffix,
            self.seg_map_suffix,
        )
        pairs = self._of_split(pairs)
        if self.check_masks:
            self._check(pairs)
        return [
            dict(
                img_path=str(image),
                seg_map_path=str(mask),
                mask_reader=self.reader,
                label_map=self.label_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
            )
            for image, mask in pairs
        ]

    def _of_split(self, pairs: list[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
        if self.split == "all":
            return pairs
        order = np.random.default_rng(self.split_seed).permutation(len(pairs))
        number = round(self.train_share * len(pairs))
        chosen = order[:number] if self.split == "train" else order[number:]
        if not len(chosen):
            raise ValueError(
                f"Expected images for split={self.split!r} of {self.data_prefix['img_path']}, but "
                f"none of its {len(pairs)} is left at train_share={self.train_share}."
            )
        return [pairs[i] for i in sorted(chosen)]

    def _check(self, pairs: list[tuple[Path, Path]]) -> None:
        foreground = total = 0
        grey: list[Path] = []
        for image, path in pairs:
            mask = self.reader.read(path)
            check_sizes(image, path, mask.shape)
            foreground += int(mask.sum())
            total += mask.size
            if len(self.reader.greys(path)):
                grey.append(path)
        print_log(
            f"{self.data_prefix['img_path']} ({self.split}): {len(pairs)} images, "
            f"{foreground / max(total, 1):.2%} of the pixels foreground.",
            logger="current",
        )
        if grey:
            print_log(
                f"Expected masks of two values, but {len(grey)} of {len(pairs)} have others "
                f"between, {grey[0]} the first; pixels of at least "
                f"{self.reader.threshold:.0%} of white are foreground (threshold).",
                logger="current",
                level=logging.WARNING,
            )


@TRANSFORMS.register_module()
class LoadMask(BaseTransform):
    """Reads the mask of a `MaskFolderDataset`: ``gt_seg_map`` (H, W), 0 or 1, uint8."""

    def transform(self, results: dict) -> dict:
        """Add ``gt_seg_map``."""
        results["gt_seg_map"] = results["mask_reader"].read(results["seg_map_path"])
        results["seg_fields"].append("gt_seg_map")
        return results
