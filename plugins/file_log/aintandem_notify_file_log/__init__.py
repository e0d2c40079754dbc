"""Appends every notification to a file, as one line of JSON."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from pydantic import Field

from aintandem_notify.api import FilePath, Notification, Plugin, PluginConfig, hookimpl
from aintandem_notify_file_log.files import LogFile
from aintandem_notify_file_log.lines import json_line


class Config(PluginConfig):
    """The keys of ``[plugins.file_log.<name>]``."""

    path: FilePath = Field(description="the file; a relative path starts at the config file's folder")


class FileLog(Plugin[Config]):
    """One log file. Writes run in a worker thread, so a slow disk delays no other destination."""

    # A whole batch takes one switch to the worker thread, and a line repeated after a kill has the same id.
    in_flight: ClassVar[int] = 256
    digest_over: ClassVar[int | None] = None
    machine_local: ClassVar[bool] = True

    _file: LogFile

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Keep the file open until tear-down; the first delivery opens it."""
        self._file = LogFile(self.config.path)
        try:
            yield
        finally:
            self._file.close()

    @hookimpl
    def deliver(self, notification: Notification) -> None:
        """Append one line."""
        self._file.append(json_line(notification))

    @hookimpl
    def check(self) -> None:
        """Check that the file can be opened or created; writes nothing."""
        self._file.probe()

    @hookimpl
    def diagnostics(self) -> Mapping[str, Any]:
        """The file's path and size, and the number of lines written."""
        return {
            "path": str(self.config.path),
            "bytes": self._file.size(),
            "lines_written": self._file.lines_written,
        }
