// Bugs of PostgreSQL that lose what is decoded, mended in a minor release. Pure. Source: the release
// notes of 15.13, 16.9 and 17.5.
#pragma once

#include <string_view>

namespace postrider {

// The release that mends this, for a server of `version` (as PQserverVersion() counts) that goes on
// with what it knew of a table before an ALTER PUBLICATION, in transactions that were open at it.
// Empty: it does not.
[[nodiscard]] std::string_view mends_stale_publications(int version);

}  // namespace postrider
