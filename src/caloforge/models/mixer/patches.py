"""The blocks of the mixer: patches of a grid's face as tokens, and what mixes them.

Source: I. Tolstikhin et al., MLP-Mixer, NeurIPS 2021.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import gelu, pad

from caloforge.detector import Grid

__all__ = ["Block", "Patches"]


class Patches(nn.Module):
    """Cuts a grid's face into patches with all their layers, (B, nx, ny, nz) to (B, P, C), and back."""

    def __init__(self, grid: Grid, side: int = 5) -> None:
        super().__init__()
        self.shape, self.side = grid.shape, side
        self.across = tuple(-(-n // side) for n in grid.shape[:2])
        self.count = self.across[0] * self.across[1]
        self.cells = side * side * grid.n_layers

    def forward(self, image_BXYZ: Tensor) -> Tensor:
        """Cut; cells beyond the edges are zero."""
        side = self.side
        missing = [side * a - n for a, n in zip(self.across, self.shape[:2], strict=True)]
        image = pad(image_BXYZ, (0, 0, 0, missing[1], 0, missing[0])) if any(missing) else image_BXYZ
        ax, ay = self.across
        cut = image.reshape(image.shape[0], ax, side, ay, side, self.shape[2]).permute(0, 1, 3, 2, 4, 5)
        return cut.reshape(image.shape[0], self.count, self.cells)

    def join(self, patches_BPC: Tensor) -> Tensor:
        """Put together."""
        ax, ay = self.across
        cut = patches_BPC.reshape(patches_BPC.shape[0], ax, ay, self.side, self.side, self.shape[2])
        image = cut.permute(0, 1, 3, 2, 4, 5).reshape(-1, self.side * ax, self.side * ay, self.shape[2])
        return image[:, : self.shape[0], : self.shape[1]]


class Block(nn.Module):
    """Mixes tokens, then channels: (B, P, W) to the same."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm_tokens, self.norm_channels = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Linear(tokens, tokens)
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x_BPW: Tensor) -> Tensor:
        """Add what the neighbours and the channels say."""
        x_BPW = x_BPW + self.tokens(self.norm_tokens(x_BPW).transpose(1, 2)).transpose(1, 2)
        out: Tensor = x_BPW + self.narrow(gelu(self.widen(self.norm_channels(x_BPW))))
        return out
