"""`particle_extraction/stack-maker`: reads a micrograph and its picks, writes a stack, its STAR file and a gallery."""

import zlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from magellon.algorithms.extraction import (
    BoxRecipe,
    extract_boxes,
    find_duplicates,
    find_outside,
    friendly_size,
    round_coordinates,
)
from magellon.backends.denoising_files import DENOISED
from magellon.backends.stack_maker.gallery import MOST, write_gallery
from magellon.backends.stack_maker.params import StackMakerParams
from magellon.backends.stack_maker.particle_star import write_particle_star
from magellon.backends.stack_maker.picks import PickTable, read_pick_table
from magellon.contracts import (
    PARTICLE_EXTRACTION,
    Backend,
    BadInput,
    Context,
    ExtractionInput,
    ExtractionOutput,
    Micrograph,
    Particles,
)
from magellon.io.mrc import MrcStackWriter, open_mrc
from magellon.units import Pixel

_DIAMETERS_PER_BOX = 1.5
_BACKGROUND_PART = 0.75
_DUPLICATE_PART = 0.25


@dataclass(frozen=True)
class Selection:
    """The picks to extract, and what became of the others."""

    picks: PickTable
    left_out: int
    padded: int
    duplicates: int


class StackMaker(Backend[ExtractionInput, StackMakerParams, ExtractionOutput]):
    """Cuts boxes at whole pixels and rescales, flattens, normalises and inverts them in RELION's order."""

    contract = PARTICLE_EXTRACTION
    name = "stack-maker"
    Params = StackMakerParams

    def run(self, input: ExtractionInput, params: StackMakerParams, context: Context) -> ExtractionOutput:
        micrograph = input.micrograph
        box = choose_box(input, params)
        recipe = make_recipe(micrograph, box, params)
        pixel_size = round(micrograph.pixel_size * box / recipe.size, 6)
        image = read_micrograph(micrograph)
        context.progress(0.1, "micrograph read")
        selection = select_picks(input, params, box)
        picks = selection.picks
        stack = context.workdir / f"{micrograph.name}.mrcs"
        star = context.workdir / f"{micrograph.name}_extract.star"
        picture = context.workdir / f"{micrograph.name}_particles.png"
        count = len(picks.centres)
        if count:
            centres = round_coordinates(torch.from_numpy(picks.centres))[0].to(context.device)
            tensor = torch.from_numpy(image).to(context.device)
            seed = zlib.crc32(micrograph.name.encode())
            first: list[NDArray[np.float32]] = []
            with MrcStackWriter(stack, recipe.size, pixel_size, mode=params.mode) as writer:
                for boxes in extract_boxes(tensor, centres, box, recipe, seed):
                    for particle in boxes.cpu().numpy():
                        writer.append(particle)
                    first.extend(boxes[: MOST - len(first)].cpu().numpy())
                    context.progress(0.1 + 0.9 * writer.count / count, f"{writer.count} of {count} particles")
            write_gallery(picture, first)
        write_particle_star(star, micrograph, input.ctf, picks, stack.name, recipe.size, pixel_size)
        return ExtractionOutput(
            particles=Particles(star=star, stack=stack if count else None, count=count, box=recipe.size, pixel_size=pixel_size),
            left_out_at_edge=selection.left_out,
            padded_at_edge=selection.padded,
            duplicates_removed=selection.duplicates,
            picture=picture if count else None,
        )


def choose_box(input: ExtractionInput, params: StackMakerParams) -> Pixel:
    """The side of the box to cut: as asked for, or from the picks' diameter.

    Raises:
        BadInput: the box is larger than the micrograph.
    """
    micrograph = input.micrograph
    box = params.box_size or friendly_size(_DIAMETERS_PER_BOX * input.picks.diameter / micrograph.pixel_size)
    height, width = micrograph.shape
    if box > min(height, width):
        origin = "" if params.box_size else f" ({_DIAMETERS_PER_BOX} times the diameter of {input.picks.diameter:g} Å)"
        raise BadInput(f"{micrograph.path}: a box of {box} px{origin} is larger than the micrograph of {width} x {height} px")
    return box


def make_recipe(micrograph: Micrograph, box: Pixel, params: StackMakerParams) -> BoxRecipe:
    """What to do with each box.

    Raises:
        BadInput: sizes that contradict each other.
    """
    size = params.rescaled_size or box
    if size > box:
        raise BadInput(
            f"{micrograph.path}: rescaled_size {size} px is larger than the box of {box} px: boxes are only made smaller"
        )
    radius = round(_BACKGROUND_PART * size / 2)
    if params.background_diameter is not None:
        radius = int(params.background_diameter / 2 / (micrograph.pixel_size * box / size))
    if not 0 < 2 * radius <= size:
        raise BadInput(
            f"{micrograph.path}: a background diameter of {2 * radius} px does not fit into a box of {size} px "
            f"({size * micrograph.pixel_size * box / size:g} Å)"
        )
    return BoxRecipe(
        size=size,
        background_radius=radius,
        white_dust=params.white_dust,
        black_dust=params.black_dust,
        plane=params.subtract_plane,
        normalise=params.normalise,
        invert=params.invert,
    )


def read_micrograph(micrograph: Micrograph) -> NDArray[np.float32]:
    """The one image of a micrograph's file.

    Raises:
        BadInput: damaged, empty, not finite, a stack, of another size than announced, or denoised.
    """
    with open_mrc(micrograph.path) as file:
        if DENOISED in file.header.labels:
            raise BadInput(
                f"{micrograph.path}: is denoised: an average of what a network made of particles is not one of particles; "
                "extract from the micrograph itself, the picks fit it"
            )
        sections, *shape = file.shape
        if sections != 1 or tuple(shape) != tuple(micrograph.shape):
            height, width = micrograph.shape
            raise BadInput(
                f"{micrograph.path}: {sections} image(s) of {shape[1]} x {shape[0]} px where one micrograph "
                f"of {width} x {height} px was expected"
            )
        image = file.read(0).astype(np.float32, copy=False)
    if image.min() == image.max():
        raise BadInput(f"{micrograph.path}: all pixels are {image.flat[0]:g}: there is no image")
    return image


def select_picks(input: ExtractionInput, params: StackMakerParams, box: Pixel) -> Selection:
    """Drop duplicates and what cannot or shall not be cut.

    Raises:
        BadInput: damaged picks, or all of them outside the micrograph.
    """
    micrograph = input.micrograph
    picks = read_pick_table(input.picks.path, micrograph)
    outside = find_outside(round_coordinates(torch.from_numpy(picks.centres))[0], box, micrograph.shape)
    impossible, edge = outside.centre.numpy(), outside.edge.numpy()
    if len(impossible) and impossible.all():
        y, x = picks.centres[0]
        height, width = micrograph.shape
        raise BadInput(
            f"{input.picks.path}: all {len(impossible)} coordinates lie outside the micrograph of {width} x {height} px "
            f"(the first at x {x:.1f}, y {y:.1f}): were they picked at another binning?"
        )
    keep = ~impossible & ~edge if params.edge == "leave_out" else ~impossible
    left_out = int((~keep).sum())
    picks, edge = picks.select(keep), edge[keep]
    distance = params.minimum_distance
    if distance is None:
        distance = _DUPLICATE_PART * input.picks.diameter
    duplicate = find_duplicates(picks.centres, picks.scores, distance / micrograph.pixel_size)
    padded = int((edge & ~duplicate).sum())
    return Selection(picks.select(~duplicate), left_out, padded, int(duplicate.sum()))
