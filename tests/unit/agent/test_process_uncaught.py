"""Uncaught exceptions of threads and finalizers: each is one log line."""

import json
import sys
import threading

import pytest

from aintandem_notify import log
from aintandem_notify.agent.process import log_uncaught_exceptions
from aintandem_notify.foundation.stdio.stderr_thread import stderr_in_thread

MAX_FAILURES = 50
"""Finalizers that fail before the test ends the chain."""


class Breaking:
    """An object whose finalizer fails."""

    instances = 0

    def __init__(self) -> None:
        Breaking.instances += 1

    def __del__(self) -> None:
        raise Unspeakable


class Unspeakable(Exception):
    """Its ``str`` leaves another object behind whose finalizer fails."""

    def __str__(self) -> str:
        if Breaking.instances < MAX_FAILURES:
            Breaking()
        return "no words"


def test_an_exception_whose_text_raises_another_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(Breaking, "instances", 0)
    with stderr_in_thread():
        log.configure("info", "json")
        log_uncaught_exceptions()
        Breaking()
        Breaking()
    entries = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["event"] for line in entries] == ["uncaught exception"] * 2
    assert Breaking.instances < MAX_FAILURES
