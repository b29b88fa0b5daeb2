"""Junk is told from particles by its likelihoods and its looks. The numbers are typical of simulated stacks."""

from dataclasses import replace

import torch

from magellon.algorithms.classification.emptiness import find_empty
from magellon.algorithms.classification.quality import Evidence, judge, judge_averages, measure_signal

BOX, PIXEL, DIAMETER = 64, 3.0, 120.0


def blob(x: float, y: float, radius: float = 7.0, height: float = 1.0) -> torch.Tensor:
    place = torch.arange(BOX, dtype=torch.float32) - BOX // 2
    image: torch.Tensor = height * torch.exp(-((place - x) ** 2 + (place[:, None] - y) ** 2) / (2 * radius**2))
    return image


def protein() -> torch.Tensor:
    return blob(-6, 2, 4.0) + blob(5, -3, 5.0) + blob(3, 8, 3.0)


def make_evidence(
    *classes: tuple[torch.Tensor, float, float, int],
    diameter: float = DIAMETER,
    proof: float = 10.0,
    picked: tuple[int, ...] = (),
) -> Evidence:
    """Classes of (average, mean gain, mean signal, count); the gains of noise that was `picked` spread by 1.9 to 3.1."""
    generator = torch.Generator().manual_seed(1)

    def draw(mean: float, count: int, alike: bool) -> torch.Tensor:
        drawn: torch.Tensor = mean + (2.9 if alike else (2 * mean) ** 0.5) * torch.randn(count, generator=generator)
        return drawn

    counts = [count for *_, count in classes]
    return Evidence(
        torch.stack([average for average, *_ in classes]),
        torch.repeat_interleave(torch.arange(len(classes)), torch.tensor(counts)),
        torch.cat([draw(gain, count, number in picked) for number, (_, gain, _, count) in enumerate(classes)]),
        torch.cat([signal + 10 * torch.randn(count, generator=generator) for _, _, signal, count in classes]),
        torch.full((sum(counts),), 120.0),
        torch.zeros(sum(counts)),
        torch.full((len(classes),), 15.0),
        PIXEL,
        diameter,
        proof,
    )


def test_particles_are_kept_and_noise_is_not() -> None:
    noise = torch.randn(BOX, BOX, generator=torch.Generator().manual_seed(2))
    found = judge(
        make_evidence(
            (protein(), 25, 38, 200), (noise, 13, 8, 300), (protein(), 13, 9.5, 200), (protein(), 16, 23, 25), picked=(1, 2)
        )
    )
    assert found.class_junk[0] < 0.1
    assert found.class_junk[3] < 0.3  # Rare, but real.
    assert found.class_junk[1:3].min() > 0.9  # Noise aligned to itself, and picked with a template.
    assert found.quality[0] > 0.3
    assert found.quality[1:3].max() < 0.05
    assert found.particle_junk[:200].lt(0.5).float().mean() > 0.95
    assert found.particle_junk[200:700].min() > 0.5


def test_weak_classes_count_only_where_the_run_has_shown_more_than_was_aligned() -> None:
    """As noise does that a template has picked: it holds what was looked for, explains it, and agrees in nothing else."""
    for proof, kept in ((8.0, True), (0.5, False), (-2.0, False)):
        found = judge(make_evidence((protein(), 13, 18, 80), (protein(), 12.5, 17, 60), proof=proof))
        assert (found.class_junk < 0.5).all() if kept else (found.class_junk > 0.9).all()
        strong = judge(make_evidence((protein(), 25, 38, 200), proof=proof))
        assert strong.class_junk[0] < 0.1


def test_classes_worth_more_than_picked_noise_show_that_there_are_particles() -> None:
    """Where they hold a good part of them, weak classes beside count though halves agree in nothing new; those alike do not."""
    weak, noise = (protein(), 12.0, 17.0, 80), (protein(), 12.0, 17.0, 100)
    for strong, kept in ((120, True), (30, False)):
        found = judge(make_evidence((protein(), 27, 40, strong), weak, noise, proof=0.5, picked=(2,)))
        assert found.class_junk[0] < 0.1
        assert (found.class_junk[1] < 0.3) if kept else (found.class_junk[1] > 0.9)
        assert found.class_junk[2] > 0.9
    carbon = judge(make_evidence((protein(), 27, 100, 120), weak, noise, proof=0.5, picked=(2,)))
    assert carbon.class_junk[1] > 0.9  # Of what is there its average explains a fourth.


