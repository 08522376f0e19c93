"""Count the FLOPs and parameters of a model: python tools/get_flops.py CONFIG [--help].

MMDetection's own tool.
"""

import sys

from mmdet_rank.cli.mmdet_tools import run_mmdet_tool

if __name__ == "__main__":
    sys.exit(run_mmdet_tool("analysis_tools/get_flops.py"))
