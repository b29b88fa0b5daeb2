"""The survey that proposes the particle's diameter for a whole session."""

from pathlib import Path

import torch
from PIL import Image

from magellon.algorithms.picking.blobs import CELLS_PER_DIAMETER, DogSettings, pick_field
from magellon.algorithms.picking.diameter import View, propose_from_views, reduce_for_search
from magellon.algorithms.picking.field import check_diameter, reduce_micrograph, resize_mask
from magellon.algorithms.picking.mask import mask_field
from magellon.backends.picking_files import draw_picks
from magellon.contracts import PARTICLE_SURVEY, Backend, BadInput, Context, Params, SurveyInput, SurveyItem, SurveyOutput
from magellon.io.mrc import read_mrc

TRUSTED = 0.5
SHOWN = 4
TILE = 512


class SurveyParams(Params):
    """Nothing to choose: whoever knows the diameter gives it to the picker."""


class DogSurvey(Backend[SurveyInput, SurveyParams, SurveyOutput]):
    """One particle diameter for the session: the size at which blobs of all sampled micrographs stand out most."""

    contract, name, Params = PARTICLE_SURVEY, "dog", SurveyParams

    def run(self, input: SurveyInput, params: SurveyParams, context: Context) -> SurveyOutput:
        views = []
        for number, item in enumerate(input.items):
            context.progress(0.5 * number / len(input.items), item.micrograph.name)
            views.append(_reduce(item, context.device))
        proposal = propose_from_views(views)
        diameter = round(proposal.diameter, 1)
        said = f"diameter {diameter:.0f} Å proposed from {proposal.picks} particles on {len(views)} micrographs"
        confidence = min(proposal.agreement, proposal.confidence)
        if confidence < TRUSTED:
            context.log.warning("%s; only %.0f %% of these agree: better give it to the picker", said, 100 * proposal.agreement)
        else:
            context.log.info("%s; %.0f %% of these agree", said, 100 * proposal.agreement)
        context.progress(0.9, said)
        picture = context.workdir / "particle_survey.png"
        _draw(input.items[:SHOWN], diameter, context.device, picture)
        return SurveyOutput(diameter=diameter, confidence=confidence, picture=picture)


def _read(item: SurveyItem, device: str) -> torch.Tensor:
    return torch.from_numpy(read_mrc(item.micrograph.path)).to(device)


def _reduce(item: SurveyItem, device: str) -> View:
    try:
        return reduce_for_search(_read(item, device), item.micrograph.pixel_size)
    except BadInput as error:
        raise BadInput(f"{item.micrograph.path}: {error}") from error


def _draw(items: tuple[SurveyItem, ...], diameter: float, device: str, path: Path) -> None:
    """Micrographs side by side with circles of the proposed diameter, so that a glance tells whether it fits."""
    sheet = Image.new("RGB", (TILE * len(items), TILE))
    for number, item in enumerate(items):
        image, pixel_size = _read(item, device), item.micrograph.pixel_size
        check_diameter(diameter, (image.shape[0], image.shape[1]), pixel_size)
        field = reduce_micrograph(image, pixel_size, diameter / CELLS_PER_DIAMETER)
        usable = resize_mask(mask_field(field, diameter), field)
        peaks = pick_field(field, diameter, DogSettings(), usable)
        drawn = draw_picks(image, diameter / pixel_size, peaks, usable)
        drawn.thumbnail((TILE, TILE))
        sheet.paste(drawn, (number * TILE, 0))
    sheet.save(path, format="PNG")
