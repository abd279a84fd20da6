// One pgoutput message. Whatever decodes can be written again and means the same; where the decoder
// keeps every field, the bytes are the same. No view points outside the message, and memory is
// bounded by the message's size.
#include <optional>

#include "tests/fuzz/pgoutput_writer.h"
#include "tests/fuzz/target.h"

namespace postrider::fuzz {
namespace {

using namespace wire;

bool within(const Tuple& row, std::string_view message) {
  for (const auto& value : row)
    if (!fuzz::within(value.data, message)) return false;
  return true;
}

struct Views {
  std::string_view message;

  bool operator()(const Relation& m) const {
    for (const auto& column : m.columns)
      if (!fuzz::within(column.name, message)) return false;
    return fuzz::within(m.schema, message) && fuzz::within(m.name, message);
  }
  bool operator()(const Insert& m) const { return within(m.row, message); }
  bool operator()(const Update& m) const {
    return within(m.row, message) && within(m.old, message);
  }
  bool operator()(const Delete& m) const { return within(m.old, message); }
  bool operator()(const LogicalMessage& m) const {
    return fuzz::within(m.prefix, message) && fuzz::within(as_text(m.content), message);
  }
  template <class Other>
  bool operator()(const Other&) const {
    return true;
  }
};

// The decoder keeps every field of these.
bool is_kept_whole(const PgOutputMessage& message) {
  return std::holds_alternative<Begin>(message) || std::holds_alternative<Insert>(message) ||
         std::holds_alternative<Update>(message) || std::holds_alternative<Delete>(message);
}
bool is_dropped(const PgOutputMessage& message) {
  return std::holds_alternative<Origin>(message) || std::holds_alternative<Type>(message);
}

std::optional<PgOutputMessage> decode(std::string_view bytes) {
  const MemoryBound bound(bytes.size(), 64, 4096);
  auto decoded = decode_pgoutput(as_bytes(bytes));
  if (!decoded) {
    REQUIRE(decoded.error().kind == ErrorKind::kProtocol);
    return std::nullopt;
  }
  return std::move(*decoded);
}

}  // namespace
}  // namespace postrider::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postrider::fuzz;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto decoded = decode(bytes);
  if (!decoded) return 0;
  REQUIRE(std::visit(Views{bytes}, *decoded));
  const std::string written = write_pgoutput(*decoded);
  if (is_kept_whole(*decoded)) REQUIRE(written == bytes);
  if (!is_dropped(*decoded)) REQUIRE(written.size() == bytes.size());
  const auto again = decode(written);
  REQUIRE(again.has_value());
  REQUIRE(write_pgoutput(*again) == written);
  return 0;
}
