"""Frames and hellos put together by hand, for tests that speak to a node's port without our own client
(src/wire/frame.h, src/wire/raftfs.proto)."""

import socket
import struct

from harness import slow

HELLO, HELLO_REPLY, RAFT, REQUEST, REPLY, KEEP_ALIVE, _, STATUS_REQUEST, STATUS = range(1, 10)
PAYLOAD_MAX = 8 << 20


def _crc_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


_TABLE = _crc_table()


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def frame(kind, payload, length=None, crc=None, reserved=0):
    head = struct.pack("<IHH", len(payload) if length is None else length, kind, reserved)
    return head + struct.pack("<I", crc32c(payload, crc32c(head)) if crc is None else crc) + payload


def varint(n):
    out = bytearray()
    while True:
        out.append(n & 0x7F | (0x80 if n > 0x7F else 0))
        n >>= 7
        if not n:
            return bytes(out)


def field(number, value):
    """One protobuf field: bytes as such, an integer as a varint."""
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def message(**numbered):
    """message(f1=…, f3=…): the fields by their numbers."""
    return b"".join(field(int(name[1:]), value) for name, value in numbered.items())


def fields(payload):
    """The other way round: {number: value} of a message without nested structure; the last of a number counts."""
    def take_varint(at):
        value = shift = 0
        while True:
            byte = payload[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value, at
    found, at = {}, 0
    while at < len(payload):
        key, at = take_varint(at)
        if key & 7 == 0:
            found[key >> 3], at = take_varint(at)
        elif key & 7 == 2:
            size, at = take_varint(at)
            found[key >> 3], at = payload[at:at + size], at + size
        else:
            raise ValueError(f"wire type {key & 7}")
    return found


def hello(cluster=b"", node_id=0, incarnation=1, to_node=0, low=1, high=1):
    return frame(HELLO, message(f1=low, f2=high, f3=cluster, f4=node_id, f5=incarnation, f6=to_node))


class Peer:
    """A TCP connection to a node; `closed()` tells whether the node has ended it."""

    def __init__(self, address, greet=None):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), slow(5))
        if greet is not None:
            self.send(greet)
            self.reply = self.receive()

    def send(self, data):
        """All of it, unless the node has hung up by then: that is for the test to judge by closed()."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def receive(self):
        """The next frame as (type, payload), or None if the connection ended."""
        head = self._exactly(12)
        if head is None:
            return None
        length, kind, _, _ = struct.unpack("<IHHI", head)
        payload = self._exactly(length)
        return None if payload is None else (kind, payload)

    def _exactly(self, n):
        data = b""
        while len(data) < n:
            try:
                piece = self.socket.recv(n - len(data))
            except ConnectionResetError:
                return None
            if not piece:
                return None
            data += piece
        return data

    def closed(self, seconds=5):
        """Read until the node ends the connection; False if it has not within `seconds`."""
        self.socket.settimeout(slow(seconds))
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        except socket.timeout:
            return False
        return True

    def close(self, abruptly=False):
        if abruptly: # RST instead of FIN
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
