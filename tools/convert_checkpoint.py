"""Convert a published checkpoint: python tools/convert_checkpoint.py CONFIG OLD NEW [--help]."""

import sys

from mmdet_rank.cli.convert_checkpoint import main

if __name__ == "__main__":
    sys.exit(main())
