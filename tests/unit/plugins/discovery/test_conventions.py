"""Mistakes in the class of a plugin: refused with a sentence, or warned of."""

import re
from pathlib import Path

import pytest

from aintandem_notify.api import PluginConfig
from aintandem_notify.plugins import Catalog
from aintandem_notify.plugins.discovery.registry import Registry
from support.plugin_files import BEEP, HEAD, Write, refusal


def method(text: str) -> str:
    """A plugin with this method next to a good one."""
    indented = "\n".join(f"    {line}" for line in text.strip().splitlines())
    return f"{HEAD}class Beep(Plugin):\n    @hookimpl\n    async def on_event(self, event): ...\n\n{indented}\n"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("x = 1", "the module defines no public subclass of Plugin"),
        (
            "from aintandem_notify.api import Plugin\nclass _Beep(Plugin): ...\n",
            "the module defines no public subclass of Plugin",
        ),
        (BEEP + "\nclass Honk(Beep): ...\n", "the module defines several plugins, Beep, Honk;"),
        (HEAD + "class Beep(Plugin): ...\n", "Beep implements no hook; write one of check, deliver,"),
        (
            HEAD + "class Beep(Plugin):\n    @hookimpl\n    def delivr(self, notification): ...\n",
            "delivr is no hook; did you mean deliver?",
        ),
        (method("@hookimpl\ndef xyzzy(self): ..."), "xyzzy is no hook; remove @hookimpl"),
        (
            method("@hookimpl(specname='delivr')\ndef send(self, notification): ..."),
            "delivr is no hook; did you mean deliver?",
        ),
        (
            method("def deliver(self, notification): ..."),
            "deliver is the name of a hook: add @hookimpl, or call it something else",
        ),
        (method("deliver = 1"), "deliver is the name of a hook, but no method"),
        (method("check = print"), "check is the name of a hook, but no method"),
        (
            method("@hookimpl\ndef deliver(self, note): ..."),
            "deliver has an argument 'note'; write it as deliver(self, notification)",
        ),
        (
            method("@hookimpl\ndef deliver(self, notification, silent): ..."),
            "deliver has an argument 'silent'; write it as deliver(self, notification)",
        ),
        (
            method("@hookimpl\ndef deliver(self, notification, /): ..."),
            "deliver has an argument 'notification'; write it as deliver(self, notification)",
        ),
        (
            method("@hookimpl\ndef check(self, event): ..."),
            "check has an argument 'event'; write it as check(self)",
        ),
        (
            method("@hookimpl(wrapper=True)\ndef check(self): yield"),
            "check: hook wrappers are not supported",
        ),
        (
            method("@hookimpl(hookwrapper=True)\ndef check(self): yield"),
            "check: hook wrappers are not supported",
        ),
        (method("@hookimpl\nasync def check(self): yield"), "check must not yield"),
        (method("@hookimpl\ndef check(self): yield"), "check must not yield"),
        (
            method(
                "@hookimpl\ndef check(self): ...\n@hookimpl(specname='check')\ndef try_it(self): ...\n",
            ),
            "Beep implements check more than once",
        ),
        (method("@hookimpl\ndef lifespan(self): ..."), "lifespan is not async; write it as"),
        (method("@hookimpl\ndef lifespan(self): yield"), "lifespan is not async; write it as"),
        (method("@hookimpl\n@contextmanager\ndef lifespan(self): yield"), "lifespan is not async; write it as"),
        (method("@hookimpl\nasync def lifespan(self): ..."), "lifespan must yield once"),
        (
            method("@hookimpl\n@asynccontextmanager\nasync def lifespan(self): ..."),
            "lifespan must yield once",
        ),
        (
            method("@hookimpl\nasync def lifespan(self): yield"),
            "lifespan is not a context manager yet: add @async",
        ),
        (BEEP.replace("Plugin[Config]", "Plugin[dict]"), "Plugin[dict] must name a class that inherits"),
        (BEEP.replace("Plugin[Config]", "Plugin['Config']"), "Plugin[Config] must name a class that inherits"),
        (
            BEEP.replace("times: int = 1", "timeout: int = 1"),
            "Config.timeout is a reserved key; its type cannot change",
        ),
        (
            "from dataclasses import dataclass\n" + BEEP.replace("class Beep", "@dataclass\nclass Beep"),
            "Beep defines __eq__ (as a dataclass does: use eq=False); its instances must be distinguishable",
        ),
    ],
)
def test_a_class_that_is_no_plugin_is_refused_with_a_sentence(
    catalog: Catalog, plugins_dir: Path, write: Write, source: str, reason: str
) -> None:
    write("beep", source)
    place, _, sentence = refusal(catalog, plugins_dir).partition(": ")
    assert re.fullmatch(r"plugins/beep\.py(:\d+)?", place)
    assert sentence.startswith(reason)


