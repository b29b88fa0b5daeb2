"""Backends for tests of the engine: they compute next to nothing and keep a diary outside of the results."""

import errno
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from magellon.contracts import (
    CTF_ESTIMATION,
    FFT,
    HOLE_DETECTION,
    MICROGRAPH_DENOISING,
    MOTION_CORRECTION,
    PARTICLE_EXTRACTION,
    PARTICLE_PICKING,
    PARTICLE_SURVEY,
    PICKER_TRAINING,
    SESSION_STAR,
    SQUARE_DETECTION,
    TWO_D_CLASSIFICATION,
    Backend,
    BadInput,
    Classes,
    ClassificationInput,
    ClassificationOutput,
    Context,
    Ctf,
    CtfInput,
    CtfOutput,
    DenoisingInput,
    DenoisingOutput,
    ExtractionInput,
    ExtractionOutput,
    FftInput,
    FftOutput,
    HoleInput,
    HoleOutput,
    Micrograph,
    MotionInput,
    MotionOutput,
    Params,
    Particles,
    PickerTrainingInput,
    PickerTrainingOutput,
    PickingInput,
    PickingOutput,
    Picks,
    SessionStarInput,
    SessionStarOutput,
    SquareInput,
    SquareOutput,
    SurveyInput,
    SurveyOutput,
    Transient,
)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


class FakeParams(Params):
    seconds: float = 0.0
    """How long to take."""
    salt: int = 0
    """Changes the result."""
    diameter: float | None = None
    """Overrules the surveyed one."""
    reference: Path | None = None
    """A file whose text goes into the result."""


def note(step: str, name: str, params: FakeParams) -> None:
    """Write down that a computation began, then take the time it takes."""
    diary = os.environ.get("FAKE_DIARY")
    if diary:
        with open(diary, "a") as file:
            file.write(f"{time.time():.3f} {step} {name}\n")
    run_out_of_memory_if_asked()
    time.sleep(params.seconds)


def run_out_of_memory_if_asked() -> None:
    """One process of those that see the order takes it."""
    order = Path(os.environ.get("FAKE_FAULTS") or "/nonexistent") / "memory"
    try:
        order.rename(order.with_name(f"memory.{os.getpid()}"))
    except OSError:
        return
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))
    bytearray(1 << 30)


class FakeMotion(Backend[MotionInput, FakeParams, MotionOutput]):
    """Says that nothing moved."""

    contract, name, Params = MOTION_CORRECTION, "fake", FakeParams

    def run(self, input: MotionInput, params: FakeParams, context: Context) -> MotionOutput:
        movie = input.movie
        note("motion_correction", movie.name, params)
        content = movie.path.read_bytes()
        if b"bad" in content:
            raise BadInput(f"{movie.path.name}: holds 'bad', must not")
        if b"transient" in content:
            raise OSError(errno.ENOSPC, "No space left on device")
        if b"defect" in content:
            raise ZeroDivisionError("a bug")
        if b"crash" in content:
            os.kill(os.getpid(), 9)
        if b"poison" in content:
            os.kill(os.getppid(), 9)
            time.sleep(10)
        text = f"{movie.name} {params.salt} {len(content)}"
        micrograph = Micrograph(
            name=movie.name, path=write(context.workdir / f"{movie.name}.mrc", text), pixel_size=movie.pixel_size, shape=(4, 4)
        )
        return MotionOutput(
            micrograph=micrograph,
            unweighted=micrograph,
            even=None,
            odd=None,
            star=write(context.workdir / f"{movie.name}.star", text),
            plot=write(context.workdir / f"{movie.name}_motion.png", text),
            frames=4,
            total_motion=float(len(content)),
            early_motion=1.0,
            late_motion=1.0,
        )


class FakeCtf(Backend[CtfInput, FakeParams, CtfOutput]):
    """Takes the defocus from the length of the micrograph's name."""

    contract, name, Params = CTF_ESTIMATION, "fake", FakeParams

    def run(self, input: CtfInput, params: FakeParams, context: Context) -> CtfOutput:
        name = input.micrograph.name
        note("ctf_estimation", name, params)
        resolution = 12.0 if "blurred" in name else 4.0
        return CtfOutput(
            ctf=Ctf(defocus_u=1e4, defocus_v=9e3, defocus_angle=0, score=0.5, resolution=resolution),
            defocus_error=10,
            astigmatism_error=10,
            spectrum=write(context.workdir / f"{name}_ctf.mrc", input.micrograph.path.read_text()),
            picture=write(context.workdir / f"{name}_ctf.png", name),
            profile=write(context.workdir / f"{name}_ctf_profile.star", name),
        )


class FakeFft(Backend[FftInput, FakeParams, FftOutput]):
    """Writes a name where a picture should be."""

    contract, name, Params = FFT, "fake", FakeParams

    def run(self, input: FftInput, params: FakeParams, context: Context) -> FftOutput:
        note("fft", input.micrograph.name, params)
        return FftOutput(picture=write(context.workdir / f"{input.micrograph.name}_fft.png", input.micrograph.name))


