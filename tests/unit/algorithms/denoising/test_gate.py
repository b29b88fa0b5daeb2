"""Where detail passes: in what the network sees, not beside it."""

import torch

from magellon.algorithms.denoising.gate import measure_gate, pick_detail


def test_it_opens_where_there_is_something() -> None:
    y, x = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    inside = torch.hypot(y - 40, x - 40) < 15
    predicted = inside * torch.sin(x) + 0.01 * y  # a particle, and the slope of the ice
    gate = measure_gate(predicted)
    assert float(gate[inside].mean()) > 0.6
    assert float(gate[torch.hypot(y - 90, x - 90) < 25].max()) < 0.01
    assert float(measure_gate(2 * predicted)[40, 40]) > float(gate[40, 40])


def test_only_fine_detail_passes() -> None:
    x = torch.arange(128.0)[None].repeat(128, 1)
    fine, slow = torch.sin(2 * torch.pi * x / 4), torch.sin(2 * torch.pi * x / 64)
    whole = torch.ones_like(x)
    assert torch.allclose(pick_detail(fine + slow + 7, whole), fine, atol=0.03)
    assert not pick_detail(fine, 0 * whole).any()
