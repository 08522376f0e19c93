"""Hook that lets a resumed run draw the random numbers that an uninterrupted one would draw."""

from __future__ import annotations

import torch
from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdet_rank.engine.seeding import MAIN_PROCESS, SeededBatches, SeededCollate, seed_generators


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seed every iteration from the seed of the run, the rank and the number of the iteration.

    MMEngine does not store the states of the random generators, so what is random in the pipeline
    or in the model differs after a resume. Seeded by iteration there is no state to store, and a
    checkpoint of any iteration will do, also one that was written without this hook.

    With loader workers, batches are seeded in the same way, by the number of the batch. For that,
    an epoch-based loop must not keep its workers between epochs (`persistent_workers=False`); an
    iteration-based loop starts its workers once and may keep them. The loop of mmengine 0.10.7 and
    older starts its workers before any hook is called and, when resumed, has them load all earlier
    batches again; the numbers are the same if there are as many workers as before.
    """

    # After every other hook, so that none draws between the seeding and the iteration.
    priority = "VERY_LOW"

    def __init__(self) -> None:
        self._collate: SeededCollate | None = None

    def before_train(self, runner: Runner) -> None:
        """Take the loader's own random needs away from the global generator."""
        loader = runner.train_dataloader
        # A loader draws a number whenever it starts: once per run, hence once more when resumed.
        loader.generator = torch.Generator().manual_seed(runner.seed)
        if loader.num_workers > 0:
            self._collate = SeededCollate(loader.collate_fn, runner.seed, get_rank())
            loader.collate_fn = self._collate
            loader.worker_init_fn = self._collate.seed_next
            return
        batches = getattr(runner.train_loop, "dataloader_iterator", None)
        if batches is not None and not hasattr(batches, "skip_iter"):
            # mmengine 0.10.7 and older resume by loading all batches before.
            seeded = SeededBatches(batches, runner.seed, get_rank())
            runner.train_loop.dataloader_iterator = seeded

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed for the first iteration of the epoch, and tell the workers where it stands."""
        if self._collate is not None:
            self._collate.start = runner.iter
        self._seed(runner, runner.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        """Seed for the next iteration, whose batch may be loaded in this process."""
        self._seed(runner, runner.iter + 1)

    def after_val(self, runner: Runner) -> None:
        """Seed again: validation may have drawn, and a resumed run does not repeat it."""
        self._seed(runner, runner.iter)

    def _seed(self, runner: Runner, iteration: int) -> None:
        seed_generators(runner.seed, get_rank(), iteration, MAIN_PROCESS)
