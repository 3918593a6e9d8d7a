"""The shared generator theta and its update from batches, each made with a copy theta' of it.

fomaml      theta <- Adam(theta, sum over inner steps of dL/dtheta')       (Eq. 7)
reptile     theta <- Adam(theta, c * (theta - theta'_k))                   (Eq. 8; Adam cancels c)
sequential  theta <- theta'_k                      (ablation: reuse without meta-learning)
none        theta is initialised again before every batch            (ablation: no reuse)

"Eq." numbers are those of arXiv 2112.06253. The ablations are the paper's; the authors' code of
sequential reuse never resets the first layers, which here needs `reset_after: null`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fastdfkd.core import torch_versions
from fastdfkd.core.drawn_generator import drawn_generator
from fastdfkd.core.generators import Generator
from fastdfkd.core.interfaces import MetaUpdate
from fastdfkd.core.optimizers import Adam, with_layout_of
from fastdfkd.core.random_streams import stream_seed

if TYPE_CHECKING:
    from fastdfkd.recipe import FastSynthesis

BETAS = (0.5, 0.999)


class MetaGenerator:
    """theta with its meta-optimiser. `version` counts meta-updates and resets."""

    def __init__(
        self,
        section: FastSynthesis,
        image_shape: Sequence[int],
        seed: int,
        device: torch.device | str = "cpu",
        vectors: Tensor | None = None,
    ):
        self.section, self.image_shape, self.seed = section, tuple(image_shape), seed
        self.device, self.vectors = torch.device(device), vectors
        self.generator = self._draw("generator")
        lr = section.meta_lr or section.lr_g * section.steps
        self.optimizer = Adam(self.generator.parameters(), lr, BETAS)
        self.version = 0
        self.reset_done = False
        self.codes_drawn = 0
        """How often `keep_codes` made all synthesizers draw new codes."""

    def begin(self, round: int) -> None:
        """Prepare theta for batch `round`: initialise it (`none`), or reset it if that is due."""
        if self.section.meta == "none":
            fresh = self._draw("generator", round)
            self.generator.load_state_dict(fresh.state_dict())
            return
        after = self.section.reset_after
        due = after is not None and round >= self.section.warmup_rounds + after
        if due and not self.reset_done:
            self.generator.reset_first_layers(stream_seed(self.seed, "reset"))
            self.reset_done = True
            self.version += 1
        keep = self.section.keep_codes
        if keep is not None and round // keep != self.codes_drawn:
            self.optimizer.forget()
            self.codes_drawn = round // keep

    def update_of(
        self, round: int, summed_gradients: Sequence[Tensor], fast: Sequence[Tensor]
    ) -> MetaUpdate:
        """The meta-update of a batch, from tensors for each parameter in order.

        Args:
            round: number of the batch.
            summed_gradients: sum of the inner gradients.
            fast: last weights theta'_k.

        Returns:
            Copies, because the next batch overwrites the arguments.
        """
        match self.section.meta:
            case "fomaml":
                return MetaUpdate(round, [g.clone() for g in summed_gradients])
            case "reptile":
                theta = [p.detach() for p in self.generator.parameters()]
                difference = torch_versions.foreach_sub(theta, [p.detach() for p in fast])
                torch_versions.foreach_mul_(difference, self.section.reptile_scale)
                return MetaUpdate(round, list(difference))
            case "sequential":
                return MetaUpdate(round, [p.detach().clone() for p in fast])
            case _:
                return MetaUpdate(round, [])

    def learn(self, updates: Sequence[MetaUpdate]) -> None:
        """Apply the updates of one or more batches; their order has no influence.

        Gradients of several batches are averaged (a larger meta-batch). With sequential reuse the
        update of the highest round is used.
        """
        if self.section.meta == "none" or not updates:
            return
        ordered = [u.tensors for u in sorted(updates, key=lambda update: update.round)]
        theta = list(self.generator.parameters())
        if self.section.meta == "sequential":
            with torch.no_grad():
                for parameter, new in zip(theta, ordered[-1], strict=True):
                    parameter.copy_(new)
        else:
            for parameter, *gradients in zip(theta, *ordered, strict=True):
                parameter.grad = with_layout_of(torch.stack(gradients).mean(0), parameter)
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.version += 1

    def state_dict(self) -> dict[str, Any]:
        """theta, meta-optimiser, version and whether the reset was done."""
        drawn = {} if self.section.keep_codes is None else {"codes_drawn": self.codes_drawn}
        return {**self.shared_state(), "optimizer": self.optimizer.state_dict(), **drawn}

    def shared_state(self) -> dict[str, Any]:
        """State that another process needs to make batches: all but the optimiser."""
        return {
            "generator": self.generator.state_dict(),
            "version": self.version,
            "reset_done": self.reset_done,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict()` or `shared_state()`."""
        self.generator.load_state_dict(state["generator"])
        if "optimizer" in state:
            self.optimizer.load_state_dict(state["optimizer"])
        self.version = state["version"]
        self.reset_done = state["reset_done"]
        self.codes_drawn = state.get("codes_drawn", self.codes_drawn)

    def _draw(self, *keys: str | int) -> Generator:
        return drawn_generator(
            self.section,
            self.image_shape,
            self.seed,
            *keys,
            device=self.device,
            vectors=self.vectors,
            spatial=self.section.latent == "spatial",
        )
