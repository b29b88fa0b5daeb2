"""The faults: each does its harm and says how to undo it and after how long, or that it cannot be done now."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil
from meddler import Meddler
from plant import WORKERS, Plant

Repair = tuple[float, Callable[[], None]]
"""After so many seconds, do this."""


@dataclass
class Harm:
    """One plant at the mercy of chance."""

    plant: Plant
    meddler: Meddler
    random: random.Random

    def _stay_down(self, name: str) -> Repair | None:
        """Killed; started again by the next look after the plant."""
        return (0.0, lambda: None) if self.plant.kill(name) else None

    def kill_worker(self) -> Repair | None:
        return self._stay_down(self.random.choice(WORKERS))

    def kill_server(self) -> Repair | None:
        return self._stay_down("server")

    def kill_bus(self) -> Repair | None:
        return self._stay_down("bus")

    def kill_all(self) -> Repair | None:
        for name in ("bus", "server", *WORKERS):
            self.plant.kill(name)
        return 0.0, lambda: None

    def kill_child(self) -> Repair | None:
        child = self.plant.find_child(self.random.choice(WORKERS))
        if child is None:
            return None
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
        return 0.0, lambda: None

    def wipe_bus(self) -> Repair | None:
        if not self.plant.kill("bus"):
            return None
        shutil.rmtree(self.plant.home.bus / "store", ignore_errors=True)
        return 0.0, lambda: None

    def _freeze(self, name: str, seconds: float) -> Repair | None:
        process = self.plant.process(name)
        if process is None:
            return None
        process.send_signal(signal.SIGSTOP)

        def thaw() -> None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)

        return seconds, thaw

    def cut_off_worker(self) -> Repair | None:
        """Long enough to be given up; it comes back with a result that is late."""
        return self._freeze(self.random.choice(WORKERS), self.random.uniform(3.0, 4.5))

    def freeze_server(self) -> Repair | None:
        return self._freeze("server", self.random.uniform(0.2, 3.5))

    def freeze_bus(self) -> Repair | None:
        return self._freeze("bus", self.random.uniform(0.2, 2.0))

    def repeat_event(self) -> Repair | None:
        return (0.0, lambda: None) if self.meddler.repeat("event") else None

    def repeat_task(self) -> Repair | None:
        return (0.0, lambda: None) if self.meddler.repeat("task") else None

    def lose_task(self) -> Repair | None:
        return (0.0, lambda: None) if self.meddler.lose("task") else None

    def lose_event(self) -> Repair | None:
        """While the server cannot take it."""
        frozen = self._freeze("server", 0.0)
        if frozen is None:
            return None
        deadline, lost = time.monotonic() + 0.7, False
        while not lost and time.monotonic() < deadline:
            lost = self.meddler.lose("event")
        frozen[1]()
        return (0.0, lambda: None) if lost else None

    def run_out_of_memory(self) -> Repair | None:
        (self.plant.faults / "memory").touch()
        return 0.0, lambda: None

    def jump_clock(self) -> Repair | None:
        clock = self.plant.faults / "clock"
        clock.write_text(str(self.random.choice((-86400, -3600, -30, 30, 3600, 86400))))
        return self.random.uniform(0.5, 4), lambda: clock.unlink(missing_ok=True)

    def make_read_only(self) -> Repair | None:
        if not mount_again("ro", self.plant):
            return None
        return self.random.uniform(0.3, 2.0), lambda: repair_mount(self.plant)

    def fill_disk(self) -> Repair | None:
        ballast = self.plant.home.results / ".ballast"
        try:
            with open(ballast, "wb") as file:
                while True:
                    file.write(bytes(1 << 20))
                    file.flush()
        except OSError:
            pass

        return self.random.uniform(0.3, 2.0), lambda: remove_ballast(self.plant)


def remove_ballast(plant: Plant) -> None:
    with contextlib.suppress(OSError):
        (plant.home.results / ".ballast").unlink(missing_ok=True)


def mount_again(how: str, plant: Plant) -> bool:
    argv = ["mount", "-o", f"remount,{how}", str(plant.home.results)]
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0


def repair_mount(plant: Plant) -> None:
    assert mount_again("rw", plant)
    remove_ballast(plant)


def mount_small_disk(plant: Plant) -> bool:
    """A disk of a few megabytes for the results; False where this is not allowed."""
    plant.home.results.mkdir(parents=True, exist_ok=True)
    argv = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(plant.home.results)]
    return os.geteuid() == 0 and subprocess.run(argv, check=False, capture_output=True).returncode == 0


def remove_small_disk(plant: Plant) -> None:
    subprocess.run(["umount", "-l", str(plant.home.results)], check=False, capture_output=True)
