"""desktop_notify with a real bus and a service that checks the specification strictly."""

import os
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio

from aintandem_notify.api import DestinationBroken, Receipt, Rejected, RetryLater, Severity
from aintandem_notify_desktop_notify import Config, DesktopNotify
from aintandem_notify_desktop_notify.bus import Bus, BusLost
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


def failure(number: int) -> Popup:
    return Popup(app_name="A", summary=f"Import {number} failed", body="why", severity=Severity.ERROR)


async def show_failures(desktop: Freedesktop, numbers: Iterable[int]) -> list[Receipt]:
    return [await desktop.show(failure(number), None) for number in numbers]


@pytest.mark.parametrize("capabilities", [(), ("body",), ("body", "body-markup", "actions", "persistence")])
async def test_of_thirty_failures_five_stand_alone_and_one_summary_tells_the_others(
    capabilities: tuple[str, ...],
) -> None:
    async with open_notification_service(capabilities) as service:
        desktop = desktop_at(service.address)
        await show_failures(desktop, range(30))
        desktop.close()

        *alone, summary = service.on_screen().values()
    assert [notification.summary for notification in alone] == [f"Import {number} failed" for number in range(5)]
    assert summary.summary == "25 more failures: Import 29 failed"
    assert summary.body.splitlines() == [
        *(f"Import {number} failed" for number in range(29, 22, -1)),
        "… 18 earlier ones",
    ]
    # Each was told once, in its turn.
    assert [shown.summary.rpartition(": ")[2] for shown in service.notifications] == [
        f"Import {number} failed" for number in range(30)
    ]
    assert service.complaints == []


async def test_the_summary_counts_equal_failures(service: NotificationService) -> None:
    desktop = Freedesktop({"DBUS_SESSION_BUS_ADDRESS": service.address}, max_critical=1)
    await show_failures(desktop, [0, 1, 2, 1, 1])
    facts = desktop.diagnostics()
    desktop.close()

    assert service.notifications[-1].body == "Import 1 failed (3 times)\nImport 2 failed"
    assert (facts["critical popups"], facts["failures in the summary"]) == (1, 4)


async def test_a_popup_that_was_closed_makes_room(service: NotificationService, desktop: Freedesktop) -> None:
    receipts = await show_failures(desktop, range(5))
    await service.close(receipts[1]["id"], 4711)
    await desktop.show(failure(5), None)
    await desktop.show(failure(6), None)

    assert [shown.summary for shown in service.notifications[5:]] == [
        "Import 5 failed",
        "1 more failure: Import 6 failed",
    ]


async def test_a_summary_that_was_closed_begins_anew(service: NotificationService, desktop: Freedesktop) -> None:
    summary = (await show_failures(desktop, range(8)))[-1]["summary"]
    await service.close(summary)
    again = await desktop.show(failure(8), None)

    shown = service.notifications[-1]
    assert (shown.summary, shown.replaces_id) == ("1 more failure: Import 8 failed", 0)
    assert again["summary"] != summary


async def test_a_run_that_goes_on_gives_its_place_away(service: NotificationService, desktop: Freedesktop) -> None:
    receipts = await show_failures(desktop, range(5))
    failed_again = await desktop.show(failure(0), receipts[0])
    await desktop.show(HELLO, receipts[1])
    alone = await desktop.show(failure(5), None)

    assert failed_again == receipts[0]
    assert "id" in alone
    assert len(service.on_screen()) == 6


async def test_no_popup_replaces_the_summary_that_told_of_its_run(
    service: NotificationService, desktop: Freedesktop
) -> None:
    in_summary = (await show_failures(desktop, range(6)))[-1]
    await desktop.show(HELLO, in_summary)

    assert service.notifications[-1].replaces_id == 0


async def test_a_failure_that_the_service_did_not_take_is_counted_once(
    service: NotificationService, desktop: Freedesktop
) -> None:
    await show_failures(desktop, range(6))
    service.fail_next(f"{NAME}.Error.ExcessNotificationGeneration")
    with pytest.raises(RetryLater):
        await desktop.show(failure(6), None)
    await desktop.show(failure(6), None)

    assert service.notifications[-1].summary == "2 more failures: Import 6 failed"


async def test_with_a_service_that_was_restarted_the_screen_is_empty() -> None:
    async with open_bus() as address:
        desktop = desktop_at(address)
        async with serve_notifications(address):
            await show_failures(desktop, range(7))
        async with serve_notifications(address) as restarted:
            await show_failures(desktop, range(5))
        desktop.close()

    assert [shown.summary for shown in restarted.notifications] == [
        f"Import {number} failed" for number in range(5)
    ]


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


