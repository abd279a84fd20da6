#include "daemon/config.h"

#include <sys/stat.h>
#include <unistd.h>

#include <toml++/toml.h>
#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <regex>
#include <set>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "daemon/capture_config.h"
#include "daemon/config_values.h"
#include "daemon/outbox_config.h"
#include "daemon/transport.h"

namespace postrider {
namespace {

// One configuration key: where it goes and how its text or TOML value is read.
struct Key {
  std::string section;
  std::string name;
  std::function<void(const ConfigValue&)> set;
};

std::string environment_name(const Key& key) {
  std::string name = "POSTRIDER_" + key.section + "_" + key.name;
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::toupper(c); });
  return name;
}

std::vector<Key> keys_of(Config& config, StreamOptions& stream) {
  RelayOptions& relay = config.relay;
  using V = const ConfigValue&;
  return {
      {"source", "name", [&](V v) { relay.source.name = v.matching("[a-z0-9_-]{1,40}"); }},
      {"source", "conninfo", [&](V v) { relay.source.conninfo = v.text(); }},
      {"source", "verify_conninfo", [&](V v) { config.verify_conninfo = v.text(); }},
      {"source", "slot", [&](V v) { relay.source.slot = v.matching("[a-z0-9_]{1,63}"); }},
      {"source", "publication",
       [&](V v) { relay.source.publication = v.matching("[A-Za-z0-9_]{1,63}"); }},
      {"source", "insecure", [&](V v) { config.source_insecure = v.boolean(); }},
      {"migrate", "conninfo", [&](V v) { config.owner_conninfo = v.text(); }},
      {"migrate", "target_conninfo", [&](V v) { config.target_owner_conninfo = v.text(); }},
      {"target", "conninfo", [&](V v) { config.target_conninfo = v.text(); }},
      {"target", "insecure", [&](V v) { config.target_insecure = v.boolean(); }},
      {"nats", "insecure", [&](V v) { config.nats_insecure = v.boolean(); }},
      {"nats", "url", [&](V v) { relay.nats.url = v.text(); }},
      {"nats", "creds", [&](V v) { relay.nats.credentials_file = v.secret_file(); }},
      {"nats", "nkey_seed", [&](V v) { relay.nats.nkey_seed_file = v.secret_file(); }},
      {"nats", "user", [&](V v) { relay.nats.user = v.text(); }},
      {"nats", "password_file", [&](V v) { relay.nats.password_file = v.secret_file(); }},
      {"nats", "tls_ca", [&](V v) { relay.nats.tls_ca_file = v.readable_file(); }},
      {"nats", "tls_cert", [&](V v) { relay.nats.tls_cert_file = v.readable_file(); }},
      {"nats", "tls_key", [&](V v) { relay.nats.tls_key_file = v.secret_file(); }},
      {"nats", "tls_hostname", [&](V v) { relay.nats.tls_hostname = v.text(); }},
      {"nats", "inbox_prefix",
       [&](V v) { relay.nats.inbox_prefix = v.matching("[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*"); }},
      {"stream", "name", [&](V v) { stream.name = v.matching("[A-Za-z0-9_-]{1,64}"); }},
      {"stream", "create", [&](V v) { stream.create = v.boolean(); }},
      {"stream", "replicas", [&](V v) { stream.replicas = static_cast<int>(v.integer(1, 5)); }},
      {"stream", "max_bytes", [&](V v) { stream.max_bytes = v.integer(-1, 1LL << 50U); }},
      {"stream", "max_age", [&](V v) { stream.max_age = v.duration(0, days(3650)); }},
      {"stream", "fast_ingest", [&](V v) { stream.fast_ingest = v.boolean(); }},
      {"stream", "duplicate_window",
       [&](V v) { stream.duplicate_window = v.duration(100, minutes(60)); }},
      {"relay", "confirm",
       [&](V v) {
         relay.confirm =
             v.one_of({"synced", "acked"}) == "synced" ? ConfirmMode::kSynced : ConfirmMode::kAcked;
       }},
      {"relay", "broker_sync_interval",
       [&](V v) { relay.broker_sync_interval = v.duration(0, minutes(60)); }},
      {"relay", "confirm_margin", [&](V v) { relay.confirm_margin = v.duration(0, minutes(60)); }},
      {"relay", "confirm_interval",
       [&](V v) { relay.confirm_interval = v.duration(0, minutes(60)); }},
      {"relay", "idle_confirm_interval",
       [&](V v) { relay.idle_confirm_interval = v.duration(0, minutes(60)); }},
      {"relay", "window_messages",
       [&](V v) { relay.window_messages = static_cast<std::size_t>(v.integer(1, 8192)); }},
      {"relay", "window_bytes",
       [&](V v) { relay.window_bytes = static_cast<std::size_t>(v.integer(4096, 32LL << 20U)); }},
      {"relay", "part_bytes",
       [&](V v) { relay.part_bytes = static_cast<std::size_t>(v.integer(65536, 32LL << 20U)); }},
      {"relay", "message_id", [&](V v) { relay.message_id = v.boolean(); }},
      {"relay", "format",
       [&](V v) {
         const std::string name = v.one_of({"plain", "cloudevents", "cloudevents-binary"});
         relay.format = name == "plain"         ? EventFormat::kPlain
                        : name == "cloudevents" ? EventFormat::kCloudEventsStructured
                                                : EventFormat::kCloudEventsBinary;
       }},
      {"relay", "wal_store", [&](V v) { relay.wal_store = v.boolean(); }},
      {"relay", "accept_public_emit", [&](V v) { relay.accept_public_emit = v.boolean(); }},
      {"relay", "announce", [&](V v) { relay.announce = v.boolean(); }},
      {"relay", "ack_timeout", [&](V v) { relay.ack_timeout = v.duration(100, minutes(10)); }},
      {"relay", "stall_after", [&](V v) { relay.stall_after = v.duration(1000, minutes(60)); }},
      {"relay", "takeover_after",
       [&](V v) { relay.takeover_after = v.duration(1000, minutes(10)); }},
      {"relay", "wal_sender_timeout",
       [&](V v) { relay.wal_sender_timeout = v.duration(1000, minutes(60)); }},
      {"relay", "maintain_interval",
       [&](V v) { relay.maintain_interval = v.duration(1000, days(1)); }},
      {"http", "listen", [&](V v) { config.http_listen = v.text(); }},
      {"log", "level",
       [&](V v) {
         config.log_level = v.one_of({"trace", "debug", "info", "warn", "error"});
       }},
      {"log", "format",
       [&](V v) {
         config.log_json = v.one_of({"text", "json"}) == "json";
       }},
  };
}