class FakeDenoiser(Backend[DenoisingInput, FakeParams, DenoisingOutput]):
    """Writes another name into the micrograph."""

    contract, name, Params = MICROGRAPH_DENOISING, "fake", FakeParams

    def run(self, input: DenoisingInput, params: FakeParams, context: Context) -> DenoisingOutput:
        micrograph = input.micrograph
        note("micrograph_denoising", micrograph.name, params)
        path = write(context.workdir / f"{micrograph.name}_denoised.mrc", f"{micrograph.path.read_text()} denoised")
        picture = write(context.workdir / f"{micrograph.name}_denoised.png", micrograph.name)
        return DenoisingOutput(denoised=micrograph.model_copy(update={"path": path}), picture=picture)


class FakeSquares(Backend[SquareInput, FakeParams, SquareOutput]):
    """Finds four squares, three of them good."""

    contract, name, Params = SQUARE_DETECTION, "fake", FakeParams

    def run(self, input: SquareInput, params: FakeParams, context: Context) -> SquareOutput:
        name = input.image.name
        note("square_detection", name, params)
        if b"bad" in input.image.path.read_bytes():
            raise BadInput(f"{input.image.path.name}: is no picture")
        names = [f"{name}_squares.{suffix}" for suffix in ("json", "star", "nav", "png")]
        squares, star, targets, picture = (write(context.workdir / each, name) for each in names)
        return SquareOutput(squares=squares, star=star, targets=targets, picture=picture, count=4, good=3)


class FakeHoles(Backend[HoleInput, FakeParams, HoleOutput]):
    """Finds nine holes."""

    contract, name, Params = HOLE_DETECTION, "fake", FakeParams

    def run(self, input: HoleInput, params: FakeParams, context: Context) -> HoleOutput:
        name = input.image.name
        note("hole_detection", name, params)
        names = [f"{name}_holes.{suffix}" for suffix in ("json", "star", "nav", "png")]
        holes, star, targets, picture = (write(context.workdir / each, name) for each in names)
        return HoleOutput(holes=holes, star=star, targets=targets, picture=picture, count=9, good=9)


class FakeSurvey(Backend[SurveyInput, FakeParams, SurveyOutput]):
    """Proposes a hundred Å for each micrograph of the sample."""

    contract, name, Params = PARTICLE_SURVEY, "fake", FakeParams

    def run(self, input: SurveyInput, params: FakeParams, context: Context) -> SurveyOutput:
        names = " ".join(item.micrograph.path.read_text().split()[0] for item in input.items)
        note("particle_survey", "session", params)
        if "unsure" in names:
            raise BadInput("no two micrographs agree")
        picture = write(context.workdir / "particle_survey.png", names)
        return SurveyOutput(diameter=100 * len(input.items) + params.salt, confidence=1, picture=picture)


class FakePicker(Backend[PickingInput, FakeParams, PickingOutput]):
    """Picks three particles everywhere."""

    contract, name, Params = PARTICLE_PICKING, "fake", FakeParams

    def run(self, input: PickingInput, params: FakeParams, context: Context) -> PickingOutput:
        name = input.micrograph.name
        note("particle_picking", name, params)
        text = f"{name} {params.salt} {input.ctf.defocus_u if input.ctf else 0}"
        if input.diameter:
            text += f" {input.diameter}"
        if input.network:
            text += f" taught by {input.network.read_text()}"
        if params.reference:
            text += params.reference.read_text()
        return PickingOutput(
            picks=Picks(path=write(context.workdir / f"{name}_autopick.star", text), count=3, diameter=100),
            picture=write(context.workdir / f"{name}_picks.png", text),
        )


class FakeExtraction(Backend[ExtractionInput, FakeParams, ExtractionOutput]):
    """Copies the picks."""

    contract, name, Params = PARTICLE_EXTRACTION, "fake", FakeParams

    def run(self, input: ExtractionInput, params: FakeParams, context: Context) -> ExtractionOutput:
        name = input.micrograph.name
        note("particle_extraction", name, params)
        text = input.picks.path.read_text()
        return ExtractionOutput(
            particles=Particles(
                star=write(context.workdir / f"{name}_particles.star", text),
                stack=write(context.workdir / f"{name}.mrcs", text * 1000),
                count=input.picks.count,
                box=64,
                pixel_size=1,
            ),
            left_out_at_edge=0,
            padded_at_edge=0,
            duplicates_removed=0,
            picture=None,
        )


