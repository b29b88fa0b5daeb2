"""SLURM with one node in a temporary folder: munged, slurmctld and slurmd, all for one test."""

import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from magellon.platform.bus.configuration import find_free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")


def explain_absence() -> str | None:
    """Why there can be no SLURM here; None if there can."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        return f"SLURM is not installed (Debian: slurmctld slurmd slurm-client munge): no {', '.join(missing)}"
    return None if os.geteuid() == 0 else "slurmd must be started by root"


@dataclass
class Slurm:
    folder: Path
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @classmethod
    def start(cls, cpus: int, gpus: int = 0) -> "Slurm":
        """`gpus`: files that stand for their devices; no SLURM looks into them."""
        folder = Path(tempfile.mkdtemp(prefix="magellon-slurm-"))
        folder.chmod(0o755)
        for name in ("state", "spool", "munge"):
            (folder / name).mkdir()
        slurm = cls(folder)
        slurm._start_munge()
        (folder / "slurm.conf").write_text(slurm._configure(cpus, gpus))
        for number in range(gpus):
            os.mknod(folder / f"nvidia{number}", 0o600 | stat.S_IFCHR, os.makedev(1, 3))  # as /dev/null
        devices = [f"Name=gpu Flags=nvidia_gpu_env File={folder}/nvidia{number}\n" for number in range(gpus)]
        (folder / "gres.conf").write_text("".join(devices))
        slurm._run("slurmctld", "-D", "-c")
        slurm._run("slurmd", "-D", "-c")
        slurm._wait("idle")
        return slurm

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        key = folder / "key"
        key.write_bytes(os.urandom(128))
        for path in (folder, key):
            shutil.chown(path, "munge", "munge")
        key.chmod(0o600)
        user = ["setpriv", "--reuid", "munge", "--regid", "munge", "--clear-groups", "--"]
        files = [f"--{name}={folder / name}" for name in ("socket", "pid-file", "log-file", "seed-file")]
        self._run(*user, "munged", "--foreground", f"--key-file={key}", *files)
        deadline = time.monotonic() + 20
        while not (folder / "socket").exists():
            assert time.monotonic() < deadline, (folder / "log-file").read_text()
            time.sleep(0.05)

    def _configure(self, cpus: int, gpus: int) -> str:
        host = socket.gethostname().split(".")[0]
        folder = self.folder
        return f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket
SlurmctldPort={find_free_port()}
SlurmdPort={find_free_port()}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1
ReturnToService=2
MpiDefault=none
KillWait=15
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

    @property
    def configuration(self) -> str:
        """Value of SLURM_CONF."""
        return str(self.folder / "slurm.conf")

    def _run(self, *argv: str) -> None:
        environment = {**os.environ, "SLURM_CONF": self.configuration}
        with open(self.folder / "out", "ab") as output:
            self.processes.append(
                subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
            )

    def _wait(self, state: str) -> None:
        deadline = time.monotonic() + 30
        while state not in self.ask("sinfo", "--noheader", "--format=%T"):
            assert time.monotonic() < deadline, (self.folder / "out").read_text()[-2000:]
            time.sleep(0.1)

    def ask(self, *argv: str) -> str:
        environment = {**os.environ, "SLURM_CONF": self.configuration}
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=30).stdout

    def describe_jobs(self) -> dict[str, dict[str, str]]:
        """What SLURM says of every batch job there was, by number."""
        found = {}
        for line in self.ask("scontrol", "--oneliner", "show", "job").splitlines():
            fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
            if "JobId" in fields:
                found[fields["JobId"]] = fields
        return found

    def list_jobs(self) -> dict[str, str]:
        """State of every batch job there was, by number."""
        return {job: fields["JobState"] for job, fields in self.describe_jobs().items()}

    def list_running(self) -> list[str]:
        return [job for job, state in self.list_jobs().items() if state == "RUNNING"]

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