[[noreturn]] void refuse_unknown(const std::string& where, const std::string& name,
                                 const std::vector<std::string>& known) {
  throw Failure(ErrorKind::kConfiguration, where + ": unknown key \"" + name + "\"",
                "did you mean \"" + nearest_name(name, known) + "\"?");
}

std::string at(const std::string& path, const toml::node& node) {
  return path + ":" + std::to_string(node.source().begin.line);
}

constexpr std::array<std::string_view, 6> kRepeatedSections = {
    "readmodel", "projection", "verify", "capture", "outbox", "replica"};

bool is_repeated(const std::string& section) {
  return std::ranges::find(kRepeatedSections, section) != kRepeatedSections.end();
}

struct Repeated {
  ReadModelTables readmodels;
  std::vector<CaptureRule> captures;
  std::vector<OutboxRule> outboxes;
};

void read_repeated(const std::string& path, const std::string& section, const toml::node& node,
                   Repeated& into) {
  const auto* tables = node.as_array();
  if (tables == nullptr || !tables->is_array_of_tables())
    throw Failure(ErrorKind::kConfiguration, at(path, node) + ": " + section + " is not repeated",
                  "write [[" + section + "]], with two brackets");
  for (const auto& table : *tables) {
    if (section == "capture")
      into.captures.push_back(read_capture(path, *table.as_table()));
    else if (section == "outbox")
      add_outbox(path, *table.as_table(), into.outboxes);
    else
      read_repeated_table(path, section, *table.as_table(), into.readmodels);
  }
}

