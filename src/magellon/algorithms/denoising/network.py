"""The network: a small U-Net on images of 4 Å/px, fully convolutional, with nothing in it but convolutions.

It works on blocks of 2 x 2 pixels, four numbers each, so that its widest layers see 8 Å/px and lose nothing. Each
output pixel depends on the input within `REACH` pixels.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

STRIDE = 8
"""Pixels: the sides of its input are multiples of this, and shifting the input by as many shifts the output."""
REACH = 64
"""Pixels: how far away an input pixel can be from an output pixel that depends on it, or a little less."""
_WIDTHS = (32, 48, 64)
"""Channels at 8, 16 and 32 Å."""


class DenoisingNetwork(nn.Module):
    """(n, 1, height, width) in units of the noise's standard deviation, about zero, to the same shape."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = _WIDTHS
        self.enter = _Convolutions(4, fine, fine)
        self.down_middle = nn.Conv2d(fine, middle, 2, stride=2)
        self.middle = _Convolutions(middle, middle)
        self.down_coarse = nn.Conv2d(middle, coarse, 2, stride=2)
        self.coarse = _Convolutions(coarse, coarse, coarse, coarse, coarse)
        self.up_middle = nn.Conv2d(coarse, middle, 1)
        self.join_middle = _Convolutions(middle, middle, middle)
        self.up_fine = nn.Conv2d(middle, fine, 1)
        self.join_fine = _Convolutions(fine, fine, fine)
        self.leave = nn.Conv2d(fine, 4, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        fine = self.enter(nn.functional.pixel_unshuffle(image, 2))
        middle = self.middle(self.down_middle(fine))
        coarse = self.coarse(self.down_coarse(middle))
        middle = self.join_middle(middle + _enlarge(self.up_middle(coarse)))
        fine = self.join_fine(fine + _enlarge(self.up_fine(middle)))
        return nn.functional.pixel_shuffle(self.leave(fine), 2)


class _Convolutions(nn.Sequential):
    """3 x 3 convolutions, each with its non-linearity, through the channels given."""

    def __init__(self, *channels: int) -> None:
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.LeakyReLU(0.1)]
        super().__init__(*layers)


def _enlarge(channels: Tensor) -> Tensor:
    return nn.functional.interpolate(channels, scale_factor=2.0, mode="nearest")


def count_parameters(network: nn.Module) -> int:
    return sum(each.numel() for each in network.parameters())


def make_network(seed: int) -> DenoisingNetwork:
    """A network that has learnt nothing yet."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DenoisingNetwork()
