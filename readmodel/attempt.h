// Where what a projection throws is sorted, once: trouble that passes, or a refusal.
#pragma once

#include <new>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/postgres/sql.h"
#include "readmodel/postgres/target.h"
#include "readmodel/progress/refusal.h"

namespace postrider {

// Where a standby has found nothing but silence: the handler's statements are too far apart.
inline std::string why_ended(const std::string& error) {
  if (error.find("terminating connection due to administrator command") == std::string::npos)
    return {};
  return ": somebody ended this connection; a standby does where no statement came for "
         "takeover_after";
}

// What `work` throws, sorted: connection and passing trouble as Failure, the rest as a refusal.
template <class Work>
std::optional<Stop> attempt(const std::string& readmodel, std::string& at, Work work) {
  Stop refusal;
  try {
    work();
    return std::nullopt;
  } catch (const Failure&) {
    throw;
  } catch (const pqxx::sql_error& e) {
    refusal.sqlstate = sql::sqlstate(e);
    refusal.error = e.what();
    if (is_transient(refusal.sqlstate))
      throw Failure(ErrorKind::kPostgresUnavailable, "read model " + readmodel + ", " + at + ": " +
                                                         refusal.error + why_ended(refusal.error));
  } catch (const pqxx::failure& e) {
    throw Failure(ErrorKind::kPostgresUnavailable,
                  "read model " + readmodel + ", " + at + ": " + e.what() + why_ended(e.what()));
  } catch (const std::bad_alloc&) {
    throw Failure(ErrorKind::kPostgresUnavailable,
                  "read model " + readmodel + ", " + at + ": not enough memory");
  } catch (const std::exception& e) {  // a C++ handler
    refusal.error = e.what();
  }
  refusal.projection = at;
  return refusal;
}

}  // namespace postrider
