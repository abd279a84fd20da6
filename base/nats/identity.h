// Who to be on NATS: user and password, an nkey, or a credentials file, answered to a server's
// nonce. Secrets are read when they are asked for, and not kept.
//
// Throws Failure (kConfiguration) for a file that cannot be read or holds something else. Source:
// nats-io/nkeys, strkey.go; nats-server's auth.go.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/jetstream/nats_options.h"

namespace postrider::nats {

// Adds to the options of CONNECT what the server has to be told. `nonce` is of its INFO; empty:
// none. `user` and `password` are the URL's, and count before the options' user, as in other
// clients; a user without a password is a token.
void add_identity(const NatsOptions& options, std::string_view user, std::string_view password,
                  std::string_view nonce, nlohmann::json& connect);

// The public key of an nkey's seed, as text.
[[nodiscard]] std::string public_key_of(std::string_view seed);
// The signature of `text` by a seed, in URL-safe base64.
[[nodiscard]] std::string sign(std::string_view seed, std::string_view text);

}  // namespace postrider::nats
