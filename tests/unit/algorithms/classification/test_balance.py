"""No class swallows the others while classes form, and none is held back once they have."""

import torch

from magellon.algorithms.classification.balance import balance_classes
from magellon.algorithms.classification.rounds import Model
from magellon.algorithms.classification.schedule import Schedule


def make_model(*priors: float) -> Model:
    references = torch.zeros(len(priors), 4, dtype=torch.complex64)
    return Model(references, references.expand(2, -1, -1), 3, torch.tensor(priors))


def test_a_class_beyond_its_share_is_brought_down_to_it() -> None:
    """Particles to whom all classes fit alike, but the first by 30 units better: they go by the tempered priors."""
    model, lead, temperature = make_model(0.0, 0.0, 0.0, 0.0, 0.0), torch.tensor([30.0, 0, 0, 0, 0]), 4.0
    for _ in range(15):
        occupancy = 1000 * torch.softmax((lead + model.log_prior) / temperature, dim=0)
        balance_classes(model, occupancy, temperature, 2.0)
    assert 0.35 < float(occupancy[0]) / 1000 < 0.45
    assert model.log_prior[1:].tolist() == [0, 0, 0, 0]


def test_below_the_bound_no_class_has_a_prior() -> None:
    model = make_model(0.0, 0.0, -torch.inf)
    balance_classes(model, torch.tensor([130.0, 70.0, 0.0]), 3.0, 2.0)
    assert model.log_prior.tolist() == [0, 0, -torch.inf]


def test_in_the_end_every_class_takes_what_it_can() -> None:
    model = make_model(-9.0, 0.0, -torch.inf)
    balance_classes(model, torch.tensor([190.0, 10.0, 0.0]), 1.0, None)
    assert model.log_prior.tolist() == [0, 0, -torch.inf]
    schedule = Schedule(3000, 20, 25, 8, 30, seeding=4)
    assert [schedule.most_shares(number) is not None for number in (0, 3, 4, 20, 22, 24)] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    assert Schedule(3000, 20, 8, 8, 30, growing=False).most_shares(2) is None
