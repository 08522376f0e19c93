"""Random numbers of an iteration, whatever came before it."""

import random
from functools import partial
from inspect import signature
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.datasets.samplers import AspectRatioBatchSampler
from mmengine.dataset import DefaultSampler, InfiniteSampler, worker_init_fn
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

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


# What loaders really hand out, under MMEngine's own loops.

BATCHES_PER_PASS = 3


class Pictures(torch.utils.data.Dataset):
    """Six pictures, each loaded with what the generators draw."""

    started_by = None

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return index, draw(), self.started_by

    def get_data_info(self, index):
        """Wide pictures and tall ones in turn, for batches of one kind."""
        return {"width": 4 + index % 2, "height": 4.5}


def start(worker_id, by):
    """What a config may ask of a worker that starts; it seeds, as MMEngine's own does."""
    torch.utils.data.get_worker_info().dataset.started_by = f"{by} {worker_id}"
    worker_init_fn(worker_id, num_workers=2, rank=0, seed=Run.seed)


def picture_loader(sampler, workers, persistent=False):
    data = Pictures()
    if sampler == "by shape":
        options = {"batch_sampler": AspectRatioBatchSampler(InfiniteSampler(data, seed=5), 2)}
    else:
        kind = {"finite": DefaultSampler, "infinite": InfiniteSampler}[sampler]
        options = {"sampler": kind(data, seed=5), "batch_size": 2}
    return torch.utils.data.DataLoader(
        data,
        num_workers=workers,
        persistent_workers=persistent,
        collate_fn=list,
        worker_init_fn=partial(start, by="worker"),
        **options,
    )


class Run:
    """As much of a runner as loops and the hook use; notes the batches that it trains on."""

    seed, val_loop = 3, None
    model = SimpleNamespace(train=lambda: None, train_step=lambda *args, **kwargs: None)
    optim_wrapper = None

    def __init__(self, loader):
        self.train_dataloader = loader
        self.hook, self.batches = IterationSeedHook(), []

    @property
    def iter(self):
        return self.train_loop.iter

    def call_hook(self, name, **kwargs):
        if name == "before_train_iter":
            self.batches.append(kwargs["data_batch"])
        getattr(self.hook, name)(self, **kwargs)


def trained(loader, done=0, by_epoch=False, **options):
    """The batches of a run of eight iterations or three epochs, resumed after some of them."""
    run = Run(loader)
    if by_epoch:
        run.train_loop = EpochBasedTrainLoop(run, loader, max_epochs=3)
        run.train_loop._epoch = done // BATCHES_PER_PASS
    else:
        run.train_loop = IterBasedTrainLoop(run, loader, max_iters=8, **options)
    run.train_loop._iter = done
    run.train_loop.run()
    return run.batches


def draws(batches):
    return [[drawn for _, drawn, _ in batch] for batch in batches]


def numbered(numbers):
    """What two pictures of batches of these numbers draw."""
    found = []
    for number in numbers:
        seed_generators(Run.seed, 0, number, LOADER_WORKER)
        found.append([draw(), draw()])
    return found


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """MMEngine waits two seconds between passes, lest something hang that does not here."""
    monkeypatch.setattr("mmengine.runner.loops.time.sleep", lambda seconds: None)


@pytest.fixture(autouse=True)
def no_workers_left(monkeypatch):
    """End the workers of loops that a test leaves: as garbage each would be waited for, 5 s."""
    made, begin = [], _MultiProcessingDataLoaderIter.__init__

    def noted(self, loader):
        made.append(self)
        begin(self, loader)

    monkeypatch.setattr(_MultiProcessingDataLoaderIter, "__init__", noted)
    yield
    for each in made:
        each._shutdown_workers()


newer = pytest.mark.skipif(
    "fast_forward_on_resume" not in signature(IterBasedTrainLoop).parameters,
    reason="the loop of mmengine 0.10.7 starts its workers before any hook is called",
)


def test_the_numbers_of_earlier_runs():
    """Whoever resumes a run with a newer version of this package goes on with its numbers."""
    ((first, second),) = numbered([0])
    assert (first[0], second[0]) == (0.5685257808914723, 0.30041561771357084)


@newer
@pytest.mark.parametrize(
    ("persistent", "done", "options"),
    [
        (False, 0, {}),
        (True, 4, {}),
        # The pictures begin again then, and had better not look as they did.
        (False, 4, {"fast_forward_on_resume": True}),
    ],
)
def test_batches_of_an_endless_sampler_have_the_numbers_of_their_iterations(
    persistent, done, options
):
    batches = trained(picture_loader("infinite", 2, persistent), done, **options)
    assert draws(batches) == numbered(range(done, 8))


@pytest.mark.parametrize("done", [0, 3])
def test_batches_of_epochs_have_the_numbers_of_their_iterations(done):
    batches = trained(picture_loader("finite", 2), done, by_epoch=True)
    assert draws(batches) == numbered(range(done, 9))
    # In turn, by what the config asks of workers.
    assert [batch[0][2] for batch in batches[:3]] == ["worker 0", "worker 1", "worker 0"]


@newer
@pytest.mark.parametrize("done", [0, 3, 4])
def test_so_have_those_of_every_pass_of_a_sampler_that_ends(done):
    batches = trained(picture_loader("finite", 2), done)
    assert draws(batches) == numbered(range(done, 8))


@newer
def test_so_have_those_of_a_batch_sampler_that_mmengine_cannot_skip():
    batches = trained(picture_loader("by shape", 2), 4)
    assert draws(batches) == numbered(range(4, 8))


@pytest.mark.parametrize(
    ("sampler", "workers", "persistent"),
    [
        ("finite", 0, False),
        ("infinite", 0, False),
        ("by shape", 0, False),
        ("finite", 2, False),
        ("finite", 2, True),
        ("by shape", 2, True),
    ],
)
def test_a_resumed_run_goes_on_with_the_same_batches(sampler, workers, persistent):
    whole = trained(picture_loader(sampler, workers, persistent))
    seen = [drawn for batch in draws(whole) for drawn in batch]
    for of_generator in zip(*seen, strict=True):
        assert len(set(of_generator)) == len(seen) == 16
    assert trained(picture_loader(sampler, workers, persistent), 4) == whole[4:]
