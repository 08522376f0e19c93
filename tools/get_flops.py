"""Count the operations and parameters of a model: python tools/get_flops.py CONFIG [--help]."""

import sys

from mmdet_rank.cli.main import run_command

if __name__ == "__main__":
    sys.exit(run_command("get-flops"))
