"""As much of a NATS client as the benchmarks need to look into a stream: the standard library has none. One thread, no reconnecting."""

import collections
import json
import socket
import urllib.parse


class JetStream:
    """A connection. Raises OSError when the server is gone or silent for half a minute, RuntimeError when it refuses something."""

    def __init__(self, url):
        where = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((where.hostname, where.port), timeout=30)
        self.input = self.socket.makefile("rb")
        self.send('CONNECT {"verbose": false, "headers": true, "no_responders": true}\r\nSUB _INBOX.answers 1')

    def send(self, line, payload=None):
        data = b"" if payload is None else payload + b"\r\n"
        self.socket.sendall(line.encode() + b"\r\n" + data)

    def receive(self):
        """The next message: its headers as bytes, and its payload."""
        while True:
            words = self.input.readline().split()
            if not words:
                raise OSError("nats-server closed the connection")
            if words[0] == b"PING":
                self.send("PONG")
            elif words[0] == b"-ERR":
                raise RuntimeError(b" ".join(words).decode())
            elif words[0] in (b"MSG", b"HMSG"):
                headers = int(words[-2]) if words[0] == b"HMSG" else 0
                data = self.input.read(int(words[-1]) + 2)[:-2]
                return data[:headers], data[headers:]

    def request(self, subject, **content):
        payload = json.dumps(content).encode()
        self.send(f"PUB $JS.API.{subject} _INBOX.answers {len(payload)}", payload)
        answer = json.loads(self.receive()[1] or '{"error": "no JetStream"}')
        if "error" in answer:
            raise RuntimeError(f"{subject}: {answer['error']}")
        return answer

    def make(self, name, subjects):
        """A stream with the settings that the relay gives its own."""
        self.request(f"STREAM.CREATE.{name}", name=name, subjects=[subjects], storage="file", retention="limits", discard="new",
                     num_replicas=1, allow_direct=True, duplicate_window=5_000_000_000)

    def state(self, name):
        return self.request(f"STREAM.INFO.{name}")["state"]

    def count_by(self, name, header):
        """How often each value of a header is in the stream; messages without it do not count."""
        messages = self.state(name)["messages"]
        self.send("SUB _INBOX.look 2")
        config = {"deliver_subject": "_INBOX.look", "ack_policy": "none", "headers_only": True}
        # Messages may overtake the answer, so it is not waited for; it has no headers.
        payload = json.dumps({"stream_name": name, "config": config}).encode()
        self.send(f"PUB $JS.API.CONSUMER.CREATE.{name} _INBOX.answers {len(payload)}", payload)
        prefix = header.lower().encode() + b":"
        found = collections.Counter()
        while messages > 0:
            headers, _ = self.receive()
            messages -= bool(headers)
            found.update(line[len(prefix):].strip(b' "') for line in headers.split(b"\r\n") if line.lower().startswith(prefix))
        self.send("UNSUB 2")
        return found
