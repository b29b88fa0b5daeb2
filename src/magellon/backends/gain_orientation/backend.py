"""The gain check: which of the eight orientations of the reference the raw movies show."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from magellon.algorithms.gain_orientation import Agreement, rank_orientations
from magellon.contracts import (
    GAIN_CHECK,
    Backend,
    BadInput,
    CheckedGain,
    Context,
    Gain,
    GainCheckInput,
    GainCheckOutput,
    GainOrientation,
    Movie,
    Params,
)
from magellon.io.gain import Flip, read_gain, turn
from magellon.io.movie import open_movie
from magellon.io.movie_header import MovieFormat, read_movie_header

_ALL: tuple[tuple[int, Flip], ...] = (
    (0, "none"), (90, "none"), (180, "none"), (270, "none"), (0, "x"), (90, "x"), (0, "y"), (90, "y"),
)  # fmt: skip
"""The eight: a flip after half a turn is the other flip without it."""
_EER_FRAMES = 40
"""Into which an EER movie's raw frames are summed on reading."""


class GainCheckParams(Params):
    """When the answer counts."""

    least_margin: float = 8.0
    """Standard deviations of unrelated noise by which the best orientation must be ahead of the second."""
    frames: int = 60
    """Frames read of each movie, at most."""


class GainOrientationCheck(Backend[GainCheckInput, GainCheckParams, GainCheckOutput]):
    """Correlates the pattern that pixels show in the sum of raw frames with that of the gain reference."""

    contract, name, Params = GAIN_CHECK, "orientation", GainCheckParams

    def run(self, input: GainCheckInput, params: GainCheckParams, context: Context) -> GainCheckOutput:
        groups: dict[Gain, list[Movie]] = {}
        for item in input.items:
            if item.movie.gain is not None:
                groups.setdefault(item.movie.gain, []).append(item.movie)
        checked = []
        for number, (gain, movies) in enumerate(sorted(groups.items(), key=lambda group: str(group[0].path))):
            context.progress(number / len(groups), gain.path.name)
            try:
                checked.append(_check(gain, movies, params, context))
            except BadInput as error:  # motion correction says so of each movie
                context.log.warning("%s is not checked: %s", gain.path.name, error)
        return GainCheckOutput(gains=tuple(checked))


def _check(gain: Gain, movies: list[Movie], params: GainCheckParams, context: Context) -> CheckedGain:
    summed, kind = _sum_movies(movies, params.frames, context)
    shape = (summed.shape[0], summed.shape[1])
    candidates = {key: torch.from_numpy(image).to(context.device) for key, image in _lay_down(gain, kind, shape)}
    ranked = rank_orientations(summed, candidates)
    (rotation, flip), best = ranked[0]
    named = _reduce(gain)
    if (rotation, flip) == named:
        rotation, flip = gain.rotation, gain.flip
    second = ranked[1][1] if len(ranked) > 1 else Agreement(0.0, 0.0)
    margin = best.sigma - max(second.sigma, 0.0)
    given = next((agreement for key, agreement in ranked if key == named), None)
    clear = best.correlation > 0 and margin >= params.least_margin
    least = min(agreement.sigma for _, agreement in ranked)
    said = f"{gain.path.name}: rotation {rotation}, flip {flip} fits best, {margin:.0f} standard deviations ahead"
    if not clear and -least - max(best.sigma, 0.0) >= params.least_margin:
        context.log.warning("%s: the movies show its reciprocal: it may have to be divided by", gain.path.name)
    elif not clear:
        context.log.warning("%s: too little to decide; it is used as given", said)
    else:
        context.log.info("%s", said)
    return CheckedGain(
        gain=gain.path.name,
        movies=len(movies),
        orientation=GainOrientation(rotation=rotation, flip=flip) if clear else None,
        correlation=round(best.correlation, 6),
        margin=round(margin, 2),
        given=round(given.correlation, 6) if given else 0.0,
    )


def _reduce(gain: Gain) -> tuple[int, str]:
    """The same orientation as one of the eight."""
    if gain.flip == "none" or gain.rotation < 180:
        return gain.rotation, gain.flip
    return gain.rotation - 180, "y" if gain.flip == "x" else "x"


def _sum_movies(movies: list[Movie], most: int, context: Context) -> tuple[Tensor, MovieFormat]:
    """The sum of raw frames of movies of one size; others are left out."""
    total: np.ndarray[tuple[int, int], np.dtype[np.float32]] | None = None
    first = None
    for movie in movies:
        header = read_movie_header(movie.path)
        grouping = max(1, header.frames // _EER_FRAMES) if header.format == "eer" else None
        with open_movie(movie.path, eer_grouping=grouping) as frames:
            key = (frames.height, frames.width, frames.format)
            if first is not None and key != first:
                continue
            first = key
            for index in range(min(len(frames), most)):
                context.progress(0.5, f"{movie.name}: frame {index + 1}")
                frame = frames.read(index).astype(np.float32, copy=False)
                total = frame.copy() if total is None else np.add(total, frame, out=total)
    assert total is not None
    assert first is not None
    if not total.any():
        raise BadInput(f"{movies[0].path}: all frames are 0 everywhere")
    return torch.from_numpy(total).to(context.device), first[2]


def _lay_down(
    gain: Gain, kind: MovieFormat, shape: tuple[int, int]
) -> Iterator[tuple[tuple[int, str], np.ndarray[tuple[int, int], np.dtype[np.float32]]]]:
    """The gain in every orientation in which it has the movies' size."""
    base = None
    for start in (0, 90):
        try:
            base = read_gain(gain.path, movie_format=kind, shape=shape, rotation=start)
        except BadInput:
            if start:
                raise
            continue
        break
    assert base is not None
    for rotation, flip in _ALL:
        image = turn(base, rotation - start, flip)
        if image.shape == shape:
            yield (rotation, flip), np.ascontiguousarray(image, dtype=np.float32)
