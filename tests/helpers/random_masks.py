"""Logits and masks at random, for tests of losses on masks."""

import torch


def random_masks(shape=(3, 6, 5), seed=0, dtype=torch.float64, share=0.3):
    gen = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(shape, generator=gen, dtype=torch.float64)
    return logits.to(dtype), (torch.rand(shape, generator=gen) < share).to(dtype)