def test_boxes_that_may_be_particles_stay_until_most_that_go_are_surely_empty() -> None:
    """The weakest particles of a class reach what noise does: at even odds, one in ten of all would be set aside."""
    evidence = make_evidence((protein(), 22, 33, 300))
    empty = 5.5 + 2.3 * torch.randn(100, generator=torch.Generator().manual_seed(5))
    weak = 9 + 2 * torch.randn(60, generator=torch.Generator().manual_seed(7))
    gain, klass = torch.cat([evidence.gain, weak, empty]), torch.zeros(460, dtype=torch.long)
    found = judge(
        replace(
            evidence,
            klass=klass,
            gain=gain,
            signal=torch.cat([evidence.signal, torch.full((160,), 12.0)]),
            coefficients=torch.full((460,), 120.0),
            taken=torch.zeros(460),
        )
    )
    lost = found.particle_junk >= 0.5
    assert found.class_junk[0] < 0.1
    assert find_empty(gain, klass, 1).chance[:360].gt(0.5).float().mean() > 0.08
    assert lost[:360].float().mean() < 0.04
    assert lost[360:].float().mean() > 0.2


def test_noise_that_was_picked_is_known_by_being_alike() -> None:
    """As much gain and signal as weak particles have, but without the noise that particles of one mean differ by."""
    found = judge(make_evidence((protein(), 26, 40, 400), (protein(), 12.5, 17, 100), (protein(), 12.5, 17, 100), picked=(2,)))
    assert found.class_junk[1] < 0.3
    assert found.class_junk[2] > 0.9


def test_many_shells_that_were_taken_are_no_sign_of_overfitting() -> None:
    """The level of the noise, 8 % too high in each, hides the signal, of which halves have shown that it is there."""
    evidence = make_evidence((protein(), 38, 3, 100), (protein(), 33, 6, 60))
    many, count = torch.full_like(evidence.gain, 400.0), torch.zeros_like(evidence.gain)
    assert judge(replace(evidence, coefficients=many, taken=many - 80)).class_junk.max() < 0.1
    assert judge(replace(evidence, coefficients=many, taken=count)).class_junk[0] > 0.9


def test_nothing_but_noise_leaves_nothing() -> None:
    noise = torch.randn(4, BOX, BOX, generator=torch.Generator().manual_seed(3))
    counts = (200, 100, 40, 6)
    found = judge(
        make_evidence(*[(each, 13.0, 8.0, count) for each, count in zip(noise, counts, strict=True)], picked=(0, 1, 2, 3))
    )
    assert found.class_junk.min() > 0.9
    assert found.particle_junk.min() > 0.5


def test_empty_boxes_and_crowded_boxes_are_found_in_good_classes() -> None:
    evidence = make_evidence((protein(), 26, 40, 400), (protein(), 22, 33, 200))
    gain, signal = evidence.gain.clone(), evidence.signal.clone()
    gain[:30], signal[:30] = 2.0, 0.0
    gain[30:60], signal[30:60] = 30.0, 160.0
    found = judge(replace(evidence, gain=gain, signal=signal))
    assert found.class_junk.max() < 0.1
    assert found.particle_junk[:60].min() > 0.5
    assert found.particle_junk[60:].lt(0.5).float().mean() > 0.95


def test_a_class_of_weak_particles_is_not_lost_for_the_empty_boxes_it_drew() -> None:
    """Its mean gain is below that of a class of picked noise; that of its particles is not. Few go with its empty boxes."""
    evidence = make_evidence((protein(), 26, 40, 400), (protein(), 13, 24, 120))
    empty = 5.5 + 2.3 * torch.randn(60, generator=torch.Generator().manual_seed(5))
    found = judge(
        replace(
            evidence,
            klass=torch.cat([evidence.klass, torch.ones(60, dtype=torch.long)]),
            gain=torch.cat([evidence.gain, empty]),
            signal=torch.cat([evidence.signal, 10 * torch.randn(60, generator=torch.Generator().manual_seed(6))]),
            coefficients=torch.full((580,), 120.0),
            taken=torch.zeros(580),
        )
    )
    assert found.class_junk.max() < 0.3
    assert found.particle_junk[:520].lt(0.5).float().mean() > 0.97
    assert found.particle_junk[520:].gt(0.5).float().mean() > 0.3


def test_a_class_of_so_few_that_their_average_shows_nothing_is_junk() -> None:
    """Signal over noise of an average: particles times what each explains, over the coefficients that are compared."""
    found = judge(make_evidence((protein(), 26, 40, 400), (protein(), 26, 40, 4), (protein(), 26, 40, 20)))
    assert found.class_junk[1] > 0.9
    assert found.class_junk[[0, 2]].max() < 0.1
    assert found.particle_junk[400:404].min() > 0.9


