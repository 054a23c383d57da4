"""Processes that lock, each told what to do over a pipe: fcntl(2) locks belong to a process, and a process that waits
does nothing else.

    one = Locker()
    one("open", path)                 -> None, or the name of the errno
    one("flock", "EX")                SH, EX, UN, and NB behind them: "EX NB"
    one("range", "W", first, length)  R, W, U; waits with a W behind: "WW"
    one.begin("flock", "EX")          does not wait for the answer …
    one.answer(5)                     … which comes here"""

import errno
import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import sys
import time

FLOCK = struct.Struct("hhqqi4x")


class Locker:
    def __init__(self):
        self.popen = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self.popen.pid

    def begin(self, *command):
        self.popen.stdin.write(json.dumps(command).encode() + b"\n")
        self.popen.stdin.flush()

    def has_answer(self, seconds=0):
        return bool(select.select([self.popen.stdout], [], [], seconds)[0])

    def answer(self, seconds=10):
        if not self.has_answer(seconds):
            raise AssertionError(f"no answer within {seconds} s")
        return json.loads(self.popen.stdout.readline())

    def __call__(self, *command):
        self.begin(*command)
        return self.answer()

    def signal(self, number):
        self.popen.send_signal(number)

    def end(self):
        self.popen.stdin.close()
        self.popen.kill()
        self.popen.wait()
        self.popen.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *how):
        self.end()


# The other side

class Interrupted(Exception):
    pass


class Worker:
    def __init__(self):
        self.fds = {}

    def open(self, path, name="f", flags=os.O_RDWR | os.O_CREAT):
        self.fds[name] = os.open(path, flags, 0o644)

    def close(self, name="f"):
        os.close(self.fds.pop(name))

    def fork_that_keeps_it(self, seconds):
        """A child with the same open files, which does nothing but be there."""
        if os.fork() == 0:
            time.sleep(seconds)
            os._exit(0)

    def flock(self, how, name="f"):
        flags = 0
        for word in how.split():
            flags |= getattr(fcntl, "LOCK_" + word)
        fcntl.flock(self.fds[name], flags)

    def _lock(self, how, first, length):
        return FLOCK.pack({"R": fcntl.F_RDLCK, "W": fcntl.F_WRLCK, "U": fcntl.F_UNLCK}[how], os.SEEK_SET, first, length, 0)

    def range(self, how, first, length, name="f"):
        wait = len(how) > 1
        fcntl.fcntl(self.fds[name], fcntl.F_SETLKW if wait else fcntl.F_SETLK, self._lock(how[0], first, length))

    def ofd(self, how, first, length, name="f"):
        fcntl.fcntl(self.fds[name], fcntl.F_OFD_SETLK, self._lock(how, first, length))

    def test(self, how, first, length, name="f"):
        kind, _, first, length, pid = FLOCK.unpack(fcntl.fcntl(self.fds[name], fcntl.F_GETLK, self._lock(how, first, length)))
        return [{fcntl.F_RDLCK: "R", fcntl.F_WRLCK: "W", fcntl.F_UNLCK: "U"}[kind], first, length, pid]

    def write(self, text, offset=0, name="f"):
        return os.pwrite(self.fds[name], text.encode(), offset)

    def truncate(self, size, name="f"):
        os.ftruncate(self.fds[name], size)

    def read(self, name="f"):
        return os.pread(self.fds[name], 1000, 0).decode()


def main():
    def interrupted(number, frame):
        raise Interrupted
    signal.signal(signal.SIGUSR1, interrupted)
    worker = Worker()
    for line in sys.stdin:
        command, *args = json.loads(line)
        try:
            result = getattr(worker, command)(*args)
        except Interrupted:
            result = "interrupted"
        except OSError as e:
            result = "EDEADLK" if e.errno == errno.EDEADLK else errno.errorcode.get(e.errno, str(e.errno))
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