DELIVER = "write it as deliver(self, notification)"
UNCALLABLE = {
    "(self)": "deliver does not take 'notification'",
    "(*args)": "deliver does not take 'notification'",
    "(self, *args)": "deliver does not take 'notification'",
    "(self, *, silent=True)": "deliver does not take 'notification'",
    "()": "deliver has no self",
    "(notification)": "deliver has no self",
    "(notification, event)": "deliver has no self",
    "(*, notification)": "deliver has no self",
    "(**anything)": "deliver has no self",
    "(itself, notification)": "deliver has no self",
    "(self, note)": "deliver has an argument 'note'",
    "(self, notification, silent)": "deliver has an argument 'silent'",
    "(self, notification, *, silent)": "deliver has an argument 'silent'",
    "(self, notification, /)": "deliver has an argument 'notification'",
    "(self, notification=None, /)": "deliver does not take 'notification'",
    "(self, event, **anything)": "deliver has an argument 'event'",
}
"""Signatures that the agent's call does not fit, or that lose the notification."""
CALLABLE = [
    "(self, notification)",
    "(self, *, notification)",
    "(self, notification=None)",
    "(self, *args, notification)",
    "(self, **anything)",
    "(self, /, notification)",
    "(*args, **anything)",
    "(self, notification, silent=True)",
]


@pytest.mark.parametrize("word", ["def", "async def"])
@pytest.mark.parametrize(("signature", "sentence"), UNCALLABLE.items())
def test_a_hook_that_cannot_be_called_is_refused_with_the_right_signature(
    catalog: Catalog, plugins_dir: Path, write: Write, word: str, signature: str, sentence: str
) -> None:
    path = write("beep", method(f"@hookimpl\n{word} deliver{signature}: ..."))
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if " deliver(" in text)
    assert refusal(catalog, plugins_dir) == f"plugins/beep.py:{line}: {sentence}; {DELIVER}"


@pytest.mark.parametrize("signature", CALLABLE)
def test_a_hook_that_can_be_called_is_called_with_the_notification(
    catalog: Catalog, plugins_dir: Path, write: Write, signature: str
) -> None:
    write("beep", method(f"@hookimpl\ndef deliver{signature}: return locals()"))
    plugin = catalog.find("beep", plugins_dir).plugin_class()
    result = Registry().register("beep.x", plugin)["deliver"].bind(notification="the one")()
    assert "the one" in {**result, **result.get("anything", {})}.values()


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            "def on_events(self, event): ...",
            "on_events is no hook, so the agent never calls it; did you mean on",
        ),
        ("async def on_tasks_event(self, event): ...", "did you mean on_task_event(self, event) under @hookimpl?"),
        ("def delivr(self, notification): ...", "did you mean deliver(self, notification) under @hookimpl?"),
        ("def Deliver(self, notification): ...", "did you mean deliver(self, notification) under @hookimpl?"),
        ("def lifespam(self): ...", "did you mean lifespan(self) under @hookimpl?"),
        ("@staticmethod\ndef diagnostic(): ...", "did you mean diagnostics(self) under @hookimpl?"),
        ("in_fligth = 4", "in_fligth means nothing to the agent; did you mean in_flight?"),
        ("machinelocal = True", "did you mean machine_local?"),
        ("@hookimpl\ndef on_task_event(self): ...", "on_task_event does not get its event; write it as on_task"),
        ("def _delivr(self): ...", None),
        ("def work(self): ...", None),
        ("names = ('a', 'b')", None),
        ("@hookimpl\ndef on_task_event(self, **anything): ...", None),
    ],
)
def test_a_harmless_mistake_is_a_warning_with_its_line(
    catalog: Catalog, plugins_dir: Path, write: Write, text: str, warning: str | None
) -> None:
    path = write("beep", method(text))
    warnings = catalog.find("beep", plugins_dir).warnings
    if warning is None:
        assert warnings == ()
    else:
        lines = path.read_text().splitlines()
        own = text.splitlines()[-1].strip()
        line = next(number for number, each in enumerate(lines, 1) if own in each)
        assert len(warnings) == 1
        assert warnings[0].startswith(f"plugins/beep.py:{line}: ")
        assert warning in warnings[0]


