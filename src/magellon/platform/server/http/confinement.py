"""Paths that a request names must lie, with all links followed, in the folders the server was started for."""

import asyncio

from magellon.platform.pipeline.catalogue import read_catalogue
from magellon.platform.pipeline.parameters import fill_parameters
from magellon.platform.pipeline.recipe import Recipe, list_wanted
from magellon.platform.server.http.services import Services
from magellon.platform.server.submitting import Submission


async def check_submission_paths(served: Services, submission: Submission) -> None:
    """Raises BadInput: the folder, a reference or a file of the recipe lies elsewhere."""
    folder = served.confine(submission.folder)
    acquisition = submission.acquisition
    for reference in (acquisition.gain, acquisition.defects, acquisition.metadata) if acquisition else ():
        if reference:
            served.confine(folder / reference)
    await check_recipe_paths(served, submission.recipe)


async def check_recipe_paths(served: Services, recipe: Recipe) -> None:
    """Raises BadInput: a file among the parameters lies elsewhere, or the parameters are not allowed."""
    catalogue = await asyncio.to_thread(read_catalogue, served.book.home.catalogue, list_wanted(recipe))

    def visit(text: str) -> str:
        return str(served.confine(text))

    for key, step in recipe.steps.items():
        category = step.category or key
        fitting = [each for each in catalogue.values() if each.category == category and step.backend in (None, each.name)]
        if len(fitting) == 1 and fitting[0].error is None:
            fill_parameters(fitting[0], step.params, key, visit)
