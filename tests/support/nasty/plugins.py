"""Sources of plugins that misbehave: each is the text of a ``plugins/x.py``.

``LOADING`` are wrong before any hook is called, ``DEFAULTS`` give their config a default of a wrong kind,
``DELIVERING`` go wrong while they deliver, ``LIVING`` in their other hooks. None of them may end the agent or hold
back another destination, and the log names the plugin and its fault.
"""

from collections.abc import Mapping
from typing import Final

_HEAD: Final = """\
import asyncio, contextlib, os, sys, threading, time
from typing import Any
import trio
from aintandem_notify.api import (
    DestinationBroken, DestinationGone, Duration, FilePath, HttpFailed, Notification, Plugin, PluginConfig,
    PluginNotReady, Rate, Receipt, Rejected, RetryLater, Secret, Severity, hookimpl,
)

"""

_PLAIN: Final = """
class Odd(Plugin):
    @hookimpl
    def deliver(self, notification):
        return None
"""


def _deliver(body: str, *, asynchronous: bool = False, extra: str = "", attributes: str = "") -> str:
    word = "async def" if asynchronous else "def"
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    head = f"class Odd(Plugin):\n{attributes}    @hookimpl\n    {word} deliver(self, notification):\n"
    return f"{_HEAD}{extra}\n{head}{lines}\n"


def _default(field: str) -> str:
    return (
        f"{_HEAD}\nclass Config(PluginConfig):\n    {field}\n\nclass Odd(Plugin[Config]):\n    @hookimpl\n"
        "    def deliver(self, notification):\n        return None\n"
    )


LOADING: Final[Mapping[str, str]] = {
    "empty": "",
    "a syntax error": "class Odd(Plugin:\n",
    "NUL": "x = 1\x00\n",
    "raises": "raise RuntimeError('no \\x1b[2J')\n",
    "exits": "import sys\nsys.exit(3)\n",
    "exits with a text": "raise SystemExit('told you')\n",
    "is interrupted": "raise KeyboardInterrupt\n",
    "raises a BaseException": "class Own(BaseException): pass\nraise Own('no')\n",
    "raises a group": "raise ExceptionGroup('some', [ValueError('a'), KeyError('b')])\n",
    "raises what cannot be printed": (
        "class Own(Exception):\n    def __str__(self): raise RuntimeError\nraise Own\n"
    ),
    "raises a lone surrogate": "raise RuntimeError('half \\ud83d')\n",
    "recurses": "def f(): return f()\nf()\n",
    "imports what is not there": "import no_such_module_canary\n",
    "imports itself": "from x import Odd\n",
    "prints": "print('loading \\x1b[2J')\n" + _HEAD + _PLAIN,
    "logs through logging": "import logging\nlogging.basicConfig()\nlogging.error('hello')\n" + _HEAD + _PLAIN,
    "sets a signal handler": _HEAD + "import signal\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)\n" + _PLAIN,
    "starts a thread that never ends": _HEAD
    + "threading.Thread(target=threading.Event().wait).start()\n"
    + _PLAIN,
    "two plugins": _HEAD + _PLAIN + _PLAIN.replace("Odd", "Even"),
    "no plugin": "x = 1\n",
    "a hook of no such name": _HEAD + _PLAIN.replace("deliver", "delivr"),
    "deliver without an argument": _HEAD + _PLAIN.replace("(self, notification)", "(self)"),
    "deliver with three": _HEAD + _PLAIN.replace("(self, notification)", "(self, a, b)"),
    "deliver is a generator": _deliver("yield 1"),
    "deliver is no function": _HEAD + "class Odd(Plugin):\n    deliver = hookimpl(7)\n",
    "a class whose __init__ raises": _deliver(
        "pass", attributes="    def __init__(self): raise RuntimeError('no')\n"
    ),
    "a class whose __init__ wants more": _deliver("pass", attributes="    def __init__(self, more): pass\n"),
    "a class whose __init__ exits": _deliver("pass", attributes="    def __init__(self): sys.exit(4)\n"),
    "a class with odd __getattr__": _deliver(
        "pass", attributes="    def __getattr__(self, name): raise RuntimeError(name)\n"
    ),
    "a class with slots": _deliver("pass", attributes="    __slots__ = ()\n"),
    "a metaclass of its own": _HEAD
    + "class M(type(Plugin)):\n    def __getattribute__(cls, n):\n"
    + "        if n == 'in_flight': raise RuntimeError(n)\n        return super().__getattribute__(n)\n"
    + _PLAIN.replace("(Plugin)", "(Plugin, metaclass=M)"),
}
"""Modules and classes."""

