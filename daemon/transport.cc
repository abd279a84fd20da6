#include "daemon/transport.h"

#include <libpq-fe.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <sstream>
#include <vector>

namespace postrider {
namespace {

// What the string sets; nothing when libpq cannot read it, which the connection will say.
std::map<std::string, std::string> parse(const std::string& conninfo) {
  std::map<std::string, std::string> values;
  const std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> options(
      PQconninfoParse(conninfo.c_str(), nullptr), &PQconninfoFree);
  if (!options) return values;
  for (const auto* option = options.get(); option->keyword != nullptr; ++option)
    if (option->val != nullptr) values[option->keyword] = option->val;
  return values;
}

std::string value_or_variable(const std::map<std::string, std::string>& values, const char* key,
                              const char* variable) {
  if (const auto found = values.find(key); found != values.end()) return found->second;
  const char* text = std::getenv(variable);
  return text == nullptr ? "" : text;
}

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  std::istringstream text(list);
  for (std::string part; std::getline(text, part, ',');) parts.push_back(part);
  return parts;
}

std::string authority(const std::string& url) {
  const auto scheme = url.find("://");
  const auto start = scheme == std::string::npos ? 0 : scheme + 3;
  return url.substr(start, url.find('/', start) - start);
}

std::string host_of(const std::string& url) {
  std::string host = authority(url);
  if (const auto user = host.rfind('@'); user != std::string::npos) host.erase(0, user + 1);
  if (host.starts_with('[')) return host.substr(1, host.find(']') - 1);
  return host.substr(0, host.find(':'));
}

}  // namespace

bool is_local_host(const std::string& host) {
  return host.empty() || host.starts_with('/') || host.starts_with('@') || host == "localhost" ||
         host.starts_with("127.") || host == "::1";
}

bool is_plain_postgres(const std::string& conninfo) {
  const auto values = parse(conninfo);
  if (values.contains("service")) return false;
  const auto mode = value_or_variable(values, "sslmode", "PGSSLMODE");
  if (mode == "require" || mode == "verify-ca" || mode == "verify-full") return false;
  auto hosts = value_or_variable(values, "hostaddr", "PGHOSTADDR");
  if (hosts.empty()) hosts = value_or_variable(values, "host", "PGHOST");
  for (const auto& host : split(hosts))
    if (!is_local_host(host)) return true;
  return false;
}

bool is_plain_nats(const std::string& url, bool tls) {
  if (tls) return false;
  for (const auto& one : split(url))
    if (!one.starts_with("tls://") && !is_local_host(host_of(one))) return true;
  return false;
}

bool has_password(const std::string& conninfo) {
  return parse(conninfo).contains("password");
}

bool url_has_password(const std::string& url) {
  for (const auto& one : split(url)) {
    const auto text = authority(one);
    const auto at = text.rfind('@');
    if (at != std::string::npos && text.substr(0, at).find(':') != std::string::npos) return true;
  }
  return false;
}

}  // namespace postrider
