"""file_log on real files: rotation, errors, and lines that are complete or absent."""

import errno
import json
import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from aintandem_notify.api import DestinationBroken, RetryLater
from aintandem_notify_file_log import Config, FileLog
from aintandem_notify_file_log.files import LogFile, outcome
from support.plugin_samples import configured, failed_task


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[LogFile]:
    opened = LogFile(tmp_path / "log.jsonl")
    yield opened
    opened.close()


def open_descriptors(folder: Path) -> int:
    """The number of this process's open descriptors of files in ``folder``."""
    files = {(status.st_dev, status.st_ino) for status in map(Path.stat, folder.iterdir())}
    count = 0
    for descriptor in list(Path("/dev/fd").iterdir()):
        with suppress(OSError):  # the descriptor of the listing itself is closed
            status = os.fstat(int(descriptor.name))
            count += (status.st_dev, status.st_ino) in files
    return count


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Writes stop at ``size`` bytes, the last one short, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    was = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, was)


@contextmanager
def without_privileges() -> Iterator[None]:
    """Runs as an ordinary user if the tests run as root, for whom no file is forbidden."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_lines_are_appended_to_an_existing_file(log_file: LogFile) -> None:
    log_file.path.write_bytes(b"old\n")

    log_file.append(b"one\n")
    log_file.append(b"two\n")

    assert log_file.path.read_bytes() == b"old\none\ntwo\n"
    assert log_file.lines_written == 2


def test_a_new_file_is_for_its_owner_only(log_file: LogFile) -> None:
    log_file.append(b"one\n")

    assert log_file.path.stat().st_mode & 0o777 == 0o600


def test_the_mode_of_a_file_that_stands_is_left_alone(log_file: LogFile) -> None:
    log_file.path.touch()
    log_file.path.chmod(0o640)

    log_file.append(b"one\n")

    assert log_file.path.stat().st_mode & 0o777 == 0o640


def test_missing_folders_are_made(tmp_path: Path) -> None:
    log_file = LogFile(tmp_path / "logs" / "team" / "log.jsonl")

    log_file.append(b"one\n")
    log_file.close()

    assert log_file.path.read_bytes() == b"one\n"


def test_after_a_rename_a_new_file_is_begun(log_file: LogFile) -> None:
    log_file.append(b"one\n")
    rotated = log_file.path.rename(log_file.path.with_suffix(".1"))

    log_file.append(b"two\n")

    assert rotated.read_bytes() == b"one\n"
    assert log_file.path.read_bytes() == b"two\n"


def test_a_file_put_in_its_place_is_used(log_file: LogFile, tmp_path: Path) -> None:
    log_file.append(b"one\n")
    other = tmp_path / "other"
    other.write_bytes(b"fresh\n")
    other.rename(log_file.path)

    log_file.append(b"two\n")

    assert log_file.path.read_bytes() == b"fresh\ntwo\n"


def test_a_deleted_file_is_made_again_with_its_folder(tmp_path: Path) -> None:
    log_file = LogFile(tmp_path / "logs" / "log.jsonl")
    log_file.append(b"one\n")
    log_file.path.unlink()
    log_file.path.parent.rmdir()

    log_file.append(b"two\n")
    log_file.close()

    assert log_file.path.read_bytes() == b"two\n"


def test_a_truncated_file_goes_on_from_its_start(log_file: LogFile) -> None:
    log_file.append(b"one\n")
    os.truncate(log_file.path, 0)

    log_file.append(b"two\n")

    assert log_file.path.read_bytes() == b"two\n"


def test_rotation_leaks_no_descriptor(log_file: LogFile) -> None:
    log_file.append(b"x\n")
    for number in range(20):
        log_file.path.rename(log_file.path.with_suffix(f".{number}"))
        log_file.append(b"x\n")

    assert open_descriptors(log_file.path.parent) == 1


def test_a_line_that_a_crash_cut_is_not_continued(log_file: LogFile) -> None:
    log_file.path.write_bytes(b'one\n{"half":')

    log_file.append(b"two\n")

    assert log_file.path.read_bytes() == b'one\n{"half":\ntwo\n'


def test_a_line_cut_by_a_full_disk_is_removed_and_written_again_later(log_file: LogFile) -> None:
    log_file.append(b"one\n")
    line = b"x" * 100 + b"\n"

    with files_of_at_most(50), pytest.raises(RetryLater, match=r"log\.jsonl"):
        log_file.append(line)
    assert log_file.path.read_bytes() == b"one\n"
    log_file.append(line)

    assert log_file.path.read_bytes() == b"one\n" + line
    assert log_file.lines_written == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_waited_for() -> None:
    log_file = LogFile(Path("/dev/full"))

    with pytest.raises(RetryLater, match=os.strerror(errno.ENOSPC)):
        log_file.append(b"one\n")


def test_a_device_takes_lines() -> None:
    log_file = LogFile(Path(os.devnull))

    log_file.append(b"one\n")
    log_file.close()

    assert log_file.lines_written == 1


def test_a_folder_at_the_path_needs_a_person(tmp_path: Path) -> None:
    with pytest.raises(DestinationBroken, match=os.strerror(errno.EISDIR)):
        LogFile(tmp_path).append(b"one\n")


def test_a_folder_that_replaced_the_file_needs_a_person_and_the_log_recovers(log_file: LogFile) -> None:
    log_file.append(b"one\n")
    log_file.path.unlink()
    log_file.path.mkdir()
    with pytest.raises(DestinationBroken):
        log_file.append(b"two\n")
    log_file.path.rmdir()

    log_file.append(b"two\n")

    assert log_file.path.read_bytes() == b"two\n"


def test_a_file_where_a_folder_should_be_needs_a_person(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(DestinationBroken, match=os.strerror(errno.ENOTDIR)):
        LogFile(tmp_path / "file" / "log.jsonl").append(b"one\n")


def test_a_file_that_may_not_be_opened_needs_a_person(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)

    with without_privileges(), pytest.raises(DestinationBroken, match=os.strerror(errno.EACCES)):
        LogFile(folder / "log.jsonl").append(b"one\n")


def test_a_named_pipe_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(DestinationBroken, match="neither a file nor a device"):
        LogFile(tmp_path / "pipe").append(b"one\n")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EACCES, DestinationBroken),
        (errno.EPERM, DestinationBroken),
        (errno.EROFS, DestinationBroken),
        (errno.EISDIR, DestinationBroken),
        (errno.ENOTDIR, DestinationBroken),
        (errno.ELOOP, DestinationBroken),
        (errno.ENAMETOOLONG, DestinationBroken),
        (errno.ENXIO, DestinationBroken),
        (errno.EINVAL, DestinationBroken),
        (errno.ENOSPC, RetryLater),
        (errno.EDQUOT, RetryLater),
        (errno.EIO, RetryLater),
        (errno.EFBIG, RetryLater),
        (errno.EMFILE, RetryLater),
        (errno.ESTALE, RetryLater),
        (errno.ENOENT, RetryLater),
    ],
)
def test_each_error_waits_or_needs_a_person(number: int, expected: type[Exception]) -> None:
    error = outcome(OSError(number, os.strerror(number)), Path("log.jsonl"))

    assert type(error) is expected
    assert str(error) == f"cannot write to log.jsonl: {os.strerror(number)}"


def test_threads_do_not_mix_their_lines(log_file: LogFile) -> None:
    def write(letter: bytes) -> None:
        for _ in range(200):
            log_file.append(letter * 50 + b"\n")

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    lines = log_file.path.read_bytes().splitlines()
    assert sorted(set(lines)) == [b"a" * 50, b"b" * 50]
    assert len(lines) == 400


def test_a_probe_creates_and_writes_nothing(tmp_path: Path) -> None:
    LogFile(tmp_path / "logs" / "log.jsonl").probe()
    standing = tmp_path / "standing"
    standing.write_bytes(b"half")
    LogFile(standing).probe()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["standing"]
    assert standing.read_bytes() == b"half"


def test_a_probe_raises_the_outcome_of_a_delivery(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    (tmp_path / "closed").mkdir(mode=0o500)

    for path in (tmp_path, tmp_path / "pipe", tmp_path / "file" / "x"):
        with pytest.raises(DestinationBroken):
            LogFile(path).probe()
    with without_privileges(), pytest.raises(DestinationBroken):
        LogFile(tmp_path / "closed" / "x" / "log.jsonl").probe()


async def test_the_plugin_writes_its_notifications_beside_the_config(tmp_path: Path) -> None:
    plugin = configured(FileLog, Config, tmp_path, path="notifications.jsonl")

    async with plugin.lifespan():
        plugin.check()
        plugin.deliver(failed_task(title="first"))
        plugin.deliver(failed_task(title="second"))
        facts = plugin.diagnostics()

    written = (tmp_path / "notifications.jsonl").read_text().splitlines()
    assert [json.loads(line)["title"] for line in written] == ["first", "second"]
    assert facts["lines_written"] == 2
    assert facts["bytes"] == (tmp_path / "notifications.jsonl").stat().st_size


async def test_leaving_the_lifespan_closes_the_file(tmp_path: Path) -> None:
    plugin = configured(FileLog, Config, tmp_path, path="log.jsonl")

    async with plugin.lifespan():
        plugin.deliver(failed_task())
        assert open_descriptors(tmp_path) == 1

    assert open_descriptors(tmp_path) == 0


def test_many_are_handed_over_at_once() -> None:
    assert FileLog.in_flight == 256
