#include "daemon/outbox_config.h"

#include <algorithm>

#include "base/error.h"
#include "daemon/config_table.h"
#include "daemon/subject_config.h"

namespace postrider {
namespace {

// Of a header, as the encoder demands; libnats takes any.
constexpr const char* kHeader = "[A-Za-z0-9!#$%&'*+.^_`|~-]+";

bool is_reserved(std::string name) {
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name.starts_with("nats-") || name.starts_with("postrider-") || name.starts_with("ce-") ||
         name == "content-type";
}

}  // namespace

void add_outbox(const std::string& path, const toml::table& table, std::vector<OutboxRule>& into) {
  using V = const ConfigValue&;
  OutboxRule rule;
  const std::string where = place_of(path, table);
  read_table(path, "outbox", table,
             {
                 {"outbox", "table", [&](V v) { rule.table = v.matching("[^.*]+\\.[^*]+"); }},
                 {"outbox", "subject", [&](V v) { rule.subject = v.text(); }},
                 {"outbox", "id", [&](V v) { rule.id = v.matching("[^]+"); }},
                 {"outbox", "key", [&](V v) { rule.key = v.text(); }},
                 {"outbox", "type", [&](V v) { rule.type = v.text(); }},
                 {"outbox", "payload", [&](V v) { rule.payload = v.matching("[^]+"); }},
                 {"outbox", "headers", [&](V v) { rule.headers = v.text(); }},
                 {"outbox", "header_columns",
                  [&](V v) { rule.header_columns = v.texts_by_name(kHeader); }},
                 {"outbox", "content_type", [&](V v) { rule.content_type = v.matching("[ -~]+"); }},
             });
  const auto refuse = [&](const std::string& what, const std::string& remedy) {
    throw Failure(ErrorKind::kConfiguration, where + ": " + what, remedy);
  };
  if (rule.table.empty()) refuse("outbox.table is not set", "table = \"public.outbox\"");
  if (std::ranges::find(into, rule.table, &OutboxRule::table) != into.end())
    refuse("outbox.table " + rule.table + " has two rules", "keep one of them");
  if (!rule.headers.empty() && !rule.header_columns.empty())
    refuse("outbox.headers and outbox.header_columns exclude each other", "keep one of them");
  for (const auto& [header, column] : rule.header_columns)
    if (is_reserved(header))
      refuse("outbox.header_columns: the header " + header + " is reserved",
             "not Content-Type, and none that begins with Nats-, Postrider- or ce-");
  std::vector<std::string> known = {"schema", "table", "key", "column:NAME"};
  if (rule.key.empty()) std::erase(known, "key");
  require_subject(where + ": outbox.subject", rule.subject, known);
  into.push_back(std::move(rule));
}

void require_apart(const std::vector<OutboxRule>& outboxes,
                   const std::vector<CaptureRule>& captures) {
  for (const auto& capture : captures)
    for (const auto& name : capture.tables)
      if (std::ranges::find(outboxes, name, &OutboxRule::table) != outboxes.end())
        throw Failure(ErrorKind::kConfiguration,
                      "table " + name + " is in [[outbox]] and in [[capture]]",
                      "keep one of them: the rows of an outbox table are events, not row changes");
}

}  // namespace postrider
