import torch

from magellon.algorithms.picking.blobs import choose_look
from magellon.algorithms.picking.detection import Candidates
from magellon.algorithms.picking.mixture import ScoreModel


def make_look(scores: list[float], gain: float, *, threshold: float = 4.0, apart: int = 10) -> Candidates:
    """Candidates of these scores in a row, which noise of a whole micrograph reaches 3 of."""
    values = torch.tensor(scores, dtype=torch.float64)
    cells = torch.stack([torch.full((len(scores),), 5), 5 + apart * torch.arange(len(scores))], dim=1)
    model = ScoreModel(1.0, 0.5, 6.0, 1.0, 0.5, gain, threshold)
    return Candidates(torch.zeros(11, 200), cells, values, 5.0, 3.0, model)


def test_a_look_explains_the_squares_of_its_particles_beyond_noise() -> None:
    assert make_look([10.0, 5.0, 3.5], 1.0).explained == (100 - 9) + (25 - 9)
    assert make_look([10.0, 9.0], 1.0, apart=3).explained == 100 - 9, "one of two that lie too near"
    assert make_look([3.5, 2.5], 1.0, threshold=2.0).explained == 3.5**2 - 9, "what noise reaches explains nothing"


def test_the_clearest_look_of_those_that_explain_enough_is_chosen() -> None:
    rings, slender, full = make_look([8.0], 90.0), make_look([12.0], 50.0), make_look([12.5], 20.0)
    assert choose_look([full, slender, rings]) is slender
    assert choose_look([full, rings]) is full
    assert choose_look([rings]) is rings


def test_where_no_look_explains_anything_the_clearest_is_chosen() -> None:
    first, second = make_look([2.0], 0.0), make_look([2.0], 1.0)
    assert choose_look([first, second]) is second
