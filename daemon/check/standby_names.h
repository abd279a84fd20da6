// Does a walsender's application_name match synchronous_standby_names? If it did, every commit of
// the source would wait for the relay's confirmations. Pure. Source: PostgreSQL documentation,
// "synchronous_standby_names".
#pragma once

#include <string_view>

namespace postrider {

[[nodiscard]] bool matches_standby_names(std::string_view setting,
                                         std::string_view application_name);

}  // namespace postrider