void read_file(const std::string& path, const std::vector<Key>& keys, std::set<std::string>& seen,
               Repeated& repeated) {
  toml::table file;
  try {
    file = toml::parse_file(path);
  } catch (const toml::parse_error& e) {
    throw Failure(
        ErrorKind::kConfiguration,
        path + ":" + std::to_string(e.source().begin.line) + ": " + std::string(e.description()),
        "correct the file; it is TOML");
  }
  for (const auto& [section_key, section_node] : file) {
    const std::string section(section_key.str());
    if (is_repeated(section)) {
      read_repeated(path, section, section_node, repeated);
      continue;
    }
    const auto* table = section_node.as_table();
    std::vector<std::string> sections;
    std::vector<std::string> names;
    for (const auto& key : keys) {
      sections.push_back(key.section);
      if (key.section == section) names.push_back(key.name);
    }
    if (table == nullptr || names.empty())
      refuse_unknown(at(path, section_node), section, sections);
    for (const auto& [name_key, node] : *table) {
      const std::string name(name_key.str());
      const auto key = std::ranges::find_if(
          keys, [&](const Key& k) { return k.section == section && k.name == name; });
      if (key == keys.end())
        refuse_unknown(at(path, node), section + "." + name, prefixed(section, names));
      key->set(ConfigValue::from_toml(at(path, node) + ": " + section + "." + name, node));
      seen.insert(section + "." + name);
    }
  }
}

void read_environment(const std::vector<Key>& keys, std::set<std::string>& seen) {
  for (const auto& key : keys) {
    const std::string name = environment_name(key);
    if (const char* value = std::getenv(name.c_str()); value != nullptr) {
      key.set(ConfigValue::from_text(name, value));
      seen.insert(key.section + "." + key.name);
    }
  }
}

// Kubernetes gives a pod such variables for each Service of its namespace, after the Service's
// name.
bool is_service_link(const std::string& name, const std::string& value) {
  static const std::regex link(
      "_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
      "$");
  return std::regex_search(name, link) ||
         (name.ends_with("_PORT") && value.find("://") != std::string::npos);
}

// There is no telling which of several tables it means.
void refuse_variable_of_repeated_section(const std::string& name) {
  for (const auto& section : kRepeatedSections) {
    if (!name.starts_with(environment_name({std::string(section), "", nullptr}))) continue;
    throw Failure(
        ErrorKind::kConfiguration,
        "environment: " + name + " names a repeated section, which is read from the file alone",
        "unset it, and write the key into the file, below [[" + std::string(section) + "]]");
  }
}

// A variable that names a section of ours and no key of it is a setting that somebody believes in.
void refuse_unknown_variables(const std::vector<Key>& keys) {
  // Not settings: where `postrider dev` finds nats-server.
  const std::set<std::string> others = {"POSTRIDER_NATS_SERVER"};
  std::vector<std::string> known;
  std::set<std::string> prefixes;
  for (const auto& key : keys) {
    known.push_back(environment_name(key));
    prefixes.insert(environment_name({key.section, "", nullptr}));
  }
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string variable(*entry);
    const std::string name = variable.substr(0, variable.find('='));
    if (is_service_link(name, variable.substr(std::min(name.size() + 1, variable.size()))))
      continue;
    refuse_variable_of_repeated_section(name);
    const bool ours = std::ranges::any_of(
        prefixes, [&](const std::string& prefix) { return name.starts_with(prefix); });
    if (!ours || others.contains(name) || std::ranges::find(known, name) != known.end()) continue;
    throw Failure(ErrorKind::kConfiguration, "environment: unknown variable " + name,
                  "did you mean " + nearest_name(name, known) + "?");
  }
}

void read_settings(const std::vector<std::string>& settings, const std::vector<Key>& keys,
                   std::set<std::string>& seen) {
  std::vector<std::string> known;
  for (const auto& key : keys) known.push_back(key.section + "." + key.name);
  for (const auto& setting : settings) {
    const auto equals = setting.find('=');
    const std::string name = setting.substr(0, equals);
    if (equals == std::string::npos)
      throw Failure(ErrorKind::kConfiguration, "--set " + setting + ": no value",
                    "write --set section.key=value");
    const auto found = std::ranges::find(known, name);
    if (found == known.end()) refuse_unknown("--set", name, known);
    keys.at(static_cast<std::size_t>(found - known.begin()))
        .set(ConfigValue::from_text("--set " + name, setting.substr(equals + 1)));
    seen.insert(name);
  }
}

