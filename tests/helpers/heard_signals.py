"""Signals that a test's command must hear, whoever runs the tests: `nohup` and a shell's `&` turn some of them off."""

import signal

HEARD = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def hear_signals() -> None:
    """Of a process that a test starts, before its program: what a signal does is what the system says."""
    for number in HEARD:
        signal.signal(number, signal.SIG_DFL)
