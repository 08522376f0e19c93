"""Random numbers of an iteration, whatever came before it."""

import random
from types import SimpleNamespace

import numpy as np
import torch

from mmdet_rank.engine import IterationSeedHook


def draw():
    return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002


def test_validation_leaves_no_trace():
    hook = IterationSeedHook()
    hook.after_train_iter(SimpleNamespace(seed=3, iter=6), 6)
    expected = draw()
    # MMEngine has counted the iteration when it validates.
    hook.after_train_iter(SimpleNamespace(seed=3, iter=6), 6)
    draw()
    hook.after_val(SimpleNamespace(seed=3, iter=7))
    assert draw() == expected


def test_iterations_and_seeds_have_numbers_of_their_own():
    hook = IterationSeedHook()
    seen = []
    for seed, iteration in ((3, 6), (3, 7), (4, 6)):
        hook.before_train_epoch(SimpleNamespace(seed=seed, iter=iteration))
        seen.append(draw())
    for of_generator in zip(*seen, strict=True):
        assert len(set(of_generator)) == 3
