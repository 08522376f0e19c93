"""The names of ``mmdet_rank.files`` under their former place."""

from mmdet_rank.files import write_json, written_whole

__all__ = ["write_json", "written_whole"]
