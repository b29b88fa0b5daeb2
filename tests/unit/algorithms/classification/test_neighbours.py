"""Particles that show the same view are found, with their rotations, from pairs alone."""

import math

import pytest
import torch
from torch import Tensor

from magellon.algorithms.classification.disc import draw_images, image_size, make_disc, take_coefficients
from magellon.algorithms.classification.leading import find_leading
from magellon.algorithms.classification.neighbours import find_agreement, group_views
from magellon.algorithms.classification.pairs import Pairs, compare_images
from magellon.algorithms.classification.rotation import turn_images
from magellon.algorithms.classification.steerable import find_components, find_harmonics, noise_covariance
from magellon.algorithms.parallel import single_threaded_kernels

DISC = make_disc(8)
SIZE = image_size(8)
HIGHEST = 12
ALONE = [torch.zeros(2)]
AROUND = [torch.tensor([y, x]) for y in (0.0, -0.03, 0.03) for x in (0.0, -0.03, 0.03)]
VIEWS, EACH = 4, 30


def draw_views(strength: float, moved: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients of noisy images of some views at random angles; which view, and psi in degrees, of each."""
    generator = torch.Generator().manual_seed(1)
    place = (torch.arange(SIZE) - SIZE // 2).float()
    blobs = torch.randint(-4, 5, (VIEWS, 5, 2), generator=generator).float()
    away = (place[:, None] - blobs[..., 0, None, None]) ** 2 + (place - blobs[..., 1, None, None]) ** 2
    views = torch.exp(-away / 4).sum(1)
    view = torch.arange(VIEWS).repeat(EACH)
    psi = 360 * torch.rand(len(view), generator=generator)
    images = take_coefficients(turn_images(views[view], psi), DISC)
    images = images * DISC.phases(moved * torch.randn(len(view), 2, generator=generator))
    images = images * strength / images.abs().pow(2).mean().sqrt()
    return images + torch.randn(images.shape, dtype=torch.complex64, generator=generator), view, psi


def compare(images: Tensor, places: list[Tensor], threads: int = 1) -> Pairs:
    drawn = [find_harmonics(draw_images(images * DISC.phases(place), DISC, SIZE), DISC.radius, HIGHEST) for place in places]
    components = find_components(drawn[0], noise_covariance(DISC, HIGHEST))
    return compare_images([components.project(each) for each in drawn], components.orders, components.signal, threads)


def hit_rate(value: Tensor, view: Tensor, count: int = 5) -> float:
    """Of the `count` images most alike to each, the part that shows the same view."""
    found = value.topk(count, dim=1).indices
    return float((view[found] == view[:, None]).float().mean())


def test_a_turned_image_has_its_harmonics_turned() -> None:
    images = draw_images(draw_views(50.0)[0], DISC, SIZE)[:5]
    psi = torch.full((5,), 20.0)
    orders = torch.arange(5)
    before, after = (find_harmonics(each, 5, 4) for each in (images, turn_images(images, psi)))
    # A content at phi is found at phi - psi, and harmonic k of f(phi + psi) is exp(i k psi) times that of f.
    turned = before * torch.exp(1j * orders * math.radians(20.0))
    assert (after - turned).abs().mean() < 0.1 * after.abs().mean()
    assert (after - before).abs().mean() > 0.3 * after.abs().mean()


def test_the_noises_covariance_is_what_noise_has() -> None:
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(4000, len(DISC.rows), dtype=torch.complex64, generator=generator)
    found = find_harmonics(draw_images(noise, DISC, SIZE), DISC.radius, 3)
    expected = noise_covariance(DISC, 3)
    for order in range(4):
        values = found[..., order]
        measured = values.T @ values.conj() / len(values)
        assert (measured - expected[order]).abs().max() < 0.1 * expected[order].abs().max()


def test_noise_has_hardly_any_components() -> None:
    noise = torch.randn(1000, len(DISC.rows), dtype=torch.complex64, generator=torch.Generator().manual_seed(5))
    components = find_components(find_harmonics(draw_images(noise, DISC, SIZE), 8, HIGHEST), noise_covariance(DISC, HIGHEST))
    assert len(components.orders) <= 3


def test_pairs_say_who_is_alike_and_by_how_much_they_are_turned() -> None:
    images, view, psi = draw_views(1.0)
    pairs = compare(images, ALONE)
    assert hit_rate(pairs.value, view) > 0.95
    assert torch.equal(pairs.value, pairs.value.T)
    same = (view[:, None] == view) & ~torch.eye(len(view), dtype=torch.bool)
    apart = torch.rad2deg(pairs.turn) + (psi - psi[:, None])  # the content's angle falls as psi grows
    assert ((apart[same] + 180) % 360 - 180).abs().median() < 8


def test_images_that_are_not_centred_are_compared_a_little_beside() -> None:
    images, view, _ = draw_views(1.2, moved=0.08)
    alone, around = (hit_rate(compare(images, places).value, view) for places in (ALONE, AROUND))
    assert around > alone + 0.08


def test_what_all_pairs_agree_on_is_more_than_each_of_them_says() -> None:
    images, view, _ = draw_views(0.4)
    pairs = compare(images, ALONE)
    rows = find_agreement(pairs)
    agreed = (rows @ rows.conj().T).abs().fill_diagonal_(0)
    before, after = hit_rate(pairs.value, view), hit_rate(agreed, view)
    assert before < 0.8, "hard enough to tell"
    assert after > before + 0.05


def test_groups_show_one_view_and_say_how_it_is_turned() -> None:
    images, view, psi = draw_views(0.8)
    groups = group_views(compare(images, ALONE), VIEWS, torch.Generator().manual_seed(0))
    for number in range(VIEWS):
        members = groups.label == number
        assert (view[members] == view[members].mode().values).float().mean() > 0.9
        unturned = torch.exp(1j * (groups.turn[members] + torch.deg2rad(psi[members])))
        assert unturned.mean().abs() > 0.9


def test_threads_change_nothing() -> None:
    images = draw_views(0.6)[0]
    one, three = (compare(images, AROUND, threads) for threads in (1, 3))
    assert torch.equal(one.value, three.value)
    assert torch.equal(one.turn, three.turn)


def test_groups_are_the_same_each_time() -> None:
    """A graph in twenty parts, so that the largest eigenvalue is there twenty times."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randn(20, 40, dtype=torch.complex64, generator=generator)
    images = torch.randn(600, 40, dtype=torch.complex64, generator=generator) + 3 * kinds[torch.arange(600) % 20]
    with single_threaded_kernels():
        pairs = compare_images([images], torch.arange(40) // 4, torch.ones(40))
        first, second = (group_views(pairs, 20, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first.label, second.label)
    assert torch.equal(first.turn, second.turn)
    assert len({(int(label), number % 20) for number, label in enumerate(first.label)}) == 20


@pytest.mark.parametrize(("count", "components"), [(2, 0), (2, 3), (3, 4), (12, 5)])
def test_a_few_particles_have_groups_as_well(count: int, components: int) -> None:
    generator = torch.Generator().manual_seed(0)
    found = torch.randn(count, components, dtype=torch.complex64, generator=generator)
    pairs = compare_images([found], torch.arange(components), torch.ones(components))
    groups = group_views(pairs, min(count, 4), generator)
    assert groups.label.shape == (count,)
    assert torch.isfinite(groups.turn).all()


@pytest.mark.parametrize("count", [5, 30])
def test_leading_vectors_are_those_of_the_whole_matrix(count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(200, 200, dtype=torch.complex128, generator=generator)
    vectors = torch.linalg.qr(values).Q
    spectrum = torch.linspace(-1, 1, 200, dtype=torch.float64)
    spectrum[-3:] = 1.0
    matrix = (vectors * spectrum) @ vectors.mH
    found, basis = find_leading(matrix.to_sparse(), count)
    assert torch.allclose(found, spectrum[-count:], atol=1e-9)
    assert torch.allclose(matrix @ basis, basis * found, atol=1e-6)
    assert torch.allclose(basis.mH @ basis, torch.eye(count, dtype=basis.dtype), atol=1e-9)
