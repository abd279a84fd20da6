// What a NATS server sends. The first byte says in how large pieces it comes: in one piece it gives
// the same operations.
#include "base/nats/protocol.h"

#include <algorithm>
#include <string>

#include "tests/fuzz/input.h"
#include "tests/fuzz/target.h"

namespace postrider::fuzz {
namespace {

std::string describe(const nats::ServerOperation& operation) {
  std::string text = std::to_string(operation.index());
  if (const auto* delivery = std::get_if<nats::Delivery>(&operation)) {
    REQUIRE(!delivery->subject.empty());
    for (const auto part :
         {delivery->subject, delivery->reply, delivery->headers, delivery->payload})
      text.append(" ").append(part);
  }
  if (const auto* info = std::get_if<nats::ServerInfo>(&operation)) text += info->json;
  if (const auto* refusal = std::get_if<nats::Refusal>(&operation)) text += refusal->text;
  return text + "\n";
}

// All operations as text, up to the first that is unreadable.
std::string read_in_pieces(std::string_view bytes, std::size_t size) {
  nats::ServerReader reader;
  std::string seen;
  while (!bytes.empty()) {
    const auto room = reader.room();
    REQUIRE(!room.empty());
    const auto count = std::min({room.size(), bytes.size(), size});
    std::ranges::copy(bytes.substr(0, count), room.begin());
    reader.took(count);
    bytes.remove_prefix(count);
    while (true) {
      const auto next = reader.next();
      if (!next) return seen + "unreadable";
      if (!*next) break;
      seen += describe(**next);
    }
  }
  return seen;
}

}  // namespace
}  // namespace postrider::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postrider::fuzz;
  Input in({data, size});
  const std::size_t piece = 1 + in.u8();
  const auto rest = in.rest();
  REQUIRE(read_in_pieces(rest, piece) == read_in_pieces(rest, rest.size()));
  return 0;
}
