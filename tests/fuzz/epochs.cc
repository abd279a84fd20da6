// The epochs that stand in the checkpoint row. What is read, prints as text that reads as the same;
// and asking it anything is safe.
#include "relay/progress/epoch.h"

#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postrider;
  const auto epochs = Epochs::from_json({reinterpret_cast<const char*>(data), size});
  if (!epochs) {
    REQUIRE(epochs.error().kind == ErrorKind::kProtocol ||
            epochs.error().kind == ErrorKind::kEncoderMissing);
    return 0;
  }
  const std::string text = epochs->to_json();
  auto again = Epochs::from_json(text);
  REQUIRE(again.has_value() && again->to_json() == text);
  REQUIRE(again->empty() == epochs->empty());
  if (epochs->empty()) return 0;
  REQUIRE(again->newest() == epochs->newest());
  REQUIRE(!again->needs_new(epochs->newest().settings, epochs->newest().timeline));
  const Epoch& early = again->at(Lsn{0});
  const Epoch& late = again->at(Lsn{~0ULL});
  REQUIRE(early.number <= late.number && late.number == again->newest().number);
  again->forget_before(late.from);
  REQUIRE(!again->empty() && again->at(Lsn{~0ULL}) == epochs->newest());
  return 0;
}
