"""The losses that ``compare_losses.py`` trains, and the figures that the crack paper gives them."""

from __future__ import annotations

#: Name, title, and config of each loss but those with a margin.
LOSSES: dict[str, tuple[str, dict | list[dict]]] = {
    "bce": ("BCE", dict(type="FocalMarginLoss", margin=0.0, gamma=0.0)),
    "dice": ("Dice", dict(type="BinaryDiceLoss")),
    "squared-dice": ("Squared Dice (Eq. 5)", dict(type="SquaredDiceLoss")),
    "focal": ("Focal", dict(type="BinaryFocalLoss", gamma=2.0)),
    "afocal": ("Asymmetric focal", dict(type="AsymmetricFocalLoss", gamma=2.0)),
    "tversky": ("Tversky", dict(type="BinaryTverskyLoss", delta=0.7)),
    "ftversky": ("Focal Tversky", dict(type="FocalTverskyLoss", delta=0.7, gamma=0.75)),
    "bcedice": ("BCE + Dice", dict(type="BCEDiceLoss")),
    "hf": ("Hybrid focal", dict(type="HybridFocalLoss")),
    "uf": ("Unified focal", dict(type="UnifiedFocalLoss")),
    "miou": ("Soft mean IoU", dict(type="MeanIoULoss")),
    "lovasz": ("Lovász hinge", dict(type="LovaszLoss", loss_type="binary", reduction="none")),
    "ap": ("AP", dict(type="APLoss")),
    "alrp": ("aLRP, overlap", dict(type="aLRPLoss", labels="overlap")),
    "rs": ("RS", dict(type="RankSortLoss")),
    "rs-depth": ("RS, depth", dict(type="RankSortLoss", labels="depth", radius=3)),
    "rs-dice": ("RS + Dice", [dict(type="RankSortLoss"), dict(type="BinaryDiceLoss")]),
}
#: The same of those with a margin, which is put in.
WITH_MARGIN: dict[str, tuple[str, dict]] = {
    "lm": ("Large margin", dict(type="LargeMarginLoss")),
    "hfm": ("Hybrid focal margin", dict(type="HybridFocalMarginLoss")),
    # What the paper trains on CRACK500: BCE + Dice with a margin.
    "bcedice-m": (
        "BCE + Dice, margin",
        dict(type="HybridFocalMarginLoss", focusing=0.0, delta=0.5, gamma=1.0, smooth=0.5),
    ),
}
#: IoU, F1, recall and precision in percent, Tables I to III.
PUBLISHED: dict[str, dict[str, tuple[float, float, float, float]]] = {
    "DeepCrack": {
        "bce": (60.67, 75.43, 66.98, 87.01),
        "dice": (67.49, 80.49, 77.44, 84.38),
        "focal": (56.38, 71.99, 63.14, 84.74),
        "afocal": (61.94, 76.41, 73.41, 80.38),
        "tversky": (68.27, 81.05, 82.46, 80.16),
        "ftversky": (68.47, 81.19, 83.71, 79.26),
        "bcedice": (68.33, 81.10, 80.17, 82.59),
        "hf": (69.32, 81.80, 82.82, 81.30),
        "uf": (68.91, 81.51, 80.55, 82.94),
        "hfm-0.5": (69.75, 82.09, 83.57, 81.09),
        "hfm-1": (69.62, 82.00, 83.71, 80.77),
        "hfm-1.5": (69.38, 81.83, 82.98, 81.19),
    },
    "CRACK500": {
        "bce": (54.10, 70.17, 64.99, 76.42),
        "dice": (59.34, 74.44, 75.24, 73.78),
        "focal": (46.95, 63.84, 55.33, 75.74),
        "afocal": (52.89, 69.15, 68.36, 70.16),
        "tversky": (57.47, 72.95, 82.45, 65.55),
        "ftversky": (57.33, 72.84, 82.67, 65.21),
        "bcedice": (60.65, 75.47, 76.37, 74.73),
        "hf": (59.10, 74.25, 81.90, 68.01),
        "uf": (59.35, 74.45, 79.42, 70.18),
        "bcedice-m-0.5": (60.66, 75.48, 77.40, 73.79),
        "bcedice-m-1": (60.54, 75.38, 77.66, 73.38),
        "bcedice-m-1.5": (60.60, 75.43, 77.86, 73.28),
    },
    "PanelCrack": {
        "dice": (23.22, 37.55, 57.26, 28.43),
        "focal": (4.88, 9.17, 5.06, 32.12),
        "afocal": (11.83, 20.93, 13.46, 41.54),
        "tversky": (33.51, 50.00, 59.10, 43.63),
        "ftversky": (33.10, 49.56, 59.24, 42.87),
        "bcedice": (32.09, 48.45, 49.58, 47.60),
        "hf": (34.64, 51.24, 56.60, 47.14),
        "uf": (32.72, 49.08, 51.19, 47.53),
        "hfm-0.5": (34.94, 51.55, 56.87, 47.49),
        "hfm-1": (34.85, 51.49, 57.57, 46.95),
        "hfm-1.5": (35.08, 51.74, 57.61, 47.32),
    },
}


def select(names: list[str] | None, margins: list[float]) -> dict[str, tuple[str, dict | list]]:
    """Losses by name, those with a margin once for each; all of them by default.

    Raises:
        ValueError: If there is no such loss.

    Example:
        >>> list(select(["bce", "hfm"], [0.5, 1.0]))
        ['bce', 'hfm-0.5', 'hfm-1']
    """
    found: dict[str, tuple[str, dict | list]] = {}
    for name in names or [*LOSSES, *WITH_MARGIN]:
        if name in LOSSES:
            found[name] = LOSSES[name]
        elif name in WITH_MARGIN:
            title, config = WITH_MARGIN[name]
            for margin in margins:
                found[f"{name}-{margin:g}"] = (f"{title} {margin:g}", config | dict(margin=margin))
        else:
            raise ValueError(
                f"Expected losses among {', '.join([*LOSSES, *WITH_MARGIN])}, but got {name}."
            )
    return found
