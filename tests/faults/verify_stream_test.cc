// `postrider verify stream`: finds what was done to a stream, and nothing where nothing was.
#include <nlohmann/json.hpp>

#include "tests/support/world.h"

namespace postrider::test {
namespace {

using Json = nlohmann::json;
constexpr int kEqual = 0;
constexpr int kDiffers = 1;
constexpr int kCouldNotSay = 2;
constexpr std::chrono::milliseconds kPatience{60'000};

class VerifyStream : public World {
 protected:
  // A stream in which a test may do what the relay's own stream refuses.
  void make_unguarded_stream(std::chrono::nanoseconds max_age = {}) {
    nats_client().api("STREAM.CREATE.SHOP", {{"name", kStream},
                                             {"subjects", {"shop.>"}},
                                             {"storage", "file"},
                                             {"retention", "limits"},
                                             {"discard", "new"},
                                             {"max_age", max_age.count()},
                                             {"duplicate_window", 1'000'000'000}});
  }
  void set_max_age(std::chrono::nanoseconds max_age) {
    auto client = nats_client();
    auto config = client.api("STREAM.INFO.SHOP")["config"];
    config["max_age"] = max_age.count();
    config["duplicate_window"] = std::chrono::nanoseconds(std::chrono::milliseconds(500)).count();
    client.api("STREAM.UPDATE.SHOP", config);
  }
  void emit(int transactions, int events) {
    for (int i = 0; i < transactions; ++i) {
      std::string statement = "BEGIN; ";
      for (int e = 0; e < events; ++e)
        statement += "SELECT outbox.emit('order.placed', '{\"n\": " + std::to_string(e) + "}'); ";
      app_sql(statement + "COMMIT");
    }
  }
  int verify(std::vector<std::string> arguments = {}, const Settings& settings = quick()) {
    arguments.insert(arguments.begin(), {"verify", "stream", "--json", "--config",
                                         write_config(settings, "verify").string()});
    const int status = postrider(arguments);
    said_ = Json::parse(output(), nullptr, false);
    return status;
  }
  [[nodiscard]] long faults(const char* kind) const { return said_["faults"][kind].get<long>(); }
  [[nodiscard]] long faults() const {
    long sum = 0;
    for (const auto& [kind, count] : said_["faults"].items()) sum += count.get<long>();
    return sum;
  }
  // The stream made anew by hand, message by message, after `change`.
  void forge(const std::function<void(std::vector<StreamMessage>&)>& change) {
    auto client = nats_client();
    auto messages = client.read_stream(kStream);
    change(messages);
    client.api("STREAM.DELETE.SHOP");
    make_unguarded_stream();
    for (const auto& message : messages)
      client.publish(message.subject, message.data, message.headers);
  }
  static std::string& header(StreamMessage& message, const std::string& name) {
    for (auto& [key, value] : message.headers)
      if (key == name) return value;
    throw std::runtime_error("no header " + name);
  }

  Json said_;
};

TEST_F(VerifyStream, UnderLiveLoadFindsNothingWhileTheRelayIsKilled) {
  catch_up();  // opens the wal store
  auto relay = start_relay();
  Workload workload(writers());
  for (int round = 0; round < 4; ++round) {
    workload.wait_for_more(200);
    relay->kill();
    relay = start_relay();
    ASSERT_EQ(verify(), kEqual) << said_;
    EXPECT_GT(said_["matched"].get<long>(), 100);
    EXPECT_EQ(said_["missing"], 0);
  }
  EXPECT_GT(said_["without_row"].get<long>(), 100);  // the wal store's
}

TEST_F(VerifyStream, FindsADeletedMessage) {
  make_unguarded_stream();
  const auto relay = start_relay();
  emit(10, 3);
  ASSERT_TRUE(wait_for_seq(30));
  ASSERT_EQ(verify(), kEqual) << said_;
  nats_client().api("STREAM.MSG.DELETE.SHOP", {{"seq", 14}});
  ASSERT_EQ(verify(), kDiffers) << said_;
  EXPECT_EQ(faults("lost"), 1) << said_;
  EXPECT_EQ(faults("gap"), 1) << said_;
  EXPECT_EQ(faults(), 2) << said_;
}

// Nothing is published any more, and nothing confirmed: only the relay's notices say that the
// stream has passed the row.
TEST_F(VerifyStream, FindsADeletedMessageOfAnIdleSourceWithoutWaiting) {
  make_unguarded_stream();
  const auto relay = start_relay(unconfirmed());
  emit(10, 3);
  ASSERT_TRUE(wait_for_seq(30));
  nats_client().api("STREAM.MSG.DELETE.SHOP", {{"seq", 14}});
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(verify({}, unconfirmed()), kDiffers) << said_;
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds{20});
  EXPECT_EQ(faults("lost"), 1) << said_;
}

TEST_F(VerifyStream, FindsADuplicatePublishedByHand) {
  catch_up();
  emit(10, 3);
  catch_up();
  auto copy = nats_client().read_stream(kStream).at(6);
  std::erase_if(copy.headers, [](const auto& h) { return h.first.starts_with("Nats-"); });
  nats_client().publish(copy.subject, copy.data, copy.headers);
  ASSERT_EQ(verify(), kDiffers) << said_;
  EXPECT_EQ(faults("duplicate"), 1) << said_;
  EXPECT_EQ(faults("broken_chain"), 1) << said_;
  EXPECT_EQ(faults(), 2) << said_;
}

TEST_F(VerifyStream, FindsAForeignMessage) {
  catch_up();
  emit(10, 3);
  catch_up();
  nats_client().publish("shop.order.placed", "{}");
  ASSERT_EQ(verify(), kDiffers) << said_;
  EXPECT_EQ(faults("foreign"), 1) << said_;
  EXPECT_EQ(faults(), 1) << said_;
}

TEST_F(VerifyStream, FindsAReorderedPairAndAChangedPayload) {
  make_unguarded_stream();
  {
    const auto relay = start_relay();
    emit(10, 3);
    ASSERT_TRUE(wait_for_seq(30));
  }
  forge([](auto&) {});
  ASSERT_EQ(verify(), kEqual) << said_;
  forge([](auto& messages) {  // ordinals and positions stay what they are
    std::swap(header(messages[9], "Postrider-Id"), header(messages[10], "Postrider-Id"));
    std::swap(messages[9].data, messages[10].data);
  });
  ASSERT_EQ(verify(), kDiffers) << said_;
  EXPECT_EQ(faults("out_of_order"), 1) << said_;
  EXPECT_EQ(faults(), 1) << said_;
  forge([](auto& messages) {
    std::swap(header(messages[9], "Postrider-Id"), header(messages[10], "Postrider-Id"));
    std::swap(messages[9].data, messages[10].data);
    messages[20].data = R"({"n": 77})";
  });
  ASSERT_EQ(verify(), kDiffers) << said_;
  EXPECT_EQ(faults("altered"), 1) << said_;
  EXPECT_EQ(faults(), 1) << said_;
}

TEST_F(VerifyStream, ComparesThePayloadInsideACloudEvent) {
  make_unguarded_stream();
  const auto emit_kinds = [&] {
    emit(1, 2);
    app_sql(
        "SELECT outbox.emit_bytes('b', '\\x00ff', content_type => 'image/png'), "
        "outbox.emit_bytes('e', '', content_type => 'text/plain'), "
        "outbox.emit_bytes('c', '{\"specversion\":\"1.0\",\"data\":1}', "
        "content_type => 'application/cloudevents+json'), "
        "outbox.emit('j', '{\"n\": 1.50, \"data\": [1]}', 'k')");
  };
  // The settings may change in the middle of a stream.
  for (const char* format : {"\"cloudevents\"", "\"cloudevents-binary\"", "\"plain\""}) {
    emit_kinds();
    auto settings = quick();
    settings["relay.format"] = format;
    catch_up(settings);
    ASSERT_EQ(verify(), kEqual) << format << said_;
  }
  EXPECT_EQ(said_["matched"], 18);
  forge([](auto& messages) {
    auto& data = messages[5].data;
    const auto at = data.find("1.50");
    ASSERT_NE(at, std::string::npos) << data;
    data.replace(at, 4, "1.51");
    auto& bytes = messages[2].data;
    const auto base64 = bytes.find("AP8=");
    ASSERT_NE(base64, std::string::npos) << bytes;
    bytes.replace(base64, 4, "AP4=");
  });
  ASSERT_EQ(verify(), kDiffers) << said_;
  EXPECT_EQ(faults("altered"), 2) << said_;
  EXPECT_EQ(faults(), 2) << said_;
}

TEST_F(VerifyStream, FindsAnEventMovedToAnotherTransaction) {
  make_unguarded_stream();
  {
    const auto relay = start_relay();
    emit(10, 3);
    ASSERT_TRUE(wait_for_seq(30));
  }
  forge([](auto& messages) {
    std::swap(header(messages[8], "Postrider-Id"), header(messages[9], "Postrider-Id"));
    std::swap(messages[8].data, messages[9].data);
  });
  ASSERT_EQ(verify(), kDiffers) << said_;
  EXPECT_EQ(faults("torn"), 2) << said_;
}

TEST_F(VerifyStream, DoesNotAccuseWhatIsNotPublishedYet) {
  catch_up();
  emit(5, 2);
  EXPECT_EQ(verify({"--timeout", "1"}), kCouldNotSay) << said_;
  EXPECT_EQ(said_["missing"], 10);
  EXPECT_EQ(faults(), 0);
  const auto relay = start_relay();
  EXPECT_EQ(verify(), kEqual) << said_;
}

// Nothing of it was durable yet: nobody may have taken it for aged.
TEST_F(VerifyStream, AccusesAStreamThatKeepsForEverAndLacksItsBeginning) {
  const auto relay = start_relay(unconfirmed());
  emit(10, 2);
  ASSERT_TRUE(wait_for_seq(20));
  for (int seq = 1; seq <= 10; ++seq) nats_client().api("STREAM.MSG.DELETE.SHOP", {{"seq", seq}});
  EXPECT_EQ(verify({}, unconfirmed()), kDiffers) << said_;
  EXPECT_EQ(faults("gap"), 1) << said_;
  EXPECT_EQ(faults("lost"), 10) << said_;
}

// Its settings say that it keeps for ever. They did not always.
TEST_F(VerifyStream, DoesNotAccuseAStreamOfWhatHadAgedOutBeforeItKeptForEver) {
  const auto relay = start_relay();
  emit(10, 2);
  ASSERT_TRUE(dev::wait_until(
      [&] { return sql("SELECT ordinal = 20 FROM outbox.checkpoint") == "t"; }, kPatience))
      << relay->log();
  set_max_age(std::chrono::milliseconds(500));
  ASSERT_TRUE(dev::wait_until(
      [&] { return nats_client().api("STREAM.INFO.SHOP")["state"]["messages"] == 0; }, kPatience));
  set_max_age({});
  EXPECT_EQ(verify(), kEqual) << said_;
  EXPECT_EQ(said_["out_of_range"], 20) << said_;
  emit(5, 2);
  ASSERT_TRUE(wait_for_seq(30)) << relay->log();
  EXPECT_EQ(verify(), kEqual) << said_;
  EXPECT_EQ(said_["first_ordinal"], 21) << said_;
  EXPECT_EQ(said_["matched"], 10) << said_;
  EXPECT_EQ(said_["out_of_range"], 20) << said_;
}

TEST_F(VerifyStream, DoesNotAccuseAStreamThatMayBePurged) {
  make_unguarded_stream();
  const auto relay = start_relay(unconfirmed());
  emit(10, 2);
  ASSERT_TRUE(wait_for_seq(20));
  nats_client().api("STREAM.PURGE.SHOP", {{"seq", 11}});
  EXPECT_EQ(verify({}, unconfirmed()), kEqual) << said_;
  EXPECT_EQ(said_["out_of_range"], 10) << said_;
}

TEST_F(VerifyStream, CountsWhatIsOlderThanTheStream) {
  make_unguarded_stream(std::chrono::hours(1));
  const auto relay = start_relay();
  emit(10, 2);
  ASSERT_TRUE(wait_for_seq(20));
  nats_client().api("STREAM.PURGE.SHOP", {{"seq", 11}});
  ASSERT_EQ(verify(), kEqual) << said_;
  EXPECT_EQ(said_["first_ordinal"], 11);
  EXPECT_EQ(said_["out_of_range"], 10);
}

TEST_F(VerifyStream, WithoutABrokerCouldNotSay) {
  catch_up();
  ASSERT_TRUE(nats_.stop());
  EXPECT_EQ(verify(), kCouldNotSay) << said_;
}

}  // namespace
}  // namespace postrider::test
