"""LRP Error of result files: python tools/eval_lrp.py --annotations GT --results DT [--help]."""

import sys

from mmdet_rank.cli.main import run_command

if __name__ == "__main__":
    sys.exit(run_command("eval"))
