"""Characters that shells and editors add to a secret or an address: removed, refused, or named in a warning."""

import json
import os
from pathlib import Path

import pytest

from aintandem_notify.config import Config, Secret
from aintandem_notify.config.secret_warnings import secret_warnings
from aintandem_notify.config.types.secret_form import Tidied, tidy
from aintandem_notify.errors import ConfigError
from aintandem_notify.plugins import config_loading
from support.config_texts import load_text, problems
from support.nasty import configs

HEAD = '[orchestrator]\nurl = "http://localhost:9900"\n{login}\n[[projects]]\nid = "p"\n'
TOKEN = HEAD.format(login="token = {source}")
PASSWORD = HEAD.format(login='username = "admin"\npassword = {source}')
SOURCES = {"variable": '{ env = "CANARY" }', "file": '{ file = "token" }', "inline": "{inline}"}
ORIGINS = {"variable": "the environment variable CANARY", "file": "the secret's file", "inline": "the secret"}

WITH_WARNING = {
    "a trailing space",
    "a leading space",
    "a trailing tab",
    "a no-break space",
    "a space and a line break",
}
"""White space that somebody may have meant; all other paddings of a token are removed silently."""
TOKENS_REFUSED = {"in quotes": "is in quotes", "two lines": "has a line break inside"}


def load_secret(folder: Path, text: str, written: str, value: str) -> Config:
    """The config in ``text``, with ``value`` as its secret, written in one of the three ways."""
    (folder / "token").write_text(value, encoding="utf-8", newline="")
    source = SOURCES[written].format(inline=json.dumps(value)) if written == "inline" else SOURCES[written]
    return load_text(folder, text.replace("{source}", source), environ={"CANARY": value})


@pytest.mark.parametrize("written", SOURCES)
@pytest.mark.parametrize("name", sorted(configs.PADDED.keys() - TOKENS_REFUSED.keys()))
def test_a_token_has_no_white_space_at_its_ends(tmp_path: Path, name: str, written: str) -> None:
    config = load_secret(tmp_path, TOKEN, written, configs.PADDED[name])

    assert config.orchestrator.token is not None
    assert config.orchestrator.token.reveal() == "canary0123"
    warnings = secret_warnings(config)
    assert len(warnings) == (name in WITH_WARNING)
    for warning in warnings:
        assert warning.key == "orchestrator.token"
        assert warning.message.startswith(f"{ORIGINS[written]} ")
        assert "white space, which is left out" in warning.message
        assert "canary0123" not in warning.message


