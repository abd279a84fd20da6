// SHA-256 (FIPS 180-4) by OpenSSL, for columns that are carried hashed. Pure.
#pragma once

#include <string>
#include <string_view>

namespace postrider {

// Writes 64 lower-case hexadecimal digits over `out`: what PostgreSQL makes of
// encode(sha256(convert_to(salt || text, 'UTF8')), 'hex'). Throws Failure(kInternal) where OpenSSL
// does not work.
void write_sha256(std::string_view salt, std::string_view text, std::string& out);

}  // namespace postrider
