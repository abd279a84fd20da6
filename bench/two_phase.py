"""Two-phase commit over two PostgreSQL servers as a service would write it, with presumed abort: bench/two-phase measures it.

The coordinator prepares in both databases, then writes the decision to commit to its log and flushes it, then commits both. A
transaction is committed when its decision is in the log. What a dead coordinator has left prepared, `recover` ends.
"""

import os
import pathlib
import threading

from libpq import Refused


class Decisions:
    """The log of a coordinator, in a new file: a line for each transaction that commits. Threads may share it."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        folder = os.open(pathlib.Path(path).parent, os.O_RDONLY)
        os.fsync(folder)  # the name of the file outlives a crash, too
        os.close(folder)
        self.lock = threading.Condition()
        self.written = self.flushed = 0
        self.flushing = False

    def commit(self, name):
        """Returns when the decision is on disk. Those that wait at the same time share a flush."""
        line = f"{name}\n".encode()
        with self.lock:
            if os.write(self.file, line) != len(line):
                raise OSError("the decision log is full")
            self.written += 1
            mine = self.written
            while self.flushed < mine:
                if self.flushing:
                    self.lock.wait()
                    continue
                self.flushing, reached = True, self.written
                self.lock.release()
                try:
                    os.fdatasync(self.file)
                except OSError:
                    os._exit(70)  # what a failed flush has lost, a second one does not tell
                self.lock.acquire()
                self.flushing, self.flushed = False, reached
                self.lock.notify_all()


def decided(path):
    """The names in a log. A last line without its end was never flushed: its writer had not gone on."""
    return set(pathlib.Path(path).read_text().split("\n")[:-1])


class Coordinator:
    """One client of a coordinator: a connection to each server, used by one thread. `log` is shared by all of them.

    `name` begins the names of its transactions, and must never have been used before. The connections' application_name is the
    coordinator's own, without the client's number, as `recover` wants it.
    """

    def __init__(self, source, target, log, name):
        self.source, self.target, self.log, self.name = source, target, log, name
        self.count = 0

    def commit(self, target_statement, at=lambda place: None):
        """Ends a transaction that is open in the source; the target has it from `target_statement` on, and commits with it.

        Raises Refused when it was rolled back in both. `at` is called at the places at which a coordinator may die.
        """
        self.count += 1
        name = f"{self.name}-{self.count}"
        # Both at once: a coordinator does not wait for one before it asks the other.
        self.source.send(f"PREPARE TRANSACTION '{name}'")
        self.target.send(f"BEGIN; {target_statement}; PREPARE TRANSACTION '{name}'")
        prepared, refused = [], None
        for server in (self.source, self.target):
            try:
                server.receive()
                prepared.append(server)
            except Refused as error:
                refused = error
                server.run("ROLLBACK")
        if refused:
            for server in prepared:
                server.run(f"ROLLBACK PREPARED '{name}'")
            raise refused
        at("prepared")
        self.log.commit(name)
        at("decided")
        self.source.send(f"COMMIT PREPARED '{name}'")
        self.target.send(f"COMMIT PREPARED '{name}'")
        # From here on it is committed, whatever the servers answer: `recover` would have to repeat it.
        self.source.receive()
        self.target.receive()


def in_doubt(server, name):
    """The prepared transactions of a database whose names begin so."""
    return [row[0] for row in server.run("SELECT gid FROM pg_prepared_xacts WHERE database = current_database() "
                                         f"AND starts_with(gid, '{name}-') ORDER BY prepared")]


def recover(source, target, path, name):
    """Ends what a dead coordinator has left. Returns how many transactions were committed and how many rolled back.

    It must be dead: of one that lives, a transaction without decision may still be decided. Run again, it does what is left.
    """
    # Its sessions outlive it: one that waits for a lock would prepare behind our back, and be in doubt for ever.
    for server in (source, target):
        gone = server.run(f"SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE application_name = '{name}'")
        if ["f"] in gone:
            raise RuntimeError(f"a session of the dead coordinator {name} does not end")
    commits, ended = decided(path), {}
    for server in (source, target):
        for transaction in in_doubt(server, name):
            ended[transaction] = transaction in commits
            server.run(f"{'COMMIT' if ended[transaction] else 'ROLLBACK'} PREPARED '{transaction}'")
    return sum(ended.values()), len(ended) - sum(ended.values())
