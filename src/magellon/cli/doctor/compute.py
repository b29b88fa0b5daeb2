"""Cores, memory, GPU, backends, and programs of others that backends or people may want."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import psutil

from magellon.cli.catalogue import read_descriptions
from magellon.cli.doctor.finding import Finding
from magellon.contracts import CONTRACTS
from magellon.errors import BadInput

PROGRAMS = {
    "relion_refine": ("RELION", "opens what Magellon writes: 2D classes, 3D maps, polishing"),
    "MotionCor3": ("MotionCor3", "an alternative motion correction"),
    "MotionCor2": ("MotionCor2", "an alternative motion correction"),
    "ctffind": ("CTFFIND", "an alternative CTF estimation"),
    "topaz": ("Topaz", "an alternative picker and denoiser"),
}
"""Program > what it is, and what it would be good for."""

_ASK_TORCH = """
import json, torch
devices = [(p.name, p.total_memory) for p in map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))]
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "devices": devices}))
"""


def examine_machine() -> list[Finding]:
    """Cores and memory this process may use."""
    cores, memory = len(os.sched_getaffinity(0)), psutil.virtual_memory()
    found = f"{cores} cores, {memory.total / 2**30:.0f} GB memory, {memory.available / 2**30:.0f} GB of it available"
    if memory.available < cores * (2 << 30):
        return [Finding("machine", "cores and memory", "problem", found, "below 2 GB per core; use fewer with --workers")]
    return [Finding("machine", "cores and memory", "ok", found)]


def examine_gpu() -> list[Finding]:
    """Ask torch, in a process of its own: importing it here would cost a second, and a broken driver must not take us down."""
    try:
        done = subprocess.run([sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return [Finding("GPU", "torch", "problem", "did not answer within two minutes", "the GPU driver may hang")]
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        return [Finding("GPU", "torch", "problem", last, "no step can run: install torch again")]
    said = json.loads(done.stdout.splitlines()[-1])
    findings = [Finding("GPU", "torch", "ok", f"{said['version']}, {'CUDA ' + said['cuda'] if said['cuda'] else 'CPU build'}")]
    for name, memory in said["devices"]:
        findings.append(Finding("GPU", "device", "ok", f"{name}, {memory / 2**30:.0f} GB"))
    return findings if said["devices"] else [*findings, _explain_no_gpu(bool(said["cuda"]))]


def _explain_no_gpu(cuda_build: bool) -> Finding:
    if shutil.which("nvidia-smi") and not cuda_build:
        meaning = "there is an NVIDIA driver, but torch is the CPU build: see the how-to on GPUs"
    elif cuda_build:
        meaning = "torch could use a GPU but sees none: no card, no driver, or hidden by CUDA_VISIBLE_DEVICES"
    else:
        meaning = "every step runs on the CPU"
    return Finding("GPU", "device", "absent", "none", meaning)


def examine_backends() -> list[Finding]:
    """Is there something for each step, and can all that is installed be used?"""
    try:
        descriptions = read_descriptions()
    except BadInput as error:
        return [Finding("backends", "all", "problem", str(error), "no step can run")]
    findings = [
        Finding("backends", each.key, "problem", each.error, f"{each.distribution or 'its package'} is broken here")
        for each in descriptions
        if each.error
    ]
    for category in CONTRACTS:
        names = [each.name for each in descriptions if each.category == category and not each.error]
        meaning = "" if names else "this step cannot run"
        findings.append(Finding("backends", category, "ok" if names else "problem", ", ".join(names) or "none", meaning))
    return findings


def examine_programs() -> list[Finding]:
    """Programs of others on the PATH."""
    return [_find_program(program, name, use) for program, (name, use) in PROGRAMS.items()]


def _find_program(program: str, name: str, use: str) -> Finding:
    path = shutil.which(program)
    if path is None:
        return Finding("programs", name, "absent", f"no {program} on the PATH", f"not needed; {use}")
    return Finding("programs", name, "ok", path, use)


def examine_package() -> list[Finding]:
    """Ourselves and the interpreter."""
    try:
        own = version("magellon")
    except PackageNotFoundError:
        own = "not installed"
    return [Finding("Magellon", "version", "ok", f"{own}, Python {sys.version.split()[0]}")]
