"""Drawn inputs for the ranking losses: the ordinary, and every corner that ever broke one."""

import torch

#: Relative tolerances of values and gradients, by dtype of the logits.
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-7}


def draw(seed, dtype=torch.float32):
    """(logits, targets, loc_errors, delta), small, of a kind that the seed decides."""
    gen = torch.Generator().manual_seed(seed)

    def uniform(*shape):
        return torch.rand(*shape, generator=gen, dtype=torch.float64)

    num_pos = int(uniform(1) * 12) + 1
    num_neg = int(uniform(1) * 40)
    num_ignored = int(uniform(1) * 5) if seed % 3 == 0 else 0
    spread = (0.05, 1.0, 4.0, 30.0)[seed % 4]
    count = num_pos + num_neg + num_ignored
    logits = torch.randn(count, generator=gen, dtype=torch.float64) * spread
    if seed % 5 == 0:
        logits = logits.round()  # many ties
    if seed % 17 == 0:
        logits = torch.zeros_like(logits)
    labels = uniform(num_pos).clamp(min=1e-6)
    if seed % 7 == 0:
        labels = (labels * 4).ceil() / 4  # equal labels
    if seed % 13 == 0:
        labels = torch.ones_like(labels)
    targets = torch.cat([labels, torch.zeros(num_neg), -torch.ones(num_ignored)])
    targets = targets[torch.randperm(count, generator=gen)]
    loc_errors = uniform(num_pos)
    delta = (0.5, 1.0, 0.0, 0.25)[(seed // 4) % 4]
    return logits.to(dtype), targets.to(dtype), loc_errors.to(dtype), delta


def assert_close(actual, expected, dtype):
    """Largest error at most the dtype's tolerance of the largest expected entry."""
    expected = torch.as_tensor(expected, dtype=torch.float64)
    error = (actual.detach().double() - expected).abs().max().item() if expected.numel() else 0.0
    bound = TOLERANCE[dtype] * max(expected.abs().max().item(), 1e-3)
    assert error <= bound, f"error {error:.3e} above {bound:.3e}"
