// The text of a configuration file: refused with a reason, or accepted; and what is accepted,
// printed by the TOML library and read again, is the same configuration.
#include "daemon/config.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <sstream>
#include <string>

#include "tests/fuzz/target.h"

namespace postrider::fuzz {
namespace {

// A file in memory that load_config can open by its path.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view text) : fd_(::memfd_create("config", MFD_CLOEXEC)) {
    REQUIRE(fd_ >= 0 &&
            ::write(fd_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

std::optional<Config> load(std::string_view text) {
  const MemoryFile file(text);
  try {
    return load_config(file.path());
  } catch (const Failure& failure) {
    REQUIRE(failure.error().kind == ErrorKind::kConfiguration);
    REQUIRE(!failure.error().context.empty() && !failure.error().remedy.empty());
    return std::nullopt;
  }
}

EpochSettings settings_of(const Config& config) {
  EpochSettings settings;
  settings.source = config.relay.source.name;
  settings.message_id = config.relay.message_id;
  settings.wal_store = config.relay.wal_store;
  settings.format = config.relay.format;
  settings.captures = config.relay.captures;
  settings.outboxes = config.relay.outboxes;
  settings.part_bytes = config.relay.part_bytes;
  return settings;
}

}  // namespace
}  // namespace postrider::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postrider;
  using namespace postrider::fuzz;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = load(text);
  if (!config) return 0;
  std::ostringstream printed;
  printed << toml::parse(text);
  const auto again = load(printed.str());
  REQUIRE(again.has_value());
  const auto settings = settings_of(*config);
  REQUIRE(settings_of(*again) == settings);
  REQUIRE(again->readmodels.size() == config->readmodels.size());
  // And the checkpoint row can hold it.
  Epochs epochs;
  epochs.open(1, Lsn{}, settings);
  const auto stored = Epochs::from_json(epochs.to_json());
  REQUIRE(stored.has_value() && stored->newest().settings == settings);
  return 0;
}
