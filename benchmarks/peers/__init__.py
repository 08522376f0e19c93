"""What the ranking losses are measured against, each a function ``(logits, targets) -> loss``.

None of these belongs to the package; they exist to be compared with.
"""

from .bucketed import bucketed_rank_sort
from .dense import dense_rank_sort
from .focal import compiled_focal, focal, mmcv_focal, mmcv_has_focal
from .loop import loop_rank_sort

__all__ = [
    "bucketed_rank_sort",
    "compiled_focal",
    "dense_rank_sort",
    "focal",
    "loop_rank_sort",
    "mmcv_focal",
    "mmcv_has_focal",
]
