"""`session_star/relion`: the results of a session as STAR files, a summary, and gain references turned for polishing."""

from collections.abc import Sequence
from itertools import pairwise

from magellon.backends.session_star.gains import write_turned_gains
from magellon.backends.session_star.micrographs import tabulate_corrected, tabulate_ctf, tabulate_picks
from magellon.backends.session_star.optics import find_micrograph, find_optics
from magellon.backends.session_star.particles import write_particles
from magellon.backends.session_star.summary import summarise_session, write_summary
from magellon.contracts import (
    SESSION_STAR,
    Backend,
    BadInput,
    Context,
    Params,
    SessionItem,
    SessionStarInput,
    SessionStarOutput,
)
from magellon.io.star import write_star


class RelionSessionParams(Params):
    """There is nothing to choose."""


class RelionSession(Backend[SessionStarInput, RelionSessionParams, SessionStarOutput]):
    """Gathers the results of a session into RELION's STAR files and a summary."""

    contract = SESSION_STAR
    name = "relion"
    version = 2
    Params = RelionSessionParams

    def run(self, input: SessionStarInput, params: RelionSessionParams, context: Context) -> SessionStarOutput:
        items = sort_items(input.items)
        corrected = [item for item in items if item.motion_correction]
        fitted = [item for item in items if item.ctf_estimation]
        picked = [item for item in items if item.particle_picking and find_micrograph(item)]
        extracted = [item for item in items if item.particle_extraction]
        optics = {item.name: find_optics(item) for item in items if has_results(item)}
        folder, folders = context.workdir, input.folders
        corrected_star, ctf_star, autopick_star, particles_star = (
            folder / f"{name}.star" for name in ("corrected_micrographs", "micrographs_ctf", "autopick", "particles")
        )
        if corrected:
            write_star(corrected_star, tabulate_corrected(corrected, optics, folders))
        if fitted:
            write_star(ctf_star, tabulate_ctf(fitted, optics, folders))
        if picked:
            write_star(autopick_star, tabulate_picks(picked, folders))
        context.progress(0.2, f"{len(corrected)} micrographs, {len(fitted)} with CTF")
        count = None
        if extracted:
            count = write_particles(
                particles_star, extracted, optics, folders, lambda part, text: context.progress(0.2 + 0.7 * part, text)
            )
        write_summary(folder / "summary.json", summarise_session(items, count, input.two_d_classification))
        return SessionStarOutput(
            corrected_micrographs=corrected_star if corrected else None,
            micrographs_ctf=ctf_star if fitted else None,
            particles=particles_star if extracted else None,
            autopick=autopick_star if picked else None,
            summary=folder / "summary.json",
            gains=write_turned_gains(folder, items),
        )


def sort_items(items: Sequence[SessionItem]) -> list[SessionItem]:
    """The items by name.

    Raises:
        BadInput: two of one name: their files would overwrite each other.
    """
    ordered = sorted(items, key=lambda item: item.name)
    for first, second in pairwise(ordered):
        if first.name == second.name:
            raise BadInput(f"two items of the session are called {first.name}")
    return ordered


def has_results(item: SessionItem) -> bool:
    """Whether a STAR file lists the item."""
    return bool(item.motion_correction or item.ctf_estimation or item.particle_extraction)
