// Integers out of JSON that somebody else wrote. nlohmann's get<T>() cuts what T cannot hold, takes
// true for 1, and is undefined for a number such as 1e20.
#pragma once

#include <concepts>
#include <nlohmann/json.hpp>
#include <utility>

namespace postrider {

// Throws nlohmann::json::exception for what is no integer, or none that T can hold.
template <std::integral T>
[[nodiscard]] T json_integer(const nlohmann::json& value) {
  using Json = nlohmann::json;
  const auto hold = [&value](auto number) {
    if (!std::in_range<T>(number))
      throw Json::out_of_range::create(401, value.dump() + " is out of range", &value);
    return static_cast<T>(number);
  };
  if (value.is_number_unsigned()) return hold(value.get_ref<const Json::number_unsigned_t&>());
  return hold(value.get_ref<const Json::number_integer_t&>());
}

}  // namespace postrider