DEFAULTS: Final[Mapping[str, str]] = {
    "rate: a text": _default('rate: Rate | None = "1/s"'),
    "rate: a wrong text": _default('rate: Rate | None = "often"'),
    "rate: a number": _default("rate: Rate | None = 1"),
    "max_age: a text": _default('max_age: Duration | None = "1h"'),
    "max_age: a wrong text": _default('max_age: Duration | None = "soon"'),
    "max_age: minus one": _default("max_age: Duration | None = -1.0"),
    "max_age: not a number": _default("max_age: Duration | None = float('nan')"),
    "severity: a text": _default('severity: Severity = "error"'),
    "severity: a wrong text": _default('severity: Severity = "loud"'),
    "token: a text": _default('token: Secret = "defaultcanary0123"'),
    "token: a number": _default("token: Secret = 7"),
    "path: a text": _default('path: FilePath = "x.txt"'),
    "events: a text": _default('events: Any = "task_failed"'),
    "events: a wrong glob": _default('events: Any = ["["]'),
    "enabled: a text": _default('enabled: bool = "yes"'),
    "enabled: None": _default("enabled: Any = None"),
    "timeout: a text": _default('timeout: Duration = "5s"'),
    "timeout: None": _default("timeout: Any = None"),
    "timeout: zero": _default("timeout: Duration = 0.0"),
    "digest_over: a text": _default('digest_over: Any = "many"'),
    "fallback: a number": _default("fallback: Any = 7"),
    "a default of another class": _default("other: int = object()"),
    "a default that changes": _default("other: list = []"),
    "a default that cannot be printed": _HEAD
    + "class Own:\n    def __repr__(self): raise RuntimeError\n"
    + _default("other: Any = Own()").removeprefix(_HEAD),
    "a factory that raises": _HEAD
    + "from pydantic import Field\n"
    + _default("other: int = Field(default_factory=lambda: 1 / 0)").removeprefix(_HEAD),
    "a validator that raises": _HEAD
    + "from pydantic import field_validator\n"
    + "class Config(PluginConfig):\n    other: int = 1\n    @field_validator('*', mode='before')\n"
    + "    @classmethod\n    def _no(cls, value): raise RuntimeError('no')\n"
    + _PLAIN.replace("(Plugin)", "(Plugin[Config])"),
    "in_flight: zero": _deliver("pass", attributes="    in_flight = 0\n"),
    "in_flight: minus one": _deliver("pass", attributes="    in_flight = -1\n"),
    "in_flight: a text": _deliver("pass", attributes="    in_flight = '1'\n"),
    "in_flight: a fraction": _deliver("pass", attributes="    in_flight = 1.5\n"),
    "in_flight: True": _deliver("pass", attributes="    in_flight = True\n"),
    "in_flight: None": _deliver("pass", attributes="    in_flight = None\n"),
    "in_flight: a billion": _deliver("pass", attributes="    in_flight = 10**9\n"),
    "in_flight: a property": _deliver("pass", attributes="    @property\n    def in_flight(self): return 1\n"),
    "digest_over: zero": _deliver("pass", attributes="    digest_over = 0\n"),
    "digest_over: a word": _deliver("pass", attributes="    digest_over = 'never'\n"),
    "digest_over: a list": _deliver("pass", attributes="    digest_over = []\n"),
    "machine_local: a text": _deliver("pass", attributes="    machine_local = 'no'\n"),
    "machine_local: None": _deliver("pass", attributes="    machine_local = None\n"),
}
"""Defaults of a config's fields and of the class: ``check`` explains a wrong one, or it works."""

