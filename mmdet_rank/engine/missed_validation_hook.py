"""Hook that makes up for the validation that an interrupted run did not come to."""

from __future__ import annotations

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner


@HOOKS.register_module()
class MissedValidationHook(Hook):
    """Validate the checkpoint that a run goes on from, where a validation was due at it.

    MMEngine writes the checkpoint of an iteration or epoch first and validates then. A run that is
    killed in that validation would go on without it, and the best checkpoint would be chosen among
    the others; killed in the last one, it would end without having measured what it trained. Even
    a validation that came to its end is not in the checkpoint: the best score in there is that of
    the one before. So it is done once more, which costs a resumed run one validation.
    """

    # After CheckpointHook, which reads the best score so far before the training.
    priority = "LOWEST"

    def before_train(self, runner: Runner) -> None:
        """Validate, unless the run begins or goes on from between two validations."""
        loop = runner.train_loop
        if runner.val_loop is None or runner.iter == 0:
            return
        if isinstance(loop, IterBasedTrainLoop):
            done, last = runner.iter, loop.max_iters
        else:
            done, last = runner.epoch, loop.max_epochs
            if runner.iter != done * len(runner.train_dataloader):
                return  # In the middle of an epoch.
        if done >= loop.val_begin and (done % loop.val_interval == 0 or done == last):
            runner.logger.info("Validating the checkpoint that the training goes on from")
            runner.val_loop.run()