@pytest.mark.parametrize("written", SOURCES)
@pytest.mark.parametrize("name", TOKENS_REFUSED)
def test_a_token_that_cannot_be_right_is_refused(tmp_path: Path, name: str, written: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_secret(tmp_path, TOKEN, written, configs.PADDED[name])
    (problem,) = caught.value.problems
    assert (problem.key, problem.line) == ("orchestrator.token", 3)
    assert problem.message.startswith(ORIGINS[written])
    assert TOKENS_REFUSED[name] in problem.message
    assert "canary0123" not in str(caught.value)


@pytest.mark.parametrize("written", SOURCES)
@pytest.mark.parametrize("name", configs.PADDED)
def test_a_password_keeps_its_spaces_with_a_warning(tmp_path: Path, name: str, written: str) -> None:
    padded = configs.PADDED[name]
    config = load_secret(tmp_path, PASSWORD, written, padded)

    assert config.orchestrator.password is not None
    password = config.orchestrator.password.reveal()
    assert password == padded.strip("\r\n\u2028\ufeff\u200b\u200e")
    warnings = secret_warnings(config)
    assert len(warnings) == (password != "canary0123")
    assert all("canary0123" not in warning.message for warning in warnings)


@pytest.mark.parametrize("name", configs.PASSWORDS)
def test_every_password_that_a_server_may_issue_stays_as_it_is(tmp_path: Path, name: str) -> None:
    config = load_secret(tmp_path, PASSWORD, "variable", configs.PASSWORDS[name])
    assert config.orchestrator.password is not None
    assert config.orchestrator.password.reveal() == configs.PASSWORDS[name]
    assert secret_warnings(config) == []


ADDRESSES = {
    "orchestrator.url": '[orchestrator]\nurl = {}\ntoken = "t"\n',
    "orchestrator.token": '[orchestrator]\nurl = "http://x"\ntoken = {}\n',
    "connection.proxy": "[connection]\nproxy = {}\n",
    "agent.heartbeat_url": "[agent]\nheartbeat_url = {}\n",
    "store.url": "[store]\nurl = {}\n",
    "plugins.slack.team.webhook_url": "[plugins.slack.team]\nwebhook_url = {}\n",
    "plugins.slack.team.bot_token": '[plugins.slack.team]\nchannel = "#team"\nbot_token = {}\n',
    "plugins.webhook.ci.url": "[plugins.webhook.ci]\nurl = {}\n",
    "plugins.webhook.ci.secret": '[plugins.webhook.ci]\nurl = "http://x"\nsecret = {}\n',
    "plugins.webhook.ci.headers.x-key": '[plugins.webhook.ci]\nurl = "http://x"\nheaders.x-key = {}\n',
}
"""Every key with an address or a token, and its table, with the value as ``{}``."""
VALUES = {
    "connection.proxy": "http://proxy.example:3128",
    "store.url": "postgresql://db.example/notify",
    "plugins.slack.team.bot_token": "xoxb-12345678",
    "plugins.webhook.ci.secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}


def load_address(folder: Path, key: str, value: str) -> Config:
    """A config of the real plugins with ``value`` under ``key``."""
    table = ADDRESSES[key].format(json.dumps(value))
    text = "" if key.startswith("orchestrator") else '[orchestrator]\nurl = "http://x"\ntoken = "t"\n'
    path = folder / "config.toml"
    path.write_text(f'{table}{text}[[projects]]\nid = "p"\n', encoding="utf-8")
    return config_loading.load(path).config


def value_of(config: Config, key: str) -> object:
    """The value under ``key``, without the armour of secrets."""
    table, *names = key.split(".")
    value: object = getattr(config, table, None)
    if table == "plugins":
        value, names = config.instances[".".join(names[:2])].settings, names[2:]
    for name in names:
        value = value[name] if isinstance(value, dict) else getattr(value, name)
    value = value[0] if isinstance(value, tuple) else value
    return value.reveal() if isinstance(value, Secret) else value


@pytest.mark.parametrize("key", ADDRESSES)
def test_no_address_and_no_token_has_white_space_at_its_ends(tmp_path: Path, key: str) -> None:
    value = VALUES.get(key, "https://example.com/x")
    for name in configs.PADDED.keys() - TOKENS_REFUSED.keys():
        padded = configs.PADDED[name].replace("canary0123", value)
        assert value_of(load_address(tmp_path, key, padded), key) == value, name


@pytest.mark.parametrize("key", sorted(ADDRESSES.keys() - {"plugins.webhook.ci.headers.x-key"}))
@pytest.mark.parametrize("name", configs.BROKEN_INSIDE)
def test_white_space_inside_of_an_address_or_token_is_refused(tmp_path: Path, key: str, name: str) -> None:
    value = VALUES.get(key, "https://example.com/x")
    with pytest.raises(ConfigError) as caught:
        load_address(tmp_path, key, value[:-4] + configs.BROKEN_INSIDE[name] + value[-4:])
    (problem,) = caught.value.problems
    assert problem.key.startswith(key.removesuffix(".x-key"))
    assert problem.line == ADDRESSES[key].partition("{}")[0].count("\n") + 1
    assert value[:-4] not in str(caught.value)


@pytest.mark.parametrize("name", configs.BROKEN_INSIDE)
def test_the_value_of_a_header_may_have_spaces_only(tmp_path: Path, name: str) -> None:
    key, value = "plugins.webhook.ci.headers.x-key", f"Bearer{configs.BROKEN_INSIDE[name]}canary0123"
    if name in ("a space", "a tab"):
        assert value_of(load_address(tmp_path, key, value), key) == value
    else:
        with pytest.raises(ConfigError, match=r"plugins\.webhook\.ci\.headers"):
            load_address(tmp_path, key, value)


@pytest.mark.parametrize(
    "document", ["-----BEGIN PRIVATE KEY-----\ncanary\n-----END-----", '{\n"key": "canary"\n}']
)
def test_a_key_in_several_lines_stays_whole(document: str) -> None:
    assert tidy(f"{document}\n", "private_key") == Tidied(document)


@pytest.mark.parametrize(
    "address",
    [
        "https://user:pass/canary@host.example/x",
        "https://user:pass?canary@host.example/x",
        "https://user:12#canary@host.example/x",
        "postgresql://user:pass#canary@db.example/notify",
        "https://canary#x@host.example/x",
    ],
)
def test_a_login_that_breaks_its_address_is_refused_with_advice(address: str) -> None:
    with pytest.raises(ValueError, match="write # as %23") as caught:
        tidy(address, "url")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "https://user:p%C3%A4ss%23%2F@host.example/x",
        "https://user:p\u00e4ssw\u00f6rt@host.example/x",
        "https://host.example:8443/users/@me",
        "https://[::1]/users/@me",
        "https://host.example/hook?to=a@b.example",
        "https://host.example/#/channel@home",
        "xoxb-1@2",
    ],
)
def test_an_at_sign_elsewhere_is_no_login(address: str) -> None:
    assert tidy(address, "url") == Tidied(address)