// Who we are to NATS is one thing: what the environment or the command line says of it replaces
// what was said before, of whatever kind. `given` are the keys that it sets.
void forget_older_identity(const std::set<std::string>& given, NatsOptions& nats) {
  const bool creds = given.contains("nats.creds");
  const bool seed = given.contains("nats.nkey_seed");
  const bool user = given.contains("nats.user") && !nats.user.empty();
  if (!creds && !seed && !user) return;
  if (!creds) nats.credentials_file.clear();
  if (!seed) nats.nkey_seed_file.clear();
  if (!user) nats.user.clear();
  if (!user && !given.contains("nats.password_file")) nats.password_file.clear();
}

// PG* fill gaps by libpq itself.
void fill_gaps(const std::vector<Key>& keys, const std::set<std::string>& seen) {
  if (const char* url = std::getenv("NATS_URL"); url != nullptr && !seen.contains("nats.url"))
    for (const auto& key : keys)
      if (key.section == "nats" && key.name == "url")
        key.set(ConfigValue::from_text("NATS_URL", url));
}

void require(bool good, const char* what, const char* remedy) {
  if (!good) throw Failure(ErrorKind::kConfiguration, what, remedy);
}

// What single keys cannot say.
void complete(Config& config) {
  RelayOptions& relay = config.relay;
  require(!relay.source.name.empty(), "source.name is not set",
          "name the source in the file given with --config, for example \"shop\"");
  if (relay.source.slot.empty()) {
    relay.source.slot = "postrider_" + relay.source.name;
    std::ranges::replace(relay.source.slot, '-', '_');
  }
  if (relay.stream.name.empty()) {
    relay.stream.name = relay.source.name;
    std::ranges::transform(relay.stream.name, relay.stream.name.begin(),
                           [](unsigned char c) { return std::toupper(c); });
  }
  const int identities = static_cast<int>(!relay.nats.credentials_file.empty()) +
                         static_cast<int>(!relay.nats.nkey_seed_file.empty()) +
                         static_cast<int>(!relay.nats.user.empty());
  require(identities <= 1, "nats.creds, nats.nkey_seed and nats.user exclude each other",
          "keep one of them");
  require(relay.nats.password_file.empty() || !relay.nats.user.empty(),
          "nats.password_file is set without nats.user", "set both");
  require(relay.nats.tls_cert_file.empty() == relay.nats.tls_key_file.empty(),
          "nats.tls_cert and nats.tls_key belong together", "set both or neither");
  require(relay.takeover_after < relay.stall_after,
          "relay.takeover_after must be shorter than relay.stall_after",
          "the defaults are 3s and 30s");
}

// A plain connection to another machine shows events and passwords to whoever is in between.
void review_transport(Config& config) {
  const auto review = [&](bool plain, bool accepted, const std::string& key,
                          const std::string& section, const char* remedy) {
    if (!plain) return;
    if (!accepted)
      throw Failure(ErrorKind::kConfiguration, key + " leads to another machine without TLS",
                    std::string(remedy) + ", or accept it with " + section + ".insecure = true");
    config.warnings.push_back(key + " leads to another machine without TLS (" + section +
                              ".insecure)");
  };
  const char* postgres = "add sslmode=verify-full and sslrootcert=... to the conninfo string";
  const NatsOptions& nats = config.relay.nats;
  review(is_plain_postgres(config.relay.source.conninfo), config.source_insecure, "source.conninfo",
         "source", postgres);
  if (config.verify_conninfo)
    review(is_plain_postgres(*config.verify_conninfo), config.source_insecure,
           "source.verify_conninfo", "source", postgres);
  review(is_plain_postgres(config.owner_conninfo), config.source_insecure, "migrate.conninfo",
         "source", postgres);
  review(is_plain_postgres(config.target_conninfo), config.target_insecure, "target.conninfo",
         "target", postgres);
  review(is_plain_postgres(config.target_owner_conninfo), config.target_insecure,
         "migrate.target_conninfo", "target", postgres);
  review(is_plain_nats(nats.url, !nats.tls_ca_file.empty() || !nats.tls_cert_file.empty()),
         config.nats_insecure, "nats.url", "nats", "use tls:// and nats.tls_ca");
  if (config.http_listen &&
      !is_local_host(config.http_listen->substr(0, config.http_listen->rfind(':'))))
    config.warnings.push_back("http.listen = " + *config.http_listen +
                              " is reachable from other machines, without authentication");
}

