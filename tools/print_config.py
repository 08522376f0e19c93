"""Print a config with everything that it inherits: python tools/print_config.py CONFIG [--help]."""

import sys

from mmdet_rank.cli.main import run_command

if __name__ == "__main__":
    sys.exit(run_command("print-config"))
