// What a NATS server says of who we are: when a connection is made, and later.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <thread>
#include <variant>

#include "base/jetstream/connection.h"
#include "base/jetstream/mailbox.h"
#include "base/nats/link.h"
#include "dev/process.h"
#include "tests/support/loopback.h"

namespace postrider::test {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPatience{30'000};
constexpr const char* kRefused = "-ERR 'Authorization Violation'\r\n";
constexpr const char* kExpired = "PONG\r\n-ERR 'User Authentication Expired'\r\n";

// One connection at a time, whose first ping it answers with a text.
class FakeServer {
 public:
  explicit FakeServer(std::string answer)
      : answer_(std::move(answer)), listener_(listen_on_loopback(0)), thread_([this] { run(); }) {}
  ~FakeServer() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  [[nodiscard]] NatsOptions options() const {
    NatsOptions options;
    options.url = "nats://127.0.0.1:" + std::to_string(port_of(listener_));
    return options;
  }

 private:
  void run() {
    for (int client = 0; (client = ::accept(listener_, nullptr, nullptr)) >= 0;) {
      say(client,
          "INFO {\"server_id\":\"S\",\"version\":\"2.9.10\",\"proto\":1,\"headers\":true,"
          "\"max_payload\":1048576}\r\n");
      std::string heard;
      bool answered = false;
      std::array<char, 1024> room{};
      for (ssize_t n = 0; (n = ::read(client, room.data(), room.size())) > 0;) {
        heard.append(room.data(), static_cast<std::size_t>(n));
        if (answered || heard.find("PING\r\n") == std::string::npos) continue;
        say(client, answer_);
        answered = true;
      }
      ::close(client);
    }
  }
  static void say(int client, const std::string& text) {
    (void)::send(client, text.data(), text.size(), MSG_NOSIGNAL);
  }

  const std::string answer_;
  const int listener_;
  std::thread thread_;
};

TEST(NatsRefusal, OfWhoConnectsIsForAPerson) {
  const FakeServer server(kRefused);
  try {
    const nats::Link link(server.options(), "test", kPatience);
    FAIL() << "it connects";
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.error().kind, ErrorKind::kNoPermission) << failure.what();
  }
  try {
    const NatsConnection connection(server.options(), "test", kPatience,
                                    Mailbox<std::monostate>::open());
    FAIL() << "it connects";
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.error().kind, ErrorKind::kNoPermission) << failure.what();
  }
}

// The file may hold a newer JWT by now.
TEST(NatsRefusal, OfCredentialsThatExpireMeansToConnectAgain) {
  const FakeServer server(kExpired);
  {
    nats::Link link(server.options(), "test", kPatience);
    std::optional<Error> error;
    EXPECT_TRUE(dev::wait_until(
        [&] {
          try {
            link.read([](const nats::Delivery&) {});
          } catch (const Failure& failure) {
            error = failure.error();
          }
          return error.has_value();
        },
        kPatience));
    ASSERT_TRUE(error);
    EXPECT_EQ(error->kind, ErrorKind::kBrokerUnavailable) << error->context;
    EXPECT_NE(error->context.find("Authentication Expired"), std::string::npos) << error->context;
  }
  const auto errors = Mailbox<std::monostate>::open();
  const NatsConnection connection(server.options(), "test", kPatience, errors);
  EXPECT_TRUE(dev::wait_until([&] { return errors->error().has_value(); }, kPatience));
  ASSERT_TRUE(errors->error());
  EXPECT_EQ(errors->error()->kind, ErrorKind::kBrokerUnavailable) << errors->error()->context;
}

}  // namespace
}  // namespace postrider::test
