"""`python -m monailabel_app.active NICENESS`: the process that measures samples, see `worker`."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Lower the priority first: loading the libraries is half of a short run's work."""
    os.setpriority(os.PRIO_PROCESS, 0, int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this one
    from lib.isolation import calls
    from monailabel_app.active.worker import main as work

    calls.read_in_workers()
    work()


if __name__ == "__main__":
    main()
