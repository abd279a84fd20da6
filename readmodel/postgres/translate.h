// What libpqxx throws, as our errors: for statements of ours against the target database. What a
// projection throws is judged elsewhere (progress/refusal.h).
#pragma once

#include "base/error.h"
#include "base/postgres/sql.h"

namespace postrider {

[[nodiscard]] Error translate_target(const pqxx::sql_error& e);

// Runs `body`; throws Failure for what it throws.
template <class Body>
auto translated(Body body) {
  try {
    return body();
  } catch (const pqxx::sql_error& e) {
    throw Failure(translate_target(e));
  } catch (const pqxx::failure& e) {
    throw Failure(ErrorKind::kPostgresUnavailable, e.what());
  }
}

}  // namespace postrider
