"""Data, training, evaluation and pictures by one command: python tools/demo.py [--help]."""

import sys
from pathlib import Path

from mmdet_rank.cli.demo import main

if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parents[1]))
