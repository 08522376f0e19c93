"""Evaluate a detector: python tools/test.py CONFIG CHECKPOINT [--help]."""

import sys

from mmdet_rank.cli.test import main

if __name__ == "__main__":
    sys.exit(main())
