// nats.c's handles owned, its statuses translated, its connection options set: what is the same for
// every use of the library. Private to the adapters.
#pragma once

#include <nats/nats.h>

#include <memory>
#include <string>

#include "base/error.h"
#include "base/jetstream/nats_options.h"

namespace postrider {

struct DestroyNats {
  void operator()(natsOptions* p) const { natsOptions_Destroy(p); }
  void operator()(natsConnection* p) const { natsConnection_Destroy(p); }
  void operator()(natsSubscription* p) const { natsSubscription_Destroy(p); }
  void operator()(natsMsg* p) const { natsMsg_Destroy(p); }
};
template <class T>
using Owned = std::unique_ptr<T, DestroyNats>;

[[nodiscard]] ErrorKind kind_of(natsStatus status);
[[nodiscard]] std::string remedy_of(ErrorKind kind);
// Throws Failure unless the status is NATS_OK.
void check(natsStatus status, const std::string& what);

// Credentials, nkey or user; TLS where the options ask for it. Throws kConfiguration for a file
// that cannot be read.
void configure_authentication(natsOptions* nats, const NatsOptions& options);
void configure_tls(natsOptions* nats, const NatsOptions& options);

}  // namespace postrider
