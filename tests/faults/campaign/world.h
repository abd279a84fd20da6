// The servers of a run, and what stands in them: a source with a bank whose accounts are captured,
// a broker, and a database with two read models. "tally" is a projection that is not idempotent:
// per key it counts events and chains them. "copy" is a replica of the bank.
//
// Everything that must be constant in every read: the cents of the bank add up to nothing, in the
// source, in the copy, and in the tally; the tally has counted as many events as its cursor says.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "dev/environment.h"

namespace postrider::campaign {

inline constexpr int kAccounts = 400;
inline constexpr const char* kStream = "SHOP";
inline constexpr const char* kSlot = "postrider_shop";
// What the relays are told of the broker; nothing is confirmed before.
inline constexpr std::chrono::milliseconds kBrokerSync{10'000};

class World {
 public:
  // Makes and starts it all in `folder`, which must not exist. Throws std::runtime_error.
  explicit World(const std::filesystem::path& folder);
  // Stops the servers; the data stay.
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  dev::PostgresServer& source() { return environment_.postgres(); }
  dev::NatsServer& broker() { return environment_.nats(); }
  dev::PostgresServer& target() { return target_; }

  // libpq conninfo over the Unix socket, which no link can break.
  [[nodiscard]] std::string source_conninfo(const std::string& role) const;
  [[nodiscard]] std::string target_conninfo(const std::string& role) const;

  struct Ports {
    std::uint16_t source = 0;
    std::uint16_t broker = 0;
    std::uint16_t target = 0;
  };
  [[nodiscard]] Ports ports() const;
  // Writes a configuration of relay and applier that reach the servers at these ports. Another
  // `variant` is another set of relay settings.
  std::filesystem::path write_config(const std::string& name, const Ports& ports, int variant);

 private:
  void prepare_source();
  void prepare_target();
  void postrider(const std::vector<std::string>& arguments);

  std::filesystem::path folder_;
  dev::Environment environment_;
  dev::PostgresServer target_;
};

}  // namespace postrider::campaign
