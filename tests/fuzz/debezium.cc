// Values as Debezium maps their types: whatever text a server may send for a type, the result is
// one JSON value.
#include "relay/capture/debezium.h"

#include <array>
#include <nlohmann/json.hpp>

#include "relay/capture/row_value.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postrider;
  constexpr std::array<std::uint32_t, 7> kTypes = {pg_type::kDate,
                                                   pg_type::kTime,
                                                   pg_type::kTimestamp,
                                                   pg_type::kTimestamptz,
                                                   pg_type::kBytea,
                                                   pg_type::kJson,
                                                   25};
  fuzz::Input in({data, size});
  const auto type = kTypes[in.below(kTypes.size())];
  const auto text = in.rest();
  std::string out;
  const fuzz::MemoryBound bound(size, 64, 4096);
  append_debezium_value(out, type, text);
  REQUIRE(!out.empty());
  const bool string = out.front() == '"';
  if (!string) {
    for (std::size_t i = out.front() == '-' ? 1 : 0; i < out.size(); ++i)
      REQUIRE(out[i] >= '0' && out[i] <= '9');
    return 0;
  }
  REQUIRE(out.size() >= 2 && out.back() == '"');
  // No quote ends it early, no control character stands in it.
  for (std::size_t i = 1; i + 1 < out.size(); ++i) {
    REQUIRE(static_cast<unsigned char>(out[i]) >= 0x20 && out[i] != '"');
    if (out[i] == '\\') ++i;
    REQUIRE(i + 1 < out.size());
  }
  if (const auto us = timestamp_us(text)) {
    std::string number;
    append_debezium_value(number, pg_type::kTimestamp, text);
    REQUIRE(number == std::to_string(*us));
  }
  return 0;
}
