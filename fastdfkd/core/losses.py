"""The losses, each with its source. Logits are (B, K) float; every loss is a scalar.

"Eq." numbers are those of arXiv 2112.06253 (FastDFKD) unless another paper is named.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def one_hot_loss(teacher_logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the teacher towards the drawn labels (L_cls; DAFL, arXiv 1904.01186)."""
    return F.cross_entropy(teacher_logits, labels)


def kl_divergence(
    teacher_logits: Tensor, student_logits: Tensor, temperature: float = 1.0
) -> Tensor:
    """KL(T || S) of the tempered softmaxes for each image, (B,)."""
    log_student = F.log_softmax(student_logits / temperature, dim=1)
    teacher = F.softmax(teacher_logits / temperature, dim=1)
    return F.kl_div(log_student, teacher, reduction="none").sum(1)


def adversarial_loss(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
    """Minus the mean over images of 1(argmax S = argmax T) * KL(T || S).

    Minimising it looks for images that the student gets right but not as the teacher does
    (L_adv of CMI, arXiv 2105.08584). Gradients flow through both networks.
    """
    agree = student_logits.argmax(1) == teacher_logits.argmax(1)
    return -(kl_divergence(teacher_logits, student_logits) * agree).mean()


def jensen_shannon_adversarial_loss(
    teacher_logits: Tensor, student_logits: Tensor, temperature: float = 3.0
) -> Tensor:
    """Minus the Jensen-Shannon divergence, batch mean (R_compete, Eq. 8 of arXiv 1912.08795)."""
    teacher = F.softmax(teacher_logits / temperature, dim=1)
    student = F.softmax(student_logits / temperature, dim=1)
    log_mixture = (0.5 * (teacher + student)).clamp_min(1e-12).log()
    to_teacher = F.kl_div(log_mixture, teacher, reduction="batchmean")
    to_student = F.kl_div(log_mixture, student, reduction="batchmean")
    return -0.5 * (to_teacher + to_student)


def distillation_loss(teacher_logits: Tensor, student_logits: Tensor, temperature: float) -> Tensor:
    """temperature^2 * mean KL(T || S) of the tempered softmaxes (arXiv 1503.02531)."""
    return kl_divergence(teacher_logits, student_logits, temperature).mean() * temperature**2


def total_variation(images: Tensor) -> Tensor:
    """L2 norms of the differences to the four neighbour directions (R_TV, arXiv 1912.08795)."""
    right = images[..., :, 1:] - images[..., :, :-1]
    down = images[..., 1:, :] - images[..., :-1, :]
    diagonal = images[..., 1:, 1:] - images[..., :-1, :-1]
    antidiagonal = images[..., 1:, :-1] - images[..., :-1, 1:]
    norms = [torch.linalg.vector_norm(d) for d in (right, down, diagonal, antidiagonal)]
    return torch.stack(norms).sum()
