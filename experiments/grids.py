"""The tables of the thesis as grids on the digits: what differs from cell to cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["GRIDS", "Cell", "Grid"]

HEAD = "model.bbox_head"
MASKS = "model.mask_head"
RCNN = "model.train_cfg.rcnn"


class Cell(NamedTuple):
    """One model of a table.

    Attributes:
        config: file of ``configs/digits/`` without its ending.
        options: what differs from it, as ``--cfg-options`` takes it.
    """

    config: str
    options: tuple[str, ...] = ()


class Grid(NamedTuple):
    """One table.

    Attributes:
        title: what it shows.
        cells: by name, in the order of the table; of a table of two dimensions as ``ROW x COLUMN``.
        imbalanced: whether it is about classes, and wants digits of unequal numbers.
    """

    title: str
    cells: dict[str, Cell]
    imbalanced: bool = False


def _instance_weights() -> dict[str, Cell]:
    cells = {}
    for weight in ("none", "centerness", "score", "iou", "ranking"):
        for balance in ("1", "2", "3", "value", "magnitude"):
            constant = balance.isdigit()
            options = [
                f"{HEAD}.criterion.instance_weight={weight}",
                f"{HEAD}.criterion.balance={'constant' if constant else balance}",
            ]
            if constant:
                options.append(f"{HEAD}.loss_bbox.loss_weight={balance}")
            cells[f"{weight} x {balance}"] = Cell("rs-atss_r18_fpn_digits", tuple(options))
    return cells


def _generated() -> dict[str, Cell]:
    cells = {}
    for weights in ("right_skew", "uniform", "left_skew", "base"):
        for name, balanced, mined in (
            ("neither", False, False),
            ("balanced", True, False),
            ("balanced, OHPM", True, True),
        ):
            options = [
                f"{RCNN}.sampler.type=GeneratedPositivesSampler",
                f"{RCNN}.sampler.weights={weights}",
                f"{RCNN}.sampler.balanced={balanced}",
                f"{RCNN}.sampler.within_bins={weights != 'base'}",
            ]
            if mined:
                options.append(f"{RCNN}.sampler.num_generated=128")
            cells[f"{weights} x {name}"] = Cell("faster-rcnn_r18_fpn_digits", tuple(options))
    return cells


def _samplers() -> dict[str, Cell]:
    kinds = {"R": "RandomSampler", "H": "OHEMSampler", "OFB": "OnlineForegroundBalancedSampler"}
    return {
        f"{positive}/{negative}": Cell(
            "faster-rcnn_r18_fpn_digits",
            (
                f"{RCNN}.sampler.type=CombinedSampler",
                f"{RCNN}.sampler.pos_sampler.type={kinds[positive]}",
                f"{RCNN}.sampler.neg_sampler.type={kinds[negative]}",
            ),
        )
        for negative in ("R", "H")
        for positive in ("R", "H", "OFB")
    }


def _higher_ious() -> dict[str, Cell]:
    bases = (0.5, 0.6, 0.7, 0.8, 0.9)
    cells = {}
    for place, iou in enumerate(bases):
        assigner = tuple(
            f"{RCNN}.assigner.{key}={iou}" for key in ("pos_iou_thr", "neg_iou_thr", "min_pos_iou")
        )
        generated = (
            f"{RCNN}.sampler.type=GeneratedPositivesSampler",
            f"{RCNN}.sampler.num_generated=128",
            f"{RCNN}.sampler.bases=[{','.join(map(str, bases[place:]))}]",
        )
        cells[f"{iou} x RPN"] = Cell("faster-rcnn_r18_fpn_digits", assigner)
        cells[f"{iou} x generated"] = Cell("faster-rcnn_r18_fpn_digits", assigner + generated)
    return cells


def _values(config: str, key: str, values: Sequence[object], *more: str) -> dict[str, Cell]:
    return {str(value): Cell(config, (*more, f"{key}={value}")) for value in values}


def _balance_of(losses: dict[str, Cell]) -> dict[str, Cell]:
    """Cells whose runs also tell how much of the gradient lowers scores over how much raises."""
    # As often as the digits' configs log.
    options = (
        "default_hooks.balance.type=GradientBalanceHook",
        "default_hooks.balance.interval=20",
    )
    return {name: Cell(config, (*more, *options)) for name, (config, more) in losses.items()}


def _scored(config: str, loss: str, weight: str, box_weight: float) -> Cell:
    """A head that ranks, without auxiliary branch, trained by a score-based loss."""
    return Cell(
        config,
        (
            f"{HEAD}.loss_cls.type={loss}",
            f"{HEAD}.criterion.type=ScoreCriterion",
            f"{HEAD}.criterion.instance_weight={weight}",
            f"{HEAD}.loss_bbox.loss_weight={box_weight}",
        ),
    )


_RANKING = f"{HEAD}.criterion.instance_weight=ranking"
_CONSTANT = f"{HEAD}.criterion.balance=constant"
_NO_OHEM = (f"{HEAD}.use_ohem=False", f"{HEAD}.loss_cls.reduction=mean")
# MMDetection's head cannot do without the branch; by a weight of 0 it trains nothing.
_NO_SEGMENTATION = (f"{MASKS}.loss_segm.loss_weight=0.0",)
_FIRST_EPOCH = ("train_cfg.max_epochs=1",)
_IOU = (f"{HEAD}.loss_bbox.type=IoULoss", f"{HEAD}.loss_bbox.mode=linear")

#: By number of the table in the thesis.
GRIDS: dict[str, Grid] = {
    "4.1": Grid(
        "generated positives: distribution of IoUs, balance of classes, hard positive mining",
        _generated(),
        imbalanced=True,
    ),
    "4.2": Grid(
        "positives at random, and foreground balanced",
        {
            "random": Cell("faster-rcnn_r18_fpn_digits"),
            "OFB": Cell(
                "faster-rcnn_r18_fpn_digits",
                (f"{RCNN}.sampler.type=OnlineForegroundBalancedSampler",),
            ),
        },
        imbalanced=True,
    ),
    "4.3": Grid("samplers of positives / negatives", _samplers(), imbalanced=True),
    "4.4": Grid(
        "positives of the RPN and generated ones, by the IoU of a positive",
        _higher_ious(),
        imbalanced=True,
    ),
    "7.1": Grid(
        "from AP Loss to aLRP Loss on RetinaNet",
        {
            "AP Loss": Cell("ap-retinanet_r18_fpn_digits"),
            "aLRP, IoU": Cell("alrp-retinanet_r18_fpn_digits", (*_IOU, _CONSTANT)),
            "aLRP, IoU, self-balance": Cell("alrp-retinanet_r18_fpn_digits", _IOU),
            "aLRP, GIoU, self-balance": Cell("alrp-retinanet_r18_fpn_digits"),
            "aLRP, GIoU, self-balance, ATSS": Cell("alrp-atss_r18_fpn_digits"),
        },
    ),
    "7.2": Grid(
        "constant weights of aLRP's boxes, and self-balance",
        {
            **_values(
                "alrp-retinanet_r18_fpn_digits",
                f"{HEAD}.loss_bbox.loss_weight",
                (1, 2, 5, 10, 15, 20, 25),
                _CONSTANT,
            ),
            "self-balance": Cell("alrp-retinanet_r18_fpn_digits"),
        },
    ),
    "7.3": Grid(
        "weight of aLRP's boxes in the first epoch",
        _values(
            "alrp-retinanet_r18_fpn_digits",
            f"{HEAD}.criterion.balance.initial",
            (1, 50, 100, 500),
            f"{HEAD}.criterion.balance.type=epoch",
        ),
    ),
    "7.4": Grid(
        "balance of the gradients of background and objects, of losses of RetinaNet (Fig. 7.4)",
        _balance_of(
            {
                "cross entropy": Cell(
                    "retinanet_r18_fpn_digits",
                    (
                        f"{HEAD}.loss_cls._delete_=True",
                        f"{HEAD}.loss_cls.type=CrossEntropyLoss",
                        f"{HEAD}.loss_cls.use_sigmoid=True",
                    ),
                ),
                "focal": Cell("retinanet_r18_fpn_digits"),
                "aLRP": Cell("alrp-retinanet_r18_fpn_digits"),
            }
        ),
    ),
    "8.1": Grid("instance weight by balance of RS-ATSS", _instance_weights()),
    "8.3": Grid(
        "RS-R-CNN with and without sampling",
        {
            "random, random": Cell("rs-faster-rcnn_r18_fpn_samplers_digits"),
            "none, random": Cell("rs-faster-rcnn_r18_fpn_rcnn-sampler_digits"),
            "none, none": Cell("rs-faster-rcnn_r18_fpn_digits"),
        },
    ),
    "8.4": Grid(
        "losses of ATSS and PAA",
        {
            "focal x ATSS": _scored("rs-atss_r18_fpn_digits", "FocalLoss", "centerness", 2.0),
            "focal x PAA": _scored("rs-paa_r18_fpn_digits", "FocalLoss", "iou", 1.3),
            "focal, auxiliary branch x ATSS": Cell("atss_r18_fpn_digits"),
            "focal, auxiliary branch x PAA": Cell("paa_r18_fpn_digits"),
            "AP x ATSS": Cell("ap-atss_r18_fpn_digits"),
            "QFL x ATSS": _scored("rs-atss_r18_fpn_digits", "QualityFocalLoss", "score", 2.0),
            "QFL x PAA": _scored("rs-paa_r18_fpn_digits", "QualityFocalLoss", "score", 2.0),
            "QFL, IoU weights x PAA": _scored(
                "rs-paa_r18_fpn_digits", "QualityFocalLoss", "iou", 1.3
            ),
            "aLRP x ATSS": Cell("alrp-atss_r18_fpn_digits"),
            "RS x ATSS": Cell("rs-atss_r18_fpn_digits"),
            "RS x PAA": Cell("rs-paa_r18_fpn_digits"),
        },
    ),
    "8.7": Grid(
        "heuristics of YOLACT, and RS Loss without any (the size-based normalization of masks is "
        "part of MMDetection's head)",
        {
            "all": Cell("yolact_r18_fpn_digits"),
            "no OHEM": Cell("yolact_r18_fpn_digits", _NO_OHEM),
            "no segmentation branch": Cell("yolact_r18_fpn_digits", _NO_SEGMENTATION),
            "neither": Cell("yolact_r18_fpn_digits", (*_NO_OHEM, *_NO_SEGMENTATION)),
            "RS Loss": Cell("rs-yolact_r18_fpn_digits"),
        },
    ),
    "L.1": Grid(
        "aLRP Loss by its definition, with the right target and with 0 (Fig. L.1)",
        _balance_of(
            {
                target: Cell(
                    "alrp-retinanet_r18_fpn_digits",
                    (
                        f"{HEAD}.loss_cls.type=aLRPLossByDefinition",
                        f"{HEAD}.loss_cls.target={target}",
                    ),
                )
                for target in ("localization", "zero")
            }
        ),
    ),
    "N.1": Grid(
        "aLRP and RS Loss on Faster R-CNN, after the first epoch and at the end",
        {
            "aLRP x first epoch": Cell("alrp-faster-rcnn_r18_fpn_digits", _FIRST_EPOCH),
            "RS x first epoch": Cell("rs-faster-rcnn_r18_fpn_digits", _FIRST_EPOCH),
            "aLRP x end": Cell("alrp-faster-rcnn_r18_fpn_digits"),
            "RS x end": Cell("rs-faster-rcnn_r18_fpn_digits"),
        },
    ),
    "N.2": Grid(
        "delta_loc of ranking-based instance weights (None: a hard step)",
        _values(
            "rs-atss_r18_fpn_digits",
            f"{HEAD}.criterion.delta_loc",
            (0, 0.5, 1, 1.5, 2, None),
            _RANKING,
        ),
    ),
    "P.1": Grid(
        "delta of RS Loss on ATSS",
        _values("rs-atss_r18_fpn_digits", f"{HEAD}.loss_cls.delta", (0.25, 0.4, 0.5, 0.6, 0.75, 1)),
    ),
    "P.3": Grid(
        "continuous labels of RS-YOLACT: none, IoU of the boxes, Dice of the masks, their mean",
        _values("rs-yolact_r18_fpn_digits", f"{HEAD}.label", ("binary", "iou", "dice", "mean")),
    ),
    "sorting": Grid(
        "RS Loss with and without its sorting error",
        {
            "ranking and sorting": Cell("rs-atss_r18_fpn_digits"),
            "ranking alone": Cell("rs-atss_r18_fpn_digits", (f"{HEAD}.loss_cls.sort=False",)),
        },
    ),
}
