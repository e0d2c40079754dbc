"""Nasty texts of events: errors, outputs, names, artifacts, ids, and values of unknown fields.

``SECRETS`` contain something that must not be sent; ``SMALL`` and ``LARGE`` must merely be handled; ``TEXTS`` are
all of them. ``password_texts`` gives those with the config's own password.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, quote_plus


@dataclass(frozen=True, slots=True)
class SecretText:
    """``text`` contains ``secret``, which must not appear where the text is sent."""

    text: str
    secret: str


def _part(content: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


JWT: Final = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part({'sub': 'canary'})}.c2lnY2FuYXJ5c2lnY2FuYXJ5"
_SIGNATURE: Final = "c2lnY2FuYXJ5c2lnY2FuYXJ5"
_BASIC: Final = base64.b64encode(b"admin:basiccanary0123").decode()

SECRETS: Final[Mapping[str, SecretText]] = {
    "token in a path's query": SecretText("url was /cb?token=abc123canary", "abc123canary"),
    "token in a url's query": SecretText(
        "GET http://api.invalid/v1?page=2&token=querycanary0123&x=1 failed", "querycanary0123"
    ),
    "token twice in one query": SecretText("/cb?token=onecanarytwice&token=twocanarytwice", "canarytwice"),
    "token at the very end": SecretText("token=endcanary0123", "endcanary0123"),
    "token in capitals": SecretText("TOKEN=capitalcanary01", "capitalcanary01"),
    "access token in a query": SecretText("/cb?access_token=accesscanary01", "accesscanary01"),
    "user and password in a url": SecretText(
        "git clone https://bob:pwcanary0123@git.invalid/x failed", "pwcanary0123"
    ),
    "password with # and / in a url": SecretText("https://bob:pw%23canary%2F01@git.invalid/x", "pw%23canary%2F01"),
    "password in a postgresql url": SecretText("postgresql://app:dbcanary0123@db.invalid/app", "dbcanary0123"),
    "password in a url without a user": SecretText("redis://:rediscanary01@cache.invalid:6379", "rediscanary01"),
    "authorization: bearer": SecretText("Authorization: Bearer bearercanary0123456789", "bearercanary0123456789"),
    "authorization: basic": SecretText(f"Authorization: Basic {_BASIC}", _BASIC),
    "authorization in json": SecretText(
        '{"authorization": "Bearer jsoncanary0123456789"}', "jsoncanary0123456789"
    ),
    "authorization in json in json": SecretText(
        json.dumps(json.dumps({"Authorization": "Bearer deepcanary0123456789"})), "deepcanary0123456789"
    ),
    "bearer alone": SecretText("curl -H 'bearer alonecanary0123456789'", "alonecanary0123456789"),
    "token in json": SecretText('{"token": "tokencanary0123", "ok": true}', "tokencanary0123"),
    "a jwt": SecretText(f"refused: {JWT}", _SIGNATURE),
    "a jwt in brackets": SecretText(f"[{JWT}]({JWT})", _SIGNATURE),
    "a jwt over a line break": SecretText(f"before\n{JWT}\nafter", _SIGNATURE),
    "a slack bot token": SecretText("xoxb-000000000000-slackcanaryslackcanary", "slackcanary"),
    "a slack user token": SecretText("XOXP-000000000000-slackcanaryslackcanary", "slackcanary"),
    "a slack app token": SecretText("xapp-1-A0CANARY-slackcanary", "slackcanary"),
    "a slack webhook": SecretText(
        "posting to https://hooks.slack.com/services/T0CANARY/B0CANARY/slackhookcanary", "slackhookcanary"
    ),
    "a webhook's signing secret": SecretText("whsec_c2lnbmluZ2NhbmFyeTAxMjM0NTY3", "c2lnbmluZ2NhbmFyeTAxMjM0NTY3"),
    "a secret after 1,000 lines": SecretText("line\n" * 1000 + "token=latecanary0123", "latecanary0123"),
    "a secret in a long line": SecretText(
        "x" * 20_000 + " Authorization: Bearer farcanary0123456789 " + "y" * 20_000, "farcanary0123456789"
    ),
    "a secret over the cut at 4,000": SecretText("z" * 3_990 + " token=" + "cutcanary" * 6, "cutcanarycut"),
    "a secret between colour codes": SecretText("\x1b[31mtoken=\x1b[0mcolourcanary01", "colourcanary01"),
}
"""Texts with tokens that are not the agent's own."""


