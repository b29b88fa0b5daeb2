"""Sessions to start from. Change single values with `dataclasses.replace`."""

from magellon.simulation.spec import DetectorRanges, MotionRanges, OpticsRanges, SessionSpec, SpecimenRanges

NOTHING_BROKEN = DetectorRanges(dead_pixels=(0.0, 0.0), hot_pixels=(0.0, 0.0))
CLEAN_ICE = SpecimenRanges(
    broken=(0.0, 0.0), denatured=(0.0, 0.0), foreign=(0.0, 0.0), contamination=(0.0, 0.0), carbon=0.0, beam_edge=0.0
)

PRESETS: dict[str, SessionSpec] = {
    "typical": SessionSpec(),
    # What a first look at the program needs: all of a session's faults in moderation, none that hides a micrograph.
    "demo": SessionSpec(
        movies=8,
        specimen=SpecimenRanges(particles=(135.0, 165.0), contamination=(0.0, 1.0), carbon=0.1, beam_edge=0.0),
        motion=MotionRanges(net=(10.0, 30.0), local=(3.5, 8.0)),
        optics=OpticsRanges(defocus=(9000.0, 24000.0)),
    ),
    # The conditions of the published comparisons: strong drift, one protein, clean ice.
    "reference": SessionSpec(
        movies=10,
        specimen=CLEAN_ICE,
        motion=MotionRanges(net=(15.0, 37.0), early_excess=(1.0, 4.0), local=(2.0, 8.0)),
    ),
    # Everything at its worst that a facility still sees every week.
    "hard": SessionSpec(
        movies=10,
        specimen=SpecimenRanges(
            ice_thickness=(500.0, 1000.0),
            ice_roughness=(0.03, 0.10),
            crowding=(0.45, 0.65),
            height=(200.0, 500.0),
            preferred_views=(0.3, 0.8),
            broken=(0.03, 0.15),
            denatured=(0.03, 0.15),
            foreign=(0.0, 0.05),
            contamination=(1.0, 5.0),
            carbon=0.4,
            beam_edge=0.1,
        ),
        motion=MotionRanges(net=(15.0, 45.0), early_excess=(1.0, 5.0), jitter=(0.15, 0.4), local=(6.0, 12.0)),
        optics=OpticsRanges(
            defocus=(4000.0, 40000.0),
            astigmatism=(0.0, 2000.0),
            envelope_b=(50.0, 150.0),
            beam_tilt=(0.0, 0.5),
            magnification_anisotropy=(0.0, 0.01),
            pixel_size_error=(0.0, 0.02),
        ),
    ),
    # Seconds to make and to process: for tests and examples.
    "tiny": SessionSpec(
        movies=2,
        size=512,
        frames=8,
        pixel_size=2.0,
        exposure_per_frame=3.0,
        phantom="barrel",
        specimen=SpecimenRanges(
            particles=(120.0, 150.0), broken=(0.0, 0.0), denatured=(0.0, 0.0), foreign=(0.0, 0.0),
            contamination=(0.0, 0.0), carbon=0.0, beam_edge=0.0,
        ),
        motion=MotionRanges(net=(8.0, 15.0), local=(2.0, 4.0)),
        optics=OpticsRanges(defocus=(12000.0, 22000.0)),
    ),
}  # fmt: skip