@pytest.mark.parametrize(
    "default", ["Field(5)", "Field(5, 6)", "Field('a', 'b')", "Field(5, ge=1)", "Field(default=5)", "Field()"]
)
def test_the_wrong_field_is_named(catalog: Catalog, plugins_dir: Path, write: Write, default: str) -> None:
    source = BEEP.replace("times: int = 1", f"times: int = {default}")
    path = write("beep", "from aintandem_notify.api import Field\n" + source)
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "times" in text)
    sentence = "Field of aintandem_notify.api is a fact of a notification"
    assert re.match(rf"plugins/beep\.py:{line}: (times: )?{sentence}", refusal(catalog, plugins_dir))


def test_a_hook_outside_of_the_class_is_refused(catalog: Catalog, plugins_dir: Path, write: Write) -> None:
    path = write("beep", BEEP + "\n@hookimpl\ndef check(self): ...\n")
    line = len(path.read_text().splitlines()) - 1
    assert refusal(catalog, plugins_dir) == (
        f"plugins/beep.py:{line}: check is a hook, but no method; move it into the plugin's class"
    )


@pytest.mark.parametrize(
    "text",
    [
        "@hookimpl\ndef deliver(self, **anything): ...",
        "@hookimpl\ndef deliver(self, notification, silent=True): ...",
        "@staticmethod\n@hookimpl\ndef deliver(notification): ...",
        "@hookimpl\n@staticmethod\ndef deliver(notification): ...",
        "@classmethod\n@hookimpl\ndef deliver(cls, notification): ...",
        "from unittest.mock import Mock\nanything = Mock()",
        "@hookimpl(specname='deliver')\ndef send(self, notification): ...",
        "@hookimpl(optionalhook=True)\ndef on_something_new(self, event): ...",
        "@hookimpl\n@asynccontextmanager\nasync def lifespan(self): yield",
        "@asynccontextmanager\n@hookimpl\nasync def lifespan(self): yield",
    ],
)
def test_valid_plugins_are_accepted(catalog: Catalog, plugins_dir: Path, write: Write, text: str) -> None:
    write("beep", method(text))
    plugin_type = catalog.find("beep", plugins_dir)
    assert plugin_type.live_hooks == {"on_event"}
    assert plugin_type.delivers == ("deliver" in text)


@pytest.mark.parametrize(
    ("classes", "fields"),
    [
        ("class Beep(Plugin): @@", set()),
        ("class Beep(Plugin[Config]): @@", {"times"}),
        ("class _Base(Plugin[Config]): ...\nclass Beep(_Base): @@", {"times"}),
        ("class _Base(Plugin[C], Generic[C]): ...\nclass Beep(_Base[Config]): @@", {"times"}),
        ("class _Base(Plugin[C], Generic[C]): ...\nclass Beep(_Base): @@", set()),
        ("class _Mixin: ...\nclass Beep(_Mixin, Plugin[Config]): @@", {"times"}),
    ],
)
def test_the_config_model_is_found_through_the_bases(
    catalog: Catalog, plugins_dir: Path, write: Write, classes: str, fields: set[str]
) -> None:
    body = "\n    @hookimpl\n    def deliver(self, notification): ..."
    model = "class Config(PluginConfig):\n    times: int = 1\nC = TypeVar('C', bound=PluginConfig)\n"
    write("beep", HEAD + model + classes.replace("@@", body) + "\n")
    config_model = catalog.find("beep", plugins_dir).config_model
    assert set(config_model.model_fields) - set(PluginConfig.model_fields) == fields


def test_a_reserved_key_may_have_another_default(catalog: Catalog, plugins_dir: Path, write: Write) -> None:
    source = BEEP.replace("times: int = 1", "timeout: Duration = 5.0")
    write("beep", "from aintandem_notify.api import Duration\n" + source)
    assert catalog.find("beep", plugins_dir).config_model().timeout == 5.0
