"""`python -S launch.py REPORT COMMAND...`: run a command and write its rusage as JSON to the file REPORT.

A process inherits the peak memory of the one that started it, also over exec. So whoever measures must be small: this script
imports next to nothing and stands between a large benchmark and the program that is measured.
"""

import os
import sys
import time


def main(report: str, *command: str) -> int:
    start = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - start
    with open(report, "w") as file:
        file.write(
            f'{{"seconds": {seconds}, "cpu_seconds": {usage.ru_utime + usage.ru_stime}, "peak_kilobytes": {usage.ru_maxrss}}}'
        )
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
