"""Plot curves of logs or print iteration times: python tools/analyze_logs.py plot_curve LOG.json.

MMDetection's own tool; cal_train_time LOG.json prints the times.
"""

import sys

from mmdet_rank import compat
from mmdet_rank.cli.mmdet_tools import run_mmdet_tool

if __name__ == "__main__":
    # The default style of the tool is one of seaborn's; onedl-mmdetection plots without seaborn.
    (mmdet,) = compat.find(compat.MMDET)
    if mmdet.distribution != "mmdet" and "plot_curve" in sys.argv and "--style" not in sys.argv:
        sys.argv += ["--style", "default"]
    sys.exit(run_mmdet_tool("analysis_tools/analyze_logs.py"))
