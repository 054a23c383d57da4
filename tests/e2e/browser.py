"""A headless Chromium, driven over its DevTools protocol with nothing but the standard library."""

import base64
import json
import os
import shutil
import socket
import struct
import time
import urllib.request

from harness import Failure, Proc, check, slow, wait_for


def chromium():
    """The program's path, or None where it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """One page. Use with `with`."""

    def __init__(self, directory, url, width=1280, height=1100):
        profile = directory / "data-chromium" # not a folder of logs
        self.proc = Proc("chromium", [chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                                      "--no-first-run", "--disable-background-networking", "--remote-debugging-port=0",
                                      "--remote-allow-origins=*", f"--window-size={width},{height}",
                                      f"--user-data-dir={profile}", url], directory / "chromium.out")
        port_file = profile / "DevToolsActivePort"
        wait_for(lambda: port_file.exists() and port_file.read_text().count("\n"), 30, "Chromium to start")
        self.port = int(port_file.read_text().split("\n")[0])
        self.id = 0
        self.socket = self.connect(wait_for(self.page, 10, "Chromium's page"))
        self.errors = []
        self.call("Runtime.enable")
        self.call("Log.enable")

    def page(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/json/list", timeout=10) as answer:
            pages = [p for p in json.load(answer) if p["type"] == "page"]
        return pages[0]["webSocketDebuggerUrl"] if pages else None

    def connect(self, url):
        path = "/" + url.split("/", 3)[3]
        s = socket.create_connection(("127.0.0.1", self.port), timeout=slow(30))
        key = base64.b64encode(os.urandom(16)).decode()
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += s.recv(1)
        check(b" 101 " in head.split(b"\r\n")[0], f"Chromium refuses the connection: {head!r}")
        return s

    def read(self, n):
        got = b""
        while len(got) < n:
            piece = self.socket.recv(n - len(got))
            check(piece, "Chromium closed the connection")
            got += piece
        return got

    def send(self, text):
        data, mask = text.encode(), os.urandom(4)
        n = len(data)
        size = bytes([0x80 | n]) if n < 126 else b"\xfe" + struct.pack(">H", n) if n < 65536 else b"\xff" + struct.pack(">Q", n)
        self.socket.sendall(b"\x81" + size + mask + bytes(c ^ mask[i % 4] for i, c in enumerate(data)))

    def receive(self):
        text = b""
        while True:
            first, second = self.read(2)
            n = second & 0x7f
            n = struct.unpack(">H", self.read(2))[0] if n == 126 else struct.unpack(">Q", self.read(8))[0] if n == 127 else n
            text += self.read(n)
            if first & 0x80:
                return json.loads(text)

    def call(self, method, **parameters):
        self.id += 1
        self.send(json.dumps({"id": self.id, "method": method, "params": parameters}))
        while True:
            message = self.receive()
            if message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(message["params"]["exceptionDetails"])
            if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["source"] == "security":
                self.errors.append(message["params"]["entry"]["text"])
            if message.get("id") == self.id:
                if "error" in message:
                    raise Failure(f"{method}: {message['error']}")
                return message["result"]

    def value(self, expression):
        """What a JavaScript expression gives in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        check("exceptionDetails" not in result, f"{expression}: {result.get('exceptionDetails')}")
        return result["result"].get("value")

    def scheme(self, name):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def screenshot(self, path, width=1280, height=1100):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        time.sleep(0.3) # for the picture only: transitions
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def __enter__(self):
        return self

    def __exit__(self, kind, value, tb):
        self.socket.close()
        self.proc.kill()
        return False
