"""Instance weights by balances (thesis Table 8.1) on the digits: python tools/ablation_grid.py."""

import sys
from pathlib import Path

from mmdet_rank.cli.ablation import main

if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parents[1]))
