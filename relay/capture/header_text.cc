#include "relay/capture/header_text.h"

namespace postrider {

void append_header_text(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool outer = i == 0 || i + 1 == text.size();
    if (byte >= 0x20 && byte != 0x7F && byte != '%' && !(outer && byte == ' '))
      out += text[i];
    else
      out.append(1, '%').append(1, kHex[byte >> 4U]).append(1, kHex[byte & 0xFU]);
  }
}

}  // namespace postrider
