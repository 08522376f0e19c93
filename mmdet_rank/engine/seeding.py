"""Random numbers as a function of where training stands, instead of a state carried along."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

MAIN_PROCESS, LOADER_WORKER = 0, 1


def seed_generators(*key: int) -> None:
    """Seed the generators of Python, NumPy and torch (every device) from a key.

    Args:
        *key: Non-negative integers, hashed together, so that neighbouring keys give unrelated
            streams.
    """
    words = np.random.SeedSequence(key).generate_state(4, dtype=np.uint64)
    random.seed(int(words[0]))
    np.random.seed(words[1:3].view(np.uint32))  # noqa: NPY002  (what transforms draw from)
    torch.manual_seed(int(words[3]))


class SeededBatches:
    """An endless iterator of batches that seeds before each of them, by its number.

    For a loop that resumes by loading and dropping the batches before, which draw as well.

    Args:
        batches: The iterator that does the work, in this process.
        seed: Seed of the run.
        rank: Rank of this process.
    """

    def __init__(self, batches: Iterator, seed: int, rank: int) -> None:
        self.batches = batches
        self.seed = seed
        self.rank = rank
        self._number = 0

    def __iter__(self) -> SeededBatches:
        return self

    def __next__(self) -> Any:
        """Seed, then load the next batch."""
        seed_generators(self.seed, self.rank, self._number, LOADER_WORKER)
        self._number += 1
        return next(self.batches)


class SeededCollate:
    """A collate function that makes each batch of a loader worker draw from its own seed.

    Workers load batches in turn: of W workers the w-th loads batches w, w + W, w + 2W and so on
    after the start. Collating is the last step of a batch, so the worker is seeded here for the
    batch that it loads next. Random augmentation then depends on the number of the batch alone,
    not on the number of workers or on how long they have been running.

    Args:
        collate: The collate function that does the work.
        seed: Seed of the run.
        rank: Rank of this process.
    """

    def __init__(self, collate: Callable[[Sequence], Any], seed: int, rank: int) -> None:
        self.collate = collate
        self.seed = seed
        self.rank = rank
        self.start = 0
        self._done = 0

    def __call__(self, samples: Sequence) -> Any:
        """Collate, then seed for the next batch of this worker."""
        batch = self.collate(samples)
        self._done += 1
        self.seed_next()
        return batch

    def seed_next(self, worker_id: int | None = None) -> None:
        """Seed for the batch that this worker loads next; also usable as a `worker_init_fn`."""
        worker = get_worker_info()
        place, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
        number = self.start + place + self._done * count
        seed_generators(self.seed, self.rank, number, LOADER_WORKER)
