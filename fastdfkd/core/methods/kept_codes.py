"""Latent codes with which a synthesizer's next batch goes on (`keep_codes`).

Source: the ImageNet script of the authors of arXiv 2112.06253. There z has a meta-learning rate of
its own, but the inner Adam edits the storage that the meta-z shares: codes are handed on, not
meta-learned. So it is here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fastdfkd.core.methods.inversion import RandomInputs


class KeptCodes:
    """The codes after the last step of the batch before, for a number of rounds.

    Rounds are counted in blocks: those of one block inherit from each other, the first that a
    synthesizer makes of a block draws new codes. A batch that is made again draws new ones too,
    because what it began with has led to images that were refused.
    """

    def __init__(self, rounds: int | None, device: torch.device | str = "cpu"):
        """Keep nothing yet.

        Args:
            rounds: of a block; None: every round draws new codes.
            device: of the codes.
        """
        self.rounds, self.device = rounds, torch.device(device)
        self.block = -1
        self.codes: list[Tensor] = []
        """One tensor for each shape of codes in the block: rounds may have images of several
        sizes."""

    def begin(self, draws: RandomInputs) -> Tensor:
        """The codes with which a round starts, of the shape of its noise."""
        if self.rounds is None or draws.attempt or draws.round // self.rounds != self.block:
            return draws.noise
        return next((z for z in self.codes if z.shape == draws.noise.shape), draws.noise)

    def end(self, round: int, codes: Sequence[Tensor]) -> None:
        """Keep the codes of a round after its last step."""
        if self.rounds is None:
            return
        (code,), block = codes, round // self.rounds
        others = [z for z in self.codes if z.shape != code.shape] if block == self.block else []
        self.block, self.codes = block, [*others, code.detach().clone()]

    def state_dict(self) -> dict[str, Any]:
        """The codes and their block; nothing if none are kept."""
        return {"codes": {"block": self.block, "z": list(self.codes)}} if self.codes else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a state with the entry `codes`; forget the codes if it has none."""
        kept = state.get("codes")
        self.block = kept["block"] if kept else -1
        self.codes = [z.to(self.device, copy=True) for z in kept["z"]] if kept else []


NO_CODES = KeptCodes(None)
"""Every round draws new codes."""
