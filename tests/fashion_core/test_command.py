"""How commands end."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading

import pytest
from heard_signals import hear_signals

from fashion_core import command as commands
from fashion_core.command import ENDING, ProgressBar, give_share, run_command, share
from fashion_core.errors import FashionError


def end(error: BaseException) -> int:
    """The status of a command that raises this."""

    def command() -> None:
        raise error

    with pytest.raises(SystemExit) as stopped:
        run_command(command)
    return stopped.value.code


@pytest.mark.parametrize("error", [FashionError("no such thing; make one"), PermissionError(13, "denied", "here")])
def test_an_error_is_one_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert end(error) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err == f"error: {error}\n"


def test_interrupted_quietly(capsys: pytest.CaptureFixture[str]) -> None:
    assert end(KeyboardInterrupt()) == 130
    assert capsys.readouterr() == ("", "")


def test_a_crash_is_a_crash() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 / 0)


ENDS = [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]


@pytest.mark.parametrize(("number", "status"), ENDS)
@pytest.mark.parametrize("in_background", [False, True])
def test_a_signal_has_its_status(number: int, status: int, in_background: bool) -> None:
    """Also where the shell has Ctrl-C ignored, as in the background of a script; whoever runs the tests, by `nohup`."""
    is_ignored = in_background and number != signal.SIGINT
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if is_ignored else signal.default_int_handler)
    was = {each: signal.signal(each, signal.SIG_DFL) for each in ENDING}
    ends = signal.getsignal(number)
    try:
        with pytest.raises(SystemExit) as stopped:
            run_command(lambda: signal.raise_signal(number))
        assert stopped.value.code == status and signal.getsignal(number) is ends
    finally:
        for each, handler in {signal.SIGINT: before, **was}.items():
            signal.signal(each, handler)


def test_what_is_ignored_stays_ignored() -> None:
    """As by `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run_command(lambda: signal.raise_signal(signal.SIGHUP))
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
def test_a_terminal_that_closes_is_written_to_no_more() -> None:
    """The command goes on to its own end, though what it prints would fail; then it has the signal's status."""
    # In short sleeps: a signal that comes just before one is taken at its end.
    code = (
        "import sys, time\nfrom fashion_core.command import run_command\n"
        "def command():\n"
        "    try:\n        print('ready', flush=True)\n        while True:\n            time.sleep(0.1)\n"
        "    except KeyboardInterrupt:\n        print('the end', flush=True)\n        raise\n"
        "run_command(command)"
    )
    terminal, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=other, stdout=other, stderr=subprocess.PIPE, preexec_fn=hear_signals
    )
    os.close(other)
    while b"ready" not in os.read(terminal, 100):
        pass
    os.close(terminal)
    process.send_signal(signal.SIGHUP)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (129, b"")


def test_who_takes_ctrl_c_takes_sigterm() -> None:
    seen: list[int] = []

    def command() -> None:
        before = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
        signal.raise_signal(signal.SIGTERM)
        signal.signal(signal.SIGINT, before)

    run_command(command)
    assert seen == [signal.SIGINT]


def test_a_thread_may_run_a_command() -> None:
    done = []
    thread = threading.Thread(target=run_command, args=(lambda: done.append(1),))
    thread.start()
    thread.join()
    assert done == [1]


@pytest.mark.parametrize("count", [1, 100_000])
def test_a_reader_that_goes_away_is_no_error(count: int) -> None:
    code = f"from fashion_core.command import run_command; run_command(lambda: print('x\\n' * {count}))"
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=buffered
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 1
    process.stderr.close()


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("--skip-bad DIR", "--skip-bad=true DIR"),
        ("DIR --skip-bad", "DIR --skip-bad=true"),
        ("--skip-bad 0.2 DIR", "--skip-bad=0.2 DIR"),
        ("--skip-bad .2 DIR", "--skip-bad=.2 DIR"),
        ("--skip-bad=0.2 DIR", "--skip-bad=0.2 DIR"),
        ("--skip-bad --data DIR", "--skip-bad=true --data DIR"),
        ("DIR -- --skip-bad", "DIR -- --skip-bad"),
    ],
)
def test_the_share_of_skip_bad_may_be_left_out(typed: str, read: str) -> None:
    assert give_share(typed.split()) == give_share(read.split()) == read.split()


def test_a_share_is_a_number_of_0_to_1() -> None:
    assert share("true") is True and share("0.2") == 0.2 and share("1") == 1
    for wrong in ("2", "nan", "-0.1", "much"):
        with pytest.raises(ValueError, match="must be a share"):
            share(wrong)


@pytest.mark.parametrize("is_shown", [False, True])
def test_a_bar_is_drawn_where_a_person_looks_on(is_shown, monkeypatch, capsys):
    """It begins where an earlier call ended, and counts its own speed alone."""
    now = 100.0
    monkeypatch.setattr(commands.time, "monotonic", lambda: now)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_shown)
    with ProgressBar(100, 40) as bar:
        for _ in range(10):
            now += 0.5
            bar.advance()
    first, *lines = capsys.readouterr().err.split("\r")
    assert first == "" and len(lines) == (11 if is_shown else 0)
    if is_shown:
        assert "41 of 100, 2.0 a second, 30 s left" in lines[0] and lines[-1].endswith("\n")
        assert f"{'#' * 15}{'-' * 15} 50 of 100, 2.0 a second, 25 s left" in lines[-1]
