"""A whole simulated session: movies, gain, defect list, session.json and the truth about all of it."""

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from magellon.errors import BadInput
from magellon.io.eer_encoder import write_eer
from magellon.io.mrc import write_mrc
from magellon.io.tiff_movie import write_tiff_movie
from magellon.simulation.detector import DETECTORS, Camera, Recorder, draw_defects, sample_camera
from magellon.simulation.movie import Renderer
from magellon.simulation.particle_star import write_particles
from magellon.simulation.phantoms import AtomicModel, build_phantom, phantom_names
from magellon.simulation.projection import Grid, fitting_box, render_map
from magellon.simulation.scene import Cast, denature, sample_movie, stream
from magellon.simulation.spec import SessionSpec
from magellon.simulation.structure import read_structure
from magellon.simulation.truth import MovieTruth, SessionTruth, plain_values, write_truth

Progress = Callable[[int, int], None]


def simulate_session(out: Path, spec: SessionSpec, progress: Progress | None = None, processes: int | None = None) -> Path:
    """Write a session folder and return it. Same spec, same bytes, whatever the number of processes.

    Args:
        progress: called with the number of finished movies and of all.
        processes: default: one for each core.

    Raises:
        BadInput: the spec asks for something that cannot be.
    """
    check_spec(spec)
    out = Path(out)
    for folder in (out / "movies", out / "truth"):
        folder.mkdir(parents=True, exist_ok=True)
    actors = assemble_cast(spec)
    camera = make_camera(spec)
    movies = [sample_movie(spec, actors, index) for index in range(spec.movies)]
    write_reference(out, spec, camera)
    _write_maps(out, spec, actors)
    truth = _session_truth(spec, actors, camera, movies)
    write_truth(out / "truth" / "truth.json", truth)
    write_particles(out / "truth" / "particles.star", truth)
    count = min(processes or len(os.sched_getaffinity(0)), spec.movies)
    for done, _ in enumerate(_render_all(out, spec, count), 1):
        if progress is not None:
            progress(done, spec.movies)
    # Last, so that a folder with a session.json is complete.
    _write_session(out, spec)
    return out


def check_spec(spec: SessionSpec) -> None:
    """Refuse what cannot be simulated.

    Raises:
        BadInput: naming the value and the limit.
    """
    names = spec.phantom.split(",")
    for name in names:
        if spec.pdb is None and name not in phantom_names():
            raise BadInput(f"phantom {name!r}: known are {', '.join(phantom_names())}")
    if spec.detector not in DETECTORS:
        raise BadInput(f"detector {spec.detector!r}: known are {', '.join(DETECTORS)}")
    if spec.format == "eer" and not DETECTORS[spec.detector].counting:
        raise BadInput(f"detector {spec.detector!r} integrates charge; EER holds counted electrons: take k2, k3 or falcon4")
    limits: tuple[tuple[str, float, float, float], ...] = (
        ("movies", spec.movies, 1, 1_000_000),
        ("frames", spec.frames, 1, 100_000),
        ("size", min(spec.shape), 64, 20_000),
        ("width", max(spec.shape), 64, 20_000),
        ("pixel size", spec.pixel_size, 0.1, 20),
        ("exposure per frame", spec.exposure_per_frame, 1e-3, 50),
        ("seed", spec.seed, 0, 2**53),
        ("voltage", spec.voltage, 50, 1000),
    )
    for what, value, low, high in limits:
        if not low <= value <= high:
            raise BadInput(f"{what} {value}: must be between {low} and {high}")
    if spec.gain_rotation not in {0, 90, 180, 270} or spec.gain_flip not in {"none", "x", "y"}:
        raise BadInput(f"gain rotation {spec.gain_rotation}, flip {spec.gain_flip!r}: 0, 90, 180 or 270; none, x or y")


