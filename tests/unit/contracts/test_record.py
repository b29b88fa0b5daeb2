"""Records: strict, immutable, and every path in them is found."""

from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Union, get_args, get_origin

import pytest
from pydantic import ValidationError

from magellon.contracts import CONTRACTS, SESSION_SOURCES, Gain, Movie, Optics, Record, SessionItem


def movie(**changes) -> Movie:
    return Movie(**({"name": "a", "path": Path("data:a.tiff"), "pixel_size": 1.0} | changes))


def test_paths_are_found_and_mapped_at_any_depth():
    class Nested(Record):
        items: tuple[SessionItem, ...]
        named: dict[str, Path]

    record = Nested(
        items=(SessionItem(name="a", movie=movie(gain=Gain(path=Path("data:gain.mrc")))),), named={"x": Path("home:x")}
    )
    assert [str(path) for path in record.paths()] == ["data:a.tiff", "data:gain.mrc", "home:x"]
    mapped = record.map_paths(lambda path: Path("/mnt") / str(path).split(":")[1])
    assert [str(path) for path in mapped.paths()] == ["/mnt/a.tiff", "/mnt/gain.mrc", "/mnt/x"]
    assert mapped.items[0].movie.gain.rotation == 0


@pytest.mark.parametrize(
    "changes",
    [{"pixel_size": 0.0}, {"pixel_size": float("nan")}, {"exposure_per_frame": 0.0}, {"exposure_per_frame": -1.0}, {"typo": 1}],
)
def test_absurd_values_and_unknown_fields_are_refused(changes):
    with pytest.raises(ValidationError):
        movie(**changes)


def test_records_do_not_change():
    with pytest.raises(ValidationError):
        movie().name = "b"


def test_units_show_in_the_schema():
    assert Optics.model_json_schema()["properties"]["voltage"]["unit"] == "kV"
    assert Movie.model_json_schema()["properties"]["exposure_per_frame"]["anyOf"][0]["unit"] == "e/Å²"


def base_types(annotation) -> set:
    """The types of a field, without None and units."""
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else [annotation]
    return {get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in kinds} - {NoneType}


def test_default_wiring_joins_equal_types():
    """Each source exists, and gives the type that the field takes."""
    for contract in CONTRACTS.values():
        for field, source in contract.sources.items():
            category, output = source.split(".")
            of_session = category == "session"
            expected = SESSION_SOURCES[output] if of_session else CONTRACTS[category].Output.model_fields[output].annotation
            fields = contract.Input.model_fields | (contract.Item.model_fields if contract.Item else {})
            taken = fields[field].annotation
            assert base_types(expected) <= base_types(taken), (contract.category, field)
