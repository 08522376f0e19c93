"""A resumed run validates the checkpoint that it goes on from, and so keeps the best of all."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmdet_rank.engine import MissedValidationHook

NUM_BATCHES = 3


class Toy(BaseModel):
    """Its weight is the number of steps that it was trained."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, inputs, mode="tensor"):
        return {"loss": -self.weight.sum()} if mode == "loss" else [self.weight.item()]


class Score(BaseMetric):
    """The score of each number of steps; one may be interrupted."""

    def __init__(self, scores, seen, interrupted=None):
        super().__init__()
        self.scores, self.seen, self.interrupted = scores, seen, interrupted

    def process(self, data_batch, data_samples):
        self.results.append(round(data_samples[0]))

    def compute_metrics(self, results):
        steps = results[0]
        self.seen.append(steps)
        if steps == self.interrupted:
            raise KeyboardInterrupt
        return {"score": self.scores[steps]}


def run(folder, scores, *, by_epoch, interrupted=None, resume=False, name):
    """Train six steps or two epochs of three, validating at every second step or each epoch."""
    seen, model = [], Toy()
    # By iterations one pass is enough: before another, MMEngine sleeps.
    passes = 1 if by_epoch else 2
    loader = DataLoader([{"inputs": torch.zeros(1)}] * NUM_BATCHES * passes)
    loop = (
        dict(by_epoch=True, max_epochs=2, val_interval=1)
        if by_epoch
        else dict(by_epoch=False, max_iters=6, val_interval=2)
    )
    checkpoint = dict(
        type="CheckpointHook", by_epoch=by_epoch, save_best="score", rule="greater",
        interval=1 if by_epoch else 2,
    )  # fmt: skip
    runner = Runner(
        model,
        str(folder),
        train_dataloader=loader,
        train_cfg=loop,
        val_dataloader=DataLoader([{"inputs": torch.zeros(1)}]),
        val_cfg=dict(),
        val_evaluator=[Score(scores, seen, interrupted)],
        optim_wrapper=OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0)),
        default_hooks=dict(checkpoint=checkpoint),
        custom_hooks=[MissedValidationHook()],
        log_processor=dict(by_epoch=by_epoch),
        resume=resume,
        experiment_name=name,
        default_scope="mmdet",
    )
    if interrupted is None:
        runner.train()
    else:
        with pytest.raises(KeyboardInterrupt):
            runner.train()
    return seen, [path.name for path in folder.glob("best_*")], model.weight.item()


@pytest.mark.parametrize(("interrupted", "best"), [(2, 2), (4, 6), (6, 6), (6, 4)])
def test_by_iterations_the_best_is_that_of_a_run_without_interruption(tmp_path, interrupted, best):
    scores = {2: 0.1, 4: 0.2, 6: 0.1, best: 0.5}
    name = f"missed {interrupted} {best}"
    run(tmp_path, scores, by_epoch=False, interrupted=interrupted, name=name)
    seen, kept, steps = run(tmp_path, scores, by_epoch=False, resume=True, name=f"{name} again")
    assert seen == [s for s in (2, 4, 6) if s >= interrupted]
    assert kept == [f"best_score_iter_{best}.pth"]
    assert steps == 6


@pytest.mark.parametrize(("interrupted", "best"), [(3, 3), (6, 6)])
def test_by_epochs_too(tmp_path, interrupted, best):
    scores = {3: 0.1, 6: 0.1, best: 0.5}
    name = f"missed epoch {interrupted} {best}"
    run(tmp_path, scores, by_epoch=True, interrupted=interrupted, name=name)
    seen, kept, steps = run(tmp_path, scores, by_epoch=True, resume=True, name=f"{name} again")
    assert seen == [s for s in (3, 6) if s >= interrupted]
    assert kept == [f"best_score_epoch_{best // 3}.pth"]
    assert steps == 6


def test_a_run_that_begins_validates_when_it_is_due(tmp_path):
    seen, _, _ = run(tmp_path, {2: 0.1, 4: 0.2, 6: 0.3}, by_epoch=False, name="missed none")
    assert seen == [2, 4, 6]


@pytest.mark.parametrize(("iteration", "epoch"), [(4, 1), (5, 1)])
def test_between_two_validations_nothing_was_missed(iteration, epoch):
    runner = SimpleNamespace(
        train_loop=SimpleNamespace(max_epochs=2, val_begin=1, val_interval=1),
        val_loop=SimpleNamespace(run=lambda: pytest.fail("nothing is due")),
        train_dataloader=range(NUM_BATCHES),
        iter=iteration,
        epoch=epoch,
    )
    MissedValidationHook().before_train(runner)
