"""One-stage heads."""

from .rank_atss_head import RankATSSHead
from .rank_deformable_detr_head import RankDeformableDETRHead
from .rank_dino_head import RankDINOHead
from .rank_fcos_head import RankFCOSHead
from .rank_fovea_head import RankFoveaHead
from .rank_paa_head import RankPAAHead
from .rank_retina_head import RankRetinaHead
from .rank_rpn_head import RankRPNHead
from .rank_rtmdet_head import RankRTMDetHead
from .rank_solov2_head import RankSOLOV2Head
from .rank_yolact_head import RankYOLACTHead
from .rank_yolact_protonet import RankYOLACTProtonet
from .rank_yolov8_head import RankYOLOv8Head
from .yolov8_head import YOLOv8Head
from .yolov8_protonet import RankYOLOv8Protonet, YOLOv8Protonet
from .yolov8_seg_head import RankYOLOv8SegHead, YOLOv8SegHead

__all__ = [
    "RankATSSHead",
    "RankDINOHead",
    "RankDeformableDETRHead",
    "RankFCOSHead",
    "RankFoveaHead",
    "RankPAAHead",
    "RankRPNHead",
    "RankRTMDetHead",
    "RankRetinaHead",
    "RankSOLOV2Head",
    "RankYOLACTHead",
    "RankYOLACTProtonet",
    "RankYOLOv8Head",
    "RankYOLOv8Protonet",
    "RankYOLOv8SegHead",
    "YOLOv8Head",
    "YOLOv8Protonet",
    "YOLOv8SegHead",
]
