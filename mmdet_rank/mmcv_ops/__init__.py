"""Stand-ins for the compiled operators of mmcv, for where mmcv was installed without them.

`mmcv.ops` calls a compiled extension `mmcv._ext`. mmcv-lite, and mmcv built where the compiler or
torch was out of sight, do not have it, and then no detector can even be imported. `install()`
makes `mmcv._ext` importable in that case, backed by torchvision's kernels and plain torch:

| operators | stand-in |
|---|---|
| nms, roi_align, deform_conv, modulated_deform_conv | torchvision's kernels |
| carafe, carafe_naive, sigmoid_focal_loss | plain torch |
| ms_deform_attn | mmcv's own implementation in torch |

Every other operator raises NotImplementedError with its name when it is called. Where compiled
operators exist, they are used and nothing here is.
"""

from mmdet_rank.mmcv_ops.finder import ORIGIN, install, is_stand_in

__all__ = ["ORIGIN", "install", "is_stand_in"]