UNUSABLE_ADDRESSES = (
    "autolaunch:",
    "autolaunch:scope=install-path",
    "unixexec:path=ssh,argv1=host",
    "tcp:host=x,port=1",
    "nonce-tcp:host=x,port=1,noncefile=/x",
    "launchd:env=DBUS_LAUNCHD_SESSION_BUS_SOCKET",
    "systemd:",
    "vsock:cid=1,port=1",
    "disabled:",
    "rubbish",
    ":",
    ";",
    "unix:",
    "unix:path",
    "unix:path=",
    "unix:tmpdir=/tmp",
    "unix:runtime=yes",
    "unix:path=/nowhere/bus",
    "unix:path=/nowhere/b%C3%BCs",
    f"unix:path=/{'x' * 200}",
    "unix:path=/nowhere%00bus",
    "unix:path=/nowhere/%zz",
    "unix:path=/nowhere/\udcff",
    "unix:path=\ud800",
    "=,=",
    "unix:abstract=nowhere",
    "/run/user/1000/bus",
)
"""Entries of ``DBUS_SESSION_BUS_ADDRESS`` that lead to no bus."""


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({}, "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set"),
        ({"DBUS_SESSION_BUS_ADDRESS": ""}, "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set"),
        ({"XDG_RUNTIME_DIR": "/nowhere"}, r"does not answer: No such file or directory \(/nowhere/bus\)$"),
        (
            {"DBUS_SESSION_BUS_ADDRESS": "autolaunch:"},
            "no way to reach DBUS_SESSION_BUS_ADDRESS=autolaunch:, and XDG_RUNTIME_DIR is not set$",
        ),
        ({"DBUS_SESSION_BUS_ADDRESS": "unixexec:path=sh,argv1=canary"}, "=unixexec:, and"),
        (
            {"DBUS_SESSION_BUS_ADDRESS": "tcp:host=x;unix:path=/no/b%c3%bcs", "XDG_RUNTIME_DIR": "/nowhere"},
            r"does not answer: no socket to connect to \(tcp:\); No such .* \(/no/büs\); .* \(/nowhere/bus\)$",
        ),
        *(({"DBUS_SESSION_BUS_ADDRESS": entry}, "") for entry in UNUSABLE_ADDRESSES),
        *(
            ({"DBUS_SESSION_BUS_ADDRESS": entry, "XDG_RUNTIME_DIR": "/nowhere"}, r"\(/nowhere/bus\)")
            for entry in UNUSABLE_ADDRESSES
        ),
    ],
)
async def test_without_a_bus_notifications_are_unavailable(environ: dict[str, str], reason: str) -> None:
    desktop = Freedesktop(environ)

    with pytest.raises(RetryLater, match=f"^desktop notifications are unavailable: .*{reason}") as caught:
        await desktop.show(HELLO, None)
    assert "canary" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def path_of(service: NotificationService) -> Path:
    return Path(service.address.removeprefix("unix:path=").partition(",")[0])


async def test_an_address_that_cannot_be_used_is_skipped(tmp_path: Path) -> None:
    async with open_notification_service() as service:
        (tmp_path / "bus").symlink_to(path_of(service))
        (tmp_path / "a b,ü;=%").symlink_to(path_of(service))
        escaped = quote(os.fspath(tmp_path / "a b,ü;=%"), safe="")
        for entry in UNUSABLE_ADDRESSES:
            for environ in (
                {"DBUS_SESSION_BUS_ADDRESS": f"{entry};{service.address}"},
                {"DBUS_SESSION_BUS_ADDRESS": f"{entry}; unix:path={escaped},guid=1 \n"},
                {"DBUS_SESSION_BUS_ADDRESS": entry, "XDG_RUNTIME_DIR": os.fspath(tmp_path)},
            ):
                desktop = Freedesktop(environ)
                await desktop.check()
                desktop.close()

    assert set(service.calls) == {"GetServerInformation"}


async def test_after_a_bus_that_says_nothing_the_next_one_is_tried(tmp_path: Path) -> None:
    silent = tmp_path / "silent"
    with trio.socket.socket(trio.socket.AF_UNIX) as listening:
        await listening.bind(str(silent))
        listening.listen()
        environ = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={silent};unix:path=/nowhere"}
        with pytest.raises(BusLost, match=r"it said nothing for 0.01 s \(.*silent\); No such file"):
            await Bus.connect(environ, timeout_s=0.01)


async def test_after_a_bus_without_the_service_the_addresses_are_tried_from_the_start(tmp_path: Path) -> None:
    """A session that begins later has the service, and the bus of the user's systemd none."""
    session = tmp_path / "session"
    async with open_bus() as without, open_notification_service() as service:
        (tmp_path / "bus").symlink_to(without.removeprefix("unix:path=").partition(",")[0])
        desktop = Freedesktop(
            {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={session}", "XDG_RUNTIME_DIR": os.fspath(tmp_path)}
        )
        with pytest.raises(RetryLater, match="no notification service runs"):
            await desktop.show(HELLO, None)
        session.symlink_to(path_of(service))
        await desktop.show(HELLO, None)
        desktop.close()

    assert len(service.notifications) == 1


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
