"""Train a detector: python tools/train.py CONFIG [--help]."""

import sys

from mmdet_rank.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
