#include "relay/progress/epoch.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/json_integer.h"

namespace postrider {
namespace {

using Json = nlohmann::json;

tl::unexpected<Error> unreadable(const std::string& what) {
  return fail(ErrorKind::kProtocol, "the checkpoint row's epochs are unreadable: " + what,
              "run the postrider version that wrote them");
}

// Written only where they differ from the defaults, so that the row of a source that does without
// them stays readable for older binaries.
constexpr std::array<std::pair<EventFormat, const char*>, 3> kEventFormats = {
    {{EventFormat::kPlain, "plain"},
     {EventFormat::kCloudEventsStructured, "cloudevents"},
     {EventFormat::kCloudEventsBinary, "cloudevents-binary"}}};
constexpr std::array<std::pair<RowFormat, const char*>, 2> kRowFormats = {
    {{RowFormat::kPostrider, "postrider"}, {RowFormat::kDebezium, "debezium"}}};

template <class Enum, std::size_t Size>
const char* name_of(const std::array<std::pair<Enum, const char*>, Size>& table, Enum value) {
  return std::ranges::find(table, value, [](const auto& entry) { return entry.first; })->second;
}

template <class Enum, std::size_t Size>
std::optional<Enum> value_of(const std::array<std::pair<Enum, const char*>, Size>& table,
                             const std::string& name) {
  for (const auto& [value, text] : table)
    if (name == text) return value;
  return std::nullopt;
}

Json write_rule(const CaptureRule& rule) {
  Json json = {{"tables", rule.tables},
               {"subject", rule.subject},
               {"format", name_of(kRowFormats, rule.format)}};
  if (!rule.subject_column.empty()) json["subject_column"] = rule.subject_column;
  if (!rule.subject_values.empty()) json["subject_values"] = rule.subject_values;
  if (!rule.columns.empty()) json["columns"] = rule.columns;
  if (!rule.exclude.empty()) json["exclude"] = rule.exclude;
  if (!rule.mask.empty()) json["mask"] = rule.mask;
  if (!rule.hash.empty()) json["hash"] = rule.hash;
  if (rule.tombstones) json["tombstones"] = true;
  if (!rule.hash_salt.empty()) json["hash_salt"] = rule.hash_salt;
  if (!rule.rename.empty()) json["rename"] = rule.rename;
  return json;
}

// Throws Json::exception. Nothing: an unknown format.
std::optional<CaptureRule> read_rule(const Json& json) {
  CaptureRule rule;
  rule.tables = json.at("tables").get<std::vector<std::string>>();
  rule.subject = json.at("subject").get<std::string>();
  const auto format = value_of(kRowFormats, json.at("format").get<std::string>());
  if (!format) return std::nullopt;
  rule.format = *format;
  const auto list = [&](const char* name) { return json.value(name, std::vector<std::string>()); };
  rule.subject_column = json.value("subject_column", "");
  rule.subject_values = json.value("subject_values", std::map<std::string, std::string>());
  rule.columns = list("columns");
  rule.exclude = list("exclude");
  rule.mask = list("mask");
  rule.hash = list("hash");
  rule.hash_salt = json.value("hash_salt", "");
  rule.tombstones = json.value("tombstones", false);
  rule.rename = json.value("rename", std::map<std::string, std::string>());
  return rule;
}

Json write_outbox(const OutboxRule& rule) {
  Json json = {{"table", rule.table}, {"subject", rule.subject}, {"id", rule.id},
               {"key", rule.key},     {"type", rule.type},       {"payload", rule.payload}};
  if (!rule.headers.empty()) json["headers"] = rule.headers;
  if (!rule.header_columns.empty()) json["header_columns"] = rule.header_columns;
  if (!rule.content_type.empty()) json["content_type"] = rule.content_type;
  return json;
}

// Throws Json::exception.
OutboxRule read_outbox(const Json& json) {
  OutboxRule rule;
  json.at("table").get_to(rule.table);
  json.at("subject").get_to(rule.subject);
  json.at("id").get_to(rule.id);
  json.at("key").get_to(rule.key);
  json.at("type").get_to(rule.type);
  json.at("payload").get_to(rule.payload);
  rule.headers = json.value("headers", "");
  rule.header_columns = json.value("header_columns", std::map<std::string, std::string>());
  rule.content_type = json.value("content_type", "");
  return rule;
}

Json write_settings(const EpochSettings& settings) {
  Json json = {{"encoder", settings.encoder_version},
               {"source", settings.source},
               {"message_id", settings.message_id},
               {"wal_store", settings.wal_store}};
  if (settings.format != EventFormat::kPlain)
    json["format"] = name_of(kEventFormats, settings.format);
  for (const auto& rule : settings.captures) json["captures"].push_back(write_rule(rule));
  if (settings.backfill) json["backfill"] = true;
  for (const auto& rule : settings.outboxes) json["outboxes"].push_back(write_outbox(rule));
  if (settings.part_bytes != 0) json["part_bytes"] = settings.part_bytes;
  return json;
}

Result<Epoch> read_epoch(const Json& json) {
  try {
    Epoch epoch;
    epoch.number = json_integer<std::uint32_t>(json.at("epoch"));
    epoch.timeline = json_integer<std::uint32_t>(json.at("timeline"));
    const auto from = Lsn::parse(json.at("from").get<std::string>());
    if (!from) return unreadable("from");
    epoch.from = *from;
    const Json& settings = json.at("settings");
    epoch.settings.encoder_version = json_integer<int>(settings.at("encoder"));
    epoch.settings.source = settings.at("source").get<std::string>();
    epoch.settings.message_id = settings.at("message_id").get<bool>();
    epoch.settings.wal_store = settings.at("wal_store").get<bool>();
    const auto format = value_of(kEventFormats, settings.value("format", "plain"));
    if (!format) return unreadable("format");
    epoch.settings.format = *format;
    for (const auto& element : settings.value("captures", Json::array())) {
      auto rule = read_rule(element);
      if (!rule) return unreadable("the format of a capture");
      epoch.settings.captures.push_back(std::move(*rule));
    }
    epoch.settings.backfill = settings.value("backfill", false);
    for (const auto& element : settings.value("outboxes", Json::array()))
      epoch.settings.outboxes.push_back(read_outbox(element));
    if (settings.contains("part_bytes"))
      epoch.settings.part_bytes = json_integer<std::size_t>(settings.at("part_bytes"));
    if (json.contains("hole")) {
      epoch.hole = OrdinalRange::parse(json.at("hole").get<std::string>());
      if (!epoch.hole) return unreadable("hole");
    }
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
  for (const auto& epoch : epochs_) {
    json.push_back({{"epoch", epoch.number},
                    {"timeline", epoch.timeline},
                    {"from", epoch.from.to_string()},
                    {"settings", write_settings(epoch.settings)}});
    if (epoch.hole) json.back()["hole"] = epoch.hole->to_string();
  }
  return json.dump();
}

const Epoch& Epochs::at(Lsn lsn) const {
  for (auto epoch = epochs_.rbegin(); epoch != epochs_.rend(); ++epoch)
    if (epoch->from <= lsn) return *epoch;
  return epochs_.front();
}

std::vector<std::uint32_t> Epochs::numbers() const {
  std::vector<std::uint32_t> numbers;
  for (const auto& epoch : epochs_) numbers.push_back(epoch.number);
  return numbers;
}

bool Epochs::any_messages() const {
  return std::ranges::any_of(
      epochs_, [](const Epoch& e) { return e.settings.wal_store || e.settings.backfill; });
}

bool Epochs::any_message_ids() const {
  return std::ranges::any_of(epochs_, [](const Epoch& e) { return e.settings.message_id; });
}

bool Epochs::any_captures() const {
  return std::ranges::any_of(epochs_, [](const Epoch& e) { return e.settings.carries_rows(); });
}

bool Epochs::needs_new(const EpochSettings& settings, std::uint32_t timeline) const {
  return empty() || newest().settings != settings || newest().timeline != timeline;
}

void Epochs::open(std::uint32_t timeline, Lsn from, EpochSettings settings) {
  Epoch next{next_number(timeline), timeline, Lsn{}, std::move(settings)};
  if (!empty()) {
    next.from = from;
    next.hole = newest().hole;
  }
  epochs_.push_back(std::move(next));
}

std::uint32_t Epochs::next_number(std::uint32_t timeline) const {
  const std::uint32_t number = empty() ? 0 : newest().number;
  const std::uint32_t before = empty() ? 1 : newest().timeline;
  return number + 1 + (timeline > before ? kEpochsOfATimeline * (timeline - before) : 0);
}

void Epochs::reopen(std::uint32_t timeline, Lsn from, std::optional<OrdinalRange> hole,
                    std::uint32_t used) {
  epochs_ = {
      {std::max(next_number(timeline), used + 1), timeline, from, newest().settings, hole}};
}

void Epochs::forget_before(Lsn durable) {
  while (epochs_.size() > 1 && epochs_[1].from <= durable) epochs_.erase(epochs_.begin());
}

}  // namespace postrider
