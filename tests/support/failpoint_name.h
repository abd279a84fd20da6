// The name of a test that is given a failpoint, such as "ack.before_handle=kill@3".
#pragma once

#include <gtest/gtest.h>

#include <cctype>
#include <string>

namespace postrider::test {

// What googletest takes in a name is letters, digits and underscores.
inline std::string failpoint_name(const ::testing::TestParamInfo<const char*>& point) {
  std::string name = point.param;
  for (auto& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  return name;
}

}  // namespace postrider::test
