"""Detections linked from frame to frame, whose scores are updated by Bayes' rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from mmdet.models.trackers import SORTTracker
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_cxcyah_to_xyxy, bbox_overlaps
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmdet_rank.evaluation.thresholds import ScoreThresholds, load_thresholds

# More than any sum of costs of possible links, each of which is at most 3.
_IMPOSSIBLE = 1e6
# Share of every class in a distribution, so that none is ever ruled out.
_FLOOR = 1e-4


@MODELS.register_module()
class RescoringTracker(SORTTracker):
    """Online video object detection: the detections of each frame, rescored (thesis H.1).

    Detections that reach the threshold of their class are linked with those of the frame before, of
    the same class, by Hungarian assignment. The cost of a link is the L1 distance of the score
    distributions and 1 - IoU of the detection with the place that MMDetection's Kalman filter
    predicts. A detection that is linked gets the score that Bayes' rule gives its class: the prior
    is the last distribution of its track, the likelihood its own. One that is not keeps its score.

    The score distribution of a detection has, for each class, the highest score among the
    detections of that class in its place, and what its best score leaves to 1 for background; so
    any detector will do. It takes the place of the tracker in MMDetection's video models::

        model=dict(type="ByteTrack", detector=..., tracker=dict(
            type="RescoringTracker", classes=("cat", "dog"), thresholds="thresholds.json"))

    Args:
        classes: Names of the detector's classes, in the order of its labels.
        thresholds: Least score, one for all classes or by name, such as the LRP-optimal ones, or a
            thresholds file; classes that it does not name keep all.
        match_iou_thr: Least IoU of a detection and the predicted place of a track.
        same_place_iou: IoU from which on detections are of the same place.
        background: Whether distributions have a share for background. Without, every score of a
            linked detection says how sure its class is among the classes; for detectors whose
            scores have no level, as a ranking loss leaves them.
        num_frames_retain: A track that is not linked for so many frames ends; 1, as in the thesis,
            links neighbouring frames alone.
        motion: MMDetection's Kalman filter, or one like it.

    Raises:
        ValueError: ``thresholds`` names a class that is not among ``classes``.

    Example:
        >>> tracker = RescoringTracker(classes=("cat", "dog"), thresholds={"cat": 0.5, "dog": 0.3})
        >>> for frame in range(2):
        ...     sample = DetDataSample(metainfo=dict(frame_id=frame))
        ...     sample.pred_instances = InstanceData(
        ...         bboxes=torch.tensor([[10.0, 10.0, 30.0, 30.0]]) + frame,
        ...         labels=torch.tensor([0]), scores=torch.tensor([0.8]))
        ...     tracked = tracker.track(sample)
        ...     print(tracked.instances_id.tolist(), round(tracked.scores.item(), 3))
        [0] 0.8
        [0] 0.941
    """

    def __init__(
        self,
        classes: Sequence[str],
        thresholds: float | Mapping[str, float] | str | Path = 0.5,
        *,
        match_iou_thr: float = 0.3,
        same_place_iou: float = 0.7,
        background: bool = True,
        num_frames_retain: int = 1,
        motion: dict | None = None,
    ) -> None:
        super().__init__(
            motion=motion or dict(type="KalmanFilter"),
            reid=None,
            match_iou_thr=match_iou_thr,
            num_tentatives=1,
            num_frames_retain=num_frames_retain,
        )
        self.kf = self.motion
        if isinstance(thresholds, (str, Path)):
            thresholds = load_thresholds(thresholds)
        elif not isinstance(thresholds, Mapping):
            thresholds = dict.fromkeys(classes, thresholds)
        self.thresholds = ScoreThresholds(thresholds, classes)
        self.num_classes = len(classes)
        self.same_place_iou = same_place_iou
        self.background = background

    def init_track(self, id: int, obj: tuple[Tensor]) -> None:
        """Begin a track, which needs no second detection to be one.

        Args:
            id: Its number.
            obj: The detection's fields.
        """
        super().init_track(id, obj)
        self.tracks[id].tentative = False

    def track(self, data_sample: DetDataSample, **kwargs) -> InstanceData:
        """Link and rescore the detections of the next frame.

        Args:
            data_sample: With ``pred_instances`` of the frame, and its number in the video as
                ``frame_id`` in the meta information; 0 begins a video.
            **kwargs: Of MMDetection's video models; not needed.

        Returns:
            The detections that reach their threshold: ``bboxes``, ``labels``, new ``scores``, and
            ``instances_id``, the number of the track.

        Raises:
            ValueError: There is no ``frame_id``.
        """
        frame = data_sample.metainfo.get("frame_id")
        if frame is None:
            raise ValueError(
                "Expected the meta information of a frame to have its frame_id, but it has "
                f"{sorted(data_sample.metainfo)}; add it to meta_keys of the pipeline's last step."
            )
        if frame == 0:
            self.reset()
        found = data_sample.pred_instances.new()
        for key, value in data_sample.pred_instances.items():
            found[key] = value
        found.seen = self._distributions(found)
        found = self.thresholds.filter(found)
        ids, believed = self._link(found), found.seen.clone()
        linked = (ids >= 0).nonzero().squeeze(1)
        if len(linked):
            prior = self.get("believed", ids[linked].tolist())
            believed[linked] = _normalised(prior * found.seen[linked])
            scores = believed[linked].gather(1, found.labels[linked, None]).squeeze(1)
            found.scores = found.scores.index_put((linked,), scores.to(found.scores))
        new = (ids < 0).nonzero().squeeze(1)
        ids[new] = torch.arange(self.num_tracks, self.num_tracks + len(new)).to(ids)
        self.num_tracks += len(new)
        self.update(
            ids=ids,
            bboxes=found.bboxes,
            scores=found.scores,
            labels=found.labels,
            seen=found.seen,
            believed=believed,
            frame_ids=frame,
        )
        del found.seen
        found.instances_id = ids
        return found

    def _distributions(self, found: InstanceData) -> Tensor:
        """(N, classes and background) score distributions of N detections, in float64."""
        scores = found.scores.double()
        same = bbox_overlaps(found.bboxes, found.bboxes) >= self.same_place_iou
        by_class = scores.new_zeros(len(scores), self.num_classes)
        # Of each detection, scores of those in its place fall to the columns of their labels.
        columns = found.labels.expand(len(scores), -1)
        by_class.scatter_reduce_(1, columns, scores * same, reduce="amax")
        own = torch.arange(len(scores), device=scores.device)
        by_class[own, found.labels] = scores
        if self.background:
            rest = (1 - by_class.amax(1, keepdim=True)).clamp(min=0)
            by_class = torch.cat([by_class, rest], dim=1)
        return _normalised(by_class)

    def _link(self, found: InstanceData) -> Tensor:
        """(N,) numbers of the tracks that N detections belong to, -1 for none."""
        ids = torch.full((len(found),), -1, dtype=torch.long, device=found.labels.device)
        for track in self.tracks.values():
            track.mean, track.covariance = self.kf.predict(track.mean, track.covariance)
        if self.empty or not len(found):
            return ids
        places = np.stack([track.mean[:4] for track in self.tracks.values()])
        boxes = bbox_cxcyah_to_xyxy(torch.from_numpy(places).to(found.bboxes))
        ious = bbox_overlaps(boxes, found.bboxes)
        cost = torch.cdist(self.get("seen"), found.seen, p=1) + 1 - ious
        possible = (ious >= self.match_iou_thr) & (self.get("labels")[:, None] == found.labels)
        rows, columns = linear_sum_assignment(cost.where(possible, _IMPOSSIBLE).cpu().numpy())
        for row, column in zip(rows, columns, strict=True):
            if possible[row, column]:
                ids[column] = self.ids[row]
        return ids


def _normalised(weights: Tensor) -> Tensor:
    """Rows that sum to 1, none of whose entries is 0."""
    weights = weights / weights.sum(1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    weights = weights + _FLOOR
    return weights / weights.sum(1, keepdim=True)
