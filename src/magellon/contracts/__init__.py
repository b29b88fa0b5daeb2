"""What a step takes and gives: the only thing that science and platform share. Loads neither numpy nor torch."""

from magellon.contracts.backend import ENTRY_POINT_GROUP, Backend, Context, Contract, Params
from magellon.contracts.ctf_estimation import CTF_ESTIMATION, CtfInput, CtfOutput
from magellon.contracts.fft import FFT, FftInput, FftOutput
from magellon.contracts.gain_check import GAIN_CHECK, CheckedGain, GainCheckInput, GainCheckItem, GainCheckOutput
from magellon.contracts.hole_detection import HOLE_DETECTION, HoleInput, HoleOutput
from magellon.contracts.micrograph_denoising import MICROGRAPH_DENOISING, DenoisingInput, DenoisingOutput
from magellon.contracts.motion_correction import MOTION_CORRECTION, MotionInput, MotionOutput
from magellon.contracts.particle_extraction import PARTICLE_EXTRACTION, ExtractionInput, ExtractionOutput
from magellon.contracts.particle_picking import PARTICLE_PICKING, PickingInput, PickingOutput
from magellon.contracts.particle_survey import PARTICLE_SURVEY, SurveyInput, SurveyItem, SurveyOutput
from magellon.contracts.picker_training import PICKER_TRAINING, PickerTrainingInput, PickerTrainingItem, PickerTrainingOutput
from magellon.contracts.preview import PREVIEW, PreviewInput, PreviewOutput
from magellon.contracts.record import Record
from magellon.contracts.session_export import SESSION_EXPORT, SessionExportInput, SessionExportOutput
from magellon.contracts.session_star import SESSION_STAR, SessionItem, SessionStarInput, SessionStarOutput
from magellon.contracts.specimen import Ctf, Gain, GainOrientation, GridImage, Micrograph, Movie, Optics, Particles, Picks
from magellon.contracts.square_detection import SQUARE_DETECTION, SquareInput, SquareOutput
from magellon.contracts.two_d_classification import (
    TWO_D_CLASSIFICATION,
    Classes,
    ClassificationInput,
    ClassificationItem,
    ClassificationOutput,
)
from magellon.errors import BadInput, Cancelled, MagellonError, Transient

SESSION_SOURCES: dict[str, type[Record]] = {"movie": Movie, "atlas": GridImage, "square": GridImage}
"""What a session holds of itself: each `session.NAME` that a step may take, with its type."""

CONTRACTS = {
    contract.category: contract
    for contract in (
        SQUARE_DETECTION,
        HOLE_DETECTION,
        GAIN_CHECK,
        MOTION_CORRECTION,
        CTF_ESTIMATION,
        FFT,
        MICROGRAPH_DENOISING,
        PARTICLE_SURVEY,
        PARTICLE_PICKING,
        PARTICLE_EXTRACTION,
        TWO_D_CLASSIFICATION,
        PICKER_TRAINING,
        SESSION_STAR,
        SESSION_EXPORT,
        PREVIEW,
    )
}
"""Every category, in pipeline order."""

__all__ = [
    "CONTRACTS",
    "CTF_ESTIMATION",
    "ENTRY_POINT_GROUP",
    "FFT",
    "GAIN_CHECK",
    "HOLE_DETECTION",
    "MICROGRAPH_DENOISING",
    "MOTION_CORRECTION",
    "PARTICLE_EXTRACTION",
    "PARTICLE_PICKING",
    "PARTICLE_SURVEY",
    "PICKER_TRAINING",
    "PREVIEW",
    "SESSION_EXPORT",
    "SESSION_SOURCES",
    "SESSION_STAR",
    "SQUARE_DETECTION",
    "TWO_D_CLASSIFICATION",
    "Backend",
    "BadInput",
    "Cancelled",
    "CheckedGain",
    "Classes",
    "ClassificationInput",
    "ClassificationItem",
    "ClassificationOutput",
    "Context",
    "Contract",
    "Ctf",
    "CtfInput",
    "CtfOutput",
    "DenoisingInput",
    "DenoisingOutput",
    "ExtractionInput",
    "ExtractionOutput",
    "FftInput",
    "FftOutput",
    "Gain",
    "GainCheckInput",
    "GainCheckItem",
    "GainCheckOutput",
    "GainOrientation",
    "GridImage",
    "HoleInput",
    "HoleOutput",
    "MagellonError",
    "Micrograph",
    "MotionInput",
    "MotionOutput",
    "Movie",
    "Optics",
    "Params",
    "Particles",
    "PickerTrainingInput",
    "PickerTrainingItem",
    "PickerTrainingOutput",
    "PickingInput",
    "PickingOutput",
    "Picks",
    "PreviewInput",
    "PreviewOutput",
    "Record",
    "SessionExportInput",
    "SessionExportOutput",
    "SessionItem",
    "SessionStarInput",
    "SessionStarOutput",
    "SquareInput",
    "SquareOutput",
    "SurveyInput",
    "SurveyItem",
    "SurveyOutput",
    "Transient",
]