def test_a_class_that_shows_nothing_is_junk_where_others_show_something() -> None:
    """Unless its average is far above the noise where all are compared: 26 x 60 over 90 coefficients, and 16 x 30."""
    evidence = make_evidence((protein(), 26, 40, 400), (protein(), 16, 25, 30), (protein(), 26, 40, 60))
    evidence = replace(evidence, resolution=torch.tensor([15.0, DIAMETER / 4, DIAMETER / 4]))
    shown = judge(replace(evidence, taken=torch.full_like(evidence.gain, 30.0)))
    assert (shown.class_junk < 0.5).tolist() == [True, False, True]
    assert shown.quality[0] > 0.3
    assert (judge(evidence).class_junk < 0.1).all()  # Nothing was shown by any class but for its strength.


def test_averages_that_are_cut_dark_or_far_too_dense_are_junk() -> None:
    film = (torch.arange(BOX)[:, None] > 36).float().expand(BOX, BOX) * ((blob(0, 0, 100) > 0) * 1.0)
    noise = torch.randn(BOX, BOX, generator=torch.Generator().manual_seed(3))
    pictures = torch.stack([protein(), protein().flip(0), film, noise, protein() - 1.5 * blob(8, 12), 6 * blob(0, 0)])
    counts = torch.tensor([100, 100, 40, 40, 40, 20])
    strange, dense = judge_averages(pictures, PIXEL, DIAMETER, counts, torch.zeros(6), torch.zeros(6))
    assert torch.stack([strange, dense])[:, :2].max() < 0.1
    assert strange[2:5].min() > 0.9
    assert dense[5] > 0.9
    assert dense[:5].max() < 0.3
    weak, _ = judge_averages(pictures, PIXEL, DIAMETER, counts, torch.zeros(6), torch.ones(6))
    assert weak[3:5].min() > 0.9  # Noise, and what is far too dark.


def test_a_faint_view_with_a_dark_side_is_no_junk() -> None:
    """Its darkest tenth is as dark as its brightest is bright; nothing of it reaches the mask."""
    pictures = torch.stack([protein(), protein().flip(0), protein() - 1.1 * blob(8, 12, 7)])
    counts, faint = torch.tensor([100, 100, 60]), torch.tensor([0.0, 0.0, 1.0])
    strange, dense = judge_averages(pictures, PIXEL, DIAMETER, counts, torch.zeros(3), faint)
    assert torch.stack([strange, dense]).max() < 0.3
    assert judge_averages(pictures, PIXEL, DIAMETER, counts, torch.zeros(3), torch.zeros(3))[0][2] > 0.9


def test_of_two_proteins_the_denser_is_no_crystal_however_many_there_are_of_the_other() -> None:
    pictures = torch.stack([protein(), protein().flip(0), 3.6 * protein().flip(1), 3.6 * protein(), 12 * protein()])
    counts = torch.tensor([100, 90, 50, 40, 15])
    dense = judge_averages(pictures, PIXEL, DIAMETER, counts, torch.zeros(5), torch.zeros(5))[1]
    assert dense[:4].max() < 0.1
    assert dense[4] > 0.9


def test_a_diameter_given_too_small_makes_no_junk_of_everything() -> None:
    pictures = torch.stack([protein(), protein().flip(0), protein().flip(1)])
    strange, _ = judge_averages(pictures, PIXEL, 60.0, torch.tensor([100, 100, 100]), torch.zeros(3), torch.zeros(3))
    assert strange.max() < 0.3


def test_empty_classes_are_junk_and_change_nothing() -> None:
    plain = make_evidence((protein(), 25, 38, 100))
    more = replace(plain, averages=torch.cat([plain.averages, torch.zeros(2, BOX, BOX)]), resolution=torch.full((3,), 15.0))
    found = judge(more)
    assert found.class_junk[1:].min() == 1
    assert torch.equal(found.class_junk[:1], judge(plain).class_junk)


def test_signal_is_the_power_above_that_of_noise() -> None:
    generator = torch.Generator().manual_seed(4)
    counts, noise = torch.tensor([0.0, 4, 6, 10]), torch.full((2000, 4), 2.0)
    power = noise * counts * 0.5 * (1 + 0.1 * torch.randn(2000, 4, generator=generator))
    power[:, 2] += 2.0 * 7
    signal, number = measure_signal(power, noise, counts, torch.cat([torch.ones(1000), torch.full((1000,), 2)]).long(), 0.5)
    assert abs(float(signal[:1000].mean())) < 0.1
    assert abs(float(signal[1000:].mean()) - 7) < 0.1
    assert float(number[0]) == 2
    assert float(number[-1]) == 5


def test_neighbours_in_the_background_make_no_junk() -> None:
    """They raise what is taken for noise, so that classes explain more than there seems to be; far more is overfitting."""
    found = judge(make_evidence((protein(), 20, 14.5, 200), (protein(), 30, 14.5, 200), (protein(), 25, 38, 200)))
    assert found.class_junk[0] < 0.1
    assert found.class_junk[1] > 0.9
    assert found.class_junk[2] < 0.1
