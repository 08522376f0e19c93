"""Data, training, evaluation and pictures by one command: python tools/demo.py [--help]."""

import sys

from mmdet_rank.cli.main import run_command

if __name__ == "__main__":
    sys.exit(run_command("demo"))
