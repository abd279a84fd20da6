// Writing events in a service's own transaction.
//
//   pqxx::work tx(connection);
//   tx.exec("INSERT INTO orders ...");
//   postrider::emit(tx, {.subject = "order.placed", .payload = postrider::Json{R"({"order":
//   7})"}}); tx.commit();
//
// Guarantee: the event is in the stream exactly once if and only if that transaction, and every
// savepoint around the call, commits. Events reach the stream in commit order; those of one
// transaction in the order of the calls. Nothing is sent from here: the relay reads the database.
// In a pqxx::nontransaction a call is a transaction of its own, so it binds the event to nothing.
//
// Ownership and threads: no state, and nothing is kept of the arguments. A call is as thread-safe
// as its transaction: one thread at a time for each connection.
//
// Errors, each thrown before anything is stored:
//   pqxx::sql_error          the database refuses the event. sqlstate() classes it, and what()
//   holds
//                            the server's message with a HINT line that says what would be
//                            accepted:
//                              22023  bad subject, header, key, type, content type or store
//                              22P02  the payload is not JSON
//                              54000  larger than outbox.settings.max_payload_bytes
//                              55000  `postrider migrate up` has not finished, or the store is off
//                              42501  the role is not a member of postrider_writer (libpqxx 6
//                              throws
//                                     pqxx::insufficient_privilege with an empty sqlstate())
//                              3F000, 42883  the outbox is not installed in this database
//                            As after any SQL error, the transaction can then only be rolled back,
//                            or the pqxx::subtransaction that the call stood in.
//   std::invalid_argument    a text holds a NUL byte, or is not valid in the client_encoding. The
//                            database was not asked, so the transaction can go on.
//   pqxx::broken_connection  as libpqxx throws it: nothing of the transaction is committed.
#pragma once

#include <pqxx/pqxx>
#include <span>
#include <string>
#include <vector>

#include "postrider/event.h"

namespace postrider {

// Writes one event in `tx`, in one round trip. Returns its id, a UUID as text, which consumers see
// as the header Postrider-Id.
std::string emit(pqxx::transaction_base& tx, const Event& event);

// Writes all of `events` in `tx`, in their order and in one round trip; returns their ids in the
// same order. All or none: when one is refused, the statement has no effect. None: no round trip.
// Needs memory for a few times the payloads, and PostgreSQL takes less than 1 GB in one
// statement (bytes count double): batches of thousands of small events are what it is for.
std::vector<std::string> emit(pqxx::transaction_base& tx, std::span<const Event> events);

// What a reader waits for, so that it sees what you wrote. Called after the commit, on any
// connection to the same server, with no transaction open on it:
//
//   tx.commit();
//   const std::string token = postrider::token(connection);
//
// It covers every commit that had returned before the call, whoever made it. Hand the text on (with
// the answer to a request, say); `SELECT postrider.wait_for(token)` in a read model's database
// returns true once the read model holds all of them. One round trip; makes no commit wait.
//
// Errors: pqxx::sql_error as for emit (55000 on a standby), std::logic_error or pqxx::usage_error
// while a transaction is open on the connection.
std::string token(pqxx::connection& connection);

}  // namespace postrider
