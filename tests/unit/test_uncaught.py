"""Exceptions that nobody catches, of threads and finalizers: each is one line of the log."""

import json
import sys
import threading

import pytest

from aintandem_notify import log
from aintandem_notify.agent.process import log_uncaught_exceptions
from aintandem_notify.foundation.stdio.stderr_thread import stderr_in_thread

MOST = 50
"""Finalizers that fail before the chain of the test ends by itself."""


class Breaking:
    """Its finalizer fails."""

    made = 0

    def __init__(self) -> None:
        Breaking.made += 1

    def __del__(self) -> None:
        raise Unspeakable


class Unspeakable(Exception):
    """Whoever asks for its text leaves behind another object whose finalizer fails."""

    def __str__(self) -> str:
        if Breaking.made < MOST:
            Breaking()
        return "no words"


def test_an_exception_whose_text_leaves_another_behind_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(Breaking, "made", 0)
    with stderr_in_thread():
        log.configure("info", "json")
        log_uncaught_exceptions()
        Breaking()
        Breaking()
    told = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["event"] for line in told] == ["an exception that nobody caught"] * 2
    assert Breaking.made < MOST
