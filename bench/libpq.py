"""As much of libpq as the benchmarks need, through ctypes: the standard library has no client of PostgreSQL. A connection has one thread."""

import ctypes

LIB = ctypes.CDLL("libpq.so.5")  # calls let other threads run meanwhile
FATAL = (5, 7)  # PGRES_BAD_RESPONSE, PGRES_FATAL_ERROR
for name, result, *parameters in (
        ("PQconnectdb", ctypes.c_void_p, ctypes.c_char_p), ("PQstatus", ctypes.c_int, ctypes.c_void_p),
        ("PQfinish", None, ctypes.c_void_p), ("PQerrorMessage", ctypes.c_char_p, ctypes.c_void_p),
        ("PQsendQuery", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p), ("PQgetResult", ctypes.c_void_p, ctypes.c_void_p),
        ("PQresultStatus", ctypes.c_int, ctypes.c_void_p), ("PQntuples", ctypes.c_int, ctypes.c_void_p),
        ("PQnfields", ctypes.c_int, ctypes.c_void_p), ("PQclear", None, ctypes.c_void_p),
        ("PQgetvalue", ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int)):
    function = getattr(LIB, name)
    function.restype, function.argtypes = result, parameters


class Refused(RuntimeError):
    """The server refused a statement, or is gone."""


class Connection:
    def __init__(self, conninfo):
        self.handle = LIB.PQconnectdb(conninfo.encode())
        if LIB.PQstatus(self.handle) != 0:
            raise self.error()

    def error(self):
        return Refused(LIB.PQerrorMessage(self.handle).decode().strip())

    def send(self, statements):
        """Begins one round trip; `receive` ends it."""
        if not LIB.PQsendQuery(self.handle, statements.encode()):
            raise self.error()

    def receive(self):
        """The rows of the last statement that has any, as lists of text."""
        rows, error = [], None
        while result := LIB.PQgetResult(self.handle):
            if LIB.PQresultStatus(result) in FATAL:
                error = error or self.error()
            elif (count := LIB.PQntuples(result)) > 0:
                rows = [[LIB.PQgetvalue(result, row, field).decode() for field in range(LIB.PQnfields(result))] for row in range(count)]
            LIB.PQclear(result)
        if error:
            raise error
        return rows

    def run(self, statements):
        self.send(statements)
        return self.receive()

    def close(self):
        LIB.PQfinish(self.handle)
