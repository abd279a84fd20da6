// A key's value as the header Postrider-Key has it: docs/capture.md, "Setting up". Pure.
#pragma once

#include <string>
#include <string_view>

namespace postrider::replica {

// Of a value as a row change has it: `json`, or the text of a column that is JSON itself.
void append_key_text(std::string& out, std::string_view json, bool is_json);

}  // namespace postrider::replica
