"""Secrets, and parts of them, are recognised in every spelling; other texts stay. Both in bounded time."""

import base64
import json
import re
import shlex
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.log import (
    REDACTED,
    may_hold_secret,
    redact,
    redact_cut,
    redact_end,
    redact_piece,
    redact_start,
    redact_values,
    register_secret,
    secrets_generation,
    text_views,
)
from aintandem_notify.log import secret_patterns as shapes
from support.nasty import texts

PASSWORDS = {
    "of letters and digits": "Xq7vLm2Rt9Kp4Zs8",
    "of signs": "p&w<q>'\"/+=#%7~w",
    "of words": "correct horse battery",
    "with umlauts": "schlüssel-für-Zoë",
    "of five characters": "ad7in",
    "that is long": "k3Jd" * 64,
}


@pytest.mark.parametrize("name", texts.SECRETS)
def test_no_text_of_the_list_keeps_its_secret(name: str) -> None:
    entry = texts.SECRETS[name]
    assert may_hold_secret(entry.text)
    assert entry.secret not in redact(entry.text)
    assert redact(redact(entry.text)) == redact(entry.text)


@pytest.mark.parametrize("name", texts.SMALL)
def test_a_text_of_the_list_that_holds_none_stays(name: str) -> None:
    text = texts.SMALL[name]
    # A text named as a secret counts as one.
    assert redact(text) == text or name == "authorization without a value"


def spellings(secret: str) -> Iterator[str]:
    """The spellings of ``secret`` by other programs."""
    raw = secret.encode()
    yield from (entry.text for entry in texts.password_texts(secret).values() if "over the cut" not in entry.text)
    for before in (b"", b"x", b"xy"):
        for after in (b"", b"\n", b"yz"):
            yield base64.b64encode(before + raw + after).decode()
            yield base64.urlsafe_b64encode(before + raw + after).decode().rstrip("=")
    yield base64.encodebytes(b"user:" * 9 + raw + b"!" * 60).decode()
    yield raw.hex().upper()
    yield quote(quote(secret, safe=""), safe="")
    yield re.sub("%..", lambda match: match[0].lower(), quote(secret, safe=""))
    yield "".join(f"%{byte:02X}" for byte in raw)
    yield json.dumps(secret)
    yield json.dumps(json.dumps(secret))
    yield json.dumps(json.dumps(secret, ensure_ascii=False), ensure_ascii=False)
    yield repr(secret)
    yield repr(raw)
    yield shlex.quote(secret)
    yield secret.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    yield unicodedata.normalize("NFC", secret)
    yield unicodedata.normalize("NFD", secret)
    half = len(secret) // 2
    for between in ("\x1b[0m", "\x1b[38;5;196m", "\u200b", "\u00ad", "\x00", "\r", "\n", "\r\n", "\u2060\ufeff"):
        yield f"{secret[:half]}{between}{secret[half:]}"
    yield "\x1b[1m".join(secret)
    yield f"\x1b]8;;https://x/{secret}\x07link"


