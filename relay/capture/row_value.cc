#include "relay/capture/row_value.h"

#include "relay/capture/json_text.h"

namespace postrider {

void append_value(std::string& out, std::uint32_t type, std::string_view text) {
  switch (type) {
    case pg_type::kBool:
      out += text == "t" ? "true" : "false";
      return;
    case pg_type::kInt2:
    case pg_type::kInt4:
    case pg_type::kInt8:
    case pg_type::kOid:
    case pg_type::kJson:
    case pg_type::kJsonb:
      out += text;
      return;
    case pg_type::kFloat4:
    case pg_type::kFloat8:
      if (is_finite_float(text)) {
        out += text;
        return;
      }
      break;
    default:
      break;
  }
  append_json_string(out, text);
}

bool is_json_null(std::uint32_t type, std::string_view text) {
  if (type != pg_type::kJson && type != pg_type::kJsonb) return false;
  const auto first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && text[first] == 'n';
}

}  // namespace postrider
