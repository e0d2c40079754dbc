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
    """One file. Writes happen in a worker thread, so a slow disk delays nobody else."""

    # A whole batch is one hop to the worker thread, and a repetition after a kill carries the same id.
    in_flight: ClassVar[int] = 256
    digest_over: ClassVar[int | None] = None
    machine_local: ClassVar[bool] = True

    _file: LogFile

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Hold the file's descriptor; the file itself is opened by the first delivery."""
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
        """Open the file for appending, or see that it could be made; writes nothing."""
        self._file.probe()

    @hookimpl
    def diagnostics(self) -> Mapping[str, Any]:
        """Where the file is and how large."""
        return {
            "path": str(self.config.path),
            "bytes": self._file.size(),
            "lines_written": self._file.lines_written,
        }