_RAISING: Final[Mapping[str, str]] = {
    "RetryLater after a text": "raise RetryLater('busy', after='7')",
    "RetryLater after None": "raise RetryLater('busy', after=None)",
    "RetryLater after minus one": "raise RetryLater('busy', after=-1)",
    "RetryLater after infinity": "raise RetryLater('busy', after=float('inf'))",
    "RetryLater after no number": "raise RetryLater('busy', after=float('nan'))",
    "RetryLater after a list": "raise RetryLater('busy', after=[7])",
    "RetryLater after a huge number": "raise RetryLater('busy', after=10**400)",
    "RetryLater without a reason": "raise RetryLater('')",
    "RetryLater with an object": "raise RetryLater(object())",
    "RetryLater as a class": "raise RetryLater",
    "Rejected with None": "raise Rejected(None)",
    "Rejected with bytes": "raise Rejected(b'\\xff')",
    "DestinationBroken with 10 MB": "raise DestinationBroken('x' * 10_000_000)",
    "DestinationGone with an escape": "raise DestinationGone('\\x1b[2J\\x9b2J')",
    "Rejected with a secret": "raise Rejected('see /cb?token=plugincanary0123')",
    "PluginNotReady": "raise PluginNotReady('not now')",
    "a lone surrogate": "raise RuntimeError('half \\ud83d here')",
    "NUL and escapes": "raise RuntimeError('\\x00\\x1b[2J')",
    "a text of 10 MB": "raise RuntimeError('eyJ' * 3_000_000)",
    "bytes": "raise RuntimeError(b'\\xff')",
    "an object": "raise RuntimeError(object())",
    "an exception in itself": "e = RuntimeError('a')\ne.__cause__ = e\ne.args = (e,)\nraise e",
    "a chain of 500": (
        "e = None\nfor n in range(500):\n    new = RuntimeError(n)\n    new.__context__ = e\n    e = new\nraise e"
    ),
    "a group in a group": "raise ExceptionGroup('a', [ExceptionGroup('b', [RuntimeError('c')]), Rejected('d')])",
    "a group of groups 500 deep": (
        "e = RuntimeError('c')\nfor n in range(500):\n    e = ExceptionGroup(str(n), [e])\nraise e"
    ),
    "a BaseException group": "raise BaseExceptionGroup('a', [KeyboardInterrupt()])",
    "SystemExit": "raise SystemExit(3)",
    "SystemExit with a text": "raise SystemExit('half \\ud83d')",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "GeneratorExit": "raise GeneratorExit",
    "StopIteration": "raise StopIteration(7)",
    "asyncio's CancelledError": "raise asyncio.CancelledError",
    "MemoryError": "raise MemoryError",
    "RecursionError": "def f(): return f()\nf()",
    "a warning": "raise DeprecationWarning('old')",
    "no exception": "raise 7",
    "NotImplemented": "raise NotImplementedError",
}

