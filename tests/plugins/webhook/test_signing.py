"""Standard Webhooks signatures, compared with the specification's vector and its reference library."""

import base64
from datetime import UTC, datetime
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook as Reference

from aintandem_notify.api import Secret
from aintandem_notify_webhook import Config
from aintandem_notify_webhook.signing import MAX_KEY_BYTES, MIN_KEY_BYTES, key_of, signature_headers

SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
URL: Final = "https://hooks.example/x"


def _secret(size: int) -> str:
    return "whsec_" + base64.b64encode(bytes(range(size))).decode()


def test_the_vector_of_the_specification() -> None:
    headers = signature_headers(
        [Secret(SECRET)], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(
    st.binary(min_size=MIN_KEY_BYTES, max_size=MAX_KEY_BYTES),
    st.text("abcdef0123456789_", min_size=1),
    st.integers(0, 4_000_000_000),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_the_reference_library_signs_alike(key: bytes, message_id: str, timestamp: int, body: str) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    expected = Reference(secret).sign(message_id, datetime.fromtimestamp(timestamp, UTC), body)
    headers = signature_headers([Secret(secret)], message_id, timestamp, body.encode())
    assert headers["webhook-signature"] == expected


def test_each_secret_signs_while_they_change() -> None:
    old, new = Secret(_secret(24)), Secret(_secret(64))
    now = int(datetime.now(UTC).timestamp())
    headers = signature_headers([new, old], "ntf_1", now, b"{}")
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (old, new):
        assert Reference(secret.reveal()).verify(b"{}", headers) == {}


def test_without_a_secret_there_is_no_signature() -> None:
    assert set(signature_headers([], "ntf_1", 1, b"{}")) == {"webhook-id", "webhook-timestamp"}


@pytest.mark.parametrize("size", [24, 25, 32, 63, 64])
def test_keys_of_the_right_size(size: int) -> None:
    assert key_of(Secret(_secret(size))) == bytes(range(size))


@pytest.mark.parametrize(
    ("secret", "sentence"),
    [
        ("canarysecret", "not a signing secret: it begins with whsec_"),
        ("WHSEC_" + SECRET[6:], "not a signing secret: it begins with whsec_"),
        ("whsec_canary secret!", "not a signing secret: the part after whsec_ is not base64"),
        ("whsec_canarysecre", "not a signing secret: the part after whsec_ is not base64"),
        ("whsec_", "not a signing secret: it holds 0 bytes, and must hold 24 to 64"),
        (_secret(23), "not a signing secret: it holds 23 bytes, and must hold 24 to 64"),
        (_secret(65), "not a signing secret: it holds 65 bytes, and must hold 24 to 64"),
    ],
)
@pytest.mark.parametrize("several", [False, True])
def test_an_invalid_secret_has_a_sentence(secret: str, sentence: str, several: bool) -> None:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate({"url": URL, "secret": [SECRET, secret] if several else secret})
    (error,) = caught.value.errors(include_input=False, include_url=False)
    assert error["msg"] == f"Value error, {sentence}"
    assert error["loc"] == ("secret", int(several))
    assert secret == "whsec_" or secret not in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8080/x",
        "https://user:canary@hooks.example/x?token=canary",
        "https://[::1]:8443/",
    ],
)
def test_urls_that_can_be_used(url: str) -> None:
    assert Config.model_validate({"url": url}).url.reveal() == url


@pytest.mark.parametrize(
    "url", ["canary", "ftp://canary/x", "http://", "https:///canary", "http://[canary", "http://h:x/"]
)
def test_urls_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate({"url": url})
    (error,) = caught.value.errors(include_input=False, include_url=False)
    assert error["msg"] == "Value error, not a URL that begins with http:// or https:// and names a host"
    assert "canary" not in str(error)


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ({"X Y": "value"}, "not the name of a header"),
        ({"": "value"}, "not the name of a header"),
        ({"X:": "value"}, "not the name of a header"),
        ({"Webhook-Id": "value"}, "this header is set by the plugin"),
        ({"webhook-signature": "value"}, "this header is set by the plugin"),
        ({"Content-Type": "value"}, "this header is set by the plugin"),
        ({"Host": "value"}, "this header is set by the plugin"),
        ({"X": "canary\nX-Other: 1"}, "the secret has a line break inside; it should be in one piece"),
        ({"X": "canarÿ"}, "not the value of a header: only visible ASCII characters, with spaces between them"),
    ],
)
def test_headers_that_cannot_be_sent(headers: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate({"url": URL, "headers": headers})
    (error,) = caught.value.errors(include_input=False, include_url=False)
    assert error["msg"] == f"Value error, {sentence}"
    assert "canar" not in str(error)


def test_a_header_has_no_white_space_at_its_ends() -> None:
    config = Config.model_validate({"url": URL, "headers": {"X": " canary\r\n"}})
    assert config.headers["X"].reveal() == "canary"
