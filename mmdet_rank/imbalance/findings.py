"""From measures to sentences: what was found of each kind of imbalance, and what addresses it.

The kinds are those of the thesis's taxonomy (chapter 3): class, scale, spatial, objective. The
thesis defines no limits (3.6.2); those here only decide how a sentence is worded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["Finding", "find_imbalance"]

# From these on a measure counts as imbalance.
CLASS_RATIO = 5.0
SCALE_SPAN = 8.0
SMALL_SHARE = 0.4
PLACE_UNEVENNESS = 0.2
UNREACHED_SHARE = 0.02
BACKGROUND_RATIO = 20.0
LOW_IOU_SHARE = 0.6
TASK_RATIO = 3.0


class Finding(NamedTuple):
    """One sentence about one kind of imbalance.

    Attributes:
        kind: of the taxonomy.
        level: ``imbalance``, ``balance`` or ``not measured``.
        text: what was found, and which option addresses it; code between backquotes.
    """

    kind: str
    level: str
    text: str


def find_imbalance(report: Mapping[str, Any]) -> list[Finding]:
    """Sentences about every kind of imbalance, in the order of the taxonomy.

    Args:
        report: what `measure_data` gives, with ``priors``, ``training`` and ``paces`` where
            they were measured.
    """
    priors, training = report.get("priors"), report.get("training")
    return [
        _foreground(report),
        _background(priors, training),
        _scale(report, priors),
        _places(report["places"]),
        _ious(priors),
        _objective(training, report.get("paces")),
    ]


def _foreground(report: Mapping[str, Any]) -> Finding:
    kind = "Class imbalance: among the objects"
    classes, per_class = report["classes"], report["per_class"]
    found = {name: values for name, values in per_class.items() if values["objects"]}
    most = max(found, key=lambda name: found[name]["objects"])
    least = min(found, key=lambda name: found[name]["objects"])
    without = classes["without_objects"]
    have = "class has" if len(without) == 1 else "classes have"
    missing = f" {len(without)} {have} no object at all: {_listed(without)}." * bool(without)
    if len(found) < 2:
        return Finding(kind, "balance", f"There is one class with objects, `{most}`.{missing}")
    ratio = classes["imbalance_ratio"]
    begin = (
        f"The commonest class, `{most}` ({found[most]['objects']:,} objects), has {ratio:,.1f} "
        f"times the objects of the rarest, `{least}` ({found[least]['objects']:,})"
    )
    if ratio < CLASS_RATIO:
        return Finding(kind, "balance", f"{begin}: little imbalance, nothing is needed.{missing}")
    sampled = f"`ClassBalancedDataset(oversample_thr={classes['oversample_thr']:.2g})`"
    left = classes["imbalance_ratio_balanced"]
    if left < 0.9 * ratio:
        by_image = (
            f"MMDetection's {sampled} brings that to {left:,.1f}, for epochs "
            f"{classes['epoch_length_balanced']:.2f} times as long"
        )
    else:
        by_image = (
            f"Showing images again ({sampled}) does not help ({left:,.1f}), for the classes share "
            "their images"
        )
    return Finding(
        kind,
        "imbalance",
        f"{begin}, and {classes['share_below_mean']:.0%} of the classes lie below the mean."
        f"{missing} {by_image}; in an R-CNN `OnlineForegroundBalancedSampler` gives every class of "
        "an image the same chance; `REGLoss(class_counts=...)` weighs the classes.",
    )


def _background(priors: Mapping | None, training: Mapping | None) -> Finding:
    kind = "Class imbalance: objects against background"
    ranking = (
        "A ranking loss balances them whatever their number, without sampler or focal weights: "
        "`RankSortLoss` in a `Rank...` head."
    )
    if not priors or "negatives_per_positive" not in priors:
        why = (priors or {}).get("why_not", "It is measured when a config is given (`--config`).")
        return Finding(kind, "not measured", f"{why} {ranking}")
    ratio = priors["negatives_per_positive"]
    begin = (
        f"{priors['head']} assigns {priors['positives_per_image']:,.0f} of "
        f"{priors['priors_per_image']:,.0f} priors of an image to objects, "
        f"{ratio:,.0f} of background for each"
    )
    gradient = _gradients(training)
    if priors["ranks"]:
        return Finding(kind, "balance", f"{begin}. The head trains by a ranking loss.{gradient}")
    if ratio < BACKGROUND_RATIO:
        return Finding(kind, "balance", f"{begin}: little imbalance.{gradient}")
    return Finding(kind, "imbalance", f"{begin}.{gradient} {ranking}")


def _gradients(training: Mapping | None) -> str:
    if not training or not training["classification"]:
        return ""
    texts = [
        f"{name} {values['raising']:.0%} / {values['lowering']:.0%}"
        for name, values in training["classification"].items()
    ]
    return (
        " Gradients at the classifier that raise scores, and that lower them: "
        + "; ".join(texts)
        + "."
    )


def _scale(report: Mapping[str, Any], priors: Mapping | None) -> Finding:
    kind = "Scale imbalance"
    sizes = report["sizes"]
    begin = (
        f"Nine of ten objects have a side of {sizes['side_5_percent']:.1%} to "
        f"{sizes['side_95_percent']:.1%} of their image's, {sizes['span']:.1f} times as much; "
        f"{sizes['small']:.0%} are smaller than 32 x 32 pixels"
    )
    unreached = ""
    missed = False
    if priors and priors.get("unreached") is not None:
        missed = priors["unreached"] > UNREACHED_SHARE
        unreached = (
            f" {priors['unreached']:.1%} of the objects get no prior of their own"
            + (
                f", of the small ones {priors['unreached_by_size']['small']:.1%}: change the "
                "`anchor_generator` (`octave_base_scale`, `ratios`, `strides`), or assign by "
                "`ATSSAssigner`, which gives every object some"
            )
            * missed
            + "."
        )
    if sizes["span"] < SCALE_SPAN and sizes["small"] < SMALL_SHARE and not missed:
        return Finding(kind, "balance", f"{begin}: a narrow range, nothing is needed.{unreached}")
    advice = [
        "a pyramid (`FPN`) and training at several sizes (`RandomChoiceResize`) widen what a "
        "detector covers"
    ]
    if sizes["small"] >= SMALL_SHARE:
        advice.append("larger images (the `scale` of `Resize`) help the small ones")
    return Finding(kind, "imbalance", f"{begin}.{unreached} {_sentence('; '.join(advice))}.")


def _places(places: Mapping[str, Any]) -> Finding:
    kind = "Spatial imbalance: places of objects"
    begin = (
        f"The middle ninth of the images holds {places['middle']:.0%} of the objects' centres "
        f"(evenly: 11 %), and {places['unevenness']:.0%} would have to move for an even spread"
    )
    if places["unevenness"] < PLACE_UNEVENNESS:
        return Finding(kind, "balance", f"{begin}: little imbalance.")
    return Finding(
        kind,
        "imbalance",
        f"{begin}. If objects may be elsewhere in use, move them in training: `RandomCrop`, "
        "`RandomAffine`, `Mosaic`; `RandomFlip` where a mirrored object is still one.",
    )


def _ious(priors: Mapping | None) -> Finding:
    kind = "Spatial imbalance: IoU of the positives"
    options = (
        "Cascade R-CNN (`RankCascadeRoIHead`) trains stages at rising IoUs; "
        "`GeneratedPositivesSampler` makes positives of any IoU for an R-CNN."
    )
    if not priors or not priors.get("iou_of_positives"):
        why = (priors or {}).get("why_not", "It is measured when a config is given (`--config`).")
        return Finding(kind, "not measured", f"{why} {options}")
    low = priors["low_iou_share"]
    begin = (
        f"{low:.0%} of the positive priors overlap with their object by less than 0.6, and "
        f"{priors['high_iou_share']:.0%} by 0.8 or more"
    )
    if low < LOW_IOU_SHARE:
        return Finding(kind, "balance", f"{begin}.")
    return Finding(kind, "imbalance", f"{begin}: box regression learns from bad ones. {options}")


def _objective(training: Mapping | None, paces: Mapping | None) -> Finding:
    kind = "Objective imbalance"
    options = (
        "`criterion=dict(balance='value')` in a `Rank...` head balances tasks in every iteration, "
        "without a weight to tune; elsewhere it is the `loss_weight` of each loss."
    )
    if not training:
        return Finding(
            kind,
            "not measured",
            "It is measured when a config and a checkpoint are given (`--config`, "
            f"`--checkpoint`). {options}",
        )
    shares = training["task_shares"]
    if not shares:
        return Finding(
            kind,
            "not measured",
            "The losses of the checkpoint are not finite on this data: its training has diverged. "
            f"Take an earlier checkpoint, or train with a lower learning rate.{_left(paces)}",
        )
    texts = ", ".join(f"{share:.0%} {task}" for task, share in shares.items())
    begin = f"Of the loss on a batch, {texts}"
    values = [value for value in shares.values() if value > 0]
    if len(values) < 2 or max(values) / min(values) < TASK_RATIO:
        return Finding(kind, "balance", f"{begin}: no task drowns the others.{_left(paces)}")
    return Finding(kind, "imbalance", f"{begin}.{_left(paces)} {options}")


def _left(paces: Mapping | None) -> str:
    if not paces:
        return ""
    parts = ", ".join(f"{share:.0%} ({task})" for task, share in paces["left"].items())
    return f" In training the losses came to {parts} of what they were at first."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(names: list[str], limit: int = 5) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:limit])
    return shown + f" and {len(names) - limit} more" * (len(names) > limit)
