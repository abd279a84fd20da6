// How to reach NATS and who to be there. Filled by daemon/ from [nats]; every default and its
// reason is in docs/operating.md.
#pragma once

#include <string>

namespace postrider {

struct NatsOptions {
  // One or several, separated by commas.
  std::string url = "nats://127.0.0.1:4222";
  std::string credentials_file;  // .creds
  std::string nkey_seed_file;
  std::string user;
  std::string password_file;
  std::string tls_ca_file;
  std::string tls_cert_file;
  std::string tls_key_file;
  std::string tls_hostname;
  std::string inbox_prefix = "_INBOX";
};

}  // namespace postrider
