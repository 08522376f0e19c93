"""One-stage heads."""

from .rank_atss_head import RankATSSHead
from .rank_retina_head import RankRetinaHead

__all__ = ["RankATSSHead", "RankRetinaHead"]
