#include "postrider/consumer.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "base/postgres/sql.h"
#include "readmodel/applier.h"

namespace postrider {
namespace {

constexpr const char* kAborted = "25P02";  // in_failed_sql_transaction

class HandlerProjection final : public Projection {
 public:
  explicit HandlerProjection(Consumer::Handler handler) : handler_(std::move(handler)) {}
  [[nodiscard]] std::string name() const override { return "handler"; }
  void apply(pqxx::transaction_base& tx, std::span<const ReceivedEvent> events) override try {
    handler_(dynamic_cast<pqxx::dbtransaction&>(tx), events);
    // The COMMIT of an aborted transaction is a rollback, and no error: libpqxx would report
    // success and the cursor here be ahead of the database's for ever.
    tx.exec("SELECT 1");
  } catch (const pqxx::sql_error& e) {
    if (sql::sqlstate(e) != kAborted) throw;
    refuse_aborted(e.what());
  } catch (const pqxx::usage_error& e) {  // libpqxx has noticed by itself, after some statements
    refuse_aborted(e.what());
  } catch (const std::exception&) {
    throw;
  } catch (...) {
    throw std::runtime_error("it threw something that is no std::exception");
  }

 private:
  [[noreturn]] static void refuse_aborted(const std::string& what) {
    throw pqxx::sql_error(
        "the handler caught an SQL error, which had aborted the transaction: catch one only around "
        "a pqxx::subtransaction (" +
            what + ")",
        {}, kAborted);
  }

  Consumer::Handler handler_;
};

bool is_name(std::string_view text, std::string_view more, std::size_t longest) {
  return !text.empty() && text.size() <= longest && std::ranges::all_of(text, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || more.find(c) != more.npos;
  });
}

// What a configuration file is held to, too. Found later, it would be tried again for ever, as if
// the database were unavailable.
void require_valid(const ConsumerOptions& options) {
  const auto require = [](bool valid, const char* what) {
    if (!valid)
      throw ConsumerError(std::string(info(ErrorKind::kConfiguration).name),
                          std::string("ConsumerOptions::") + what);
  };
  constexpr std::size_t kLongestName = 40;
  constexpr std::size_t kLongestStream = 64;
  require(is_name(options.name, "_", kLongestName), "name must match [a-z0-9_]{1,40}");
  require(is_name(options.source, "_-", kLongestName), "source must match [a-z0-9_-]{1,40}");
  require(options.stream.empty() ||
              is_name(options.stream, "_-ABCDEFGHIJKLMNOPQRSTUVWXYZ", kLongestStream),
          "stream must match [A-Za-z0-9_-]{1,64}, or be empty");
  require(options.batch_events > 0, "batch_events must not be 0");
  require(options.batch_bytes > 0, "batch_bytes must not be 0");
  require(options.takeover_after >= std::chrono::seconds(1), "takeover_after must be 1 s at least");
}

ReadModelOptions options_of(ConsumerOptions options) {
  require_valid(options);
  ReadModelOptions o;
  o.name = std::move(options.name);
  o.source = std::move(options.source);
  o.stream = std::move(options.stream);
  if (o.stream.empty()) {
    o.stream = o.source;
    std::ranges::transform(o.stream, o.stream.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  }
  o.target_conninfo = std::move(options.target_conninfo);
  o.nats.url = std::move(options.nats_url);
  o.nats.credentials_file = std::move(options.nats_credentials_file);
  o.nats.user = std::move(options.nats_user);
  o.nats.password_file = std::move(options.nats_password_file);
  o.nats.tls_ca_file = std::move(options.nats_tls_ca_file);
  o.nats.inbox_prefix = std::move(options.nats_inbox_prefix);
  o.on_poison = options.park_refused ? OnPoison::kPark : OnPoison::kStop;
  o.batch_events = options.batch_events;
  o.batch_bytes = options.batch_bytes;
  o.takeover_after = options.takeover_after;
  o.until_caught_up = options.until_caught_up;
  return o;
}

}  // namespace

struct Consumer::Impl {
  Applier applier;
};

Consumer::Consumer(ConsumerOptions options, Handler handler)
    : impl_(new Impl{Applier(options_of(std::move(options)),
                             {std::make_shared<HandlerProjection>(std::move(handler))})}) {}
Consumer::~Consumer() = default;

void Consumer::run() {
  try {
    impl_->applier.run();
  } catch (const Failure& failure) {
    throw ConsumerError(std::string(info(failure.error().kind).name), failure.what());
  }
}

void Consumer::request_stop() noexcept {
  impl_->applier.request_stop();
}

Consumer::Status Consumer::status() const {
  const auto status = impl_->applier.status();
  return {to_string(status.state), status.error,   status.cursor.ordinal,
          status.lag_events(),     status.ready(), status.stalled};
}

}  // namespace postrider
