"""What a step takes and gives: the only thing that science and platform share. Loads neither numpy nor torch."""

from magellon.contracts.backend import ENTRY_POINT_GROUP, Backend, Context, Contract, Params
from magellon.contracts.ctf_estimation import CTF_ESTIMATION, CtfInput, CtfOutput
from magellon.contracts.fft import FFT, FftInput, FftOutput
from magellon.contracts.gain_check import GAIN_CHECK, CheckedGain, GainCheckInput, GainCheckItem, GainCheckOutput
from magellon.contracts.motion_correction import MOTION_CORRECTION, MotionInput, MotionOutput
from magellon.contracts.particle_extraction import PARTICLE_EXTRACTION, ExtractionInput, ExtractionOutput
from magellon.contracts.particle_picking import PARTICLE_PICKING, PickingInput, PickingOutput
from magellon.contracts.particle_survey import PARTICLE_SURVEY, SurveyInput, SurveyItem, SurveyOutput
from magellon.contracts.preview import PREVIEW, PreviewInput, PreviewOutput
from magellon.contracts.record import Record
from magellon.contracts.session_export import SESSION_EXPORT, SessionExportInput, SessionExportOutput
from magellon.contracts.session_star import SESSION_STAR, SessionItem, SessionStarInput, SessionStarOutput
from magellon.contracts.specimen import Ctf, Gain, GainOrientation, Micrograph, Movie, Optics, Particles, Picks
from magellon.errors import BadInput, Cancelled, MagellonError, Transient

CONTRACTS = {
    contract.category: contract
    for contract in (
        GAIN_CHECK,
        MOTION_CORRECTION,
        CTF_ESTIMATION,
        FFT,
        PARTICLE_SURVEY,
        PARTICLE_PICKING,
        PARTICLE_EXTRACTION,
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
    "MOTION_CORRECTION",
    "PARTICLE_EXTRACTION",
    "PARTICLE_PICKING",
    "PARTICLE_SURVEY",
    "PREVIEW",
    "SESSION_EXPORT",
    "SESSION_STAR",
    "Backend",
    "BadInput",
    "Cancelled",
    "CheckedGain",
    "Context",
    "Contract",
    "Ctf",
    "CtfInput",
    "CtfOutput",
    "ExtractionInput",
    "ExtractionOutput",
    "FftInput",
    "FftOutput",
    "Gain",
    "GainCheckInput",
    "GainCheckItem",
    "GainCheckOutput",
    "GainOrientation",
    "MagellonError",
    "Micrograph",
    "MotionInput",
    "MotionOutput",
    "Movie",
    "Optics",
    "Params",
    "Particles",
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
    "SurveyInput",
    "SurveyItem",
    "SurveyOutput",
    "Transient",
]
