// How long a reader waits for what was just committed: from the commit's return in the source to
// the return of postrider.wait_for in the read model's database, on an idle source.
// bench/read-your-writes runs it.
//   read_your_writes SOURCE_CONNINFO TARGET_CONNINFO COUNT
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <pqxx/pqxx>
#include <string>
#include <vector>

namespace {

std::string one(pqxx::connection& connection, const std::string& statement) {
  pqxx::nontransaction tx(connection);
  return tx.exec(statement)[0][0].as<std::string>();
}

double percentile(const std::vector<double>& sorted, double p) {
  return sorted[static_cast<std::size_t>(p * static_cast<double>(sorted.size() - 1))];
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 4) return 64;
  pqxx::connection source(argv[1]);
  pqxx::connection target(argv[2]);
  const int count = std::atoi(argv[3]);
  std::vector<double> waits;
  for (int i = 0; i < count; ++i) {
    one(source, "SELECT outbox.emit('item', '{\"id\": 1}')");
    const auto committed = std::chrono::steady_clock::now();
    const auto token = one(source, "SELECT outbox.token()");
    if (one(target, "SELECT postrider.wait_for('" + token + "', '20 seconds')") != "t") {
      std::cerr << "wait_for timed out\n";
      return 1;
    }
    const std::chrono::duration<double, std::milli> wait =
        std::chrono::steady_clock::now() - committed;
    waits.push_back(wait.count());
  }
  std::ranges::sort(waits);
  std::printf("commit to return of wait_for, %d times: p50 %.1f ms, p99 %.1f ms, max %.1f ms\n",
              count, percentile(waits, 0.5), percentile(waits, 0.99), waits.back());
  return 0;
} catch (const std::exception& error) {
  std::cerr << "read_your_writes: " << error.what() << '\n';
  return 1;
}
