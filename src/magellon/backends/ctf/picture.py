"""The picture of a CTF fit: spectrum above, radial profile below."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from magellon.algorithms.ctf import CtfFit
from magellon.io.picture import load_font

WIDTH = 768
PLOT_HEIGHT = 260
TEXT_HEIGHT = 46
MARGIN = 40
BACKGROUND, INK, FAINT = (255, 255, 255), (20, 20, 20), (200, 200, 200)
MEASURED, FITTED, AGREEMENT, LIMIT = (90, 90, 90), (214, 90, 20), (40, 110, 190), (200, 30, 30)
TICKS = (60, 40, 30, 20, 15, 10, 8, 7, 6, 5, 4.5, 4, 3.5, 3, 2.7, 2.5, 2.2, 2)


def draw_fit(spectrum: NDArray[np.float32], fit: CtfFit, name: str) -> NDArray[np.uint8]:
    """The picture of a fit, (height, width, 3).

    Args:
        spectrum: (n, n), -1 to 1 shown: the half measured, half fitted spectrum.
    """
    grey = np.clip((np.clip(spectrum, -1, 1) + 1) * 127.5, 0, 255).astype(np.uint8)
    rings = Image.fromarray(grey).resize((WIDTH, WIDTH), Image.Resampling.BICUBIC).convert("RGB")
    page = Image.new("RGB", (WIDTH, WIDTH + TEXT_HEIGHT + PLOT_HEIGHT), BACKGROUND)
    page.paste(rings, (0, 0))
    draw = ImageDraw.Draw(page)
    _mark_resolution(draw, fit)
    _write_values(draw, fit, name)
    _plot_profile(draw, fit, WIDTH + TEXT_HEIGHT)
    return np.asarray(page)


def _mark_resolution(draw: ImageDraw.ImageDraw, fit: CtfFit) -> None:
    radius = WIDTH / 2 / fit.resolution / float(fit.profile.frequency[-1])
    for start in range(0, 360, 6):
        box = (WIDTH / 2 - radius, WIDTH / 2 - radius, WIDTH / 2 + radius, WIDTH / 2 + radius)
        draw.arc(box, start, start + 2, fill=LIMIT)
    small = load_font(13)
    draw.text((8, 6), "fitted", fill=(255, 210, 120), font=small, stroke_width=2, stroke_fill=INK)
    draw.text((WIDTH - 178, 6), "measured, mean of 12° arcs", fill=(255, 255, 255), font=small, stroke_width=2, stroke_fill=INK)


def _write_values(draw: ImageDraw.ImageDraw, fit: CtfFit, name: str) -> None:
    model = fit.model
    values = f"{name}   U {float(model.defocus_u):.0f} Å   V {float(model.defocus_v):.0f} Å"
    values += f"   angle {float(model.defocus_angle):.1f}°"
    if float(model.phase_shift) != 0:
        values += f"   phase {float(model.phase_shift):.1f}°"
    values += f"   score {fit.score:.2f}   rings to {fit.resolution:.2f} Å"
    draw.text((8, WIDTH + 4), values, fill=INK, font=load_font(13))
    if fit.warnings:
        draw.text((8, WIDTH + 23), "! " + "; ".join(fit.warnings)[:130], fill=LIMIT, font=load_font(12))


def _plot_profile(draw: ImageDraw.ImageDraw, fit: CtfFit, top: int) -> None:
    small = load_font(11)
    profile = fit.profile
    frequency = profile.frequency.cpu().numpy()
    left, right, bottom = 8, WIDTH - 8, top + PLOT_HEIGHT - 24
    upper = top + 18
    x = left + (right - left) * frequency / frequency[-1]
    for tick in TICKS:
        if frequency[0] <= 1 / tick <= frequency[-1]:
            place = left + (right - left) / tick / frequency[-1]
            draw.line((place, upper, place, bottom), fill=(235, 235, 235))
            draw.text((place, bottom + 4), f"{tick:g}", fill=INK, font=small, anchor="ma")
    draw.text((left, bottom + 4), "Å", fill=INK, font=small)
    draw.line((left, bottom, right, bottom), fill=FAINT)
    measured, fitted = profile.measured.cpu().numpy(), profile.fitted.cpu().numpy()
    scale = _envelope(fitted, measured)
    middle, reach = (upper + bottom) / 2, (bottom - upper) / 2
    agreement = profile.agreement.cpu().numpy()
    for curve, colour, width in (
        (np.clip(measured / scale, -1, 1), MEASURED, 1),
        (np.clip(fitted / scale, -1, 1), FITTED, 2),
        (agreement, AGREEMENT, 1),
    ):
        y = middle - reach * curve
        draw.line([(float(a), float(b)) for a, b in zip(x, y, strict=True)], fill=colour, width=width)
    place = left + (right - left) / fit.resolution / frequency[-1]
    draw.line((place, upper, place, bottom), fill=LIMIT)
    labels = (("measured", MEASURED), ("fitted", FITTED), ("agreement", AGREEMENT), ("fit resolution", LIMIT))
    for number, (label, colour) in enumerate(labels):
        draw.text((left + 90 * number, top + 2), label, fill=colour, font=small)


def _envelope(fitted: NDArray[np.float32], measured: NDArray[np.float32]) -> NDArray[np.float64]:
    """Local size of the fitted rings, so that they fill the plot at every frequency; never much below the noise."""
    width = max(5, len(fitted) // 10)
    kernel = np.ones(2 * width + 1) / (2 * width + 1)

    def local(values: NDArray[np.float32]) -> NDArray[np.float64]:
        padded = np.pad(values.astype(np.float64) ** 2, width, mode="edge")
        return np.sqrt(np.convolve(padded, kernel, "valid"))

    return np.maximum(2 * local(fitted), 1.5 * local(measured)) + 1e-9