@pytest.mark.parametrize("password", PASSWORDS.values(), ids=PASSWORDS)
def test_a_configured_secret_is_recognised_as_others_write_it(password: str) -> None:
    register_secret(password)
    plain = re.compile("|".join(re.escape(part) for part in (password, quote(password), password.encode().hex())))
    for spelling in filter(None, spellings(password)):
        text = f"before {spelling} after"
        redacted = redact(text)
        assert REDACTED in redacted, spelling
        assert may_hold_secret(text)
        assert may_hold_secret(json.dumps({"error": text}, ensure_ascii=False))
        visible = text_views.flattened(redacted)
        assert plain.search(visible) is None
        for word in re.findall(r"[A-Za-z0-9+/_-]{4,}", visible):
            whole = word[: len(word) // 4 * 4]
            assert password.encode()[1:-1] not in base64.b64decode(whole, altchars=None if "+" in whole else b"-_")
        assert redact(redacted) == redacted
        assert redacted.startswith("before ")
        assert redacted.endswith(" after")


def test_base64_that_holds_a_secret_is_redacted_with_the_base64_around_it() -> None:
    register_secret("Xq7vLm2Rt9Kp4Zs8")
    basic = base64.b64encode(b"admin:Xq7vLm2Rt9Kp4Zs8").decode()
    assert redact(f"curl -H 'x: Basic {basic}' done") == f"curl -H 'x: Basic {REDACTED}' done"


def test_white_space_around_a_secret_is_no_part_of_it() -> None:
    register_secret("  Xq7vLm2Rt9Kp4Zs8\r\n")
    assert redact("with Xq7vLm2Rt9Kp4Zs8 in it") == f"with {REDACTED} in it"


def test_each_line_of_a_secret_of_several_lines_is_one() -> None:
    body = [base64.b64encode(bytes([line] * 48)).decode() for line in range(1, 4)]
    register_secret("\n".join(["-----BEGIN X-----", *body, "-----END X-----", ""]))
    assert redact(f"> {body[1]} <") == f"> {REDACTED} <"
    assert redact("-----BEGIN X-----") == "-----BEGIN X-----"
    assert body[0] not in redact(json.dumps({"key": "\n".join(body)}))


@pytest.mark.parametrize(
    ("secret", "inner"),
    [
        ("Bearer Xq7vLm2Rt9Kp4Zs8", "Xq7vLm2Rt9Kp4Zs8"),
        ("token  Xq7vLm2Rt9Kp4Zs8", "Xq7vLm2Rt9Kp4Zs8"),
        ("http://me:p%C3%A4ss%23w%2Frd@proxy:3128", "päss#w/rd"),
        ("http://me:p%C3%A4ss%23w%2Frd@proxy:3128", "p%C3%A4ss%23w%2Frd"),
        ("https://hooks.example/services/T0/B0/Xq7vLm2Rt9", "/services/T0/B0/Xq7vLm2Rt9"),
        ("https://hooks.example/in?code=Xq7vLm2Rt9Kp4Zs8&v=1", "Xq7vLm2Rt9Kp4Zs8"),
        ('"Xq7vLm2Rt9Kp4Zs8"', "Xq7vLm2Rt9Kp4Zs8"),
    ],
)
def test_the_parts_of_a_secret_are_secrets_by_themselves(secret: str, inner: str) -> None:
    register_secret(secret)
    assert redact(f"it was {inner} that failed") == f"it was {REDACTED} that failed"
    assert (
        redact("hooks.example or proxy:3128, services and v=1") == "hooks.example or proxy:3128, services and v=1"
    )


KEY = "\n".join(
    [
        "-----BEGIN RSA PRIVATE KEY-----",
        *("MIIEpAIBAAKCAQEA75+/" * 3 for _ in range(30)),
        "-----END RSA PRIVATE KEY-----",
    ]
)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("?a=1&token=abc&b=2", f"?a=1&token={REDACTED}&b=2"),
        ("access_token=abc", f"access_token={REDACTED}"),
        ('token="a b c"', f'token="{REDACTED} b c"'),
        ("DB_PASSWORD=hunter2 make", f"DB_PASSWORD={REDACTED} make"),
        ("client_secret=abc&x", f"client_secret={REDACTED}&x"),
        ("api_key=abc apikey=abc api-key=abc", f"api_key={REDACTED} apikey={REDACTED} api-key={REDACTED}"),
        ("AWS_SECRET_ACCESS_KEY=abc", f"AWS_SECRET_ACCESS_KEY={REDACTED}"),
        ("X-Api-Key: abc", f"X-Api-Key: {REDACTED}"),
        ("/blob?sv=1&sig=ab%2Fc&se=2", f"/blob?sv=1&sig={REDACTED}&se=2"),
        ("/o?X-Amz-Signature=abc", f"/o?X-Amz-Signature={REDACTED}"),
        ('{"password": "a\\"b", "x": 1}', '{"password": "' + REDACTED + '", "x": 1}'),
        ("{'api_key': 'abc'}", "{'api_key': '" + REDACTED + "'}"),
        (r"{\"secret\": \"abc\"}", r"{\"secret\": \"" + REDACTED + r"\"}"),
        ("AKIAIOSFODNN7EXAMPLE is it", f"{REDACTED} is it"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", REDACTED),
        ("github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz", REDACTED),
        ("key sk-proj-abcdefghijklmnop-4711", f"key {REDACTED}"),
        ("sk-abcdefghijklmnopqrstuvwxyz0123456789", REDACTED),
        ("300 \u212ask-abcdefghijklmnopqrstuvwxyz0123456789", f"300 \u212a{REDACTED}"),
        ("http://me:p@ss@host/", f"http://me:{REDACTED}@host/"),
        (f"a\n{KEY}\nb", f"a\n-----BEGIN RSA PRIVATE KEY-----{REDACTED}\nb"),
        (json.dumps(KEY), f'"-----BEGIN RSA PRIVATE KEY-----{REDACTED}"'),
        (KEY[:400], f"-----BEGIN RSA PRIVATE KEY-----{REDACTED}"),
    ],
)
def test_a_text_named_as_a_secret_or_like_a_token_is_redacted(text: str, redacted: str) -> None:
    assert redact(text) == redacted
    assert redact(redacted) == redacted
    assert may_hold_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "tokens: 1234",
        "max_tokens=4096, total_tokens=12",
        '{"usage": {"input_tokens": 1234, "tokens": "many"}}',
        "if token == expected and password == given:",
        "PWD=/home/anna/project",
        "12 tests passed, 3 failed; monkey=banana",
        "the password: ask Anna; the secret key is in the safe",
        "task-fea4e32d4067 started, risk-based-assessment-of-the-whole-2024-report",
        "sk-learn-based-clustering-model-of-sales",
        "https://example.org/a?design=1&assign=2&signal=3",
        "3f2b8c1e-7d44-4a7e-9d5b-0a1b2c3d4e5f",
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7",
        "-----BEGIN CERTIFICATE-----\nMIIEpAIBAAKCAQEA75\n-----END CERTIFICATE-----",
        "def redact(token: str, key: bytes) -> None:",
        "keyword=value, turkey=1",
        "commit 0123456789abcdef0123456789abcdef01234567",
    ],
)
def test_ordinary_output_of_tasks_stays_readable(text: str) -> None:
    register_secret("Xq7vLm2Rt9Kp4Zs8")
    assert redact(text) == text


