"""Draw detections: python tools/demo_image.py PICTURES CONFIG CHECKPOINT [--help]."""

import sys

from mmdet_rank.cli.main import run_command

if __name__ == "__main__":
    sys.exit(run_command("demo-image"))
