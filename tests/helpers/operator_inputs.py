"""Inputs of the operators of mmcv."""

import torch


def double(*shape: int, seed: int = 0, grad: bool = True) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(*shape, dtype=torch.float64, generator=generator)
    return values.requires_grad_(grad)


def random_boxes(num: int, size: float = 30, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(num, 2, generator=generator) * size
    extent = 2 + torch.rand(num, 2, generator=generator) * size / 2
    return torch.cat([corner, corner + extent], dim=1)