def assemble_cast(spec: SessionSpec) -> Cast:
    """The models a session shows."""
    if spec.pdb is not None:
        wanted: tuple[AtomicModel, ...] = (read_structure(spec.pdb),)
    else:
        wanted = tuple(build_phantom(name) for name in spec.phantom.split(","))
    foreign = build_phantom("shell" if wanted[0].name != "shell" else "monomer")
    return Cast((*wanted, denature(wanted[0], stream(spec, "model")), foreign), len(wanted))


def make_camera(spec: SessionSpec) -> Camera:
    return sample_camera(stream(spec, "session", 1), DETECTORS[spec.detector], spec.camera, spec.shape)


def render_movie(out: Path, spec: SessionSpec, actors: Cast, camera: Camera, truth: MovieTruth) -> None:
    """Write one movie (and its noise-free images if asked for)."""
    renderer = Renderer(truth, actors.models, camera.detector, spec.seed)
    mean = renderer.exposure * camera.detector.efficiency
    recorder = Recorder(camera, np.random.Generator(np.random.SFC64([spec.seed, 6, truth.index])), mean)
    path = out / truth.file
    if spec.format == "tiff":
        write_tiff_movie(path, (_as_bytes(recorder.record_frame(frame)) for frame in renderer.frames()), spec.pixel_size)
    elif spec.format == "mrc":
        frames = np.stack([_as_mode(recorder.record_frame(frame), spec.mrc_mode) for frame in renderer.frames()])
        write_mrc(path, frames, spec.pixel_size, spec.mrc_mode)
    else:
        write_raw_frames(path, map(_as_bytes, map(recorder.record_frame, renderer.frames())), spec, truth.index)
    if spec.truth_images:
        write_mrc(out / "truth" / f"{truth.name}_exposure.mrc", renderer.exposed(ice=True), spec.pixel_size)
        write_mrc(out / "truth" / f"{truth.name}_particles.mrc", renderer.exposed(ice=False), spec.pixel_size)


