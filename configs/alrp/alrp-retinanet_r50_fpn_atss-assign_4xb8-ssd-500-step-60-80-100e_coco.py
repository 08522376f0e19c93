# The setting of the ablation (thesis 7.4, Table 7.1).
_base_ = './alrp-retinanet_r50_fpn_atss-assign_4xb8-ssd-500-100e_coco.py'

param_scheduler = _base_.param_scheduler
param_scheduler[1].update(milestones=[60, 80])
