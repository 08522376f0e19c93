"""The config that `mmdet-rank train DATA` writes for a data set, without a training."""

from pathlib import Path

from mmengine.config import Config

from mmdet_rank.cli.own_data.config import make_config, make_model, read_config, write_config
from mmdet_rank.cli.own_data.detectors import find_detector
from mmdet_rank.cli.own_data.facts import DataFacts, Machine
from mmdet_rank.cli.own_data.plan import make_plan

CELLS = dict(classes=("Platelets", "RBC", "WBC"), num_train=205, num_empty=0, num_val=87,
             num_objects=2804, long_side=640, small_object=38.0, large_object=220.0,
             most_objects=30, has_masks=False)  # fmt: skip
CPU = Machine(None, 0.0, False, 2)


def written_config(folder, name="rs-atss", plan=None, **changed):
    """The config of a training, as it is read from the file."""
    facts = DataFacts(**CELLS)
    plan = plan or make_plan(facts, CPU, smallest_stride=8)
    detector = find_detector(name)
    arguments = dict(
        detector=detector,
        optimizer=None,
        hooks=[],
        classes=facts.classes,
        pictures=Path("/pictures"),
        work_dir=folder,
        tested=False,
        load_from=None,
        seed=0,
    )
    model = make_model(read_config(detector.small), len(facts.classes), "none")
    cfg = make_config(model, plan, **arguments | changed)
    write_config(folder / "config.py", cfg, plan, "mmdet-rank train data")
    return Config.fromfile(folder / "config.py")
