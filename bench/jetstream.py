"""As much of a NATS client as the benchmarks need to look into a stream: the standard library has none. One thread, no reconnecting."""

import collections
import json
import socket
import urllib.parse

ANSWERS = b"1"  # the subscription that answers come on


class JetStream:
    """A connection. Raises OSError when the server is gone or silent for half a minute, RuntimeError when it refuses something."""

    def __init__(self, url):
        where = urllib.parse.urlsplit(url.split(",")[0])
        self.socket = socket.create_connection((where.hostname, where.port), timeout=30)
        self.input = self.socket.makefile("rb")
        self.looks = 1
        self.send('CONNECT {"verbose": false, "headers": true, "no_responders": true}\r\nSUB _INBOX.answers 1')

    def send(self, line, payload=None):
        data = b"" if payload is None else payload + b"\r\n"
        self.socket.sendall(line.encode() + b"\r\n" + data)

    def receive(self):
        """The next message: its subscription, its headers, its payload."""
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
                return words[2], data[:headers], data[headers:]

    def ask(self, subject, content):
        payload = json.dumps(content).encode()
        self.send(f"PUB $JS.API.{subject} _INBOX.answers {len(payload)}", payload)

    def request(self, subject, **content):
        """The answer, which may be an error."""
        self.ask(subject, content)
        while True:
            subscription, _, payload = self.receive()
            if subscription == ANSWERS:
                return json.loads(payload)

    def make(self, name, subjects):
        """A stream with the settings that the relay gives its own."""
        require(self.request(f"STREAM.CREATE.{name}", name=name, subjects=[subjects], storage="file", retention="limits", discard="new",
                             num_replicas=1, allow_direct=True, duplicate_window=5_000_000_000))

    def state(self, name):
        return require(self.request(f"STREAM.INFO.{name}"))["state"]

    def messages(self, name):
        """How many a stream holds, 0 where there is none of that name."""
        answer = self.request(f"STREAM.INFO.{name}")
        if answer.get("error", {}).get("code") == 404:
            return 0
        return require(answer)["state"]["messages"]

    def count_by(self, name, header):
        """How often each value of a header is in a stream that nobody writes to; messages without it do not count."""
        missing = self.messages(name)
        self.looks += 1
        inbox, subscription = f"_INBOX.look.{self.looks}", str(self.looks)
        self.send(f"SUB {inbox} {subscription}")
        self.ask(f"CONSUMER.CREATE.{name}", {"stream_name": name, "config": {
            "deliver_subject": inbox, "ack_policy": "none", "headers_only": True}})
        prefix = header.lower().encode() + b":"
        found, answered = collections.Counter(), False
        while missing > 0 or not answered:  # messages may come before the answer
            source, headers, payload = self.receive()
            if source == ANSWERS:
                require(json.loads(payload))
                answered = True
            elif source == subscription.encode():
                missing -= 1
                found.update(line[len(prefix):].strip(b' "') for line in headers.split(b"\r\n") if line.lower().startswith(prefix))
        self.send(f"UNSUB {subscription}")
        return found


def require(answer):
    if "error" in answer:
        raise RuntimeError(f"JetStream: {answer['error']['description']}")
    return answer
