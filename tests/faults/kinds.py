"""The faults: each does its harm and says how to undo it and after how long, or that it cannot be done now."""

import contextlib
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil
from disks import Mounted, SmallDisk
from faketime import find_library, read_clock, set_clock
from meddler import Meddler
from plant import POLICY, WORKERS, Plant

Repair = tuple[float, Callable[[], None]]
"""After so many seconds, do this."""
JUMPS = (-86400, -3600, -30, 30, 3600, 86400)
"""Seconds."""


@dataclass
class Harm:
    """One plant at the mercy of chance."""

    plant: Plant
    meddler: Meddler
    random: random.Random
    lost: list[Mounted] = field(default_factory=list)
    """Mounts that are gone now."""
    jumps: list[int] = field(default_factory=list)
    """Of the clock, still to come."""

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
        """Other faults wait until a computing process has seen it: undone before, it would be none."""
        if find_library() is None or read_clock(self.plant.clock):
            return None
        self.jumps = self.jumps or self.random.sample(JUMPS, len(JUMPS))
        set_clock(self.plant.clock, self.jumps[-1])
        if not self.plant.await_wrong_time(abs(self.jumps[-1]) / 2):
            set_clock(self.plant.clock, 0)
            return None
        self.jumps.pop()
        return self.random.uniform(1, 4), lambda: set_clock(self.plant.clock, 0)

    def restart_database(self) -> Repair | None:
        assert self.plant.cluster is not None
        self.plant.cluster.restart()
        return 0.0, lambda: None

    def stop_database(self) -> Repair | None:
        assert self.plant.cluster is not None
        self.plant.cluster.stop(self.random.choice(("fast", "immediate")))
        return self.random.uniform(0.3, 2.5), self.plant.cluster.start

    def pull_cable(self) -> Repair | None:
        """Nothing else happens until the far worker is given up; what it computes meanwhile comes late."""
        hosts = self.plant.hosts
        assert hosts is not None
        if self.plant.find_child("w2") is None or not self.plant.await_work():
            return None
        hosts.set_cable(False)
        time.sleep(POLICY.lost_after + self.random.uniform(0.3, 1.5))
        return self.random.uniform(0.0, 1.5), lambda: hosts.set_cable(True)

    @property
    def _disk(self) -> SmallDisk:
        assert self.plant.disk is not None
        return self.plant.disk

    def make_read_only(self) -> Repair | None:
        if not self._disk.set_writable(False):
            return None
        return self.random.uniform(0.3, 2.0), self._make_writable

    def _make_writable(self) -> None:
        assert self._disk.set_writable(True)

    def fill_disk(self) -> Repair | None:
        self._disk.fill()
        return self.random.uniform(0.3, 2.0), self._disk.clear

    def lose_results(self) -> Repair | None:
        return self._lose(self._disk.results)

    def lose_movies(self) -> Repair | None:
        return self._lose(self._disk.movies)

    def _lose(self, mounted: Mounted) -> Repair | None:
        """What is mounted goes; an empty folder, which can be written, is left in its place."""
        if mounted in self.lost or not mounted.detach():
            return None
        self.lost.append(mounted)

        def come_back() -> None:
            assert mounted.attach()
            self.lost.remove(mounted)

        return self.random.uniform(0.5, 2.5), come_back
