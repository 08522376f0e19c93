"""``python -m mmdet_rank`` is the command ``mmdet-rank``."""

import sys

from mmdet_rank.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
