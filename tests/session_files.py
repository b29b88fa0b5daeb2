"""Folders as acquisition programs leave them, with movies that are nothing but a header."""

import struct
from pathlib import Path

EPU_IMAGE = """<?xml version="1.0" encoding="utf-8"?>
<MicroscopeImage xmlns="http://schemas.datacontract.org/2004/07/Fei.SharedObjects"><CustomData>{pairs}</CustomData>
<SpatialScale><pixelSize><x><numericValue>{pixel}</numericValue></x></pixelSize></SpatialScale>
<microscopeData><acquisition><acquisitionDateTime>{time}</acquisitionDateTime><camera><Binning><x>1</x></Binning>
<ReadoutArea><height>{height}</height><width>{width}</width></ReadoutArea></camera></acquisition>
<gun><AccelerationVoltage>300000</AccelerationVoltage></gun>
<optics><BeamShift><_x>{x}</_x><_y>{y}</_y></BeamShift>
<TemMagnification><NominalMagnification>{magnification}</NominalMagnification></TemMagnification></optics>
<stage><Position><A>0</A><X>1e-5</X><Y>2e-5</Y><Z>3e-5</Z></Position></stage></microscopeData></MicroscopeImage>"""
_PAIR = "<KeyValueOfstringanyType><Key>{}</Key><Value>{}</Value></KeyValueOfstringanyType>"


def write_movie(path: Path, width: int = 16, height: int = 12, frames: int = 4, pixel_size: float = 0.0, cut: int = 0) -> Path:
    """An MRC movie of 8 bits, sparse."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = (width, height, frames)
    header = struct.pack("<10i", *sizes, 0, 0, 0, 0, *sizes) + struct.pack("<3f", *(size * pixel_size for size in sizes))
    header += bytes(12) + struct.pack("<3i", 1, 2, 3)
    header = header.ljust(208, b"\0") + b"MAP " + bytes([0x44, 0x44, 0, 0])
    with path.open("wb") as file:
        file.write(header.ljust(1024, b"\0"))
        file.truncate(1024 + width * height * frames - cut)
    return path


def write_epu_image(path: Path, **values: object) -> Path:
    """The XML file of an exposure, of a detector of 16 x 12 pixels."""
    pairs = {"Dose": 4e21, "AppliedDefocus": -1.5e-6, "BinaryResult.Detector": "EF", "DetectorCommercialName": "Falcon 4i"}
    pairs.update({name: value for name, value in values.items() if name in pairs})
    if "gain" in values:
        pairs["Detectors[EF].GainReference"] = values["gain"]
    if "detector" in values:
        pairs["DetectorCommercialName"] = values["detector"]
    text = "".join(_PAIR.format(name, value) for name, value in pairs.items())
    usual = {"pixel": 8e-11, "time": "2025-01-01T00:00:00", "height": 12, "width": 16, "x": 0, "y": 0, "magnification": 105000}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(EPU_IMAGE.format(pairs=text, **{**usual, **values}))
    return path


def make_epu(folder: Path, count: int, **values: object) -> Path:
    """A square with exposures, two in each hole."""
    data = folder / "Images-Disc1" / "GridSquare_7" / "Data"
    for number in range(count):
        stem = f"FoilHole_{100 + number // 2}_Data_{number % 2}_2_20250101_{number:06}"
        shift = {"x": 0.05 * (number % 2), "y": 0.0}
        write_epu_image(data / f"{stem}.xml", **{**shift, "time": f"2025-01-01T00:00:{number:09}", **values})
        write_movie(data / f"{stem}_fractions.mrc")
    return folder


MDOC = """T = SerialEM: Digitized by Gatan K3 on Krios 25-Sep-23  13:01:47
Voltage = 300

[FrameSet = 0]
GainReference = CountRef_1.mrc
TiltAngle = 0
StagePosition = 1 2
StageZ = 3
Magnification = 105000
ExposureDose = 40
PixelSpacing = 0.8
ImageShift = {x} 0
Binning = 1
CameraIndex = 0
TargetDefocus = -1.2
SubFramePath = X:\\frames\\{movie}
NumSubFrames = 4
FrameDosesAndNumber = 10 4
DateTime = 25-Sep-23  14:13:26
NavigatorLabel = 7
"""


def make_serialem(folder: Path, count: int) -> Path:
    """Movies with their .mdoc files, and a gain reference."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        movie = f"g_{number:04}.mrc"
        write_movie(folder / movie)
        (folder / f"{movie}.mdoc").write_text(MDOC.format(movie=movie, x=2.0 * (number % 2)))
    write_movie(folder / "CountRef_1.mrc", frames=1)
    return folder
