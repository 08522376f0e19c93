"""All losses on a folder of images and masks: python tools/compare_losses.py DATA --out OUT."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "experiments"))

from compare_losses_options import make_parser

if __name__ == "__main__":
    make_parser().parse_args()  # its help and mistakes end here, before torch is loaded
    from compare_losses import main

    sys.exit(main())
