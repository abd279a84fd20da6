#include "base/postgres/conninfo.h"

#include <libpq-fe.h>

#include <memory>

#include "base/error.h"

namespace postrider {
namespace {

std::string quote(const std::string& value) {
  std::string quoted = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "'";
}

// libpq quotes what it cannot read, and it can read neither a password with a blank nor a URI with
// a stray character: what may hold one is not quoted.
std::string without_password(const std::string& conninfo, const std::string& message) {
  const bool may_hold =
      conninfo.find("passw") != std::string::npos || conninfo.find('@') != std::string::npos;
  return may_hold ? "it is not quoted here, as it may hold a password" : message;
}

}  // namespace

std::string with_defaults(const std::string& conninfo, const ConninfoSettings& defaults) {
  char* message = nullptr;
  const std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> options(
      PQconninfoParse(conninfo.c_str(), &message), &PQconninfoFree);
  const std::unique_ptr<char, void (*)(void*)> owned_message(message, &PQfreemem);
  if (!options)
    throw Failure(ErrorKind::kConfiguration,
                  "unreadable conninfo string: " +
                      without_password(conninfo, message == nullptr ? "" : message),
                  "see \"Connection Strings\" in PostgreSQL's documentation");
  std::string result;
  const auto append = [&result](const std::string& key, const std::string& value) {
    result += (result.empty() ? "" : " ") + key + "=" + quote(value);
  };
  ConninfoSettings missing = defaults;
  for (const auto* option = options.get(); option->keyword != nullptr; ++option) {
    if (option->val == nullptr) continue;
    append(option->keyword, option->val);
    std::erase_if(missing, [&](const auto& setting) { return setting.first == option->keyword; });
  }
  for (const auto& [key, value] : missing) append(key, value);
  return result;
}

const ConninfoSettings& liveness_defaults() {
  static const ConninfoSettings settings = {{"connect_timeout", "5"},
                                            {"keepalives_idle", "5"},
                                            {"keepalives_interval", "2"},
                                            {"keepalives_count", "3"},
                                            {"tcp_user_timeout", "10000"}};
  return settings;
}

std::string connection_remedy(const std::string& message) {
  if (message.find("password") == std::string::npos) return {};
  return "put the role's password into the file that PGPASSFILE names, mode 0600, or correct the "
         "conninfo";
}

}  // namespace postrider