def test_a_text_under_a_name_of_a_secret_is_one() -> None:
    values = {
        "refreshToken": "a",
        "Authorization": "b",
        "DB_PASSWORD": "c",
        "tokens": "d",
        "token": 5,
        "secret": "",
    }
    redacted = {
        "refreshToken": REDACTED,
        "Authorization": REDACTED,
        "DB_PASSWORD": REDACTED,
        "tokens": "d",
        "token": 5,
    }
    assert redact_values(values) == {**redacted, "secret": ""}


def test_a_number_that_is_written_as_a_secret_is_one() -> None:
    register_secret("47114711")
    assert redact_values([47114711, 471147110, 4711, True, "47114711"]) == [
        REDACTED,
        471147110,
        4711,
        True,
        REDACTED,
    ]


def test_keys_that_become_equal_all_stay() -> None:
    register_secret("Xq7vLm2Rt9Kp4Zs8")
    register_secret("Yq7vLm2Rt9Kp4Zs8")
    values = {"Xq7vLm2Rt9Kp4Zs8": 1, f"{REDACTED} (2)": 2, "Yq7vLm2Rt9Kp4Zs8": 3, "a": {"Xq7vLm2Rt9Kp4Zs8": 4}}
    assert redact_values(values) == {REDACTED: 1, f"{REDACTED} (2)": 2, f"{REDACTED} (3)": 3, "a": {REDACTED: 4}}


@pytest.mark.parametrize("name", texts.FIELDS)
def test_no_field_of_the_list_keeps_its_secret(name: str) -> None:
    redacted = json.dumps(redact_values(texts.FIELDS[name]))
    assert not [secret for secret in texts.FIELD_SECRETS if secret in redacted]


