"""Convert a published checkpoint: python tools/convert_checkpoint.py CONFIG OLD NEW [--help]."""

import sys

from mmdet_rank.cli.main import run_command

if __name__ == "__main__":
    sys.exit(run_command("convert"))
