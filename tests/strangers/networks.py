"""Small networks as people write them, each with a habit that a tool for any network meets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from tests.strangers import answers, layers, programs, views
from tests.strangers.base import Base


@dataclass(frozen=True, kw_only=True)
class Stranger:
    """What is expected of a network in both roles."""

    build: Callable[..., Any]
    teacher: str = ""
    """Pattern of the refusal as teacher; empty: it runs."""
    student: str = ""
    without: frozenset[str] = frozenset()
    """Changes that must be left out for the teacher or the student."""
    bn: float = 1.0
    output: str = "logits"
    both_precisions: bool = False
    arguments: tuple[tuple[str, Any], ...] = ()


def _kind(build: Callable[..., Any], *without: str, **facts: Any) -> Stranger:
    return Stranger(build=build, without=frozenset(without), **facts)


_FIXED = "exported in and does not show its layers"
_MISSING = "missing a required argument.*`arguments`"
_QUANTISED = r"head.* quantised\. Integer layers pass no gradient"

STRANGERS: dict[str, Stranger] = {
    "plain": _kind(Base, both_precisions=True),
    "view": _kind(views.Views, "channels_last", "folded_logits", both_precisions=True),
    "view by number": _kind(views.ViewsByNumber, "channels_last", "folded_logits"),
    "view of a permutation": _kind(views.ViewsPermuted),
    "as_strided": _kind(views.Strided, "channels_last", "folded_logits"),
    "channel shuffle": _kind(views.ShufflesChannels),
    "pair": _kind(answers.ReturnsPair),
    "tuple of one": _kind(answers.ReturnsTuple1, both_precisions=True),
    "list": _kind(answers.ReturnsList),
    "dict": _kind(answers.ReturnsDict, both_precisions=True),
    "dict of one": _kind(answers.ReturnsSingleEntry),
    "object": _kind(answers.ReturnsObject),
    "named tuple in training": _kind(answers.AuxiliaryInTraining, both_precisions=True),
    "dict in training": _kind(answers.DeepSupervision),
    "unit sides": _kind(answers.KeepsUnitSides),
    "squeeze": _kind(answers.Squeezes),
    "softmax": _kind(
        answers.Softmax, teacher="output to probabilities", student="output to probabilities"
    ),
    "softmax, said": _kind(answers.Softmax, output="probabilities", both_precisions=True),
    "log-softmax": _kind(
        answers.LogSoftmax, teacher="log_probabilities", student="log_probabilities"
    ),
    "log-softmax, said": _kind(answers.LogSoftmax, output="log_probabilities"),
    "logits, said to be probabilities": _kind(
        Base, output="probabilities", teacher="are not: they lie", student="are not: they lie"
    ),
    "sigmoid": _kind(answers.Sigmoid, teacher="multi-label", student="multi-label"),
    "one number": _kind(answers.OneNumber, teacher="binary_logit", student="binary_logit"),
    "maps of logits": _kind(answers.Segments, teacher="maps of logits", student="maps of logits"),
    "GroupNorm": _kind(layers.GroupNorms, bn=0.0),
    "GroupNorm with bn": _kind(layers.GroupNorms, teacher="has no BatchNorm layer"),
    "InstanceNorm": _kind(layers.InstanceNorms, bn=0.0),
    "BatchNorm without affine": _kind(layers.NoAffine, both_precisions=True),
    "BatchNorm1d": _kind(layers.NormsVectors, "fused_norms", "folded_logits"),
    "one BatchNorm twice": _kind(layers.SharedNorm),
    "F.batch_norm": _kind(layers.FunctionalNorm, bn=0.0),
    "dropout": _kind(layers.Drops),
    "noise": _kind(layers.Noisy),
    "branch on values": _kind(layers.BranchesOnValues, "fused_norms", "folded_logits"),
    "item()": _kind(layers.AsksForNumbers, "fused_norms", "folded_logits"),
    "branch on shape": _kind(layers.BranchesOnShape, "fused_norms", "folded_logits"),
    "in place": _kind(layers.BeginsInPlace),
    "counter": _kind(layers.Counts),
    "own constants": _kind(layers.OwnConstants, both_precisions=True),
    "float64 inside": _kind(layers.DoubleInside),
    "own autograd function": _kind(layers.OwnFunction),
    "float32 only": _kind(layers.Float32Only, "autocast", both_precisions=True),
    "depthwise": _kind(layers.Grouped),
    "thin projection": _kind(layers.ThinProjection, "channels_last"),
    "Conv3d": _kind(layers.Volumes, "channels_last"),
    "GRU": _kind(layers.Recurrent, "fused_norms", "folded_logits"),
    "attention": _kind(layers.Attends, both_precisions=True),
    "FFT": _kind(layers.Frequencies),
    "frozen stem": _kind(layers.FrozenStem),
    "unused layer": _kind(layers.UnusedLayer),
    "tied heads": _kind(layers.TiedHeads),
    "checkpoint": _kind(layers.Checkpointed),
    "norms in eval": _kind(layers.KeepsNormsInEval),
    "slow statistics": _kind(layers.SlowStatistics, teacher="NaN or infinity for random images"),
    "versions": _kind(layers.Versioned),
    "lock": _kind(layers.Locks, teacher="cannot pickle", student="cannot pickle"),
    "transposed": _kind(layers.Transposed),
    "bfloat16 answers": _kind(layers.HalfAnswers),
    "hook": _kind(programs.hooked, "fused_norms", "folded_logits"),
    "script": _kind(programs.scripted, bn=0.0, both_precisions=True),
    "script with BatchNorm": _kind(programs.scripted_with_norm),
    "traced": _kind(programs.traced, bn=0.0),
    "exported": _kind(programs.exported, teacher=_FIXED, student=_FIXED),
    "exported program": _kind(programs.exported_program, teacher=_FIXED, student=_FIXED),
    "compiled": _kind(programs.compiled),
    "compiled in place": _kind(programs.compiled_in_place),
    "DataParallel": _kind(programs.data_parallel),
    "FX": _kind(programs.symbolically_traced),
    "parametrised": _kind(programs.parametrised, student="conv2 are parametrised"),
    "weight_norm": _kind(programs.weight_norm_of_old, "fused_norms", "folded_logits"),
    "spectral_norm": _kind(programs.spectral_norm_of_old, "fused_norms", "folded_logits"),
    "quantised": _kind(programs.quantised, teacher=_QUANTISED, student=_QUANTISED),
    "arguments": _kind(programs.needs_arguments, arguments=(("depth", 1), ("width", 8))),
    "arguments missing": _kind(programs.needs_arguments, teacher=_MISSING, student=_MISSING),
}
"""About the habit, never about the size: each runs two rounds in a fraction of a second."""


def build(name: str, **arguments: Any) -> Any:
    """The network of the table called `name`, with weights that depend on nothing else."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return STRANGERS[name].build(**arguments)
