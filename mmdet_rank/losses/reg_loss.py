"""Refined Generalized Focal Loss as a registered module."""

from __future__ import annotations

from collections.abc import Sequence

from mmdet.registry import MODELS
from torch import Tensor, nn

from mmdet_rank.ops.reg import inverse_frequency_weights, refined_generalized_focal_loss

from .reduction import loss_reduction, reduced


@MODELS.register_module()
class REGLoss(nn.Module):
    """Refined Generalized Focal Loss (REG 2.1 to 2.5): `ops.refined_generalized_focal_loss`.

    Takes the place of FocalLoss in any head (``use_sigmoid=True``), and of CrossEntropyLoss in
    pixelwise segmentation (``use_sigmoid=False``). The total loss of 2.4 is the sum of both, each
    averaged over its own samples; its lambda is the ``loss_weight`` of the segmentation's.

    Args:
        gamma: Focusing parameter.
        alpha: Weight of all classes, or a list of one per class.
        class_counts: Numbers of annotations per class, from which ``alpha`` is computed as the
            inverse frequency (A.8); given instead of ``alpha``.
        beta: Sharpness of the spatial refinement, in 1 / unit of the distances.
        delta: Distance at which it is one half.
        near: Whether samples near to objects count more (A.4), or less (2.3 as printed).
        sigma: Standard deviation of the logits (2.5); 0 is the formula as printed.
        use_sigmoid: One probability per class (detection), or softmax (segmentation).
        reduction: "mean" over the samples, "sum" or "none".
        loss_weight: Factor of the loss.

    Example:
        >>> import torch
        >>> loss = REGLoss(class_counts=[30, 10])
        >>> loss(torch.zeros(1, 2), torch.tensor([0]))  # 0.25 * log 2 * (40 / 30 + 40 / 10)
        tensor(0.9242)
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | Sequence[float] = 1.0,
        class_counts: Sequence[float] | None = None,
        beta: float = 1.0,
        delta: float = 0.0,
        near: bool = True,
        sigma: float = 0.0,
        use_sigmoid: bool = True,
        reduction: str = "mean",
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if class_counts is not None:
            if alpha != 1.0:
                raise ValueError("Expected alpha or class_counts in REGLoss, but got both.")
            alpha = inverse_frequency_weights(class_counts).tolist()
        self.gamma = gamma
        self.alpha = alpha
        self.beta = beta
        self.delta = delta
        self.near = near
        self.sigma = sigma
        self.use_sigmoid = use_sigmoid
        self.reduction = loss_reduction(reduction)
        self.loss_weight = loss_weight

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
        distances: Tensor | None = None,
    ) -> Tensor:
        """MMDetection's call form.

        Args:
            pred: (N, C) logits, or (N, C, ...) of pixels.
            target: (N,) or (N, ...) integer classes; outside of 0..C-1 is background with
                sigmoid, and ignored with softmax.
            weight: Weights of the samples or pixels, of the shape of ``target``.
            avg_factor: What the sum is divided by instead of the number of samples.
            reduction_override: Instead of the module's reduction.
            distances: Of the shape of ``pred``, to the nearest object of each class; see
                `ops.reg.class_distances`. Default: no spatial refinement.

        Returns:
            Scalar, or the shape of ``target`` for "none".

        Raises:
            ValueError: If shapes do not fit.
        """
        reduction = loss_reduction(self.reduction, reduction_override)
        for name, value, shape in (
            ("target", target, pred.shape[:1] + pred.shape[2:]),
            ("weight", weight, target.shape),
            ("distances", distances, pred.shape),
        ):
            if value is not None and value.shape != shape:
                raise ValueError(
                    f"Expected {name} of shape {tuple(shape)} for logits {tuple(pred.shape)} in "
                    f"REGLoss, but got {tuple(value.shape)}."
                )
        loss = refined_generalized_focal_loss(
            _as_rows(pred),
            target.reshape(-1),
            alpha=self.alpha,
            gamma=self.gamma,
            distances=None if distances is None else _as_rows(distances),
            beta=self.beta,
            delta=self.delta,
            near=self.near,
            sigma=self.sigma,
            use_sigmoid=self.use_sigmoid,
        ).view(target.shape)
        return self.loss_weight * reduced(loss, weight, reduction, avg_factor)


def _as_rows(values: Tensor) -> Tensor:
    """(N, C, ...) as rows (N * ..., C)."""
    return values.movedim(1, -1).reshape(-1, values.shape[1])
