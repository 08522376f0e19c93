"""Plot curves of logs: python tools/analyze_logs.py plot_curve LOG.json [--help]."""

import sys

from mmdet_rank.cli.main import run_command

if __name__ == "__main__":
    sys.exit(run_command("analyze-logs"))
