import numpy as np
import torch

from magellon.algorithms.motion import MotionField, summarise_motion
from magellon.backends.motioncor.plot import draw_motion


def draw(field: MotionField) -> np.ndarray:
    return draw_motion(field, 1.0, "movie", summarise_motion(field.global_track(), 1.0, 1.0, 0.0))


def test_the_track_runs_from_blue_to_red_and_downwards_for_positive_y() -> None:
    track = torch.stack([torch.linspace(0, 10, 12), torch.zeros(12)], dim=1).double()
    picture = draw(MotionField((200, 200), track))
    panel = picture[60:500, 40:520].astype(int)
    blue = np.argwhere((panel[..., 2] > 180) & (panel[..., 0] < 90)).mean(axis=0)
    red = np.argwhere((panel[..., 0] > 180) & (panel[..., 2] < 90)).mean(axis=0)
    assert red[0] > blue[0] + 200
    assert abs(red[1] - blue[1]) < 10


def test_no_motion_and_one_frame_can_be_drawn() -> None:
    picture = draw(MotionField((100, 160), torch.zeros(1, 2).double()))
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
