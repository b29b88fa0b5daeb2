"""The template picker."""

from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

from magellon.algorithms.optics import CtfModel
from magellon.algorithms.picking.correlation import Templates, TemplateSettings, check_templates, pick_field_templates
from magellon.algorithms.picking.field import check_diameter, check_image, reduce_micrograph, resize_mask
from magellon.algorithms.picking.mask import mask_field
from magellon.algorithms.picking.templates import crop_map, measure_diameter, project_map
from magellon.backends.picking_files import write_picking_output
from magellon.contracts import PARTICLE_PICKING, Backend, BadInput, Context, Params, PickingInput, PickingOutput
from magellon.io.mrc import open_mrc, read_mrc
from magellon.units import Angstrom, AngstromPerPixel, Degree

MAP_PIXELS = 96
"""A map is projected at no more than this size: picking compares nothing finer."""


class TemplateParams(Params):
    templates: Path | None = None
    """MRC stack of 2D templates, either contrast; the pixel size comes from its header."""
    map: Path | None = None
    """MRC map whose projections are the templates; the pixel size comes from its header."""
    views: Annotated[int, Field(ge=1, le=500)] = 12
    """Projections of the map, spread evenly over the sphere."""
    template_pixel_size: Annotated[AngstromPerPixel, Field(gt=0.01, lt=1000)] | None = None
    """Of templates or map, when the header is wrong."""
    diameter: Annotated[Angstrom, Field(gt=0)] | None = None
    """Longest extent of the particle and of the mask around templates; left out, it is measured on them."""
    angle_step: Annotated[Degree, Field(ge=1, le=90)] = 10.0
    """Between in-plane rotations."""
    resolution: Annotated[Angstrom, Field(ge=2)] | None = None
    """Finest detail compared; left out, a ninth of the diameter, at best 20 Å."""
    use_ctf: bool = True
    """Multiply the templates with the micrograph's CTF when it is known."""
    threshold: float | None = None
    """Least score, in standard deviations of the noise; left out, it is set from the micrograph."""
    separation: Annotated[float, Field(ge=0.1, le=2)] = 0.5
    """Least distance of two picks, in diameters."""
    border: Annotated[float, Field(ge=0, le=2)] = 0.5
    """Least distance of a pick from the image's edge, in diameters."""
    avoid_contamination: bool = True
    """Leave out contamination, carbon and broken ice."""
    margin: Annotated[float, Field(ge=0, le=2)] = 0.5
    """Distance kept from what is left out, in diameters."""


class TemplatePicker(Backend[PickingInput, TemplateParams, PickingOutput]):
    """Correlation with templates in all in-plane rotations, multiplied with the micrograph's CTF."""

    contract, name, Params = PARTICLE_PICKING, "template-picker", TemplateParams
    ignores = ("diameter", "network")

    def run(self, input: PickingInput, params: TemplateParams, context: Context) -> PickingOutput:
        micrograph = input.micrograph
        templates, source = read_templates(params, context.device)
        settings = TemplateSettings(params.angle_step, params.resolution, params.threshold, params.separation, params.border)
        image = torch.from_numpy(read_mrc(micrograph.path)).to(context.device)
        try:
            diameter = params.diameter or round(measure_diameter(templates.images, templates.pixel_size), 1)
            check_templates(templates, diameter, settings)
        except BadInput as error:
            raise BadInput(f"{source}: {error}") from error
        try:
            check_image(image, micrograph.pixel_size)
            check_diameter(diameter, (image.shape[0], image.shape[1]), micrograph.pixel_size)
        except BadInput as error:
            raise BadInput(f"{micrograph.path}: {error}") from error
        context.progress(0.2, "correlating")
        field = reduce_micrograph(image, micrograph.pixel_size, settings.cell(diameter))
        usable = torch.ones(field.shape, dtype=torch.bool, device=image.device)
        if params.avoid_contamination:
            usable = resize_mask(mask_field(field, diameter, params.margin), field)
        peaks = pick_field_templates(field, diameter, templates, settings, self._ctf(input, params), usable)
        context.progress(0.9, f"{len(peaks)} picks")
        return write_picking_output(context.workdir, micrograph, image, diameter, peaks, usable)

    def _ctf(self, input: PickingInput, params: TemplateParams) -> CtfModel | None:
        if input.ctf is None or not params.use_ctf:
            return None
        optics, ctf = input.micrograph.optics, input.ctf
        return CtfModel(
            ctf.defocus_u,
            ctf.defocus_v,
            ctf.defocus_angle,
            ctf.phase_shift,
            optics.voltage,
            optics.spherical_aberration,
            optics.amplitude_contrast,
        )


def read_templates(params: TemplateParams, device: str) -> tuple[Templates, Path]:
    """The 2D templates, from the stack or by projecting the map, and the file they came from.

    Raises:
        BadInput: neither or both are given, or the file is not what it should be.
    """
    if (params.templates is None) == (params.map is None):
        given = "both" if params.map is not None else "neither"
        raise BadInput(f"template-picker needs `templates` (a stack) or `map`, one of them: {given} given")
    path = params.templates or params.map
    assert path is not None
    with open_mrc(path) as file:
        pixel_size = params.template_pixel_size or file.header.pixel_size
    if not pixel_size or pixel_size <= 0:
        raise BadInput(f"{path}: the header holds no pixel size; give `template_pixel_size`")
    values = torch.from_numpy(read_mrc(path)).to(device)
    if params.map is None:
        return Templates(values[None] if values.ndim == 2 else values, pixel_size), path
    if values.ndim != 3 or len(set(values.shape)) != 1:
        raise BadInput(f"{path}: shape {tuple(values.shape)}: a map must be a cube")
    size = min(values.shape[0], MAP_PIXELS)
    return Templates(project_map(crop_map(values, size), params.views), pixel_size * values.shape[0] / size), path
