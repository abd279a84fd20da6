// Text that any header can hold: control characters, blanks at the ends, and % become %XX, all else
// is as it was. Pure.
#pragma once

#include <string>
#include <string_view>

namespace postrider {

void append_header_text(std::string& out, std::string_view text);

}  // namespace postrider
