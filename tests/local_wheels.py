"""Packages made on the spot, so that installing them needs no network."""

import sys
import zipfile
from collections.abc import Iterable, Mapping
from importlib.metadata import distribution
from pathlib import Path

BACKEND = '''
"""A backend whose picture is a text: the package it found, and where it ran."""
import sys
from magellon.contracts import FFT, Backend, Context, FftInput, FftOutput, Params
import tinydep

class Nothing(Params):
    salt: int = 0
    """Changes the result."""

class Plugin(Backend[FftInput, Nothing, FftOutput]):
    """Writes which tinydep it found."""

    contract, name, Params = FFT, "{name}", Nothing

    def run(self, input: FftInput, params: Nothing, context: Context) -> FftOutput:
        picture = context.workdir / f"{{input.micrograph.name}}_fft.png"
        picture.write_text(f"{name} with tinydep {{tinydep.VERSION}}, torch {{'torch' in sys.modules}}")
        return FftOutput(picture=picture)
'''


def write_wheel(folder: Path, name: str, version: str, files: Mapping[str, str], more: Iterable[str] = ()) -> Path:
    """A wheel; `more` are lines of its metadata."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    metadata = "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *more]) + "\n"
    wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content = {**files, f"{info}/METADATA": metadata, f"{info}/WHEEL": wheel}
    record = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in {**content, f"{info}/RECORD": record}.items():
            archive.writestr(member, text)
    return path


def write_plugin(folder: Path, name: str, requires: Iterable[str] = (), version: str = "1.0", source: str = BACKEND) -> Path:
    """A plugin with the backend `fft/NAME`."""
    module = f"{name}_plugin"
    entry = f"[magellon.backends]\nfft.{name} = {module}:Plugin\n"
    files = {f"{module}.py": source.replace("{name}", name).replace("{{", "{").replace("}}", "}")}
    files[f"{name}_plugin-{version}.dist-info/entry_points.txt"] = entry
    return write_wheel(folder, f"{name}-plugin", version, files, [f"Requires-Dist: {each}" for each in requires])


def write_tinydep(folder: Path, version: str) -> Path:
    return write_wheel(folder, "tinydep", version, {"tinydep.py": f"VERSION = '{version}'\n"})


def copy_installed(folder: Path, name: str) -> None:
    """A wheel of a package that is installed here."""
    found = distribution(name)
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    stem = f"{found.name.replace('-', '_')}-{found.version}"
    platform = next((line[5:] for line in (found.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: ")), "")
    with zipfile.ZipFile(folder / f"{stem}-{platform or f'{tag}-none-any'}.whl", "w") as archive:
        for path in found.files or ():
            if ".." not in path.parts and path.suffix != ".pyc":
                archive.write(str(path.locate()), str(path))