SECRET = "Xq7vLm2Rt9Kp4Zs8"
CUT = {
    "configured": SECRET,
    "in hex": SECRET.encode().hex(),
    "in base64": base64.b64encode(SECRET.encode()).decode(),
}


def parts(secret: str, redacted: str, shortest: int = 4) -> list[str]:
    """The parts of ``secret``, of ``shortest`` characters, that are left in ``redacted``."""
    return [part for at in range(len(secret) - shortest + 1) if (part := secret[at : at + shortest]) in redacted]


@pytest.mark.parametrize("secret", CUT.values(), ids=CUT)
@pytest.mark.parametrize("length", [100, 5000])
def test_no_cut_leaves_a_part_of_a_secret(secret: str, length: int) -> None:
    register_secret(SECRET)
    for inside in range(len(secret) + 1):
        for after in (0, 10_000):
            text = f"{'x.' * length}"[: length - inside] + secret + " y" * after
            assert not parts(secret, redact_start(text, length))
            assert len(redact_start(text, length)) <= length
            assert not parts(secret[::-1], redact_end(text, length)[::-1])
            back = " y" * after + secret + f"{'x.' * length}"[: length - inside]
            assert not parts(secret, redact_end(back, length))
            assert len(redact_end(back, length)) <= length


def test_no_cut_leaves_a_part_of_a_token() -> None:
    token = f"eyJ{'hbGciOiJI' * 40}.eyJ{'zdWIiOiJ' * 40}.{'dGhlLXNp' * 40}"
    for cut in range(1, len(token)):
        assert "hbGciOi" not in redact_start(f"sent {token} on", 5 + cut)
        assert "dGhlLXNp" not in redact_end(f"sent {token} on", 3 + cut)


@pytest.mark.parametrize("secret", CUT.values(), ids=CUT)
@given(data=st.data())
def test_a_secret_in_pieces_is_hidden_but_for_less_than_four_characters(secret: str, data: st.DataObject) -> None:
    register_secret(SECRET)
    text = f"some lines\nof output: {secret}, and others"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    redacted, written = "", ""
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        redacted += redact_piece(text[begin:end], written)
        written += text[begin:end]
    assert not parts(secret, redacted)
    assert redacted.startswith("some lines\nof output: ")
    assert redacted.endswith(", and others")


def test_a_piece_after_which_more_may_come_shows_no_part() -> None:
    register_secret(SECRET)
    assert redact_cut(f"{SECRET[5:]} x {SECRET[:6]}", start=True) == f"{REDACTED} x {REDACTED}"
    assert redact_cut(f"{SECRET[5:]} x {SECRET[:6]}\n", start=False) == f"{SECRET[5:]} x {SECRET[:6]}\n"
    assert redact_cut(SECRET[3:9], start=True) == REDACTED
    assert redact_cut(SECRET[:3], start=True) == SECRET[:3]


@pytest.mark.parametrize("pieces", [[SECRET[:6], SECRET[6:]], ["Authorization: Bear", "er abc123abc123 x"]])
def test_a_colour_code_that_is_cut_itself_hides_no_part(pieces: list[str]) -> None:
    register_secret(SECRET)
    first, second = f"{pieces[0]}\x1b[3", f"1m{pieces[1]}"
    redacted = redact_piece(first) + redact_piece(second, first)
    assert not parts(SECRET, redacted)
    assert "abc123" not in redacted


def test_a_token_in_pieces_is_hidden_however_long_it_is() -> None:
    token = "eyJ" + "hbGciOiJ" * 100 + ".eyJ" + "zdWIiOiJ" * 100 + "." + "dGhlLXNp" * 100
    redacted, written = "", "some words before it: "
    for at in range(0, len(token), 500):
        redacted += redact_piece(token[at : at + 500], written)
        written += token[at : at + 500]
    assert "dGhlLXNp" not in redacted


