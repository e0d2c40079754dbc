"""Only the new part of a growing text is searched, and no secret is missed for that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.log import CheckedTexts, may_hold_secret, redact, register_secret

SECRET = "Xq7vLm2Rt9Kp4Zs8"
LONG_SECRET = "".join(f"{number:03}Yw" for number in range(300))
PASSPHRASE = "correct horse battery staple " * 20 + "end"
TOKENS = (
    "eyJ" + "hbGciOiJ" * 20 + ".eyJ" + "zdWIiOiJ" * 20 + "." + "dGhlLXNp" * 20,
    "xoxb-1234567890-abcdefghij",
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_0123456789abcdefghij0123456789",
    "sk-proj-0123456789-abcdefghijklmnopqrstuvwxyz",
    "sk-" + "ab1-" * 50 + "abcdefghijklmnopqrst",
    "Authorization: Bearer abcdef0123456789",
    '"password": "correct horse battery staple"',
    "https://user:hunter22@example.com/",
    "token=0123456789abcdef",
)
LINE = "[00000017] Train the model: row 289 of 1000000 done\n"


def grow(pieces: list[str], limit: int = 4000) -> tuple[str, bool]:
    """The last ``limit`` characters of all pieces, and True if a search during the growth found something."""
    checked, text, found = CheckedTexts(), "", False
    for piece in pieces:
        text = (text + piece)[-limit:]
        found |= checked.may_hold_secret("run", text, len(piece), "other texts")
    return text, found


@pytest.mark.parametrize("secret", [SECRET, LONG_SECRET, PASSPHRASE, *TOKENS], ids=lambda secret: secret[:12])
@given(data=st.data())
def test_a_secret_in_pieces_is_found(secret: str, data: st.DataObject) -> None:
    register_secret(SECRET)
    register_secret(LONG_SECRET)
    register_secret(PASSPHRASE)
    before = LINE * data.draw(st.integers(0, 30))
    text = f"{before}see {secret} there\n"
    cuts = data.draw(st.lists(st.integers(len(before), len(text)), max_size=6).map(sorted))
    pieces = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert grow(pieces)[1]


@given(
    st.lists(
        st.one_of(
            st.just(LINE),
            st.text("\n", max_size=300),
            st.text("Xq7vLm2Rt9Kp4Zs8", max_size=5),
            st.sampled_from(
                ["\x1b[3", "1m", "\u200b", "  ", "\t", SECRET[:9], SECRET[9:], SECRET[:2], SECRET[2:]]
            ),
            st.text(max_size=80),
        ),
        max_size=30,
    )
)
def test_a_text_in_which_nothing_was_found_has_nothing_to_redact(pieces: list[str]) -> None:
    register_secret(SECRET)
    text, found = grow(pieces)
    if not found:
        assert redact(text) == text


def test_a_text_is_searched_again_when_a_secret_becomes_known() -> None:
    checked = CheckedTexts()
    assert not checked.may_hold_secret("run", f"the value {SECRET}\n", 5, "")
    register_secret(SECRET)
    assert checked.may_hold_secret("run", f"the value {SECRET}\n", 0, "")


def test_a_secret_that_a_terminal_sequence_hid_is_found_when_its_beginning_is_dropped() -> None:
    register_secret(SECRET)
    checked, added = CheckedTexts(), "more " * 60
    hidden = f"{SECRET[:8]}\u200b{SECRET[8:]} {added}"
    assert not checked.may_hold_secret("run", f"\x1b]0;title {hidden}", len(hidden), "")
    assert checked.may_hold_secret("run", f"title {hidden}{added}", len(added), "")


def test_a_secret_around_a_long_terminal_sequence_in_pieces_is_found() -> None:
    register_secret(SECRET)
    assert grow([f"see {SECRET[:8]}\x1b]0;" + "title " * 60, f"end\x07{SECRET[8:]}"])[1]


def test_the_other_texts_are_searched_each_time() -> None:
    register_secret(SECRET)
    checked = CheckedTexts()
    assert not checked.may_hold_secret("run", LINE, len(LINE), "")
    assert checked.may_hold_secret("run", LINE, 0, SECRET)


def test_the_texts_that_were_checked_longest_ago_are_forgotten() -> None:
    checked = CheckedTexts(max_texts=2)
    for name in ("first", "second", "first", "third"):
        checked.may_hold_secret(name, LINE, len(LINE), "")
    register_secret(SECRET)
    assert list(checked._texts) == ["first", "third"]


@pytest.mark.parametrize("added", [0, 3, 10_000])
def test_a_wrong_length_of_the_added_text_hides_no_secret(added: int) -> None:
    register_secret(SECRET)
    checked = CheckedTexts()
    assert not checked.may_hold_secret("run", LINE * 5, 0, "")
    assert checked.may_hold_secret("run", LINE * 5 + SECRET, added, "") == may_hold_secret(SECRET)
