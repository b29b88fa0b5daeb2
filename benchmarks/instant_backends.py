"""Backends that return at once, to measure what the engine itself costs."""

import time
import zlib
from pathlib import Path

from magellon.contracts import (
    CTF_ESTIMATION,
    FFT,
    MOTION_CORRECTION,
    Backend,
    Context,
    Ctf,
    CtfInput,
    CtfOutput,
    FftInput,
    FftOutput,
    Micrograph,
    MotionInput,
    MotionOutput,
    Params,
)


class InstantParams(Params):
    """Nothing but what tells one step from another."""

    salt: int = 0
    """Changes the identity."""
    seconds: float = 0.0
    """To sleep."""

    def wait(self) -> None:
        """Not at all for 0 seconds: even that sleep gives the processor away."""
        if self.seconds:
            time.sleep(self.seconds)


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


class InstantMotion(Backend[MotionInput, InstantParams, MotionOutput]):
    """Says that nothing moved."""

    contract, name, Params = MOTION_CORRECTION, "instant", InstantParams

    def run(self, input: MotionInput, params: InstantParams, context: Context) -> MotionOutput:
        params.wait()
        name = input.movie.name
        image = Micrograph(name=name, path=_write(context.workdir / f"{name}.mrc", name), pixel_size=1, shape=(4, 4))
        return MotionOutput(
            micrograph=image,
            unweighted=image,
            even=None,
            odd=None,
            star=_write(context.workdir / f"{name}.star", name),
            plot=_write(context.workdir / f"{name}_motion.png", name),
            frames=2,
            total_motion=1,
            early_motion=1,
            late_motion=1,
        )


class InstantCtf(Backend[CtfInput, InstantParams, CtfOutput]):
    """Draws a defocus from the micrograph's name."""

    contract, name, Params = CTF_ESTIMATION, "instant", InstantParams

    def run(self, input: CtfInput, params: InstantParams, context: Context) -> CtfOutput:
        params.wait()
        name = input.micrograph.name
        chance = zlib.crc32(name.encode()) / 2**32
        ctf = Ctf(
            defocus_u=5000 + 20000 * chance,
            defocus_v=4900 + 20000 * chance,
            defocus_angle=0,
            score=chance,
            resolution=3 + 3 * chance,
        )
        written = [_write(context.workdir / f"{name}_ctf{end}", name) for end in (".mrc", ".png", "_profile.star")]
        spectrum, picture, profile = written
        return CtfOutput(ctf=ctf, defocus_error=100, astigmatism_error=100, spectrum=spectrum, picture=picture, profile=profile)


class InstantFft(Backend[FftInput, InstantParams, FftOutput]):
    """Writes a name where a picture should be."""

    contract, name, Params = FFT, "instant", InstantParams

    def run(self, input: FftInput, params: InstantParams, context: Context) -> FftOutput:
        params.wait()
        name = f"{input.micrograph.name}_fft{params.salt}.png"
        return FftOutput(picture=_write(context.workdir / name, name))


ALL = ",".join(
    f"{cls.contract.category}.{cls.name}=benchmarks.instant_backends:{cls.__name__}"
    for cls in (InstantMotion, InstantCtf, InstantFft)
)
"""For MAGELLON_EXTRA_BACKENDS, with the repository on PYTHONPATH."""