// Of what the file itself says: beaten values count, too.
void review_secrets(const std::string& path, const std::vector<CaptureRule>& captures,
                    Config& config) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || (status.st_mode & (S_IRGRP | S_IROTH)) == 0) return;
  bool secret = url_has_password(config.relay.nats.url);
  for (const auto* conninfo : {&config.relay.source.conninfo, &config.owner_conninfo,
                               &config.target_conninfo, &config.target_owner_conninfo})
    secret = secret || has_password(*conninfo);
  secret = secret || has_password(config.verify_conninfo.value_or(""));
  for (const auto& rule : captures) secret = secret || !rule.hash_salt.empty();
  if (secret)
    config.warnings.push_back(
        path + " holds a password, or a salt, and others may read it: chmod 600, or a " +
        "PGPASSFILE and nats.password_file");
}

// Without any [[capture]], nothing is known of what is carried.
replica::CarriedOf carried_by(const std::vector<CaptureRule>& captures, const std::string& source) {
  if (captures.empty()) return nullptr;
  return [captures, source](const std::string& schema,
                            const std::string& table) -> std::optional<replica::Carried> {
    const auto* rule = postrider::find_rule(captures, schema, table);
    if (rule == nullptr) return std::nullopt;
    return replica::Carried{rule->columns,   rule->exclude,
                            rule->mask,      rule->hash,
                            rule->hash_salt, rule->rename,
                            rule->where,     subject_patterns(*rule, source, schema, table)};
  };
}

}  // namespace

MigrateOptions Config::migrate_options() const {
  return {owner_conninfo,           relay.source.conninfo, relay.source.name, relay.source.slot,
          relay.source.publication, relay.captures,        relay.outboxes};
}

Config load_config(const std::string& path, const std::vector<std::string>& settings) {
  Config config;
  const auto keys = keys_of(config, config.relay.stream);
  std::set<std::string> seen;
  Repeated repeated;
  if (!path.empty()) {
    struct stat status {};
    // toml++ takes a folder for an empty file.
    if (::access(path.c_str(), R_OK) != 0 || ::stat(path.c_str(), &status) != 0 ||
        S_ISDIR(status.st_mode))
      throw Failure(ErrorKind::kConfiguration, path + ": cannot be read",
                    "check the path given with --config, and its rights");
    read_file(path, keys, seen, repeated);
    review_secrets(path, repeated.captures, config);
  }
  refuse_unknown_variables(keys);
  std::set<std::string> given;
  read_environment(keys, given);
  forget_older_identity(given, config.relay.nats);
  seen.merge(given);
  given.clear();
  read_settings(settings, keys, given);
  forget_older_identity(given, config.relay.nats);
  seen.merge(given);
  fill_gaps(keys, seen);
  require_apart(repeated.outboxes, repeated.captures);
  config.relay.captures = std::move(repeated.captures);
  config.relay.outboxes = std::move(repeated.outboxes);
  complete(config);
  review_transport(config);
  ReadModelOptions defaults;
  defaults.source = config.relay.source.name;
  defaults.stream = config.relay.stream.name;
  defaults.target_conninfo = config.target_conninfo;
  defaults.nats = config.relay.nats;
  config.readmodels = complete(std::move(repeated.readmodels), defaults);
  for (auto& readmodel : config.readmodels) {
    readmodel.replicas.source_conninfo =
        config.verify_conninfo.value_or(config.relay.source.conninfo);
    readmodel.replicas.carried = carried_by(config.relay.captures, config.relay.source.name);
  }
  return config;
}

}  // namespace postrider
