"""Arguments that several subcommands have; nothing of MMEngine is loaded before one is used."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


class ConfigOptions(argparse.Action):
    """KEY=VALUE settings of a config, read by MMEngine's rules."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Add the settings to those that came before."""
        from mmengine.config import DictAction

        try:
            DictAction(self.option_strings, self.dest)(parser, namespace, values, option_string)
        except ValueError as error:
            raise argparse.ArgumentError(
                self, f"expected KEY=VALUE ..., but got: {error}; write key=value without spaces"
            ) from error


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add what changes a config and how its checkpoint is read."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=ConfigOptions,
        metavar="KEY=VALUE",
        help="settings that override the config, for example "
        "optim_wrapper.optimizer.lr=0.005; lists as key=a,b or key='[a,b]'",
    )
    parser.add_argument(
        "--trust-checkpoint",
        action="store_true",
        help="also read checkpoints that hold more than weights, which runs code from the file",
    )


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that training and testing share with MMDetection's own tools."""
    parser.add_argument("--work-dir", help="folder for logs, checkpoints and results")
    add_config_options(parser)
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        default="none",
        help="what started the processes; tools/dist_train.sh and dist_test.sh set pytorch",
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


def add_split_arguments(parser: argparse._ActionsContainer) -> None:
    """Add the options of a split that has to be drawn."""
    parser.add_argument(
        "--val-share",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="of the pictures, for validation, where the data has no such split (default: 0.2)",
    )
    parser.add_argument(
        "--test-share",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of the pictures, for a test set, where the data has none (default: no test set)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of everything that is drawn (default: 0)"
    )
