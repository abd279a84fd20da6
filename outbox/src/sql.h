// libpqxx 6.4 and 7.10 differ in how a statement takes parameters. The public library depends on
// nothing of ours, so it has this of its own.
#pragma once

#include <pqxx/pqxx>
#include <string>
#include <utility>

namespace postrider::sql {

// Runs one statement with parameters $1, $2 ... in `tx`. Throws what libpqxx throws.
template <class... Args>
pqxx::result exec_with(pqxx::transaction_base& tx, const std::string& statement, Args&&... args) {
#if PQXX_VERSION_MAJOR >= 7
  return tx.exec(statement, pqxx::params{std::forward<Args>(args)...});
#else
  return tx.exec_params(statement, std::forward<Args>(args)...);
#endif
}

}  // namespace postrider::sql
