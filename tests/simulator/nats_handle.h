// What the adapters find behind nats.c's handle: a connection of the model's, and what a feed that
// reads from it remembers.
#pragma once

#include <cstdint>
#include <string>

#include "tests/simulator/model_jetstream.h"

struct __natsConnection {
  postrider::sim::ModelJetStream::Connection* model = nullptr;
  std::string incarnation;
  std::uint64_t next = 0;
};