class FakeClassifier(Backend[ClassificationInput, FakeParams, ClassificationOutput]):
    """Keeps all but every third particle, and says what it began with."""

    contract, name, Params = TWO_D_CLASSIFICATION, "fake", FakeParams

    def run(self, input: ClassificationInput, params: FakeParams, context: Context) -> ClassificationOutput:
        note("two_d_classification", "session", params)
        count = sum(item.particles.count for item in input.items)
        names = " ".join(item.particles.star.read_text().split()[0] for item in input.items)
        start = f"from ({input.start.averages.read_text()})" if input.start else "afresh"
        text = f"{names} {params.salt} {start}"
        folder = context.workdir
        return ClassificationOutput(
            classes=Classes(
                averages=write(folder / "class_averages.mrcs", text),
                table=write(folder / "class_averages.star", text),
                box=64,
                pixel_size=1,
            ),
            particles=write(folder / "particles.star", text),
            all_particles=write(folder / "all_particles.star", f"{input.folders} {input.diameter}"),
            picture=write(folder / "class_averages.png", text),
            count=count,
            kept=count - count // 3,
            classes_used=2,
        )


class FakeTraining(Backend[PickerTrainingInput, FakeParams, PickerTrainingOutput]):
    """Learns the names of what it saw."""

    contract, name, Params = PICKER_TRAINING, "fake", FakeParams

    def run(self, input: PickerTrainingInput, params: FakeParams, context: Context) -> PickerTrainingOutput:
        note("picker_training", "session", params)
        names = " ".join(item.micrograph.name for item in input.items)
        text = f"{names} kept ({input.kept.read_text() if input.kept else ''})"
        folder = context.workdir
        return PickerTrainingOutput(
            network=write(folder / "picker.onnx", text),
            improved=True,
            before=0.5,
            after=0.6,
            report=write(folder / "picker_training.json", "{}"),
            picture=write(folder / "picker_training.png", text),
        )


class FakeStar(Backend[SessionStarInput, FakeParams, SessionStarOutput]):
    """Lists what it was given."""

    contract, name, Params = SESSION_STAR, "fake", FakeParams

    def run(self, input: SessionStarInput, params: FakeParams, context: Context) -> SessionStarOutput:
        note("session_star", "session", params)
        lines = []
        for item in input.items:
            extraction = item.particle_extraction
            text = extraction.particles.star.read_text() if extraction else "; ".join(item.held) or "nothing"
            lines.append(f"{item.name}: {text}\n")
        return SessionStarOutput(
            corrected_micrographs=None,
            micrographs_ctf=None,
            particles=write(context.workdir / "particles.star", "".join(lines)),
            summary=write(context.workdir / "summary.json", _summarise(input)),
        )


def _summarise(input: SessionStarInput) -> str:
    found: dict[str, int] = {"items": len(input.items)}
    if input.two_d_classification:
        found["kept"] = input.two_d_classification.kept
    return json.dumps(found)


class Behaviour(Params):
    do: str = "work"


class Naughty(Backend[FftInput, Behaviour, FftOutput]):
    """Does what its parameter says, most of it wrong."""

    contract, name, Params = FFT, "naughty", Behaviour

    def run(self, input: FftInput, params: Behaviour, context: Context) -> FftOutput:
        context.log.info("about to %s", params.do)
        picture = context.workdir / "a_fft.png"
        actions: dict[str, Any] = {
            "transient": lambda: (_ for _ in ()).throw(Transient("later")),
            "bad": lambda: (_ for _ in ()).throw(BadInput("a.mrc: 3, at most 2")),
            "full": lambda: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")),
            "bug": lambda: 1 / 0,
            "crash": lambda: os.kill(os.getpid(), 11),
            "exit": lambda: os._exit(3),
            "sleep": lambda: time.sleep(60),
            "native": lambda: pow(3, 1 << 40),  # one call into C that keeps the interpreter's lock for hours
            "external": lambda: context.command(["sleep", "60"]),
            "print": lambda: (print("noise"), subprocess.run(["echo", "more"], check=True), sys.stdout.flush()),
            "progress": lambda: context.progress(0.5, "half"),
        }
        actions.get(params.do, lambda: None)()
        if params.do == "outside":
            return FftOutput(picture=write(context.workdir.parent / "outside.png", ""))
        if params.do == "nothing":
            return FftOutput(picture=picture)
        if params.do == "wrong":
            return input  # type: ignore[return-value]
        return FftOutput(picture=write(picture, input.micrograph.name))


ALL = ",".join(
    f"{cls.contract.category}.{cls.name}={__name__.rpartition('.')[2]}:{cls.__name__}"
    for cls in (
        FakeMotion,
        FakeCtf,
        FakeFft,
        FakeDenoiser,
        FakeSquares,
        FakeHoles,
        FakeSurvey,
        FakePicker,
        FakeExtraction,
        FakeClassifier,
        FakeTraining,
        FakeStar,
        Naughty,
    )
)
"""For MAGELLON_EXTRA_BACKENDS, with this file's folder on PYTHONPATH."""
