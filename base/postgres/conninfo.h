// libpq conninfo strings, in either form (key=value or URI), with settings of ours put in.
// Source: PostgreSQL documentation, "Connection Strings".
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace postrider {

using ConninfoSettings = std::vector<std::pair<std::string, std::string>>;

// The key=value form of `conninfo` with each of `defaults` added where the string does not set that
// key. Throws Failure(kConfiguration) when libpq cannot read it.
[[nodiscard]] std::string with_defaults(const std::string& conninfo,
                                        const ConninfoSettings& defaults);

// What every connection of ours wants: a dead peer is noticed within seconds, not hours.
[[nodiscard]] const ConninfoSettings& liveness_defaults();

// What to do about a connection that failed for want of the right password; empty for everything
// else, which heals by itself. The text is all that libpqxx keeps of it.
[[nodiscard]] std::string connection_remedy(const std::string& message);

}  // namespace postrider
