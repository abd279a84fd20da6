// Text as a JSON string, appended. Pure.
#pragma once

#include <string>
#include <string_view>

namespace postrider {

// `text` is UTF-8, as the replication connection demands of the server. Only what JSON requires is
// escaped: the quote, the backslash and characters below U+0020.
void append_json_string(std::string& out, std::string_view text);

}  // namespace postrider
