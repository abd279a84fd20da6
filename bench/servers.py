"""Private servers for a benchmark, and the clocks of their processes. Used by the scripts of this folder."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from jetstream import JetStream

ROOT = pathlib.Path(__file__).resolve().parent.parent
POSTRIDER = os.environ.get("POSTRIDER_PROGRAM", str(ROOT / "build/release/daemon/postrider"))
PROGRAMS = ROOT / "build/release/bench"


def require_build():
    for program in (POSTRIDER, PROGRAMS / "publish_floor"):
        if not os.access(program, os.X_OK):
            sys.exit("build first: scripts/build release --target postrider bench")


class Run:
    """A finished program: seconds of wall time, seconds of CPU, the most memory it held in KiB, what it printed."""

    def __init__(self, seconds, cpu, memory, output):
        self.seconds, self.cpu, self.memory, self.output = seconds, cpu, memory, output


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Servers:
    """A PostgreSQL cluster and `nats` nats-servers in a new folder, gone at the end: `with Servers() as servers`."""

    def __init__(self, nats=1):
        self.nats, self.cluster = nats, []

    def __enter__(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers end with us
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="postrider-bench.", dir="/tmp"))
        self.folder.chmod(0o711)
        subprocess.run([POSTRIDER, "dev", "up", "--dir", self.folder], check=True, stdout=subprocess.DEVNULL)
        exported = re.findall(r"export (\w+)='?([^'\n]*)'?", (self.folder / "dev.env").read_text())
        # Without a flush a commit: writing the rows is not what is measured, unless a benchmark says so.
        self.environment = os.environ | dict(exported) | {"PGUSER": "postgres", "PGOPTIONS": "-c synchronous_commit=off"}
        self.config = self.folder / "postrider.toml"
        if self.nats > 1:
            try:
                self.start_cluster()
            except BaseException:
                self.__exit__(*sys.exc_info())
                raise
        self.nats_url = self.environment["NATS_URL"]
        return self

    def start_cluster(self):
        """In place of the single server, which is left idle."""
        program = os.environ.get("POSTRIDER_NATS_SERVER", "nats-server")
        clients, routes = free_ports(self.nats), free_ports(self.nats)
        for number in range(self.nats):
            folder = self.folder / f"nats-{number}"
            folder.mkdir()
            command = [program, "-a", "127.0.0.1", "-p", clients[number], "-n", f"n{number}", "-js", "-sd", folder, "-P", folder / "nats.pid",
                       "-l", folder / "nats.log", "--cluster_name", "bench", "--cluster", f"nats://127.0.0.1:{routes[number]}",
                       "--routes", ",".join(f"nats://127.0.0.1:{port}" for port in routes)]
            self.cluster.append(subprocess.Popen([str(word) for word in command]))
        url = ",".join(f"nats://127.0.0.1:{port}" for port in clients)
        self.environment |= {"NATS_URL": url, "POSTRIDER_NATS_URL": url}
        deadline = time.monotonic() + 30
        while not all(map(self.ready, clients)):
            if time.monotonic() > deadline:
                raise RuntimeError("the cluster has no leader after 30 s")
            time.sleep(0.1)

    @staticmethod
    def ready(port):
        """Whether that server is up and has a leader to ask: without one, nobody answers."""
        try:
            client = JetStream(f"nats://127.0.0.1:{port}")
            client.socket.settimeout(1)
            return "error" not in client.request("STREAM.NAMES")
        except (OSError, ValueError):
            return False

    def __exit__(self, kind, *_):
        if kind is not None:
            for log in self.folder.glob("*.log"):
                print("".join(log.read_text(errors="replace").splitlines(keepends=True)[-5:]), file=sys.stderr)
        for server in self.cluster:
            server.kill()
            server.wait()
        subprocess.run([POSTRIDER, "dev", "down", "--delete", "--dir", self.folder], stdout=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def sql(self, statement, database="shop"):
        command = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement]
        return subprocess.run(command, env=self.environment, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()

    def run(self, command, **environment):
        """Runs a program to its end; its messages go to programs.log. Raises when it fails."""
        with open(self.folder / "programs.log", "ab") as log, tempfile.TemporaryFile("w+") as output:
            start = time.monotonic()
            child = subprocess.Popen([str(word) for word in command], env=self.environment | environment, stdout=output, stderr=log)
            try:
                _, status, usage = os.wait4(child.pid, 0)
            except BaseException:
                child.kill()
                raise
            seconds = time.monotonic() - start
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode != 0:
                raise RuntimeError(f"{command[0]} exited with {child.returncode}")
            output.seek(0)
            return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, output.read())

    def postrider(self, *arguments, **environment):
        return self.run([POSTRIDER, *arguments, "--config", self.config], **environment)

    def decode(self, slot, end, database="shop", where=(), publications="postrider", options=()):
        """The floor of a relay: what `slot` yields until `end`, thrown away."""
        return self.run(["pg_recvlogical", *where, "-d", database, "-U", "relay", "--slot", slot, "--start", "--no-loop", "--endpos", end,
                         "-f", "/dev/null", "-o", "proto_version=1", "-o", f"publication_names={publications}", *options])

    def pgbench(self, statement, transactions, clients=4, options=(), database="shop"):
        """`transactions` in all, shared out to the clients."""
        script = self.folder / "statement.sql"
        script.write_text(statement + "\n")
        return self.run([pgbench(), "-n", "-c", clients, "-j", 1, "-t", transactions // clients, "-f", script, *options, database])

    def cpu(self, server):
        """Seconds of CPU that `postgres` or `nats` has taken so far, with its processes, also those that have ended."""
        name = {"postgres": "postmaster.pid", "nats": "nats.pid"}[server]
        pids = {path.read_text().split()[0] for path in self.folder.glob(f"{server}*/{name}")}
        ticks = 0
        # A walsender outlives its client a little: counted only when it has ended, its work would count for whoever comes next.
        for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue  # it has just ended
            if path.parent.name in pids:
                ticks += sum(map(int, fields[11:15]))
            elif fields[1] in pids:
                ticks += sum(map(int, fields[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")


def pgbench():
    return shutil.which("pgbench") or str(sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/pgbench"))[-1])


def version_of(program):
    """The first number with a dot in what it says of itself."""
    text = subprocess.run([program, "--version"], text=True, stdout=subprocess.PIPE).stdout
    return re.search(r"\d+\.\d+(\.\d+)?", text)[0]


def record(name, result):
    """Adds one line to build/bench.jsonl, which bench/report makes tables from."""
    (ROOT / "build").mkdir(exist_ok=True)
    revision = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, text=True, stdout=subprocess.PIPE).stdout.strip()
    postgres = os.environ.get("POSTRIDER_PG_BINDIR", str(sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1])) + "/postgres"
    versions = {"nats": version_of(os.environ.get("POSTRIDER_NATS_SERVER", "nats-server")), "postgres": version_of(postgres)}
    with open(ROOT / "build/bench.jsonl", "a") as file:
        file.write(json.dumps({"benchmark": name, "revision": revision} | versions | result) + "\n")
