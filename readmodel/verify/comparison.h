// Two queries that must give the same rows: one on the source, one on the read model. Filled by
// daemon/ from [[verify]].
#pragma once

#include <string>
#include <vector>

namespace postrider {

struct Comparison {
  std::string name;
  std::string source_query;
  std::string target_query;
  std::vector<std::string> key;  // columns of both queries, for ranges and for showing what differs
  std::string problem = {};      // why it would say nothing; empty: it does
};

}  // namespace postrider
