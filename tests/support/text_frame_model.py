"""The slow, obvious way to split text frames; the quick one is compared with it."""

PINGS = (0x89, 0x8A)


def split_slowly(content: bytes, limit: int) -> tuple[list[bytes], bytes]:
    """The payloads of whole text messages in ``content``, and the bytes for the WebSocket library."""
    texts: list[bytes] = []
    for_library, position = b"", 0
    while len(content) >= position + 2:
        first, length, start = content[position], content[position + 1], position + 2
        if length in (126, 127):
            start += 2 if length == 126 else 8
            if len(content) < start:
                break
            length = int.from_bytes(content[position + 2 : start])
        elif length > 127:
            return texts, for_library + content[position:]
        end, payload = start + length, content[start : start + length]
        if first not in (0x81, *PINGS) or length > limit:
            return texts, for_library + content[position:]
        if end > len(content):
            break
        if first in PINGS:
            for_library += content[position:end]
        elif is_utf8(payload):
            texts.append(payload)
        else:
            return texts, for_library + content[position:]
        position = end
    return texts, for_library


def is_utf8(payload: bytes) -> bool:
    """Whether it is text."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
