"""Sizes that the losses meet in training, and logits of the kind that they meet there."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Preset:
    """One problem: how many positives among how many logits, and how these are distributed.

    Memory is measured where it differs from that of other presets.
    """

    name: str
    num_positives: int
    num_logits: int
    logits: str
    what: str
    memory: bool = True


#: Logits by kind: what they model, mean and spread of negatives, then of positives.
LOGITS = {
    # A fifth of the negatives comes near a positive.
    "trained": (-6.5, 1.2, -1.0, 1.3),
    # Nine of ten negatives lie among the positives: nothing can be dropped early.
    "mixed": (-4.0, 2.0, 0.0, 2.0),
    # The first iterations: everything near the bias that heads start with.
    "early": (-4.6, 0.3, -4.6, 0.3),
}

_DETECTORS = [
    Preset("rs-atss", 1200, 21_400_000, "trained", "RS-ATSS, 1333x800, 12 images, 80 classes"),
    Preset("rpn", 300, 1_070_000, "trained", "RPN"),
    Preset("r-cnn", 2000, 320_000, "trained", "R-CNN head, all proposals, 80 classes"),
    Preset("lvis", 1500, 4_800_000, "trained", "R-CNN head, 1203 classes"),
    Preset("stress", 10_000, 50_000_000, "trained", "far beyond one GPU's batch"),
]

#: What ``--preset`` takes.
PRESETS = {
    **{preset.name: [preset] for preset in _DETECTORS},
    "detectors": _DETECTORS,
    "cpu": [
        Preset("cpu", 1000, 200_000, kind, f"{kind} logits", memory=kind == "mixed")
        for kind in LOGITS
    ],
    "scaling": [
        Preset(f"n-{size}m", 1000, size * 1_000_000, "mixed", "time and memory against N")
        for size in (1, 4, 20)
    ],
    "positives": [
        Preset(f"p-{count}", count, 1_000_000, "mixed", "time against P", memory=False)
        for count in (100, 300, 1000, 3000, 10_000)
    ],
    "few": [
        Preset(f"n-{size}k", 10 * size, 1000 * size, "mixed", "few logits", memory=False)
        for size in (1, 3, 10)
    ],
    "tiny": [Preset("tiny", 20, 2000, "mixed", "for the tests")],
}


def draw(preset, device, dtype=torch.float32, seed=0):
    """``(logits, targets)`` of a preset; positives with labels stand at random places."""
    gen = torch.Generator(device).manual_seed(seed)
    mean, spread, positive_mean, positive_spread = LOGITS[preset.logits]

    def normal(count):
        return torch.randn(count, generator=gen, device=device)

    count = preset.num_positives
    logits = normal(preset.num_logits).mul_(spread).add_(mean)
    place = torch.randint(preset.num_logits, (2 * count,), generator=gen, device=device)
    place = place.unique()
    place = place[torch.randperm(len(place), generator=gen, device=device)[:count]]
    logits[place] = normal(count) * positive_spread + positive_mean
    targets = torch.zeros_like(logits)
    targets[place] = torch.rand(count, generator=gen, device=device).clamp_(min=0.01)
    return logits.to(dtype), targets.to(dtype)
