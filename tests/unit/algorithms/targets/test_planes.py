"""Values that would overflow are tamed; a montage, which may fill much of the memory, is not copied for that."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from magellon.algorithms.targets.planes import tame_values


class Allocations(TorchDispatchMode):
    """Elements of the largest tensor that any operation made."""

    largest = 0

    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        made = [each for each in (result if isinstance(result, tuple) else (result,)) if isinstance(each, torch.Tensor)]
        self.largest = max(self.largest, *(each.numel() for each in made)) if made else self.largest
        return result


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_a_usual_picture_is_used_as_it_is(factor: float) -> None:
    image = factor * torch.randn(200, 300, generator=torch.Generator().manual_seed(1))
    with Allocations() as made:
        tamed = tame_values(image)
    assert tamed.data_ptr() == image.data_ptr()
    assert made.largest <= 1, "nothing of the picture's size was made on the way"


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_proportions_of_extreme_values_stay(factor: float) -> None:
    image = torch.randn(50, 60, generator=torch.Generator().manual_seed(2))
    tamed = tame_values(factor * image)
    assert float(tamed.abs().max()) == pytest.approx(1)
    assert torch.allclose(tamed, image / image.abs().max(), atol=1e-6)