_OWN: Final[Mapping[str, tuple[str, str]]] = {
    "an exception whose __str__ raises": (
        "class Own(Exception):\n    def __str__(self): raise RuntimeError('in str')\n",
        "raise Own",
    ),
    "an exception whose __str__ exits": (
        "class Own(Exception):\n    def __str__(self): raise SystemExit(5)\n",
        "raise Own",
    ),
    "an exception whose __str__ is no text": (
        "class Own(Exception):\n    def __str__(self): return 7\n",
        "raise Own",
    ),
    "an exception whose __repr__ raises": (
        "class Own(Exception):\n    def __repr__(self): raise RuntimeError('in repr')\n",
        "raise RuntimeError(Own())",
    ),
    "a RetryLater whose __str__ raises": (
        "class Own(RetryLater):\n    def __str__(self): raise RuntimeError('in str')\n",
        "raise Own('x')",
    ),
    "a RetryLater without its __init__": ("class Own(RetryLater):\n    def __init__(self): pass\n", "raise Own"),
    "a BaseException of its own": ("class Own(BaseException): pass\n", "raise Own('half \\ud83d')"),
    "an exception of an odd name": ("Own = type('\\x1b[2J', (Exception,), {})\n", "raise Own('x')"),
    "an exception that lets nobody look": (
        (
            "class Own(Exception):\n    def __getattribute__(self, name): raise SystemExit(name)\n"
            "    __class__ = property(lambda self: 1 / 0)\n    __traceback__ = property(lambda self: 1 / 0)\n"
        ),
        "raise Own('x')",
    ),
    "a group that hides what it holds": (
        "class Own(ExceptionGroup):\n    exceptions = property(lambda self: 1 / 0)\n",
        "raise Own('x', [Rejected('y')])",
    ),
    "a RetryLater with odd properties": (
        (
            "class Own(RetryLater):\n    reason = after = property(lambda self: 1 / 0)\n"
            "    def __init__(self): pass\n"
        ),
        "raise Own",
    ),
    "a text with methods of its own": (
        (
            "class S(str):\n    def __str__(self): return self\n    def split(self, *a): raise RuntimeError\n"
            "    encode = isprintable = __len__ = split\n"
            "class Own(Exception):\n    def __str__(self): return S('odd')\n"
        ),
        "raise Own",
    ),
    "an exception with a wrong module": ("class Own(Exception): pass\nOwn.__module__ = 7\n", "raise Own('x')"),
}

_RETURNING: Final[Mapping[str, str]] = {
    "an object": "return object()",
    "a text": "return 'ok'",
    "True": "return True",
    "a list": "return [1]",
    "a receipt of 10 MB": "return {'x': 'y' * 10_000_000}",
    "a receipt with an object": "return {'x': object()}",
    "a receipt with bytes": "return {'x': b'\\xff'}",
    "a receipt with a set": "return {'x': {1}}",
    "a receipt with no text as key": "return {7: 'x', None: 'y', ('a',): 'z'}",
    "a receipt in itself": "r = {}\nr['r'] = r\nreturn r",
    "a receipt nested 5,000 deep": "r = {}\nfor _ in range(5000):\n    r = {'r': r}\nreturn r",
    "a receipt with no number": "return {'x': float('nan'), 'y': float('inf'), 'z': 10**5000}",
    "a receipt with half a character": "return {'\\ud83d': '\\udc00'}",
    "a receipt with a secret": "return {'url': 'http://x.invalid/?token=receiptcanary01'}",
    "a coroutine that nobody awaits": "async def f(): pass\nreturn f()",
    "a generator": "return (x for x in 'abc')",
    "a dict that raises": "class D(dict):\n    def items(self): raise RuntimeError('in items')\nreturn D(x=1)",
    "a text that raises": (
        "class S(str):\n    def __str__(self): raise RuntimeError('in str')\n    __repr__ = __str__\n"
        "return {'x': S('y')}"
    ),
    "an exception": "return RuntimeError('returned')",
}

