"""The losses' defaults: those of the papers, and the same as a function and as a module."""

import inspect

import pytest

from mmdet_rank import losses, ops

RANKING = dict(loss_weight=1.0, sync=False, use_sigmoid=True)
MASKS = dict(reduction="mean", loss_weight=1.0, use_sigmoid=True, activate=True)
TVERSKY = dict(delta=0.7, gamma=0.75, smooth=1.0)
DEFAULTS = {
    "RankSortLoss": RANKING | dict(delta=0.5, sort=True),
    "aLRPLoss": RANKING | dict(delta=1.0, tau=0.5),
    "APLoss": RANKING | dict(delta=1.0, interpolated=True),
    "REGLoss": dict(
        gamma=2.0, alpha=1.0, class_counts=None, per_class=False, alpha_on="both", beta=1.0,
        delta=0.0, near=True, floor=0.25, sigma=0.0, use_sigmoid=True, reduction="mean",
        loss_weight=1.0,
    ),
    "FocalMarginLoss": MASKS | dict(margin=1.0, gamma=2.0, asymmetric=True),
    "HybridFocalMarginLoss": MASKS
    | TVERSKY
    | dict(margin=1.0, focusing=2.0, asymmetric=True, balance=None),
    "UnifiedFocalLoss": MASKS | dict(delta=0.6, gamma=0.5, balance=0.5, smooth=1.0),
    "FocalTverskyLoss": MASKS | TVERSKY,
    "SquaredDiceLoss": MASKS | dict(smooth=1.0),
    "MeanIoULoss": MASKS | dict(background=True, smooth=1.0),
}  # fmt: skip
FUNCTIONS = {
    "RankSortLoss": ops.rank_sort_loss,
    "aLRPLoss": ops.average_lrp_loss,
    "APLoss": ops.average_precision_loss,
    "REGLoss": ops.refined_generalized_focal_loss,
    "FocalMarginLoss": ops.focal_margin_loss,
    "HybridFocalMarginLoss": ops.hybrid_focal_margin_loss,
    "UnifiedFocalLoss": ops.unified_focal_loss,
    "FocalTverskyLoss": ops.focal_tversky_loss,
    "SquaredDiceLoss": ops.squared_dice_loss,
    "MeanIoULoss": ops.mean_iou_loss,
}


def defaults(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults(name):
    of_module = defaults(getattr(losses, name).__init__)
    assert of_module == DEFAULTS[name]
    of_function = defaults(FUNCTIONS[name])
    # REG as printed has no floor; as a loss of a detector it punishes every false positive.
    shared = (of_module.keys() & of_function.keys()) - {"floor"}
    assert {key: of_module[key] for key in shared} == {key: of_function[key] for key in shared}
