"""STAR tables that several tests give to RELION."""


def particle_optics(
    box: int, pixel_size: float, voltage: float = 300.0, cs: float = 2.7, amplitude: float = 0.1
) -> dict[str, list[object]]:
    """One optics group of particles."""
    return micrograph_optics(pixel_size, voltage, cs, amplitude) | {
        "rlnImagePixelSize": [pixel_size],
        "rlnImageSize": [box],
        "rlnImageDimensionality": [2],
    }


def micrograph_optics(
    pixel_size: float, voltage: float = 300.0, cs: float = 2.7, amplitude: float = 0.1
) -> dict[str, list[object]]:
    """One optics group of micrographs."""
    return {
        "rlnOpticsGroupName": ["opticsGroup1"],
        "rlnOpticsGroup": [1],
        "rlnMicrographOriginalPixelSize": [pixel_size],
        "rlnMicrographPixelSize": [pixel_size],
        "rlnVoltage": [voltage],
        "rlnSphericalAberration": [cs],
        "rlnAmplitudeContrast": [amplitude],
    }
