"""Where a classification is computed."""

import pytest
import torch

from magellon.backends.can_classifier.plan import find_devices


@pytest.mark.parametrize(
    ("asked", "there", "shared"),
    [("cuda", 3, ("cuda:0", "cuda:1", "cuda:2")), ("cuda", 1, ()), ("cuda:1", 3, ()), ("cpu", 3, ())],
)
def test_all_gpus_share_the_work_unless_one_is_named(
    monkeypatch: pytest.MonkeyPatch, asked: str, there: int, shared: tuple[str, ...]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    assert find_devices(asked) == shared
