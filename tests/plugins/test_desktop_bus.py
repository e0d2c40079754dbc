"""desktop_notify with a real bus and a service that checks the specification strictly."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from aintandem_notify.api import DestinationBroken, Rejected, RetryLater, Severity
from aintandem_notify_desktop_notify import Config, DesktopNotify
from aintandem_notify_desktop_notify.freedesktop import Freedesktop
from aintandem_notify_desktop_notify.popup import Popup
from support.dbus_service import (
    NAME,
    NotificationService,
    open_bus,
    open_notification_service,
    serve_notifications,
)
from support.plugin_samples import configured, failed_task

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="D-Bus desktops are tested on Linux")

HELLO = Popup(app_name="AInTandem", summary="Hello", body="there", severity=Severity.INFO)


@pytest.fixture
async def service() -> AsyncIterator[NotificationService]:
    async with open_notification_service() as running:
        yield running
        assert running.complaints == []


def desktop_at(address: str) -> Freedesktop:
    return Freedesktop({"DBUS_SESSION_BUS_ADDRESS": address})


@pytest.fixture
async def desktop(service: NotificationService) -> AsyncIterator[Freedesktop]:
    connected = desktop_at(service.address)
    yield connected
    connected.close()


async def test_the_plugin_shows_a_notification(
    service: NotificationService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", service.address)
    plugin = configured(DesktopNotify, Config, tmp_path, app_name="Night", icon="robot", expire_timeout="15s")

    async with plugin.lifespan():
        await plugin.check()
        receipt = await plugin.deliver(failed_task())
        facts = plugin.diagnostics()

    (notification,) = await service.wait_for(1)
    assert (notification.app_name, notification.icon) == ("Night", "robot")
    assert (notification.summary, notification.body) == ("Nightly import failed", "Sales pipeline\nno space left")
    assert notification.hints == {"urgency": ("y", 2)}
    assert (notification.replaces_id, notification.actions, notification.expire_timeout) == (0, (), 15_000)
    assert receipt is not None
    assert receipt["id"] == notification.id
    assert facts["connected"] is True
    assert facts["capabilities"] == ["body", "body-markup"]


async def test_by_default_the_desktop_decides_on_icon_and_time(
    service: NotificationService, desktop: Freedesktop
) -> None:
    await desktop.show(HELLO, None)

    (notification,) = await service.wait_for(1)
    assert (notification.icon, notification.expire_timeout) == ("dialog-information", -1)


async def test_markup_characters_are_escaped_in_the_body_only(
    service: NotificationService, desktop: Freedesktop
) -> None:
    text = 'a < b && c > d <b>"bold"</b>'

    await desktop.show(Popup(app_name="A", summary=text, body=text, severity=Severity.ERROR), None)

    (notification,) = await service.wait_for(1)
    assert notification.summary == text
    assert notification.body == 'a &lt; b &amp;&amp; c &gt; d &lt;b&gt;"bold"&lt;/b&gt;'


async def test_a_server_without_markup_gets_text_without_tags() -> None:
    async with open_notification_service(capabilities=("body",)) as service:
        desktop = desktop_at(service.address)
        await desktop.show(
            Popup(app_name="A", summary="x", body="List<int> & <b>bold</b>", severity=Severity.ERROR), None
        )
        desktop.close()

        assert service.notifications[0].body == "List<int> & bold"


async def test_a_server_with_links_gets_one() -> None:
    url = 'https://console.example/?a=1&b="2"'
    async with open_notification_service(capabilities=("body", "body-markup", "body-hyperlinks")) as service:
        desktop = desktop_at(service.address)
        await desktop.show(Popup(app_name="A", summary="x", body="y", severity=Severity.ERROR, url=url), None)
        desktop.close()

        assert service.complaints == []
        assert service.notifications[0].body == (
            'y\n<a href="https://console.example/?a=1&amp;b=%222%22">Show in the console</a>'
        )


async def test_the_capabilities_are_asked_for_once(service: NotificationService, desktop: Freedesktop) -> None:
    for _ in range(3):
        await desktop.show(HELLO, None)

    assert service.calls == ["GetCapabilities", "Notify", "Notify", "Notify"]


async def test_a_receipt_replaces_its_notification(service: NotificationService, desktop: Freedesktop) -> None:
    first = await desktop.show(HELLO, None)
    await desktop.show(HELLO, None)
    third = await desktop.show(HELLO, first)

    assert [notification.replaces_id for notification in service.notifications] == [0, 0, first["id"]]
    assert third == first


async def test_a_receipt_is_good_for_another_connection_of_ours(service: NotificationService) -> None:
    before, after = desktop_at(service.address), desktop_at(service.address)
    receipt = await before.show(HELLO, None)
    before.close()
    await after.show(HELLO, receipt)
    after.close()

    assert service.notifications[1].replaces_id == receipt["id"]


async def test_a_receipt_of_a_service_that_was_restarted_is_not_used() -> None:
    async with open_bus() as address:
        desktop = desktop_at(address)
        async with serve_notifications(address):
            receipt = await desktop.show(HELLO, None)
        async with serve_notifications(address, capabilities=("body",)) as restarted:
            again = await desktop.show(HELLO, receipt)
        desktop.close()

    assert restarted.notifications[0].replaces_id == 0
    assert again["server"] != receipt["server"]
    assert restarted.calls == ["GetCapabilities", "Notify"]


async def test_a_receipt_of_another_bus_is_not_used() -> None:
    async with open_notification_service() as old:
        desktop = desktop_at(old.address)
        receipt = await desktop.show(HELLO, None)
        desktop.close()
    async with open_notification_service() as new:
        desktop = desktop_at(new.address)
        again = await desktop.show(HELLO, receipt)
        desktop.close()

    # Names can be equal on both buses: every bus counts from 1.
    assert new.notifications[0].replaces_id == 0
    assert again["bus"] != receipt["bus"]


@pytest.mark.parametrize(
    ("error_name", "expected"),
    [
        (f"{NAME}.Error.ExcessNotificationGeneration", RetryLater),
        ("org.freedesktop.DBus.Error.LimitsExceeded", RetryLater),
        ("org.freedesktop.DBus.Error.NoReply", RetryLater),
        ("org.freedesktop.DBus.Error.AccessDenied", DestinationBroken),
        ("org.freedesktop.DBus.Error.UnknownMethod", DestinationBroken),
        ("org.freedesktop.DBus.Error.InvalidArgs", Rejected),
        ("org.gnome.gjs.JSError.TypeError", RuntimeError),
    ],
)
async def test_an_error_of_the_service_is_an_outcome_and_the_next_one_is_shown(
    error_name: str, expected: type[Exception], service: NotificationService, desktop: Freedesktop
) -> None:
    service.fail_next(error_name, "because")

    with pytest.raises(expected, match="because"):
        await desktop.show(HELLO, None)
    await desktop.show(HELLO, None)

    assert len(service.notifications) == 1
    assert service.calls.count("GetCapabilities") == 1


@pytest.mark.parametrize("ask", [lambda desktop: desktop.show(HELLO, None), lambda desktop: desktop.check()])
async def test_without_a_service_notifications_are_unavailable(ask: Callable[[Freedesktop], Any]) -> None:
    async with open_bus() as address:
        desktop = desktop_at(address)
        with pytest.raises(RetryLater, match="unavailable: no notification service runs"):
            await ask(desktop)
        desktop.close()


async def test_a_service_that_comes_later_is_found() -> None:
    async with open_bus() as address:
        desktop = desktop_at(address)
        with pytest.raises(RetryLater):
            await desktop.show(HELLO, None)
        async with serve_notifications(address) as service:
            await desktop.show(HELLO, None)
        desktop.close()

    assert len(service.notifications) == 1


async def test_when_the_bus_dies_the_next_one_at_its_address_is_used(tmp_path: Path) -> None:
    link = tmp_path / "bus"
    desktop = desktop_at(f"unix:path={link}")
    for _ in range(2):
        async with open_notification_service() as service:
            path = service.address.removeprefix("unix:path=").partition(",")[0]
            link.unlink(missing_ok=True)
            link.symlink_to(path)
            await desktop.show(HELLO, None)
            assert len(service.notifications) == 1
        with pytest.raises(RetryLater, match="unavailable: the session bus"):
            await desktop.show(HELLO, None)
    assert desktop.diagnostics()["connected"] is False


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({}, "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set"),
        ({"DBUS_SESSION_BUS_ADDRESS": ""}, "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set"),
        ({"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere/bus"}, "does not answer: No such file"),
        ({"XDG_RUNTIME_DIR": "/nowhere"}, "does not answer: No such file"),
        ({"DBUS_SESSION_BUS_ADDRESS": "autolaunch:"}, "no way to reach DBUS_SESSION_BUS_ADDRESS=autolaunch:"),
        ({"DBUS_SESSION_BUS_ADDRESS": "tcp:host=x,port=1"}, "no way to reach"),
        ({"DBUS_SESSION_BUS_ADDRESS": "rubbish"}, "no way to reach"),
    ],
)
async def test_without_a_bus_notifications_are_unavailable(environ: dict[str, str], reason: str) -> None:
    desktop = Freedesktop(environ)

    with pytest.raises(RetryLater, match=f"desktop notifications are unavailable: .*{reason}"):
        await desktop.show(HELLO, None)


async def test_the_bus_of_the_users_systemd_is_found_without_an_address(tmp_path: Path) -> None:
    async with open_notification_service() as service:
        (tmp_path / "bus").symlink_to(service.address.removeprefix("unix:path=").partition(",")[0])
        desktop = Freedesktop({"XDG_RUNTIME_DIR": str(tmp_path)})
        await desktop.show(HELLO, None)
        desktop.close()

        assert len(service.notifications) == 1


@pytest.mark.parametrize(
    ("reply", "reason"), [(b"", "hung up"), (b"REJECTED EXTERNAL\r\n", "refused us"), (b"OK 1\r\n", "hung up")]
)
async def test_a_bus_that_hangs_up_or_refuses_is_not_asked_for_ever(
    reply: bytes, reason: str, tmp_path: Path
) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(reply)

    path = tmp_path / "bus"
    with trio.socket.socket(trio.socket.AF_UNIX) as listening:
        await listening.bind(str(path))
        listening.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, serve, [trio.SocketListener(listening)])
            with pytest.raises(RetryLater, match=reason):
                await desktop_at(f"unix:path={path}").show(HELLO, None)
            nursery.cancel_scope.cancel()


async def test_a_call_that_was_cut_off_does_not_answer_the_next_one(
    service: NotificationService, desktop: Freedesktop
) -> None:
    service.silent = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desktop.show, HELLO, None)
        await service.wait_for_call("GetCapabilities")
        nursery.cancel_scope.cancel()
    assert desktop.diagnostics()["connected"] is False

    service.silent = False
    receipt = await desktop.show(HELLO, None)

    assert receipt["id"] == service.notifications[0].id
