"""Unpacks answers that are compressed, although every request asks for ``identity``. Pure.

Some gateways compress whether or not they were asked to. gzip and deflate are known here. Brotli and Zstandard
need libraries that are not installed, so such a body stays as it came.
"""

import codecs
import zlib
from collections.abc import Iterator
from typing import Final, Self

PIECE_BYTES: Final = 65536
"""Bytes that are unpacked at a time: a small answer may unpack to gigabytes."""
SURE_BYTES: Final = 32
"""Bytes after which deflated data are told from text. Text can look deflated at its beginning, and has no sum."""
MAX_LAYERS: Final = 3
"""Encodings one inside of the other that are unpacked; with more, the body stays as it came."""

_GZIP: Final = frozenset({"gzip", "x-gzip"})
_DEFLATE: Final = frozenset({"deflate"})
_NONE: Final = frozenset({"", "identity"})

_GZIP_FIRST: Final = b"\x1f"
_GZIP_BITS: Final = 16 + zlib.MAX_WBITS


class Unpacker:
    """Unpacks one body, which arrives in any number of chunks. Without an encoding that it knows, it changes none.

    A body that turns out not to be compressed stays as it came, too: proxies unpack bodies and forget the header.
    """

    def __init__(self, layers: "tuple[_Layer, ...]" = ()) -> None:
        self._layers = layers

    @classmethod
    def for_encoding(cls, content_encoding: str) -> Self:
        """The unpacker for the value of a ``Content-Encoding`` header, which may be missing or empty."""
        names = [name.strip().lower() for name in content_encoding.split(",")]
        known = [name for name in names if name not in _NONE]
        if len(known) > MAX_LAYERS or not _GZIP.union(_DEFLATE).issuperset(known):
            return cls()
        return cls(tuple(_Layer(is_gzip=name in _GZIP) for name in reversed(known)))

    @property
    def expects_packed(self) -> bool:
        """True if the header announced a compressed body, so that the body may be longer than the bytes sent."""
        return bool(self._layers)

    @property
    def has_unpacked(self) -> bool:
        """True if the body was compressed, and could be unpacked at least in part."""
        return any(layer.has_unpacked for layer in self._layers)

    @property
    def is_complete(self) -> bool:
        """False if the end of the compressed data is missing, or if they are damaged behind their beginning."""
        return all(layer.is_complete for layer in self._layers)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The next pieces of the plain body, each of at most ``PIECE_BYTES`` unless nothing is compressed.

        At least one piece, which may be empty.
        """
        pieces = iter((chunk,))
        for layer in self._layers:
            pieces = layer.unpack(pieces)
        return pieces

    def finish(self) -> Iterator[bytes]:
        """The last pieces of the plain body, once all chunks were fed; mostly none."""
        pieces: Iterator[bytes] = iter(())
        for layer in self._layers:
            pieces = layer.finish(pieces)
        return pieces


class _Layer:
    """One encoding around the body."""

    def __init__(self, *, is_gzip: bool) -> None:
        self._is_gzip = is_gzip
        self._stream: zlib._Decompress | None = None
        self._is_plain = False
        self._is_broken = False
        self._held = b""
        """The beginning, as long as nobody can tell whether it is compressed."""

    @property
    def has_unpacked(self) -> bool:
        return self._stream is not None

    @property
    def is_complete(self) -> bool:
        return self._stream is None or (self._stream.eof and not self._is_broken)

    def unpack(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._is_plain or not chunk:
                yield chunk
            elif self._is_broken:
                yield b""
            elif self._stream is None:
                self._held += chunk
                is_sure = self._is_gzip or len(self._held) >= SURE_BYTES
                yield from self._begin() if is_sure else (b"",)
            else:
                yield from self._go_on(self._stream, chunk)

    def finish(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        yield from self.unpack(chunks)
        if self._held:
            yield from self._begin()

    def _begin(self) -> Iterator[bytes]:
        chunk, self._held = self._held, b""
        stream = self._make_stream(chunk)
        try:
            first = stream.decompress(chunk, PIECE_BYTES) if stream is not None else None
        except zlib.error:
            first = None
        if stream is None or first is None:
            self._is_plain = True
            yield chunk
            return
        self._stream = stream
        yield first
        if (rest := _rest_behind(stream)) or len(first) == PIECE_BYTES:
            yield from self._go_on(stream, rest)

    def _make_stream(self, start: bytes) -> "zlib._Decompress | None":
        """None if a body that begins so is not compressed in the manner that the header names."""
        if self._is_gzip:
            return zlib.decompressobj(_GZIP_BITS) if start.startswith(_GZIP_FIRST) else None
        if _is_text(start):
            return None
        # RFC 1950 is meant by "deflate", but some servers send RFC 1951, without its header.
        has_header = start[0] & 0x0F == zlib.DEFLATED and start[0] >> 4 <= 7
        return zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)

    def _go_on(self, stream: "zlib._Decompress", packed: bytes) -> Iterator[bytes]:
        is_over = False
        while not is_over:
            if stream.eof and not (self._is_gzip and packed.startswith(_GZIP_FIRST)):
                yield b""  # bytes behind the end mean nothing
                return
            if stream.eof:  # RFC 1952 allows several members, one behind the other
                self._stream = stream = zlib.decompressobj(_GZIP_BITS)
            try:
                piece = stream.decompress(packed, PIECE_BYTES)
                packed = _rest_behind(stream)
            except zlib.error:
                self._is_broken, piece, packed = True, b"", b""
            is_over = len(piece) < PIECE_BYTES and not packed
            yield piece


def _rest_behind(stream: "zlib._Decompress") -> bytes:
    return stream.unused_data if stream.eof else stream.unconsumed_tail


def _is_text(start: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return bool(text) and all(character.isprintable() or character in "\t\r\n\ufeff" for character in text)
