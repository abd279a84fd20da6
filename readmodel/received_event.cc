#include "postrider/received_event.h"

namespace postrider {

std::size_t ReceivedEvent::size() const {
  std::size_t bytes = sizeof *this + subject.size() + id.size() + content_type.size() +
                      payload.size() + (key ? key->size() : 0) + (type ? type->size() : 0);
  for (const auto& [name, value] : headers) bytes += name.size() + value.size() + 64;
  return bytes;
}

}  // namespace postrider
