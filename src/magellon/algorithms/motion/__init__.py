"""Motion correction: where the specimen is in each frame of a movie, and the frames summed in place."""

from magellon.algorithms.motion.correct import MotionResult, correct_motion
from magellon.algorithms.motion.field import MotionField, MotionSummary, summarise_motion
from magellon.algorithms.motion.settings import Budget, MotionSettings

__all__ = ["Budget", "MotionField", "MotionResult", "MotionSettings", "MotionSummary", "correct_motion", "summarise_motion"]
