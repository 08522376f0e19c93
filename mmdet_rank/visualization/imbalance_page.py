"""The page of ``mmdet-rank analyze``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmdet_rank.imbalance.findings import find_imbalance

from . import imbalance_figures as draw
from .page import Page

__all__ = ["imbalance_page"]

_KINDS = {"imbalance": "warning", "balance": "", "not measured": "quiet"}


def imbalance_page(report: Mapping[str, Any], title: str) -> Page:
    """Build the page about the imbalance of a data set.

    Args:
        report: what `imbalance.measure_data` gives, with ``priors``, ``training`` and ``paces``
            where they were measured.
        title: name of the data set.
    """
    page = Page(
        f"Imbalance in {title}",
        f"{report['num_images']:,} images, {report['num_objects']:,} objects, "
        f"{len(report['per_class'])} classes",
    )
    page.paragraph(
        "What was found of each kind of imbalance (Oksuz et al., Imbalance Problems in Object "
        "Detection), and the options of MMDetection and mmdet_rank that address it. Orange: "
        "imbalance; blue: none to speak of; grey: not measured."
    )
    for finding in find_imbalance(report):
        page.note(finding.text, label=f"{finding.kind}.", kind=_KINDS[finding.level])
    _classes(page, report)
    _images(page, report["images"])
    _sizes(page, report["sizes"])
    _places(page, report["places"])
    if "iou_of_positives" in report.get("priors", {}):
        _priors(page, report["priors"])
    if "training" in report:
        _training(page, report["training"])
    if report.get("paces"):
        _paces(page, report["paces"])
    return page


def _classes(page: Page, report: Mapping[str, Any]) -> None:
    classes = report["classes"]
    page.heading("Classes")
    page.figures(
        (
            draw.draw_classes(report),
            f"Objects per class; {classes['effective_number']:.1f} classes of equal size have the "
            "same entropy.",
        )
    )
    page.figures(
        (
            draw.draw_batches(report),
            f"A batch of {classes['batch_size']} images holds {classes['classes_in_batch']:.1f} "
            f"classes, with `ClassBalancedDataset(oversample_thr={classes['oversample_thr']:.2g})` "
            f"{classes['classes_in_batch_balanced']:.1f}.",
        )
    )
    ranked = sorted(report["per_class"].items(), key=lambda item: -item[1]["objects"])
    page.table(
        ["class", "objects", "images", "share", "share, balanced", "in a batch", "balanced"],
        [
            [
                name,
                f"{v['objects']:,}",
                f"{v['images']:,}",
                *(
                    f"{v[key]:.1%}"
                    for key in ("share", "share_balanced", "in_batch", "in_batch_balanced")
                ),
            ]
            for name, v in ranked
        ],
        summary=f"All {len(ranked)} classes",
    )


def _images(page: Page, images: Mapping[str, Any]) -> None:
    page.heading("Images")
    objects, classes = images["objects"], images["classes"]
    page.figures(
        (
            draw.draw_histogram(objects["histogram"], "objects in an image", "images", log=True),
            f"{objects['mean']:.1f} objects in an image on average, at most {objects['max']:.0f}; "
            f"{images['without_objects']:,} images have none.",
        ),
        (
            draw.draw_histogram(classes["histogram"], "classes in an image", "images", log=True),
            f"{classes['mean']:.1f} classes in an image on average, at most {classes['max']:.0f}.",
        ),
    )


def _sizes(page: Page, sizes: Mapping[str, Any]) -> None:
    page.heading("Sizes")
    page.figures(
        (
            draw.draw_histogram(
                sizes["relative_side"], "root of width x height, of the image's", "objects"
            ),
            f"By COCO's ranges (32 and 96 pixels): {sizes['small']:.0%} small, "
            f"{sizes['medium']:.0%} medium, {sizes['large']:.0%} large.",
        ),
        (
            draw.draw_aspect_ratios(sizes["log2_aspect_ratio"]),
            f"{sizes['elongated']:.1%} are more than four times as long as wide; anchors have "
            "ratios from 1:2 to 2:1.",
        ),
    )
    page.figures(
        (
            draw.draw_histogram(sizes["relative_width"], "width, of the image's", "objects"),
            "Relative widths.",
        ),
        (
            draw.draw_histogram(sizes["relative_height"], "height, of the image's", "objects"),
            "Relative heights.",
        ),
        (
            draw.draw_histogram(
                sizes["relative_area"], "area, of the image's", "objects", log=True
            ),
            "Relative areas.",
        ),
    )


def _places(page: Page, places: Mapping[str, Any]) -> None:
    page.heading("Places")
    page.figures(
        (
            draw.draw_places(places),
            f"Centres of the objects. {places['border']:.0%} lie within a tenth of the border.",
        )
    )
    page.table(
        ["share of the centres", "left", "middle", "right"],
        [
            [name, *(f"{share:.1%}" for share in row)]
            for name, row in zip(("top", "middle", "bottom"), places["ninths"], strict=True)
        ],
    )


def _priors(page: Page, priors: Mapping[str, Any]) -> None:
    page.heading(f"Priors of {priors['head']}")
    page.paragraph(
        f"On {priors['images']} images: {priors['positives_per_image']:.1f} positives, "
        f"{priors['ignored_per_image']:.1f} ignored, and "
        f"{priors['negatives_per_positive']:,.0f} of background for each positive."
    )
    page.figures(
        (draw.draw_levels(priors), "Priors of each level that are given to objects or background."),
        (
            draw.draw_histogram(priors["iou_of_positives"], "IoU with the object", "positives"),
            f"IoU of the positive priors: {priors['low_iou_share']:.0%} are below 0.6.",
        ),
    )
    unreached = priors["unreached_by_size"]
    page.table(
        ["objects that no prior reaches", "share"],
        [["all", f"{priors['unreached']:.1%}"]]
        + [[name, f"{share:.1%}"] for name, share in unreached.items()],
    )
    page.table(
        ["class", "positives per object"],
        [
            [name, f"{number:.1f}"]
            for name, number in sorted(priors["positives_per_object"].items(), key=lambda i: i[1])
        ],
        summary="Positives per object, by class",
    )


def _training(page: Page, training: Mapping[str, Any]) -> None:
    page.heading("Losses and gradients of the checkpoint")
    figures = [
        (
            draw.draw_shares(training),
            f"On {training['images']} images: shares of the loss by task, and at each classifier "
            "the gradients that raise scores (of objects) and lower them (of background).",
        )
    ]
    if "iou_after" in training:
        mean = training["iou_mean"]
        figures.append(
            (
                draw.draw_regression(training),
                f"Box regression takes the IoU of positives from {mean['before']:.2f} to "
                f"{mean['after']:.2f}; {training['made_worse']:.0%} become worse.",
            )
        )
        shares = training["regression_errors"]
        low = {key: sum(shares[key][:5]) for key in ("boxes", "L1", "L2")}
        figures.append(
            (
                draw.draw_error_shares(training),
                f"Boxes whose IoU is below 0.5 after regression are {low['boxes']:.0%} of the "
                f"positives; they make {low['L1']:.0%} of all L1 errors and {low['L2']:.0%} of all "
                "L2 errors.",
            )
        )
    page.figures(*figures)
    page.table(
        ["loss", "mean"],
        [
            [name, "not finite" if value is None else f"{value:.4f}"]
            for name, value in training["losses"].items()
        ],
    )
    page.table(
        ["head", "gradient at scores", "at boxes", "lowering : raising"],
        [
            [
                name,
                f"{part['classification']:.3g}",
                f"{part['boxes']:.3g}",
                f"{training['classification'][name]['ratio']:.2f}",
            ]
            for name, part in training["gradients"].items()
        ],
    )


def _paces(page: Page, paces: Mapping[str, Any]) -> None:
    page.heading("Paces of the tasks")
    left = ", ".join(f"{task} {share:.0%}" for task, share in paces["left"].items())
    page.figures(
        (
            draw.draw_paces(paces),
            f"Losses in the training, over what they were at first; at its end {left}.",
        )
    )
