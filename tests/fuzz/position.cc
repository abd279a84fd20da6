// Texts with one meaning each: LSN, position, position header, coverage notice, timeline history.
// What parses prints as the same text (an LSN: the same value), and every value survives its text.
#include "postrider/position.h"

#include <algorithm>

#include "base/coverage_notice.h"
#include "relay/progress/timeline_history.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/target.h"

namespace postrider::fuzz {
namespace {

void require_text(std::string_view text) {
  if (const auto lsn = Lsn::parse(text)) REQUIRE(Lsn::parse(lsn->to_string()) == lsn);
  if (const auto position = Position::parse(text)) REQUIRE(position->to_string() == text);
  if (const auto header = PositionHeader::parse(text)) REQUIRE(header->to_string() == text);
  if (const auto notice = CoverageNotice::parse(text)) {
    REQUIRE(notice->to_string() == text);
    REQUIRE(coverage_subject("shop").find_first_of(" \r\n*>") == std::string::npos);
  }
}

PositionHeader make_header(Input& in) {
  PositionHeader header;
  header.ordinal = std::max<std::uint64_t>(in.u64(), 1);
  header.position = {in.u32(), Lsn{in.u64()}, in.u32(), std::nullopt};
  if (in.flag()) header.position.part = in.u16();
  header.fingerprint = {in.u32(), static_cast<std::int64_t>(in.u64())};
  header.epoch = in.u32();
  header.last = in.flag();
  return header;
}

void require_values(Input& in) {
  const auto first = make_header(in);
  const auto second = make_header(in);
  REQUIRE(PositionHeader::parse(first.to_string()) == first);
  REQUIRE(Position::parse(first.position.to_string()) == first.position);
  // Positions sort as text: the prefix of a part sorts before it.
  REQUIRE((first.position < second.position) ==
          (first.position.to_string() < second.position.to_string()));
  CoverageNotice notice;
  notice.system_id = std::to_string(in.u64());
  notice.timeline = in.u32();
  notice.lsn = Lsn{in.u64()};
  notice.incarnation = "2026-01-31T09:10:11.5Z";
  notice.ordinal = in.u64();
  if (notice.ordinal > 0) notice.position = first.position;
  notice.epoch = in.u32();
  REQUIRE(CoverageNotice::parse(notice.to_string()) == notice);
}

void require_history(Input& in) {
  const std::uint32_t current = in.u8();
  const Lsn a{in.u64()};
  const Lsn b{in.u64()};
  const auto history = TimelineHistory::parse(current, in.rest());
  if (!history) return;
  const auto [low, high] = std::minmax(a, b);
  REQUIRE(history->owner(low) <= history->owner(high));
  REQUIRE(history->owner(high) <= current && history->contains(history->owner(a), a));
}

}  // namespace
}  // namespace postrider::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postrider::fuzz;
  require_text({reinterpret_cast<const char*>(data), size});
  Input values({data, size});
  require_values(values);
  Input history({data, size});
  require_history(history);
  return 0;
}
