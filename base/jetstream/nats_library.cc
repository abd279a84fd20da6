#include "base/jetstream/nats_library.h"

#include <fstream>

namespace postrider {
namespace {

std::string read_secret(const std::string& path) {
  std::ifstream file(path);
  std::string secret;
  if (!file || !std::getline(file, secret))
    throw Failure(ErrorKind::kConfiguration, "cannot read " + path,
                  "check the file and its rights");
  return secret;
}

[[noreturn]] void throw_status(natsStatus status, const std::string& what) {
  const char* last = nats_GetLastError(nullptr);
  std::string text = what + ": " + natsStatus_GetText(status);
  if (last != nullptr && *last != '\0') text += std::string(" (") + last + ")";
  const ErrorKind kind = kind_of(status);
  throw Failure(kind, text, remedy_of(kind));
}

}  // namespace

ErrorKind kind_of(natsStatus status) {
  switch (status) {
    case NATS_NOT_PERMITTED:
    case NATS_CONNECTION_AUTH_FAILED:
      return ErrorKind::kNoPermission;
    case NATS_MAX_PAYLOAD:
      return ErrorKind::kTooLarge;
    default:
      return ErrorKind::kBrokerUnavailable;
  }
}

std::string remedy_of(ErrorKind kind) {
  if (kind == ErrorKind::kNoPermission)
    return "give the relay's NATS user the permissions that docs/operating.md lists";
  if (kind == ErrorKind::kTooLarge)
    return "raise the broker's max_payload, and lower outbox.settings.max_payload_bytes to fit it";
  return "";
}

void check(natsStatus status, const std::string& what) {
  if (status != NATS_OK) throw_status(status, what);
}

void configure_authentication(natsOptions* nats, const NatsOptions& options) {
  if (!options.credentials_file.empty())
    check(natsOptions_SetUserCredentialsFromFiles(nats, options.credentials_file.c_str(), nullptr),
          "credentials " + options.credentials_file);
  if (!options.nkey_seed_file.empty()) {
    // nats.c wants the public key; the server derives everything from the seed's signature.
    check(natsOptions_SetNKeyFromSeed(nats, read_secret(options.nkey_seed_file + ".pub").c_str(),
                                      options.nkey_seed_file.c_str()),
          "nkey " + options.nkey_seed_file);
  }
  if (!options.user.empty())
    check(natsOptions_SetUserInfo(
              nats, options.user.c_str(),
              options.password_file.empty() ? "" : read_secret(options.password_file).c_str()),
          "user");
}

void configure_tls(natsOptions* nats, const NatsOptions& options) {
  const bool wanted = !options.tls_ca_file.empty() || !options.tls_cert_file.empty() ||
                      options.url.starts_with("tls://");
  if (!wanted) return;
  check(natsOptions_SetSecure(nats, true), "TLS");
  if (!options.tls_ca_file.empty())
    check(natsOptions_LoadCATrustedCertificates(nats, options.tls_ca_file.c_str()),
          "nats.tls_ca " + options.tls_ca_file);
  if (!options.tls_cert_file.empty())
    check(natsOptions_LoadCertificatesChain(nats, options.tls_cert_file.c_str(),
                                            options.tls_key_file.c_str()),
          "nats.tls_cert " + options.tls_cert_file);
  if (!options.tls_hostname.empty())
    check(natsOptions_SetExpectedHostname(nats, options.tls_hostname.c_str()), "nats.tls_hostname");
}

}  // namespace postrider
