"""The picking network: fully convolutional, from a view to where particles and dirt are.

A small U-Net (Ronneberger et al. 2015, arXiv:1505.04597) of residual blocks without normalisation, whose output has half the
view's resolution: per output cell the logit of a particle's centre, its offset (y, x) in output cells, and the logit of dirt
(contamination, carbon, aggregates, the beam's edge). At its coarsest level the network looks at the whole micrograph once
(global context: Cao et al. 2019, arXiv:1904.11492), so that what most particles look like bears on what each one is.
"""

import torch
from torch import Tensor, nn

STRIDE = 2
"""Cells per output cell."""
MULTIPLE = 8
"""Both sides of a view must be multiples of this."""
WIDTHS = (16, 40, 64)
CENTRE, OFFSET_Y, OFFSET_X, DIRT = range(4)


class ResidualBlock(nn.Module):
    """Two convolutions beside the identity; it starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.second(torch.relu(self.first(torch.relu(x))))
        return x + changed


class GlobalContext(nn.Module):
    """Adds and multiplies what an attention over the whole image has gathered."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.Conv2d(width, 1, 1)
        self.hidden = nn.Linear(width, width)
        self.change = nn.Linear(width, 2 * width)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.softmax(self.attention(x).flatten(2), dim=-1)
        gathered = (x.flatten(2) * weights).sum(-1)
        factor, term = self.change(torch.relu(self.hidden(gathered)))[..., None, None].chunk(2, dim=1)
        changed: Tensor = x * (1 + factor) + term
        return changed


class PickerNet(nn.Module):
    """(n, 2, height, width) to (n, 4, height / 2, width / 2): CENTRE, OFFSET_Y, OFFSET_X, DIRT."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.gather = nn.PixelUnshuffle(STRIDE)
        self.stem = nn.Conv2d(2 * STRIDE**2, fine, 3, padding=1)
        self.fine = ResidualBlock(fine)
        self.to_middle = nn.Conv2d(fine, middle, 2, stride=2)
        self.middle = nn.Sequential(ResidualBlock(middle), ResidualBlock(middle))
        self.to_coarse = nn.Conv2d(middle, coarse, 2, stride=2)
        self.coarse = nn.Sequential(ResidualBlock(coarse), GlobalContext(coarse), ResidualBlock(coarse))
        self.from_coarse = nn.Conv2d(coarse, middle, 1)
        self.middle_again = ResidualBlock(middle)
        self.from_middle = nn.Conv2d(middle, fine, 1)
        self.fine_again = ResidualBlock(fine)
        last = nn.Conv2d(fine, 4, 1)
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(fine, fine, 3, padding=1), nn.ReLU(), last)
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
        nn.init.zeros_(last.weight)
        last.bias = nn.Parameter(torch.tensor([-3.0, 0.0, 0.0, -3.0]))

    def forward(self, view: Tensor) -> Tensor:
        fine = self.fine(self.stem(self.gather(view)))
        middle = self.middle(self.to_middle(fine))
        coarse = self.coarse(self.to_coarse(middle))
        middle = self.middle_again(middle + self.enlarge(self.from_coarse(coarse)))
        fine = self.fine_again(fine + self.enlarge(self.from_middle(middle)))
        out: Tensor = self.head(fine)
        return out
