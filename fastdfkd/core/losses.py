"""The losses, each with its source.

Logits are (B, K, *space) float, with the classes on axis 1: (B, K) for one answer per image,
(B, K, H, W) for one per pixel. A position is an image or a pixel. Every loss is a scalar. Those of
logits are means over all positions.

"Eq." numbers are those of arXiv 2112.06253 (FastDFKD) unless another paper is named.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_NO_LABEL = -100


def one_hot_loss(logits: Tensor, labels: Tensor, void: int | None = None) -> Tensor:
    """Cross-entropy of a network with labels (L_cls; DAFL, arXiv 1904.01186).

    Args:
        logits: (B, K, *space).
        labels: (B, *space) int64.
        void: label of the positions that are left out of the mean; None leaves none out.
    """
    return F.cross_entropy(logits, labels, ignore_index=_NO_LABEL if void is None else void)


def kl_divergence(
    teacher_logits: Tensor, student_logits: Tensor, temperature: float = 1.0
) -> Tensor:
    """KL(T || S) of the softmaxes of logits / temperature at each position, (B, *space)."""
    log_student = F.log_softmax(student_logits / temperature, dim=1)
    teacher = _softmax(teacher_logits / temperature)
    return F.kl_div(log_student, teacher, reduction="none").sum(1)


def _softmax(logits: Tensor) -> Tensor:
    """Softmax over the classes, never exactly 0.

    A share underflows to 0 if its logit is more than 104 below the largest one (float32), as a
    sure teacher's may be. The gradient of p ln p is infinite there, and NaN once it is multiplied.
    """
    shares = F.softmax(logits, dim=1)
    return shares.clamp_min(torch.finfo(shares.dtype).tiny)


def agree(first_logits: Tensor, second_logits: Tensor) -> Tensor:
    """Where the argmax of two networks is the same class, (B, *space) bool."""
    return first_logits.argmax(1) == second_logits.argmax(1)


def adversarial_loss(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
    """Minus the mean over all positions of 1(argmax S = argmax T) * KL(T || S).

    It is low for images on which the student predicts the teacher's class, but with another
    distribution (L_adv of CMI, arXiv 2105.08584). Gradients flow through both networks.
    """
    mask = agree(teacher_logits, student_logits)
    return -(kl_divergence(teacher_logits, student_logits) * mask).mean()


def jensen_shannon_adversarial_loss(
    teacher_logits: Tensor, student_logits: Tensor, temperature: float = 3.0
) -> Tensor:
    """Minus the mean Jensen-Shannon divergence (R_compete, Eq. 8 of arXiv 1912.08795)."""
    teacher = _softmax(teacher_logits / temperature)
    student = _softmax(student_logits / temperature)
    log_mixture = (0.5 * (teacher + student)).clamp_min(1e-12).log()
    positions = teacher.numel() // teacher.shape[1]
    to_teacher = F.kl_div(log_mixture, teacher, reduction="sum") / positions
    to_student = F.kl_div(log_mixture, student, reduction="sum") / positions
    return -0.5 * (to_teacher + to_student)


def distillation_loss(teacher_logits: Tensor, student_logits: Tensor, temperature: float) -> Tensor:
    """temperature^2 * mean KL(T || S) of softmaxes of logits / temperature (arXiv 1503.02531)."""
    return kl_divergence(teacher_logits, student_logits, temperature).mean() * temperature**2


def logit_distance(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
    """Mean absolute difference of logits over positions and classes (DFAD, arXiv 1912.11006)."""
    return F.l1_loss(student_logits, teacher_logits)


def confidence_loss(logits: Tensor) -> Tensor:
    """Mean entropy of a network's answers in nats (the first entropy of DFQ, arXiv 2005.04136).

    It is low if every answer is near one class.
    """
    log_shares = F.log_softmax(logits, dim=1)
    return -(log_shares.exp() * log_shares).sum(1).mean()


def balance_loss(logits: Tensor) -> Tensor:
    """Minus the entropy of the mean answer in nats (L_ie of DAFL, arXiv 1904.01186, natural log).

    It is low, at least -ln K, if the batch has all classes equally often.
    """
    mean = F.softmax(logits, dim=1).movedim(1, -1).flatten(0, -2).mean(0)
    # Clamped, because the gradient of the logarithm of 0 is infinite.
    return (mean * mean.clamp_min(torch.finfo(mean.dtype).tiny).log()).sum()


def activation_loss(features: Tensor) -> Tensor:
    """Minus the mean absolute value of features of any shape (L_a of DAFL, arXiv 1904.01186)."""
    return -features.abs().mean()


def contrastive_loss(queries: Tensor, keys: Tensor, current: int, temperature: float) -> Tensor:
    """Cross-entropy of each row's similarities with the row of its own (CMI, arXiv 2105.08584).

    It is low if row i of `queries` is nearer to row i of `keys` than to the others: images that
    differ from each other. The mean over the first `current` rows is added to that over the rest.

    Args:
        queries: (N, P), each of length 1.
        keys: likewise.
        current: rows of the batch itself; those after it come from earlier batches.
        temperature: divides the similarities.
    """
    own = torch.arange(len(queries), device=queries.device)
    losses = F.cross_entropy(queries @ keys.T / temperature, own, reduction="none")
    loss = losses[:current].mean()
    return loss if len(losses) == current else loss + losses[current:].mean()


def total_variation(images: Tensor) -> Tensor:
    """Sum of the L2 norms of four differences between neighbours (R_TV, arXiv 1912.08795).

    The differences of images (B, C, H, W) are to the right, down and along both diagonals.
    """
    right = images[..., :, 1:] - images[..., :, :-1]
    down = images[..., 1:, :] - images[..., :-1, :]
    diagonal = images[..., 1:, 1:] - images[..., :-1, :-1]
    antidiagonal = images[..., 1:, :-1] - images[..., :-1, 1:]
    norms = [torch.linalg.vector_norm(d) for d in (right, down, diagonal, antidiagonal)]
    return torch.stack(norms).sum()
