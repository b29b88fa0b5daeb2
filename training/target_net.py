"""The network that finds squares and holes: a small pyramid of convolutions with one set of heads."""

import itertools

import torch
from torch import nn
from torch.nn import functional

WIDTHS = (16, 32, 48, 64, 64)
"""Channels at strides 2, 4, 8, 16 and 32."""


class TargetNet(nn.Module):
    """Planes (batch, 3, height, width) to maps (batch, 4 + kinds [+ 2], height / stride, width / stride).

    The maps are: logit of a centre; log2 of the size in pixels / 16; x and y of the centre relative to the cell in sizes;
    logits of the kinds; and, when `angled`, cosine and sine of four times the angle.
    """

    def __init__(self, kinds: int, stride: int, angled: bool) -> None:
        super().__init__()
        self.stride, self.kinds, self.angled = stride, kinds, angled
        self.stem = nn.Conv2d(3, WIDTHS[0], 5, stride=2, padding=2)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(WIDTHS))
        self.stay = nn.ModuleList(nn.Conv2d(a, a, 3, padding=1) for a in WIDTHS)
        first = 0 if stride == 2 else 1
        ups = (16, 32, 32, 48, 64)[first:]
        self.side = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(WIDTHS[first:], ups, strict=True))
        self.rise = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(ups))
        self.blend = nn.ModuleList(nn.Conv2d(a, a, 3, padding=1) for a in ups[:-1])
        self.head = nn.Conv2d(ups[0], 32, 1)
        self.out = nn.Conv2d(32, 4 + kinds + 2 * angled, 1)
        self.first = first
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=0.1, nonlinearity="leaky_relu")
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.out.weight, std=0.01)
        with torch.no_grad():
            self.out.bias[0] = -4.0

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        x = _bend(self.stem(planes))
        levels = []
        for number, stay in enumerate(self.stay):
            x = _bend(self.down[number - 1](x)) if number else x
            x = x + 0.5 * _bend(stay(x))
            levels.append(x)
        sides = [side(level) for side, level in zip(self.side, levels[self.first :], strict=True)]
        top = sides[-1]
        for number in reversed(range(len(self.blend))):
            raised = functional.interpolate(self.rise[number](top), scale_factor=2.0, mode="nearest")
            top = _bend(sides[number] + raised)
            top = top + 0.5 * _bend(self.blend[number](top))
        return self.out(_bend(self.head(top)))


def _bend(x: torch.Tensor) -> torch.Tensor:
    return functional.leaky_relu(x, 0.1)
