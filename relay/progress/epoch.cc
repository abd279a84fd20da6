#include "relay/progress/epoch.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace postrider {
namespace {

using Json = nlohmann::json;

tl::unexpected<Error> unreadable(const std::string& what) {
  return fail(ErrorKind::kProtocol, "the checkpoint row's epochs are unreadable: " + what,
              "run the postrider version that wrote them");
}

Result<Epoch> read_epoch(const Json& json) {
  try {
    Epoch epoch;
    epoch.number = json.at("epoch").get<std::uint32_t>();
    epoch.timeline = json.at("timeline").get<std::uint32_t>();
    const auto from = Lsn::parse(json.at("from").get<std::string>());
    if (!from) return unreadable("from");
    epoch.from = *from;
    const Json& settings = json.at("settings");
    epoch.settings.encoder_version = settings.at("encoder").get<int>();
    epoch.settings.source = settings.at("source").get<std::string>();
    epoch.settings.message_id = settings.at("message_id").get<bool>();
    epoch.settings.wal_store = settings.at("wal_store").get<bool>();
    return epoch;
  } catch (const Json::exception& e) {
    return unreadable(e.what());
  }
}

}  // namespace

Result<Epochs> Epochs::from_json(std::string_view text) {
  const auto json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_array()) return unreadable("not an array");
  Epochs epochs;
  for (const auto& element : json) {
    auto epoch = read_epoch(element);
    if (!epoch) return tl::unexpected(epoch.error());
    if (epoch->settings.encoder_version != kEncoderVersion)
      return fail(ErrorKind::kEncoderMissing,
                  "epoch " + std::to_string(epoch->number) + " needs encoder version " +
                      std::to_string(epoch->settings.encoder_version) + ", this binary has " +
                      std::to_string(kEncoderVersion),
                  "run a postrider binary with that encoder until its epoch is durable");
    if (!epochs.empty() &&
        (epoch->number <= epochs.newest().number || epoch->from < epochs.newest().from))
      return unreadable("they do not rise");
    epochs.epochs_.push_back(std::move(*epoch));
  }
  return epochs;
}

std::string Epochs::to_json() const {
  Json json = Json::array();
  for (const auto& epoch : epochs_)
    json.push_back({{"epoch", epoch.number},
                    {"timeline", epoch.timeline},
                    {"from", epoch.from.to_string()},
                    {"settings",
                     {{"encoder", epoch.settings.encoder_version},
                      {"source", epoch.settings.source},
                      {"message_id", epoch.settings.message_id},
                      {"wal_store", epoch.settings.wal_store}}}});
  return json.dump();
}

const Epoch& Epochs::at(Lsn lsn) const {
  for (auto epoch = epochs_.rbegin(); epoch != epochs_.rend(); ++epoch)
    if (epoch->from <= lsn) return *epoch;
  return epochs_.front();
}

bool Epochs::any_wal_store() const {
  for (const auto& epoch : epochs_)
    if (epoch.settings.wal_store) return true;
  return false;
}

bool Epochs::needs_new(const EpochSettings& settings, std::uint32_t timeline) const {
  return empty() || newest().settings != settings || newest().timeline != timeline;
}

void Epochs::open(std::uint32_t timeline, Lsn from, EpochSettings settings) {
  if (empty()) {
    epochs_.push_back({1, timeline, Lsn{}, std::move(settings)});
    return;
  }
  epochs_.push_back({newest().number + 1, timeline, from, std::move(settings)});
}

void Epochs::forget_before(Lsn durable) {
  while (epochs_.size() > 1 && epochs_[1].from <= durable) epochs_.erase(epochs_.begin());
}

}  // namespace postrider