_ACTING: Final[Mapping[str, str]] = {
    "prints": "print('odd \\x1b[2J', 'x' * 1000)",
    "prints half a character": "print('half \\ud83d')",
    "closes stdout": "sys.stdout.close()",
    "changes its notification": (
        "notification.__dict__['title'] = 7\nnotification.event.wire()['error'] = object()"
    ),
    "changes the environment": "os.environ.clear()",
    "changes the folder": "os.chdir('/')",
    "starts a thread that raises": "t = threading.Thread(target=lambda: 1 / 0)\nt.start()\nt.join()",
    "runs trio": "trio.run(trio.sleep, 0)",
    "runs asyncio": "asyncio.run(asyncio.sleep(0))",
    "logs what cannot be logged": "self.context.log.info(object(), x=object(), y='\\ud83d', z=b'\\xff')",
    "logs with an odd key": "self.context.log.info('x', **{'\\x1b[2J': 1, 'event_': 2, 'a b=c': 3})",
    "warns": "import warnings\nwarnings.warn('from odd', stacklevel=1)",
    "leaves a socket to the garbage collector": "import socket\nsocket.socket()\nimport gc\ngc.collect()",
}

_ASYNCHRONOUS: Final[Mapping[str, str]] = {
    "time.sleep": "time.sleep(1.5)",
    "no await": "trio.sleep(0)",
    "awaits what is not trio's": "await asyncio.sleep(0.01)",
    "cancels itself": (
        "with trio.CancelScope() as scope:\n    scope.cancel()\n    await trio.sleep(1)\n"
        "raise RuntimeError('after')"
    ),
    "raises Cancelled by hand": "raise trio.Cancelled._create()",
    "swallows its cancellation": "try:\n    await trio.sleep_forever()\nexcept BaseException:\n    pass",
    "shields itself": "with trio.CancelScope(shield=True):\n    await trio.sleep(1.5)",
    "leaves a task behind that raises": "self.context.nursery.start_soon(trio.lowlevel.checkpoint, 7)",
    "leaves a task behind that exits": "async def f(): raise SystemExit(6)\nself.context.nursery.start_soon(f)",
    "leaves a nursery open": "await trio.open_nursery().__aenter__()",
    "leaves a nursery open with a task that raises": (
        "async def f(): raise ValueError('orphan')\nn = await trio.open_nursery().__aenter__()\nn.start_soon(f)"
    ),
    "leaves a cancel scope open": "trio.CancelScope().__enter__()",
    "leaves a cancelled scope open": "trio.CancelScope().__enter__().cancel()",
    "leaves a deadline open": "trio.move_on_after(0.01).__enter__()",
    "opens a nursery in a thread of its own": (
        "await trio.to_thread.run_sync(lambda: trio.from_thread.run(trio.open_nursery().__aenter__))"
    ),
    "cancels the lent nursery": "self.context.nursery.cancel_scope.cancel()",
    "posts to nowhere": "await self.context.http.post('http://127.0.0.1:9/', json={})",
    "posts to no address": "await self.context.http.post('about:blank', json={})",
    "posts what is no json": "await self.context.http.post('http://127.0.0.1:9/', json={'x': object()})",
    "posts with odd headers": (
        "await self.context.http.post('http://127.0.0.1:9/', json={}, headers={'x\\n': '\\ud83d'})"
    ),
}

BLOCKING: Final = "import threading\nthreading.Event().wait()\n"
"""A module that never comes back from its import."""

HANGING: Final[Mapping[str, str]] = {
    "waits in a thread": _deliver("threading.Event().wait()"),
    "sleeps": _deliver("await trio.sleep_forever()", asynchronous=True),
    "ends never, and busily": _deliver("while True:\n    time.sleep(0.01)"),
}
"""Ends only at a deadline, if at all."""

DELIVERING: Final[Mapping[str, str]] = {
    **{f"raises: {name}": _deliver(body) for name, body in _RAISING.items()},
    **{f"raises in async: {name}": _deliver(body, asynchronous=True) for name, body in _RAISING.items()},
    **{f"raises: {name}": _deliver(body, extra=extra) for name, (extra, body) in _OWN.items()},
    **{f"returns: {name}": _deliver(body) for name, body in _RETURNING.items()},
    **{f"returns in async: {name}": _deliver(body, asynchronous=True) for name, body in _RETURNING.items()},
    **{f"acts: {name}": _deliver(body) for name, body in _ACTING.items()},
    **{f"acts in async: {name}": _deliver(body, asynchronous=True) for name, body in _ASYNCHRONOUS.items()},
}
"""``deliver`` that fails or misbehaves."""