REFUSED = {
    "empty": "is empty",
    "only a line break": "is empty",
    "NUL": "contains a NUL character",
    "no utf-8": "it is not a file of UTF-8 text",
    "utf-16": "it is not a file of UTF-8 text",
    "10 MB": "contains more than 65536 characters",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_holds_no_secret_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "token").write_bytes(configs.SECRET_FILES[name])
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, TOKEN.replace("{source}", SOURCES["file"]))
    assert REFUSED[name] in str(caught.value)
    assert "canary" not in str(caught.value)


def test_every_file_is_one_of_these() -> None:
    assert configs.SECRET_FILES.keys() == configs.PADDED.keys() | REFUSED.keys()


@pytest.mark.parametrize("value", [os.fsdecode(b"can\xffary"), "\ufeff\r\n", "x" * 65_537])
def test_a_variable_that_holds_no_secret_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=r"the environment variable CANARY (is empty|contains)"):
        load_text(tmp_path, TOKEN.replace("{source}", SOURCES["variable"]), environ={"CANARY": value})


@pytest.mark.parametrize("blank", ["", " ", "\n", "\ufeff", "\u200b", " \t\r\n\u00a0"])
@pytest.mark.parametrize("text", [TOKEN, PASSWORD])
@pytest.mark.parametrize("written", SOURCES)
def test_a_secret_of_white_space_only_is_empty(tmp_path: Path, written: str, text: str, blank: str) -> None:
    with pytest.raises(ConfigError, match="is empty"):
        load_secret(tmp_path, text, written, blank)


def test_a_name_of_white_space_only_is_empty(tmp_path: Path) -> None:
    text = HEAD.format(login='username = " \\n"\npassword = "x"')
    assert problems(tmp_path, text) == ["3: orchestrator.username: the name is empty"]


def test_secrets_of_plugins_are_looked_at_too(tmp_path: Path) -> None:
    text = HEAD.format(login='token = "x"') + '[plugins.slack.team]\nbot_token = { env = "CANARY" }\n'
    config = load_text(tmp_path, text, environ={"CANARY": "canary0123 "})
    (warning,) = secret_warnings(config)
    assert warning.key == "plugins.slack.team.bot_token"
    assert warning.message.startswith("the environment variable CANARY begins or ends with white space")


@pytest.mark.parametrize("key", ["password", "smtp_password", "passphrase", "smtp_pass", "pwd", "db_pw", "Passwd"])
def test_a_key_of_a_password_is_known_by_its_name(key: str) -> None:
    assert tidy("canary \n", key).text == "canary "


@pytest.mark.parametrize("key", ["bypass_token", "compass", "secret", "api_key", "headers", None])
def test_any_other_key_has_no_white_space_at_its_ends(key: str | None) -> None:
    assert tidy("canary \n", key).text == "canary"
