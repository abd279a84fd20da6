// The SQL files of migrations/, compiled in: `postrider migrate` needs nothing beside the
// binary.
#pragma once

#include <span>
#include <string_view>

namespace postrider {

struct Migration {
  int version;                // number of the file, from 1 without gaps
  std::string_view name;      // after the number
  std::string_view checksum;  // SHA-256 of `up`, lower-case hexadecimal
  std::string_view up;
  std::string_view down;
};

// Rising in version.
[[nodiscard]] std::span<const Migration> service_migrations();

// What the relay wants the database to be at.
[[nodiscard]] int latest_service_schema_version();

// The same for a database that holds read models, and for the applier.
[[nodiscard]] std::span<const Migration> readmodel_migrations();
[[nodiscard]] int latest_readmodel_schema_version();

}  // namespace postrider
