"""Tells REGLoss how many annotations each class of the training set has."""

from __future__ import annotations

from collections import Counter

import numpy as np
from mmdet.registry import HOOKS
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdet_rank.engine.lrp_threshold_hook import label_names
from mmdet_rank.losses.reg_loss import REGLoss
from mmdet_rank.ops.reg import imbalance_ratio


@HOOKS.register_module()
class ClassCountsHook(Hook):
    """Counts the training set's annotations for every `REGLoss` with ``class_counts="auto"``.

        default_hooks = dict(class_counts=dict(type="ClassCountsHook"))

    In ``custom_hooks`` it would take the place of the base config's hooks, its EMA among them.

    Boxes that training ignores (crowds) do not count. A resumed training counts again.

    Raises:
        ValueError: Before training, if a class has no annotation, or the data set no objects.
    """

    def before_train(self, runner: Runner) -> None:
        """Count once, and give the counts to the losses that ask for them."""
        losses = {
            name: module
            for name, module in runner.model.named_modules()
            if isinstance(module, REGLoss) and module.counts_missing
        }
        if not losses:
            return
        counts = class_counts(runner.train_dataloader.dataset)
        if empty := [name for name, number in counts.items() if not number]:
            raise ValueError(
                "Expected annotations of every class for class_counts='auto', but got none of "
                f"{', '.join(map(repr, empty))}; leave classes without any out of metainfo, or "
                "give class_counts as a list."
            )
        numbers = list(counts.values())
        for name, loss in losses.items():
            loss.set_class_counts(numbers)
            weights = ", ".join(f"{weight:.3g}" for weight in np.atleast_1d(loss.alpha))
            runner.logger.info(
                f"{name}: {counts}, imbalance {imbalance_ratio(numbers):.3g} : 1, weights {weights}"
            )


def class_counts(dataset: BaseDataset) -> dict[str, int]:
    """Annotations of each class of a data set that training sees, by name, in its order.

    Args:
        dataset: MMDetection's, or one that wraps such.

    Raises:
        ValueError: If the data set annotates pixels and no objects.
    """
    while not hasattr(dataset, "get_data_info"):
        dataset = dataset.dataset
    found = Counter(
        instance["bbox_label"]
        for i in range(len(dataset))
        for instance in _instances(dataset, i)
        if not instance.get("ignore_flag")
    )
    return {name: found[label] for label, name in enumerate(label_names(dataset))}


def _instances(dataset: BaseDataset, index: int) -> list[dict]:
    info = dataset.get_data_info(index)
    if "instances" not in info:
        raise ValueError(
            "Expected a data set of annotated objects for class_counts='auto', but got "
            f"{type(dataset).__name__}, which has none; give class_counts as a list."
        )
    return info["instances"]
