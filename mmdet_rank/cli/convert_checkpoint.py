r"""Turn a checkpoint of the RankSortLoss or aLRPLoss repository into one of this package.

The published checkpoints were written by MMDetection 1 and 2. Those of YOLOv8 may have the names
of mmyolo, or numbered layers (``model.0.conv.weight``) as where YOLOv8 was introduced. The new
file has the weights and the class names, is loaded by tools/test.py and by load_from, and has all
tensors of the config's model and no others; if that is impossible, no file is written. Optimizer
states stay behind.

Example:
    python tools/convert_checkpoint.py configs/rank_sort/rs-atss_r50_fpn_4xb4-1x_coco.py \
        rs_atss_r50.pth work_dirs/rs-atss_r50.pth
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mmdet_rank.register  # noqa: F401

import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import nn

from mmdet_rank.cli.checkpoints import read_checkpoint
from mmdet_rank.cli.config import load_config
from mmdet_rank.cli.errors import UserError, explained, refused_input
from mmdet_rank.convert import Conversion, convert_state_dict
from mmdet_rank.files import written_whole
from mmdet_rank.version import __version__


def convert(args: argparse.Namespace) -> None:
    """Convert a checkpoint.

    Args:
        args: The arguments of ``mmdet-rank convert``.

    Raises:
        UserError: The config, the checkpoint or the place of the new one does not allow it.
    """
    args.work_dir, args.launcher = None, "none"
    old, new = Path(args.old), Path(args.new)
    if new.exists() and old.exists() and new.samefile(old):
        raise UserError(f"Expected another file to write to than {args.old}; name a new one")
    if new.is_dir():
        raise UserError(f"Expected a file to write to, but {args.new} is a folder; add a name")
    cfg = load_config(args)
    checkpoint = read_checkpoint(args.old, trust=args.trust_checkpoint)
    state_dict = _state_dict(checkpoint, args.old)
    init_default_scope(cfg.default_scope)
    with explained(f"The model of {args.config} cannot be built"):
        model = MODELS.build(cfg.model)
    with refused_input():
        conversion = convert_state_dict(state_dict, model)
    model.load_state_dict(conversion.state_dict, strict=True)
    with refused_input(), written_whole(new) as temporary:
        torch.save(_checkpoint(model, checkpoint, old.name), temporary)
    print(_summary(conversion))
    print(f"wrote {args.new}")


def _state_dict(checkpoint: Any, name: str) -> Mapping[str, torch.Tensor]:
    state_dict = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(state_dict, Mapping) or not any(map(torch.is_tensor, state_dict.values())):
        raise UserError(
            f"Expected a checkpoint with a state_dict, but {name} has none; take the .pth file "
            "that training wrote"
        )
    return state_dict


def _checkpoint(model: nn.Module, old: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A checkpoint as MMEngine reads it: weights, and the class names that the old file has."""
    meta: dict[str, Any] = {"converted_from": name, "mmdet_rank_version": __version__}
    old_meta = old.get("meta") or {}
    # MMEngine has the names in `dataset_meta`, in capitals at first; MMDetection 2 had them beside.
    saved = {key.lower(): value for key, value in (old_meta.get("dataset_meta") or {}).items()}
    if classes := saved.get("classes") or old_meta.get("CLASSES"):
        meta["dataset_meta"] = {"classes": tuple(classes)}
    for key in ("epoch", "iter", "mmdet_version"):
        if key in old_meta:
            meta[f"old_{key}"] = old_meta[key]
    return {"meta": meta, "state_dict": model.state_dict()}


def _summary(conversion: Conversion) -> str:
    kept = len(conversion.state_dict) - len(conversion.filled)
    lines = [f"{kept} tensors, of which {len(conversion.renamed)} have a new name"]
    lines += [
        f"left out {number} tensors of {part}, which this model does not have"
        for part, number in conversion.dropped.items()
    ]
    balances = [name for name in conversion.filled if name.endswith(".factor")]
    if balances:
        lines.append(
            f"the self-balance factor was not saved then and starts anew: {', '.join(balances)}"
        )
    return "\n".join(lines)
