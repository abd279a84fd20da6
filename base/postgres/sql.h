// What libpqxx 6.4 (Debian 12) and 7.10 (Debian 13) do differently, so that nothing else of ours
// needs to know. Include this instead of <pqxx/...>.
#pragma once

#include <pqxx/pqxx>
#include <string>
#include <utility>

namespace postrider::sql {

// Runs one statement with parameters $1, $2 ... in `tx`. Throws what libpqxx throws.
template <class... Args>
pqxx::result exec(pqxx::transaction_base& tx, const std::string& statement, Args&&... args) {
#if PQXX_VERSION_MAJOR >= 7
  return tx.exec(statement, pqxx::params{std::forward<Args>(args)...});
#else
  if constexpr (sizeof...(args) == 0)
    return tx.exec(statement);
  else
    return tx.exec_params(statement, std::forward<Args>(args)...);
#endif
}

// For a session whose transactions last as long as they must, or have other bounds. Servers before
// 17 do not know it.
inline void forbid_transaction_timeout(pqxx::transaction_base& tx) {
  constexpr int kSince = 170000;
  if (tx.conn().server_version() >= kSince) tx.exec("SET transaction_timeout = 0");
}

// libpqxx 6 connects again by itself when a connection broke: an advisory lock, and every setting
// of the session, would be gone without anybody noticing. libpqxx 7 never does.
inline void forbid_reconnecting([[maybe_unused]] pqxx::connection& connection) {
#if PQXX_VERSION_MAJOR < 7
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  connection.inhibit_reactivation(true);
#pragma GCC diagnostic pop
#endif
}

// The SQLSTATE of an error. libpqxx 6.4 leaves it out of insufficient_privilege.
inline std::string sqlstate(const pqxx::sql_error& error) {
  if (error.sqlstate().empty() && dynamic_cast<const pqxx::insufficient_privilege*>(&error))
    return "42501";
  return error.sqlstate();
}

}  // namespace postrider::sql