def test_a_private_key_in_pieces_is_hidden() -> None:
    written, redacted = "", []
    for line in KEY.splitlines(keepends=True):
        redacted.append(redact_piece(line, written))
        written += line
    assert "MII" not in "".join(redacted)


@given(st.text(), st.text(), st.integers(0, 20))
def test_without_secrets_a_cut_is_only_a_cut(text: str, before: str, length: int) -> None:
    if may_hold_secret(before + text):
        return
    assert redact_start(text, length) == text[:length]
    assert redact_end(text, length) == text[len(text) - min(length, len(text)) :]
    assert redact_piece(text, before) == text
    assert redact_cut(text, start=True) == text


SK_TOKEN = "sk-" + "ab1-" * 8


@pytest.mark.parametrize("before", ["", " ", "\n", "\t", '"', "(", "=", "\u3000", "key\n", " \x1b[1m"])
def test_a_token_is_found_behind_any_sign_that_ends_a_word(before: str) -> None:
    text = f"the end{before}{SK_TOKEN} and on" if before else SK_TOKEN
    assert SK_TOKEN not in redact(text)
    for ascii_only in (True, False):
        assert may_hold_secret(json.dumps({"output": text}, ensure_ascii=ascii_only))


def test_an_id_of_a_task_beside_a_long_id_is_no_hint_of_a_token() -> None:
    text = json.dumps({"taskId": "task-4711-retried-later-17", "id": "0123456789abcdef0123456789abcdef"})
    assert not may_hold_secret(text)


@pytest.mark.parametrize("name", texts.LARGE)
def test_a_long_text_is_looked_through_before_anybody_waits_for_it(name: str) -> None:
    """Longer texts than those of the list: with quadratic time this takes an hour."""
    for number in range(10):
        register_secret(f"{number}{SECRET}")
    text = texts.LARGE[name]
    long = text * (2_000_000 // len(text) + 1)
    for redacted in (redact(long), redact_piece(long[:1_000_000], long[:5000]), redact_start(long, 500_000)):
        assert redacted
    assert may_hold_secret(long) in (True, False)


def _repetitions(parsed: Any) -> Iterator[tuple[str, Any]]:
    for code, argument in parsed:
        yield str(code), argument
        for part in argument if isinstance(argument, list | tuple) else [argument]:
            branches = part if isinstance(part, list) else [part]
            for branch in branches:
                if isinstance(branch, re._parser.SubPattern):  # type: ignore[attr-defined]
                    yield from _repetitions(branch)


PATTERNS = [shape.pattern for shape in shapes.TOKEN_PATTERNS] + [
    text_views.INVISIBLE,
    text_views._INVISIBLE_OR_BREAK,
]


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.pattern[:30])
def test_no_pattern_backtracks(pattern: re.Pattern[str]) -> None:
    """An unbounded repetition that backtracks would take quadratic time for some texts."""
    parsed = re._parser.parse(pattern.pattern, pattern.flags)  # type: ignore[attr-defined]
    unbounded = re._constants.MAXREPEAT  # type: ignore[attr-defined]
    greedy = [
        argument for code, argument in _repetitions(parsed) if code == "MAX_REPEAT" and argument[1] is unbounded
    ]
    assert greedy == []


def test_a_rotating_secret_is_recognised_by_its_parts_too() -> None:
    register_secret(SECRET, rotating=True)
    assert redact_piece(f"at {SECRET[:9]}") == f"at {REDACTED}"


def test_every_new_secret_begins_a_generation() -> None:
    before = secrets_generation()
    register_secret(SECRET)
    after = secrets_generation()
    register_secret(SECRET)
    assert before != after == secrets_generation()


def test_no_two_processes_have_a_generation_in_common() -> None:
    """One process may read a text from the store that another one stored, and know more secrets."""
    ask = "from aintandem_notify.log import secrets_generation; print(secrets_generation())"
    first, second = (
        subprocess.run([sys.executable, "-c", ask], check=True, capture_output=True).stdout for _ in range(2)
    )
    assert first != second
