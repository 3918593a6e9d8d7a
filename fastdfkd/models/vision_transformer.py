"""Small vision transformers (arXiv 2010.11929) for small images. They have no running statistics.

Its position code is the fixed sine and cosine of arXiv 2106.14881 (Appendix), so that it takes
images of any size, and its patches are averaged instead of read from a class token.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH = 4
"""Side of a patch in pixels."""
_PERIOD = 10_000.0


class Encoder(nn.Module):
    """LayerNorm, self-attention, residual; LayerNorm, MLP of twice the width, residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, patches, width) to the same shape."""
        batch, patches, _ = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, patches, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(query, key, value)
        x = x + self.project(seen.transpose(1, 2).reshape(batch, patches, -1))
        result: Tensor = x + self.mlp(self.norm2(x))
        return result


class VisionTransformer(nn.Module):
    """Patches of 4x4 pixels, `depth` encoders of `width` channels, one linear layer.

    With `stem` it is the hybrid of arXiv 2010.11929: the encoders read the stem's maps, a position
    of which is a patch.
    """

    def __init__(
        self,
        depth: int,
        width: int,
        heads: int,
        num_classes: int,
        in_channels: int = 3,
        stem: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if width % 4 or width % heads:
            raise ValueError(
                f"expected a width that 4 and the number of heads divide, got {width} and "
                f"{heads} heads"
            )
        self.patches = stem or nn.Conv2d(in_channels, width, PATCH, PATCH)
        self.encoders = nn.Sequential(*(Encoder(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, num_classes) of normalised images (B, in_channels, H, W), H and W >= 4."""
        x = self.patches(x)
        x = x + position_code(x)
        x = self.encoders(x.flatten(2).transpose(1, 2))
        logits: Tensor = self.head(self.norm(x).mean(1))
        return logits


def position_code(maps: Tensor) -> Tensor:
    """Sine and cosine of row and column, (1, width, H, W), for maps (B, width, H, W)."""
    height, columns = maps.shape[2:]
    device, quarter = maps.device, maps.shape[1] // 4
    rates = _PERIOD ** -(torch.arange(quarter, device=device) / quarter)
    rows = torch.arange(height, device=device)[:, None] * rates
    across = torch.arange(columns, device=device)[:, None] * rates
    parts = (rows.sin(), rows.cos(), across.sin(), across.cos())
    shapes = ((height, 1), (height, 1), (1, columns), (1, columns))
    code = [
        part.T.reshape(quarter, *shape).expand(quarter, height, columns)
        for part, shape in zip(parts, shapes, strict=True)
    ]
    return torch.cat(code).to(maps.dtype)[None]
