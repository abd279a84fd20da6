// Patterns of table names, "schema.table": '*' stands for any run of characters within the schema's
// or the table's name. Pure.
#pragma once

#include <string_view>

namespace postrider {

[[nodiscard]] bool matches_table(std::string_view pattern, std::string_view schema,
                                 std::string_view table);

}  // namespace postrider