def password_texts(password: str) -> Mapping[str, SecretText]:
    """Texts with the config's own ``password`` in each spelling, and the part that must not appear."""
    raw = password.encode()
    half = len(password) // 2
    forms = {
        "as it is": password,
        "twice": password + password,
        "percent-encoded": quote(password, safe=""),
        "form-encoded": quote_plus(password),
        "each byte percent-encoded": "".join(f"%{byte:02X}" for byte in raw),
        "in json": json.dumps(password)[1:-1],
        "in base64": base64.b64encode(raw).decode(),
        "in base64 behind one byte": base64.b64encode(b"x" + raw).decode(),
        "in base64 behind two bytes": base64.b64encode(b"xy" + raw).decode(),
        "in url-safe base64": base64.urlsafe_b64encode(raw).decode().rstrip("="),
        "in basic authorization": "Basic " + base64.b64encode(b"admin:" + raw).decode(),
        "in hex": raw.hex(),
        "in capital hex": raw.hex().upper(),
        "with a colour code inside": f"{password[:half]}\x1b[31m{password[half:]}",
    }
    variants = {
        f"the password {name}": SecretText(f"could not log in: {form}!", form) for name, form in forms.items()
    }
    colour = variants["the password with a colour code inside"]
    return {
        **variants,
        # Terminals and plain texts show it without the colour code.
        "the password with a colour code inside": SecretText(colour.text, password[half:]),
        "the password over the cut at 4,000": SecretText(
            "z" * 3_990 + password, password[: len(password) * 3 // 4]
        ),
    }


SMALL: Final[Mapping[str, str]] = {
    "empty": "",
    "a space": " ",
    "only line breaks": "\n\r\n\n",
    "an only backslash": "\\",
    "quotes and backslashes": "\"'\\" * 200,
    "a lone high surrogate": "cut \ud83d here",
    "a lone low surrogate": "\ude00 cut",
    "surrogates the wrong way round": "\ude00\ud83d",
    "U+FFFE and U+FFFF": "a\ufffeb\uffffc",
    "a byte order mark": "\ufeffboom",
    "NUL": "before\x00after",
    "all C0 controls": "".join(map(chr, range(0x20))),
    "DEL and C1 controls": "\x7f" + "".join(map(chr, range(0x80, 0xA0))),
    "a colour": "\x1b[31mred\x1b[0m",
    "a window's title": "\x1b]0;owned\x07\x1b]52;c;Y2FuYXJ5\x07",
    "a C1 escape sequence": "\x9b2J\x9d0;owned\x9c",
    "clears the screen": "\x1b[2J\x1b[H\x1bc",
    "an escape that never ends": "\x1b[" + "1;" * 2_000,
    "carriage returns": "10%\r20%\r30%\rfailed\r\n",
    "backspaces": "sec\x08\x08\x08ret",
    "line separators of unicode": "a\u2028b\u2029c\x85d\x0be\x0cf",
    "right to left": "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "bidi overrides": "\u202egpj.exe\u202c \u2066x\u2069 \u200f\u200e",
    "zero width": "to\u200bken\u200c\u200d\u2060=\ufeff",
    "a stack of combining characters": "Z" + "\u0300\u0316\u0327" * 300,
    "emoji of many parts": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f4\U000e0067",
    "umlauts, composed and not": "\u00fc u\u0308 \u00df \u0130 \ufb01",
    "characters that grow in capitals": "\u0149\u01f0\u0390\ufb00" * 50,
    "an expression of a template": "{{ 7*7 }}",
    "a template that reaches for more": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "an unclosed block of a template": "{% for x in range(99999999) %}",
    "a comment of a template": "{# gone #}{% raw %}",
    "format fields": "{0.__class__} %s %(x)s %999999999s %n ${x} $HOME `id`",
    "slack's channel": "<!channel> <!here> <@U0123> <https://x.invalid|click>",
    "slack's entities": "&lt;!channel&gt; &amp;&amp; a < b > c",
    "html": "<script>alert(1)</script><b>bold</b><img src=x onerror=alert(1)>",
    "markup of rich": "[bold red]x[/] [link=http://x.invalid]y[/link] [/nothing] [[",
    "markdown": "```\n*a* _b_ ~c~ `d`\n```` [x](javascript:alert(1))",
    "sql": "'; DROP TABLE deliveries; --",
    "a json text": '{"type": "task_failed", "error": "inner"}',
    "a broken json text": '{"type": "task_fai',
    "a header": "x\r\nSet-Cookie: a=b\r\n\r\n<html>",
    "a log line": "2026-01-05T09:30:00Z [error    ] agent stopped",
    "a path outside": "../../../../etc/passwd",
    "token= without a value": "token= token=& ?token= token:",
    "authorization without a value": "Authorization: Bearer\nAuthorization:\nBearer ",
    "a url without anything": "://:@ http://:@ https://user:@x.invalid",
    "a url that is none": "http://[::1 http://[/ http://x:99999999/",
    "the word that replaces secrets": "[redacted] token=[redacted]",
}
"""Texts of less than 10,000 characters that hold no secret."""

LARGE: Final[Mapping[str, str]] = {
    "one line of 1 MB": "x" * 1_000_000,
    "1 MB of words": "lorem ipsum " * 83_000,
    "100,000 lines": "no space left\n" * 100_000,
    "1 MB of line breaks": "\n" * 1_000_000,
    "1 MB of spaces": " " * 1_000_000,
    "1 MB of base64 of json": base64.b64encode(json.dumps({"row": "boom", "n": 1}).encode() * 27_000).decode(),
    "1 MB of base64 in lines": base64.encodebytes(b'{"alg": "none"}' * 48_000).decode(),
    "eyJ 40,000 times": "eyJ" * 40_000,
    "eyJ and dots": "eyJabcdef." * 30_000,
    "dots and eyJ": "eyJ" + "a." * 60_000 + "eyJ",
    "many ://": "a://" * 40_000,
    "many :// with a colon": "://a:" * 40_000,
    "one :// and no @": "https://" + "a:" * 60_000,
    "many token=": "token=" * 30_000,
    "many token and quotes": 'token": "' * 20_000,
    "many quotes": '"' * 200_000,
    "many backslashes": "\\" * 200_000,
    "token and many backslashes": "token" + "\\" * 100_000,
    "many authorization": "authorization: " * 20_000,
    "authorization and many spaces": "authorization" + " " * 100_000,
    "authorization and many backslashes": "authorization" + "\\" * 100_000 + ":",
    "many bearer": "bearer " * 30_000,
    "bearer and many spaces": "bearer" + " " * 100_000,
    "many xox": "xoxa" * 40_000,
    "many whsec_": "whsec_" * 30_000,
    "many hooks.slack.com": "hooks.slack.com/" * 20_000,
    "many escapes of colour": "\x1b[31m" * 40_000,
    "many escapes that never end": "\x1b[1;" * 50_000,
    "many escapes of titles that never end": "\x1b]0;" * 50_000,
    "hex of 200,000 digits": "deadbeef" * 25_000,
    "many percent signs": "%41%" * 50_000,
    "many brackets": "[" * 100_000 + "]" * 100_000,
    "many braces": "{{" * 50_000 + "}}" * 50_000,
    "json nested 50,000 deep, as a text": "[" * 50_000,
    "200,000 emoji": "\U0001f4a5" * 200_000,
    "200,000 ampersands": "&<>" * 66_000,
    "200,000 combining characters": "e\u0301" * 100_000,
    "200,000 wide characters": "\u6f22" * 200_000,
}
"""Texts of 100,000 characters and more that hold no secret."""

TEXTS: Final[Mapping[str, str]] = {**{name: entry.text for name, entry in SECRETS.items()}, **SMALL, **LARGE}
"""All texts, except those with the config's own password."""

IDS: Final[Mapping[str, str]] = {
    "one character": "x",
    "a step up": "..",
    "a step to itself": ".",
    "a slash": "a/b",
    "a path outside": "../../projects/other",
    "an encoded slash": "a%2Fb",
    "a percent sign": "100%",
    "a query": "a?b=c&token=d",
    "a fragment": "a#b",
    "a backslash": "a\\b",
    "spaces": " a b ",
    "a line break": "a\nb",
    "NUL": "a\x00b",
    "a colour": "\x1b[31ma\x1b[0m",
    "umlauts": "aufgabe-\u00fc\u00df",
    "an emoji": "\U0001f4a5",
    "right to left": "\u202eabc",
    "a lone surrogate": "a\ud83d",
    "U+FFFE": "a\ufffe",
    "a quote": "a'b\"c",
    "a star": "*",
    "a template": "{{ 7*7 }}",
    "html": "<script>",
    "an e-mail address": "a@b.invalid",
    "looks like an option": "--help",
    "looks like a number": "1e5",
    "looks like null": "null",
    "looks like a thread": "task:a:1",
    "looks like a secret": "token=idcanary0123",
    "a jwt": JWT,
    "512 characters": "i" * 512,
    "512 emoji": "\U0001f4a5" * 512,
}
"""Ids that an event may have."""

IMPOSSIBLE_IDS: Final[Mapping[str, Any]] = {
    "empty": "",
    "513 characters": "i" * 513,
    "null": None,
    "a list": ["a"],
    "an object": {"id": "a"},
    "true": True,
}
"""Invalid ids: a frame with one is no event and must have no other effect."""


def _nested(depth: int) -> Any:
    value: Any = "the bottom"
    for number in range(depth):
        value = [value] if number % 2 else {"in": value}
    return value


FIELDS: Final[Mapping[str, Any]] = {
    "null": None,
    "an empty object": {},
    "an empty list": [],
    "an empty key": {"": "x"},
    "nested 90 deep": _nested(90),
    "a list of 10,000 numbers": list(range(10_000)),
    "an object of 5,000 keys": {f"key-{number}": number for number in range(5_000)},
    "a key of 100,000 characters": {"k" * 100_000: 1},
    "a number of 300 digits": 10**300,
    "the largest and smallest of floats": [1.7976931348623157e308, 5e-324, -0.0],
    "beyond 64 bits": [2**63, -(2**63) - 1, 2**64],
    "a key with a lone surrogate": {"a\ud83d": "\udc00"},
    "a key with NUL and controls": {"\x00\x1b[31m\x9b": "x"},
    "keys that differ in case only": {"error": 1, "Error": 2, "ERROR": 3},
    "keys of python": {"__class__": "x", "__dict__": {}, "self": 1, "model_fields": []},
    "keys of ours": {"caughtUp": "yes", "caught_up": True, "family": "agent", "wire": {}, "key": "x"},
    "a secret as a key": {"token=keycanary0123": "x", f"Bearer {'keycanary' * 3}": 1},
    "a secret under its name": {"token": "fieldcanary0123", "Authorization": "Bearer fieldcanary0123456789"},
    "a secret deep inside": {"a": [{"b": [{"c": "see /cb?token=deepfieldcanary01"}]}]},
    "a text that is json with a secret": json.dumps({"token": "jsonfieldcanary01"}),
}
"""Values of an unknown field."""

FIELD_SECRETS: Final = (
    "keycanary0123",
    "keycanarykeycanary",
    "fieldcanary0123",
    "deepfieldcanary01",
    "jsonfieldcanary01",
)
"""Parts of ``FIELDS`` that must not be sent."""

UNFIT_FIELDS: Final[Mapping[str, str]] = {
    "nested 150 deep": json.dumps(_nested(150)),
    "nested 100,000 deep": "[" * 100_000 + "]" * 100_000,
    "a million empty lists": "[" + "[]," * 999_999 + "[]]",
    "1e999": "1e999",
    "NaN": "NaN",
    "a number of 10,000 digits": "9" * 10_000,
}
"""JSON values that the agent may reject with their frame; it keeps running and handles the next event."""
