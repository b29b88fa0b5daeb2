"""Micrographs as rows of a `.cs` table of exposures."""

from collections.abc import Callable

import numpy as np

from magellon.backends.session_export.project import read_motion
from magellon.backends.session_export.session import NAME, Session
from magellon.io.cryosparc import Rows
from magellon.io.cryosparc_particles import CTF_TYPE, Columns, assemble_rows, encode_texts, name_number
from magellon.io.mrc_header import MrcHeader, read_mrc_header
from magellon.io.star import StarTable

FORMAT = b"MRC/1"
_UNWEIGHTED, _METADATA = "rlnMicrographNameNoDW", "rlnMicrographMetadata"


def size_micrographs(session: Session) -> Callable[[str], tuple[int, int] | None]:
    """A function from a micrograph's name to its (height, width); None when it is not there."""

    def measure(name: str) -> tuple[int, int] | None:
        if not (session.folder / name).exists():
            return None
        header = read_mrc_header(session.folder / name)
        return header.height, header.width

    return measure


def make_exposure_rows(session: Session, table: StarTable, optics: StarTable) -> Rows:
    """One row per micrograph: its image, the unweighted one, the microscope, and the CTF where it was fitted.

    Raises:
        BadInput: a micrograph is missing or damaged, or a column is.
    """
    names = table.texts(NAME)
    places = {group: place for place, group in enumerate(optics.ints("rlnOpticsGroup"))}
    groups = np.array([places[group] for group in table.ints("rlnOpticsGroup", 1)], dtype=np.uint32)

    def of_group(label: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        return np.array(optics.floats(label), dtype=np.float32)[groups]

    columns: Columns = {"uid": np.array([name_number(session.name, name) for name in names], dtype=np.uint64)}
    columns |= _blob_columns(session, "micrograph_blob", names, of_group("rlnMicrographPixelSize"))
    if _UNWEIGHTED in table:
        columns |= _blob_columns(
            session, "micrograph_blob_non_dw", table.texts(_UNWEIGHTED), of_group("rlnMicrographPixelSize")
        )
    zeros = np.zeros(len(names), dtype=np.uint32)
    columns |= {
        "mscope_params/accel_kv": of_group("rlnVoltage"),
        "mscope_params/cs_mm": of_group("rlnSphericalAberration"),
        "mscope_params/total_dose_e_per_A2": _total_exposures(session, table),
        "mscope_params/phase_plate": zeros,
        "mscope_params/neg_stain": zeros,
        "mscope_params/exp_group_id": groups,
    }
    if "rlnDefocusU" in table:
        columns |= {
            "ctf/type": np.full(len(names), CTF_TYPE),
            "ctf/exp_group_id": groups,
            "ctf/accel_kv": of_group("rlnVoltage"),
            "ctf/cs_mm": of_group("rlnSphericalAberration"),
            "ctf/amp_contrast": of_group("rlnAmplitudeContrast"),
        }
        columns |= _fit_columns(table)
    return assemble_rows(columns)


def _blob_columns(
    session: Session, slot: str, names: list[str], pixel_size: np.ndarray[tuple[int], np.dtype[np.float32]]
) -> Columns:
    headers: list[MrcHeader] = [read_mrc_header(session.folder / name) for name in names]
    count = len(names)
    return {
        f"{slot}/path": encode_texts(names),
        f"{slot}/idx": np.zeros(count, dtype=np.uint32),
        f"{slot}/shape": np.array([(each.height, each.width) for each in headers], dtype=np.uint32).reshape(count, 2),
        f"{slot}/psize_A": pixel_size,
        f"{slot}/format": np.full(count, FORMAT),
        f"{slot}/is_background_subtracted": np.zeros(count, dtype=np.uint32),
        f"{slot}/vmin": np.array([each.statistics[0] for each in headers], dtype=np.float32),
        f"{slot}/vmax": np.array([each.statistics[1] for each in headers], dtype=np.float32),
        f"{slot}/import_sig": np.full(count, name_number(session.name, "import"), dtype=np.uint64),
    }


def _total_exposures(session: Session, table: StarTable) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Of the movies, e/Å², with what came before the first frame; 0 where it is not known."""
    if _METADATA not in table:
        return np.zeros(table.rows, dtype=np.float32)
    totals = []
    for name in table.texts(_METADATA):
        general = read_motion(session, name)
        frames = general.floats("rlnImageSizeZ")[0]
        before = general.floats("rlnMicrographPreExposure", 0.0)[0]
        totals.append(general.floats("rlnMicrographDoseRate", 0.0)[0] * frames + before)
    return np.array(totals, dtype=np.float32)


def _fit_columns(table: StarTable) -> Columns:
    def single(label: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        return np.array(table.floats(label, 0.0), dtype=np.float32)

    ones = np.ones(table.rows, dtype=np.float32)
    return {
        "ctf/df1_A": single("rlnDefocusU"),
        "ctf/df2_A": single("rlnDefocusV"),
        "ctf/df_angle_rad": np.deg2rad(single("rlnDefocusAngle")),
        "ctf/phase_shift_rad": np.deg2rad(single("rlnPhaseShift")),
        "ctf/scale": ones,
        "ctf/scale_const": 0 * ones,
        "ctf/cross_corr_ctffind4": single("rlnCtfFigureOfMerit"),
        "ctf/ctf_fit_to_A": single("rlnCtfMaxResolution"),
    }
