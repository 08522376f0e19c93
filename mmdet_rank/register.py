"""Registers every loss, head, sampler, hook, runner and metric with MMDetection when imported.

From then on ``mmdet_rank::FOLDER/FILE.py`` names a config of the package, in ``_base_``,
``Config.fromfile`` and ``init_detector``.

In a config:

    custom_imports = dict(imports=["mmdet_rank.register"], allow_failed_imports=False)

Raises:
    ImportError: A package of the stack is missing or of a wrong version, or compiled operators of
        mmcv do not load. The message names each with the command that mends it.
"""

import importlib
import importlib.util
import warnings

from mmdet_rank._stack import without_onedl

from mmdet_rank._mmengine import resolve_configs

#: Importing such a part registers what is in it.
PARTS = (
    "mmdet_rank.losses",
    "mmdet_rank.criteria",
    "mmdet_rank.models",
    "mmdet_rank.evaluation.metrics",
    "mmdet_rank.engine",
)

resolve_configs()
with warnings.catch_warnings(), without_onedl():
    # An optional metric of MMDetection, which nothing here uses, asks for its package.
    warnings.filterwarnings("ignore", message="faster_coco_eval is not installed")
    for _part in PARTS:
        importlib.import_module(_part)

if importlib.util.find_spec("mmseg") is not None:
    # Losses alone, and of MMSegmentation only its registry; the rest is mmdet_rank.segmentation.
    importlib.import_module("mmdet_rank.losses.pixel_loss")
