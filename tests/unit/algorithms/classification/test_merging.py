"""Groups of the same view are joined, turned as they fit; a rare view of its own is not."""

import torch

from magellon.algorithms.classification.disc import make_disc, take_coefficients
from magellon.algorithms.classification.merging import Groups
from magellon.algorithms.classification.rotation import turn_references

DISC = make_disc(8)


def draw_views(count: int) -> torch.Tensor:
    """(count, d) coefficients of different smooth images."""
    place = torch.arange(32) - 16
    inside = ((place[:, None] ** 2 + place**2) < 100).float()
    noise = torch.randn(count, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    return take_coefficients(torch.nn.functional.avg_pool2d(noise, 5, 1, 2)[:, 0] * inside * 3, DISC)


def test_turned_groups_of_one_view_are_joined_before_a_rare_view_is_given_up() -> None:
    angles = torch.tensor([0.0, 40.0, 200.0])
    turned = turn_references(draw_views(2), DISC, angles)
    views = torch.cat([turned[0], turned[1, :1]])
    number = torch.tensor([60.0, 50.0, 40.0, 5.0])
    noise = torch.randn(4, len(DISC.rows), 2, generator=torch.Generator().manual_seed(2))
    sums = views * number[:, None] + torch.view_as_complex(noise) * (number / 2).sqrt()[:, None]
    groups = Groups(sums, number[:, None].expand(-1, 9), DISC)
    groups.join(2)
    assert groups.group.tolist() == [0, 0, 0, 1]
    assert groups.transfer[:, 1].tolist() == [150.0, 5.0]
    apart = (angles + groups.angle[:3] - groups.angle[0]) % 360
    assert torch.minimum(apart, 360 - apart).max() <= 5
    fit = (groups.sums[0] / 150 - turn_references(views[:1], DISC, groups.angle[:1])[0, 0]).abs().pow(2).sum()
    assert fit < 0.1 * views[0].abs().pow(2).sum()


def test_as_many_groups_as_asked_for_stay_as_they_are() -> None:
    views = draw_views(3)
    groups = Groups(views, torch.ones(3, 9), DISC)
    groups.join(3)
    assert torch.equal(groups.sums, views)
    assert groups.group.tolist() == [0, 1, 2]
