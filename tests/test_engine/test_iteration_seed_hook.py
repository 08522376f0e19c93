"""Random numbers of an iteration, whatever came before it."""

import random
from types import SimpleNamespace

import numpy as np
import torch

from mmdet_rank.engine import IterationSeedHook
from mmdet_rank.engine.seeding import LOADER_WORKER, seed_generators


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


def loader(num_workers):
    return SimpleNamespace(
        num_workers=num_workers, collate_fn=list, worker_init_fn=None, generator=None
    )


def test_workers_draw_by_the_number_of_their_batch():
    hook, data = IterationSeedHook(), loader(num_workers=2)
    runner = SimpleNamespace(seed=3, iter=40, train_dataloader=data, train_loop=None)
    hook.before_train(runner)
    assert data.collate_fn((1, 2)) == [1, 2]  # as the collate function that was there
    assert data.worker_init_fn == data.collate_fn.seed_next
    assert data.generator.initial_seed() == 3
    hook.before_train_epoch(runner)
    assert data.collate_fn.start == 40
    data.collate_fn((1, 2))  # the second batch of the only worker, before its third
    drawn = draw()
    seed_generators(3, 0, 42, LOADER_WORKER)
    assert draw() == drawn


def test_without_workers_a_loop_that_loads_what_it_skips_is_seeded_by_batch():
    batches = iter([draw, draw, draw])
    loop = SimpleNamespace(dataloader_iterator=batches)
    data = loader(num_workers=0)
    runner = SimpleNamespace(seed=3, iter=0, train_dataloader=data, train_loop=loop)
    IterationSeedHook().before_train(runner)
    assert data.collate_fn is list
    assert data.worker_init_fn is None
    drawn = [next(loop.dataloader_iterator)() for _ in range(3)]
    assert len(set(drawn)) == 3
    # The numbers of a batch are those of its number alone.
    again = SimpleNamespace(dataloader_iterator=iter([draw, draw, draw]))
    IterationSeedHook().before_train(SimpleNamespace(**{**vars(runner), "train_loop": again}))
    draw()
    assert [next(again.dataloader_iterator)() for _ in range(3)] == drawn
    # MMEngine's newer loop skips by itself, and is left alone.
    newer = SimpleNamespace(dataloader_iterator=SimpleNamespace(skip_iter=None))
    kept = newer.dataloader_iterator
    IterationSeedHook().before_train(SimpleNamespace(**{**vars(runner), "train_loop": newer}))
    assert newer.dataloader_iterator is kept