def write_raw_frames(path: Path, frames: Iterator[NDArray[np.uint8]], spec: SessionSpec, index: int) -> None:
    """Write an EER movie: the electrons of each frame are dealt out to raw frames and places within their pixels.

    Two electrons of one raw frame in one pixel are recorded as one, as the camera would.
    """
    rng = np.random.Generator(np.random.SFC64([spec.seed, 8, index]))

    def raw_frames() -> Iterator[NDArray[np.int64]]:
        for frame in frames:
            pixels = np.repeat(np.arange(frame.size), frame.ravel())
            dealt = rng.integers(0, spec.stored_per_frame, len(pixels), dtype=np.uint16)
            pixels = pixels[np.argsort(dealt, kind="stable")]
            bounds = np.cumsum(np.bincount(dealt, minlength=spec.stored_per_frame))
            places = rng.integers(0, 4, (len(pixels), 2))
            events = np.stack([pixels // frame.shape[1] * 4 + places[:, 0], pixels % frame.shape[1] * 4 + places[:, 1]], axis=1)
            for start, end in pairwise([0, *bounds.tolist()]):
                yield events[start:end]

    exposure = spec.exposure_per_frame / spec.stored_per_frame
    write_eer(path, raw_frames(), spec.shape, pixel_size=spec.pixel_size, exposure_per_frame=exposure)


def write_reference(out: Path, spec: SessionSpec, camera: Camera) -> None:
    """Write the gain reference, turned as the spec says, and the defect list."""
    gain = camera.gain
    if spec.format == "eer":
        # Programs divide by an MRC gain that comes with EER movies.
        gain = np.where(gain > 0, 1 / np.maximum(gain, 1e-6), 0).astype(np.float32)
    write_mrc(out / "gain.mrc", turn_back(gain, spec), spec.pixel_size)
    (out / "defects.txt").write_text(draw_defects(camera.listed), encoding="utf-8")


def turn_back(gain: NDArray[np.float32], spec: SessionSpec) -> NDArray[np.float32]:
    """The image that lies as `gain` does once it is rotated and then flipped as the spec says."""
    if spec.gain_flip == "x":
        gain = gain[:, ::-1]
    elif spec.gain_flip == "y":
        gain = gain[::-1]
    return np.ascontiguousarray(np.rot90(gain, -(spec.gain_rotation // 90)))


def _render_all(out: Path, spec: SessionSpec, processes: int) -> Iterator[None]:
    if processes <= 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            actors, camera = assemble_cast(spec), make_camera(spec)
            for index in range(spec.movies):
                render_movie(out, spec, actors, camera, sample_movie(spec, actors, index))
                yield
        finally:
            torch.set_num_threads(threads)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(_render_index, out, spec, index) for index in range(spec.movies)]):
            yield future.result()


_KNOWN: dict[SessionSpec, tuple[Cast, Camera]] = {}
"""What a rendering process keeps between the movies of a session."""


def _render_index(out: Path, spec: SessionSpec, index: int) -> None:
    torch.set_num_threads(1)
    if spec not in _KNOWN:
        _KNOWN[spec] = (assemble_cast(spec), make_camera(spec))
    actors, camera = _KNOWN[spec]
    render_movie(out, spec, actors, camera, sample_movie(spec, actors, index))


def _as_bytes(frame: NDArray[Any]) -> NDArray[np.uint8]:
    return frame if frame.dtype == np.uint8 else np.clip(np.rint(frame), 0, 255).astype(np.uint8)


def _as_mode(frame: NDArray[Any], mode: str) -> NDArray[Any]:
    if mode == "float16":
        return np.asarray(frame.astype(np.float16))
    return np.asarray(np.clip(np.rint(frame), 0, 127).astype(np.int8))


def _write_maps(out: Path, spec: SessionSpec, actors: Cast) -> None:
    for index, model in enumerate(actors.models[: actors.wanted]):
        box = fitting_box(model, spec.pixel_size)
        volume = render_map(model, Grid(box, spec.pixel_size)).numpy()
        write_mrc(out / "truth" / f"phantom_{index}.mrc", volume, spec.pixel_size, volume=True)


def _session_truth(spec: SessionSpec, actors: Cast, camera: Camera, movies: list[MovieTruth]) -> SessionTruth:
    models: list[dict[str, Any]] = [
        {
            "name": model.name,
            "symmetry": model.symmetry,
            "diameter": model.diameter,
            "atoms": len(model.positions),
            "map": f"truth/phantom_{index}.mrc" if index < actors.wanted else None,
        }
        for index, model in enumerate(actors.models)
    ]
    values = {
        **asdict(camera.detector),
        "dose_rate": camera.dose_rate,
        "gain_deviation": camera.gain_deviation,
        "gain_error": camera.gain_error,
        "hot_pixels": camera.hot,
        "hot_rates": camera.hot_rates,
        "dead_pixels": np.argwhere(camera.gain == 0)[:, ::-1],
        "listed_defects": camera.listed,
    }
    return SessionTruth(spec.name, plain_values(asdict(spec)), tuple(models), plain_values(values), tuple(movies))


def _write_session(out: Path, spec: SessionSpec) -> None:
    document = {
        "format": "magellon-session",
        "version": 1,
        "name": spec.name,
        "movies": f"movies/*.{spec.format}",
        "pixel_size": spec.pixel_size,
        "voltage": spec.voltage,
        "spherical_aberration": spec.spherical_aberration,
        "amplitude_contrast": spec.amplitude_contrast,
        "exposure_per_frame": spec.exposure_per_frame / spec.stored_per_frame,
        "pre_exposure": spec.pre_exposure,
        "gain": "gain.mrc",
        "gain_rotation": spec.gain_rotation,
        "gain_flip": spec.gain_flip,
        "defects": "defects.txt",
    }
    (out / "session.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