def _lifespan(before: str, after: str) -> str:
    return (
        f"{_HEAD}\nclass Odd(Plugin):\n    @hookimpl\n    @contextlib.asynccontextmanager\n"
        f"    async def lifespan(self):\n        {before}\n        yield\n        {after}\n\n"
        "    @hookimpl\n    def deliver(self, notification):\n        return None\n"
    )


def _hook(head: str, body: str) -> str:
    return f"{_HEAD}{_PLAIN}\n    @hookimpl\n    {head}:\n        {body}\n"


LIVING: Final[Mapping[str, str]] = {
    "lifespan raises before": _lifespan("raise RuntimeError('half \\ud83d')", "pass"),
    "lifespan raises after": _lifespan("pass", "raise RuntimeError('after')"),
    "lifespan exits before": _lifespan("raise SystemExit(3)", "pass"),
    "lifespan exits after": _lifespan("pass", "raise SystemExit(3)"),
    "lifespan raises a BaseException": _lifespan("raise BaseException('x')", "pass"),
    "lifespan does not yield": _lifespan("return", "pass"),
    "lifespan yields twice": _lifespan("pass", "yield"),
    "lifespan leaves a nursery open": _lifespan("await trio.open_nursery().__aenter__()", "pass"),
    "lifespan leaves a nursery open with a task": _lifespan(
        "(await trio.open_nursery().__aenter__()).start_soon(trio.sleep_forever)", "pass"
    ),
    "lifespan leaves a cancel scope open": _lifespan("trio.CancelScope().__enter__()", "pass"),
    "lifespan leaves a cancelled scope open": _lifespan("trio.CancelScope().__enter__().cancel()", "pass"),
    "lifespan leaves a nursery open at its end": _lifespan("pass", "await trio.open_nursery().__aenter__()"),
    "lifespan swallows its cancellation": _lifespan(
        "self.context.nursery.cancel_scope.cancel()", "await trio.sleep(0)"
    ),
    "lifespan raises a text that cannot be printed": _lifespan(
        "raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})", "pass"
    ),
    "on_event raises": _hook("def on_event(self, event)", "raise RuntimeError('half \\ud83d')"),
    "on_event exits": _hook("async def on_event(self, event)", "raise SystemExit(3)"),
    "on_event raises a BaseException": _hook("async def on_event(self, event)", "raise BaseException('x')"),
    "on_event returns junk": _hook("def on_event(self, event)", "return object()"),
    "check raises": _hook("def check(self)", "raise RuntimeError('\\ud83d\\x1b[2J')"),
    "check exits": _hook("def check(self)", "sys.exit(3)"),
    "check returns junk": _hook("def check(self)", "return object()"),
    "diagnostics returns junk": _hook(
        "def diagnostics(self)", "return {'x': object(), 7: float('nan'), 's': '\\ud83d'}"
    ),
    "diagnostics returns 10 MB": _hook("def diagnostics(self)", "return {'x': 'y' * 10_000_000}"),
    "diagnostics returns escapes": _hook("def diagnostics(self)", "return {'\\x1b[2J': '\\x9b2J'}"),
    "diagnostics exits": _hook("def diagnostics(self)", "sys.exit(3)"),
    "diagnostics tells a secret": _hook(
        "def diagnostics(self)", "return {'url': 'http://x.invalid/?token=diagcanary01'}"
    ),
}
"""The other hooks."""

SOURCES: Final[Mapping[str, str]] = {**LOADING, **DEFAULTS, **DELIVERING, **LIVING}
"""All but those that hang."""
