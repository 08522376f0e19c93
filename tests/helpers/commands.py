"""Subcommands of ``mmdet-rank``, called in this process with lists of arguments."""

from functools import partial

import mmdet_rank.register  # noqa: F401

from mmdet_rank.cli.main import parse_command, run_command
from mmdet_rank.cli.test import evaluate

train = partial(run_command, "train")
test = partial(run_command, "test")
eval_files = partial(run_command, "eval")
convert = partial(run_command, "convert")
demo_image = partial(run_command, "demo-image")
convert_data = partial(run_command, "convert-data")
make_digits = partial(run_command, "make-digits")


def figures(argv):
    """Return the metrics of ``mmdet-rank test`` instead of its exit code."""
    return evaluate(parse_command("test", argv))
