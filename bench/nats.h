// nats.c for the programs of this folder: handles owned, errors thrown, and a stream like the
// relay's. They must not use the relay's own adapters, which they are measured against.
#pragma once

#include <nats/nats.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

namespace postrider::bench {

struct Destroy {
  void operator()(natsConnection* p) const { natsConnection_Destroy(p); }
  void operator()(natsSubscription* p) const { natsSubscription_Destroy(p); }
  void operator()(natsMsg* p) const { natsMsg_Destroy(p); }
  void operator()(jsCtx* p) const { jsCtx_Destroy(p); }
  void operator()(jsStreamInfo* p) const { jsStreamInfo_Destroy(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Destroy>;

// Throws std::runtime_error.
inline void check(natsStatus status, const std::string& what) {
  if (status != NATS_OK) throw std::runtime_error(what + ": " + natsStatus_GetText(status));
}

inline Owned<natsConnection> connect(const std::string& url) {
  natsConnection* raw = nullptr;
  check(natsConnection_ConnectTo(&raw, url.c_str()), "connect to " + url);
  return Owned<natsConnection>(raw);
}

// An empty stream with the settings that the relay gives its own; one of that name is deleted.
inline Owned<jsCtx> make_stream(natsConnection& connection, const std::string& name,
                                const std::string& subjects, int replicas = 1) {
  jsCtx* raw = nullptr;
  check(natsConnection_JetStream(&raw, &connection, nullptr), "JetStream");
  Owned<jsCtx> jet_stream(raw);
  jsErrCode code{};
  (void)js_DeleteStream(raw, name.c_str(), nullptr, &code);  // mostly there is none
  jsStreamConfig config;
  check(jsStreamConfig_Init(&config), "stream");
  const char* filter = subjects.c_str();
  config.Name = name.c_str();
  config.Subjects = &filter;
  config.SubjectsLen = 1;
  config.Discard = js_DiscardNew;
  config.AllowDirect = true;
  config.Replicas = replicas;
  config.Duplicates = 5'000'000'000;
  check(js_AddStream(nullptr, raw, &config, nullptr, &code), "make stream " + name);
  return jet_stream;
}

inline std::uint64_t last_sequence(jsCtx& jet_stream, const std::string& name) {
  jsStreamInfo* raw = nullptr;
  jsErrCode code{};
  check(js_GetStreamInfo(&raw, &jet_stream, name.c_str(), nullptr, &code), "stream " + name);
  const Owned<jsStreamInfo> info(raw);
  return info->State.LastSeq;
}

}  // namespace postrider::bench
