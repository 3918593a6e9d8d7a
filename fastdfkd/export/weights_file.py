"""The format `safetensors`: the weights alone, with the facts in the file's metadata."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from fastdfkd.export.deployed import DeployedNetwork
from fastdfkd.export.formats import Content, Format
from fastdfkd.export.provenance import flat
from fastdfkd.models import open_network
from fastdfkd.runs.files import write_whole


class SafeTensors(Format):
    """Weights for the network's own code, which reads normalised pixels."""

    file = "student.safetensors"
    pixels = ("normalised",)

    def write(self, content: Content, path: Path) -> None:
        """Save the tensors by name."""
        state = content.student.network.state_dict()
        tensors = {name: tensor.contiguous().clone() for name, tensor in state.items()}
        write_whole(path, save(tensors, metadata=flat(content.facts)))

    def run(self, content: Content, path: Path) -> Callable[[Tensor], Tensor]:
        """Build the recipe's student anew, and load the weights into it."""
        section, spec = content.student.recipe.student, content.student.spec
        network = open_network(section, spec, path)
        return DeployedNetwork(network, spec, content.network.pixels, section.output)
