"""Imbalance of a data set as a page: python tools/analyze_imbalance.py DATA --out DIR [--help]."""

import sys

from mmdet_rank.cli.main import run_command

if __name__ == "__main__":
    sys.exit(run_command("analyze"))
