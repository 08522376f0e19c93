"""Detectors on the digits by one budget, as a table: python tools/compare_digits.py CONFIG ..."""

import sys
from pathlib import Path

from mmdet_rank.cli.compare import main

if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parents[1]))
