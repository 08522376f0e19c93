"""Draw detections: python tools/demo_image.py PICTURES CONFIG CHECKPOINT [--help]."""

import sys

from mmdet_rank.cli.demo_image import main

if __name__ == "__main__":
    sys.exit(main())
