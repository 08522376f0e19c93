"""Show or save training images with their labels: python tools/browse_dataset.py CONFIG [--help].

MMDetection's own tool.
"""

import sys

from mmdet_rank.cli.mmdet_tools import run_mmdet_tool

if __name__ == "__main__":
    sys.exit(run_mmdet_tool("analysis_tools/browse_dataset.py"))
