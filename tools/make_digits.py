"""Make the digits data set: python tools/make_digits.py --out DIR [--help]."""

import sys

from mmdet_rank.cli.main import run_command

if __name__ == "__main__":
    sys.exit(run_command("make-digits"))
