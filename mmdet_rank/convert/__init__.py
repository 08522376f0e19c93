"""Checkpoints of the published implementations (MMDetection 1 and 2) as weights of this package."""

from .names import Renamed, rename
from .state_dict import Conversion, ConversionError, convert_state_dict

__all__ = ["Conversion", "ConversionError", "Renamed", "convert_state_dict", "rename"]
