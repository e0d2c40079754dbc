"""Config files, environments, secrets and folders, as editors, shells and disks damage them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

URL: Final = "http://127.0.0.1:9"
"""The orchestrator's address in ``CONFIGS``; no server answers there."""

_LOGIN: Final = 'username = "admin"\npassword = "head-canary-01"'
HEAD: Final = f'[orchestrator]\nurl = "{URL}"\n{_LOGIN}\n[connection]\nreconnect_attempts = "unlimited"\n'
PROJECT: Final = '[[projects]]\nid = "project-123"\n'
_PLAIN: Final = HEAD + PROJECT


@dataclass(frozen=True, slots=True)
class ConfigCase:
    """``content`` of a config file, with ``files`` beside it; ``right``: ``check`` accepts it."""

    content: bytes
    right: bool
    environ: Mapping[str, str] | None = None
    files: Mapping[str, bytes] | None = None


def _case(
    text: str,
    *,
    right: bool,
    environ: Mapping[str, str] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> ConfigCase:
    return ConfigCase(text.encode(), right, environ, files)


def _with_token(value: str) -> str:
    return _PLAIN.replace(_LOGIN, f"token = {value}")


CONFIGS: Final[Mapping[str, ConfigCase]] = {
    "empty": _case("", right=False),
    "NUL": ConfigCase(b"\x00" * 100, False),
    "no utf-8": ConfigCase(_PLAIN.encode() + b"# caf\xe9\n", False),
    "utf-16": ConfigCase(_PLAIN.encode("utf-16"), False),
    "a byte order mark": ConfigCase(b"\xef\xbb\xbf" + _PLAIN.encode(), True),
    "line breaks of windows": _case(_PLAIN.replace("\n", "\r\n"), right=True),
    "line breaks of old macs": _case(_PLAIN.replace("\n", "\r"), right=False),
    "half a table": _case(_PLAIN + "[plugins.file", right=False),
    "a key twice": _case(_PLAIN + 'id = "again"\n', right=False),
    "json": _case('{"orchestrator": {"url": "x"}}', right=False),
    "yaml": _case("orchestrator:\n  url: x\n", right=False),
    "nested 10,000 deep": _case("x = " + "[" * 10_000 + "]" * 10_000, right=False),
    "a key of 10,000 dots": _case(".".join("a" * 10_000) + " = 1\n", right=False),
    "an integer of 5,000 digits": _case("x = " + "9" * 5_000, right=False),
    "a date in the place of a text": _case(_PLAIN.replace('"project-123"', "0001-01-01"), right=False),
    "infinity": _case(_PLAIN + "[delivery]\nmax_age = inf\n", right=False),
    "not a number": _case(_PLAIN + "[delivery]\nmax_age = nan\n", right=False),
    "an escape sequence as a key": _case(_PLAIN + '"\\u001b[2J" = 1\n', right=False),
    "an escape sequence as a value": _case(_PLAIN + '[log]\nlevel = "\\u001b[2J\\u009b2J"\n', right=False),
    "a table in the place of a list": _case(HEAD + "[projects]\nid = 1\n", right=False),
    "300 projects": _case(
        HEAD + "".join(f'[[projects]]\nid = "p{number}"\n' for number in range(300)), right=True
    ),
    "a project twice": _case(HEAD + PROJECT + PROJECT, right=False),
    "a glob that matches nothing": _case(HEAD + '[[projects]]\nid = "nothing-*"\n', right=True),
    "a glob without end": _case(HEAD + '[[projects]]\nid = "' + "*a" * 200 + '"\n', right=True),
    "a project called ..": _case(HEAD + '[[projects]]\nid = ".."\n', right=False),
    "an address without a scheme": _case(_PLAIN.replace(URL, "localhost:9900"), right=False),
    "an address with a broken port": _case(_PLAIN.replace(URL, "http://x:99999999"), right=False),
    "an address of a broken host": _case(_PLAIN.replace(URL, "http://[::1"), right=False),
    "an address with a space": _case(_PLAIN.replace(URL, "http://a b"), right=False),
    "an address that is none": _case(_PLAIN.replace(URL, "about:blank"), right=False),
    "a template that does not end": _case(
        _PLAIN + '[plugins.console.x]\n[[rules]]\nname = "x"\nevents = ["*"]\nnotify = ["console.x"]\n'
        'title = "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}"\n',
        right=False,
    ),
    "a template of a wide format": _case(
        _PLAIN + '[plugins.console.x]\n[[rules]]\nname = "x"\nevents = ["*"]\nnotify = ["console.x"]\n'
        "title = \"{{ '%999999999s' % 1 }}\"\n",
        right=False,
    ),
    "a secret of an unset variable": _case(_with_token('{ env = "NO_SUCH_CANARY" }'), right=False),
    "a secret of a missing file": _case(_with_token('{ file = "none" }'), right=False),
    "a secret of a folder": _case(_with_token('{ file = "." }'), right=False),
    "a secret in the place of a variable": _case(_with_token('{ env = "misplaced-canary-0123" }'), right=False),
    "a secret of no utf-8": _case(_with_token('{ file = "t" }'), right=False, files={"t": b"can\xffary"}),
}
"""Whole configs."""

PASSWORDS: Final[Mapping[str, str]] = {
    "with a hash and a slash": "pw#canary/0123",
    "with an at sign and a colon": "pw@canary:0123",
    "with a percent sign": "pw%canary%20%",
    "with umlauts": "p\u00e4ssw\u00f6rt-canary",
    "with an emoji": "pw\U0001f4a5canary",
    "with quotes and backslashes": "pw\"'\\canary",
    "with spaces inside": "pw canary 0123",
    "with a dollar sign": "pw$HOME${x}`canary`",
    "with control characters": "pw\tcanary\x07",
    "of letters that JSON escapes": "pw</canary>&",
    "of a regular expression": "pw.*+?(canary)[",
    "of 1,000 characters": "canary-" * 143,
}
"""Passwords that a server may issue."""

PADDED: Final[Mapping[str, str]] = {
    "a trailing line break": "canary0123\n",
    "a line break of windows": "canary0123\r\n",
    "two line breaks": "canary0123\n\n",
    "a trailing space": "canary0123 ",
    "a leading space": " canary0123",
    "a trailing tab": "canary0123\t",
    "a line break of old macs": "canary0123\r",
    "a line break of unicode": "canary0123\u2028",
    "a line break before": "\ncanary0123",
    "a byte order mark": "\ufeffcanary0123",
    "a byte order mark at the end": "canary0123\ufeff",
    "a zero-width space": "canary0123\u200b",
    "a mark of direction": "\u200ecanary0123",
    "a space and a line break": "canary0123 \r\n",
    "in quotes": '"canary0123"',
    "a no-break space": "canary0123\u00a0",
    "two lines": "canary0123\nsecond line\n",
}
"""``canary0123`` as a shell or an editor changes it, in a variable or in a file."""

BROKEN_INSIDE: Final[Mapping[str, str]] = {
    "a line break": "\n",
    "a line break of windows": "\r\n",
    "a line break of unicode": "\u2028",
    "a tab": "\t",
    "a space": " ",
    "a no-break space": "\u00a0",
    "a zero-width space": "\u200b",
    "a byte order mark": "\ufeff",
    "a soft hyphen": "\u00ad",
    "an escape sequence": "\x1b[1m",
}
"""Characters that no address and no token has inside."""

SECRET_FILES: Final[Mapping[str, bytes]] = {
    **{name: text.encode() for name, text in PADDED.items()},
    "empty": b"",
    "only a line break": b"\n",
    "NUL": b"canary\x000123",
    "no utf-8": b"can\xff\xfeary",
    "utf-16": "canary0123".encode("utf-16"),
    "10 MB": b"canary0123" * 1_000_000,
}
"""Contents of a secret's file."""


@dataclass(frozen=True, slots=True)
class ProxyCase:
    """``userinfo`` of a proxy's address in the config, and the login that the proxy must receive."""

    userinfo: str
    user: str
    password: str


def _proxy(user: str, password: str) -> ProxyCase:
    return ProxyCase(f"{quote(user, safe='')}:{quote(password, safe='')}", user, password)


PROXIES: Final[Mapping[str, ProxyCase]] = {
    "an umlaut in the user": _proxy("m\u00fcller", "x"),
    "an umlaut in the password": _proxy("admin", "gr\u00fc\u00df-canary"),
    "an emoji": _proxy("admin", "\U0001f4a5canary"),
    "a hash and a slash": _proxy("admin", "a#b/c?canary"),
    "an at sign and a colon": _proxy("admin", "a@b:canary"),
    "a percent sign": _proxy("admin", "100%canary"),
    "a space and a plus": _proxy("admin", "a b+canary"),
    "small letters of an encoding": ProxyCase("admin:a%2fcanary", "admin", "a/canary"),
    "no password": ProxyCase("admin", "admin", ""),
    "an empty user": ProxyCase(":canary", "", "canary"),
}
"""Logins at a proxy."""

BROKEN_PROXIES: Final[Mapping[str, str]] = {
    "no scheme": "proxy:3128",
    "socks": "socks5://proxy:1080",
    "a file": "file:///etc/passwd",
    "no host": "http://",
    "a broken port": "http://proxy:99999999",
    "a broken host": "http://[::1",
    "a raw hash": "http://admin:a#canary@proxy:3128",
    "a raw slash": "http://admin:a/canary@proxy:3128",
    "no utf-8 when decoded": "http://admin:%FFcanary@proxy:3128",
    "half an encoding": "http://admin:%Ccanary@proxy:3128",
    "a line break when decoded": "http://admin:a%0d%0acanary@proxy:3128",
    "a space": "http://pro xy:3128",
    "empty": "",
}
"""Proxy addresses that are invalid, or that need an explanation."""

ENCODINGS: Final = ("ascii", "cp1252", "latin-1", "iso8859-15", "cp437", "koi8-r", "utf-8")
"""Encodings of the standard streams."""

FOLDERS: Final[Mapping[str, bytes]] = {
    "no utf-8": b"caf\xe9",
    "umlauts": "\u00fcber".encode(),
    "a space and a quote": b'it\'s a "folder"',
    "a line break": b"a\nb",
    "an escape sequence": b"\x1b[2J",
    "a percent sign and a question mark": b"100%?x=1#y",
    "braces": b"{{ x }}",
    "a leading minus": b"-x",
    "long": b"x" * 200,
    "right to left": "\u202eabc".encode(),
}
"""Names of the folder with config, store and logs."""

ENVIRONMENTS: Final[Mapping[str, Mapping[str, str | None]]] = {
    "no HOME": {"HOME": None},
    "an empty HOME": {"HOME": ""},
    "a HOME that is not there": {"HOME": "/nonexistent/canary"},
    "a HOME that nobody may write": {"HOME": "/proc/self"},
    "LANG=C": {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "an unknown LANG": {"LANG": "xx_XX.KLINGON", "LC_ALL": "xx_XX.KLINGON"},
    "ascii only": {"PYTHONIOENCODING": "ascii"},
    "an encoding of Windows": {"PYTHONIOENCODING": "cp1252"},
    "no PATH": {"PATH": None},
    "no TERM": {"TERM": None},
    "a dumb TERM": {"TERM": "dumb"},
    "colours by force": {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"},
    "columns that are none": {"COLUMNS": "-1", "LINES": "many"},
    "one column": {"COLUMNS": "1"},
    "a proxy for all": {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "x"},
    "a state folder that is a file": {"XDG_STATE_HOME": "/dev/null"},
    "a relative state folder": {"XDG_STATE_HOME": "state"},
    "a runtime folder that is not there": {"XDG_RUNTIME_DIR": "/nonexistent"},
    "a variable of no utf-8": {"CANARY_BYTES": "\udcff\udcfe"},
}
"""Variables to set; None unsets one."""
