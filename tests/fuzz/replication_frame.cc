// A frame of the replication connection, and the one that we send. A payload is what stands behind
// the header, to its end, and a keepalive says what its bytes say.
#include "relay/wire/replication_frame.h"

#include "tests/fuzz/input.h"
#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postrider;
  using namespace postrider::fuzz;
  constexpr std::size_t kDataHeader = 25;
  constexpr std::size_t kKeepalive = 18;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  {
    const MemoryBound bound(0, 0, 512);
    const auto frame = wire::decode_replication_frame(wire::as_bytes(bytes));
    if (!frame) {
      REQUIRE(frame.error().kind == ErrorKind::kProtocol);
      REQUIRE(size == 0 || (data[0] != 'w' && data[0] != 'k') ||
              (data[0] == 'w' ? size < kDataHeader : size != kKeepalive));
    } else if (const auto* received = std::get_if<wire::XLogData>(&*frame)) {
      REQUIRE(data[0] == 'w' && wire::as_text(received->payload) == bytes.substr(kDataHeader));
      REQUIRE(within(wire::as_text(received->payload), bytes));
    } else {
      const auto& keepalive = std::get<wire::Keepalive>(*frame);
      Input in({data + 1, size - 1});
      REQUIRE(data[0] == 'k' && keepalive.end.value == in.u64());
      (void)in.u64();
      REQUIRE(keepalive.reply_requested == (in.u8() != 0));
    }
  }
  Input in({data, size});
  const Lsn received{in.u64()};
  const Lsn confirmed{in.u64()};
  const bool reply = in.flag();
  const auto update = wire::encode_status_update(received, confirmed, reply);
  wire::ByteReader reader(update);
  REQUIRE(reader.u8() == 'r' && reader.u64() == received.value);
  REQUIRE(reader.u64() == confirmed.value && reader.u64() == confirmed.value);
  REQUIRE(reader.u64() == 0 && reader.u8() == (reply ? 1 : 0) && reader.at_end());
  return 0;
}
