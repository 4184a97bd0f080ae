"""Starts the kernel as Jupyter does, in the folder of a notebook, and asks it one question.

Run by the server's own Python, which has pyzmq; the kernel's environment is this process's.
Guarantees: the kernel is ended before this one ends, and ends by itself if this one is killed;
nothing is left on a disk: the connection file is in memory, the sockets have no file names. (What
IPython keeps of a session goes where its settings say, as with every kernel.)

argument: JSON {argv, folders: [folder], files: bool, seconds}. The kernel is started in each of the
folders, until it does not answer somewhere; then, to see what keeps it from that, without what
IPython runs and reads at its start (if `files`), and in another folder.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time

from __main__ import end_with_parent  # of run_probe.py, which runs this

_TAIL = 3000
_ELSEWHERE = "/"


def collect(arguments):
    """{folders: [{folder, answered, ended, said}], without_files, elsewhere}, ever more of it.

    ended: how the kernel ended, "" while it ran; said: the end of what it printed; the last two:
    whether it answers then, where that was tried.
    """
    asked = json.loads(arguments[0])
    facts = {"folders": []}
    yield facts
    for folder in asked["folders"]:
        found = _start(asked, folder, os.environ)
        facts["folders"].append(found)
        yield facts
        if not found["answered"]:
            if asked["files"]:
                facts["without_files"] = _without_files(asked, folder)
                yield facts
            if not facts.get("without_files"):
                facts["elsewhere"] = _start(asked, _ELSEWHERE, os.environ)["answered"]
                yield facts
            return


def _without_files(asked, folder):
    """Whether it answers with settings of IPython that are empty."""
    try:
        settings = tempfile.mkdtemp(prefix="gpucamp-doctor-")
    except OSError:  # no folder can be written
        return False
    try:
        env = {name: value for name, value in os.environ.items() if name != "PYTHONSTARTUP"}
        return _start(asked, folder, {**env, "IPYTHONDIR": settings})["answered"]
    finally:
        shutil.rmtree(settings, ignore_errors=True)


def _start(asked, folder, env):
    import zmq

    key, name = secrets.token_hex(16), "@gpucamp-doctor-" + secrets.token_hex(16)
    connection = {
        **{port + "_port": number for number, port in enumerate(_PORTS, 1)},
        "transport": "ipc",
        "ip": name,
        "key": key,
        "signature_scheme": "hmac-sha256",
        "kernel_name": "",
    }
    file = os.memfd_create("kernel.json")
    os.write(file, json.dumps(connection).encode())
    places = {"connection_file": "/proc/%d/fd/%d" % (os.getpid(), file)}
    argv = [word.replace("{connection_file}", places["connection_file"]) for word in asked["argv"]]
    kernel = context = socket = None
    found = {"folder": folder, "answered": False, "ended": "", "said": ""}
    try:
        kernel = subprocess.Popen(  # noqa: S603 - the kernel's own command, no shell
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**env, "JPY_PARENT_PID": str(os.getpid())},
            preexec_fn=end_with_parent,
        )
        # not before: a fork should find no threads
        context = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.linger = 0
        socket.reconnect_ivl = 20
        socket.connect("ipc://%s-%d" % (name, connection["shell_port"]))
        socket.send_multipart(_question(key))
        found["answered"], found["said"] = _wait(zmq, socket, kernel, asked["seconds"])
        found["ended"] = _ended(kernel)
    except (OSError, ValueError) as error:
        found["ended"] = "%s: %s" % (type(error).__name__, error)
    finally:
        if kernel is not None:
            kernel.kill()
            kernel.wait()
            kernel.stdout.close()
        if socket is not None:
            socket.close()
            context.term()
        os.close(file)
    return found


_PORTS = ("shell", "iopub", "stdin", "control", "hb")


def _question(key):
    header = {
        "msg_id": secrets.token_hex(8),
        "session": secrets.token_hex(8),
        "username": "",
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "msg_type": "kernel_info_request",
        "version": "5.3",
    }
    parts = [json.dumps(part).encode() for part in (header, {}, {}, {})]
    signature = hmac.new(key.encode(), b"".join(parts), hashlib.sha256).hexdigest()
    return [b"<IDS|MSG>", signature.encode(), *parts]


def _wait(zmq, socket, kernel, seconds):
    """Whether the kernel answers in time, and the end of what it printed until then or its end."""
    said, output = b"", kernel.stdout.fileno()
    os.set_blocking(output, False)
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(output, zmq.POLLIN)
    end = time.monotonic() + seconds
    answered = False
    while not answered and time.monotonic() < end:
        over = kernel.poll() is not None
        ready = dict(poller.poll(0 if over else 50))
        answered = socket in ready
        if output in ready:
            data = _read(output)
            said = (said + data)[-_TAIL:]
            if not data:
                poller.unregister(output)
        elif over:
            break
    return answered, said.decode("utf-8", "replace")


def _read(output):
    try:
        return os.read(output, 65536)
    except OSError:
        return b""


def _ended(kernel):
    code = kernel.poll()
    if code is None:
        return ""
    if code < 0:
        try:
            return "ended by " + signal.Signals(-code).name
        except ValueError:
            return "ended by signal %d" % -code
    return "ended with status %d" % code
