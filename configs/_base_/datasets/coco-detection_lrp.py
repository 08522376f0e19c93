# MMDetection's COCO in batches of 4 images per GPU, evaluated by AP and LRP Error.
_base_ = 'mmdet::_base_/datasets/coco_detection.py'

train_dataloader = dict(batch_size=4, num_workers=4)
val_evaluator = dict(type='CocoLRPMetric')
test_evaluator = val_evaluator
