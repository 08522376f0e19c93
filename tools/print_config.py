"""Print a config with everything that it inherits: python tools/print_config.py CONFIG [--help].

MMDetection's own tool.
"""

import sys

from mmdet_rank.cli.mmdet_tools import run_mmdet_tool

if __name__ == "__main__":
    sys.exit(run_mmdet_tool("misc/print_config.py"))
