#include "readmodel/replica/key_text.h"

#include "readmodel/replica/row_json.h"

namespace postrider::replica {
namespace {

// The relay's rule: what a header cannot hold, and what parts two columns, is %XX.
void append_encoded(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte != 0x7F && c != '%' && c != ',')
      out += c;
    else
      out.append(1, '%').append(1, kHex[byte >> 4U]).append(1, kHex[byte & 0xFU]);
  }
}

}  // namespace

void append_key_text(std::string& out, std::string_view json, bool is_json) {
  const auto bare = trimmed(json);
  if (is_json) {
    append_encoded(out, json);
  } else if (bare.starts_with('"')) {
    std::string text;
    if (append_unescaped(text, bare)) append_encoded(out, text);
  } else if (bare == "true" || bare == "false") {
    out += bare.front();
  } else {
    append_encoded(out, bare);
  }
}

}  // namespace postrider::replica
