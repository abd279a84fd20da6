// What emit accepts is carried: nothing that passes its checks may stop the relay later, and what
// travels in headers is the text that was given.
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/world.h"

namespace postrider::test {
namespace {

// Headers, as JSON. Some are refused by emit, which is as good.
const std::vector<std::string>& awkward_headers() {
  static const std::vector<std::string> headers = {
      R"({"n": 1e400})",
      R"({"n": -1e400})",
      R"({"n": 1e-400})",
      R"({"n": 12345678901234567890123})",
      R"({"n": 18446744073709551616})",
      R"({"n": -9223372036854775809})",
      R"({"n": 1.10})",
      R"({"n": 0.1000000000000000055511151231257827})",
      R"({"n": 1E2})",
      R"({"n": -0})",
      R"({"n": -0.0})",
      R"({"b": true, "c": false})",
      R"({"empty": ""})",
      R"({"s": "true", "t": "1e400", "u": "null"})",
      R"({"quote": "a\"b\\c/d", "colon": "a: b: c"})",
      R"({"unicode": "\u00fc\ud83d\ude00\uffff\u2028\u0085"})",
      R"({"a": "1", "A": "2"})",
      R"({"!#$%&'*+-.^_`|~09azAZ": "token"})",
      R"({"long": ")" + std::string(3000, 'x') + R"("})",
      R"({"nul": "\u0000"})",
      R"({"line": "a\r\nb"})",
      R"({"nested": {"a": 1}})",
      R"({"Nats-Msg-Id": "x"})",
  };
  return headers;
}

// Keys and types, as SQL.
const std::vector<std::string>& awkward_texts() {
  static const std::vector<std::string> texts = {"''",
                                                 "' '",
                                                 "'a: b'",
                                                 "'\"\\\"'",
                                                 "'%0d%0a'",
                                                 "U&'\\00fc\\+01F600'",
                                                 "U&'\\FFFF'",
                                                 "U&'\\0085'",
                                                 "E'a\\x7f'",
                                                 "E'\\n'",
                                                 "repeat('k', 3000)",
                                                 "'null'"};
  return texts;
}

// Subjects, as SQL.
const std::vector<std::string>& awkward_subjects() {
  static const std::vector<std::string> subjects = {"'-'",
                                                    "'~'",
                                                    "'%'",
                                                    "'a.-._'",
                                                    "'=.=.='",
                                                    "'@:/+'",
                                                    "'9'",
                                                    "'a._.b'",
                                                    "'a_'",
                                                    "'A.b.C.d'",
                                                    "'_a'",
                                                    "'a. b'",
                                                    "'a.*'",
                                                    "'$SYS'",
                                                    "'a..b'",
                                                    "U&'a\\00fc'",
                                                    "repeat('a.', 99) || 'aa'",
                                                    "repeat('a.', 100) || 'a'"};
  return subjects;
}

class Carried : public World {
 protected:
  // Whether emit accepted it.
  bool emit(const std::string& arguments) {
    bool accepted = true;
    for (const char* store : {"table", "wal"}) {
      try {
        app_sql("SELECT outbox.emit(" + arguments + ", payload => '1', store => '" + store + "')");
        ++accepted_;
      } catch (const std::runtime_error&) {
        accepted = false;
      }
    }
    return accepted;
  }
  // The values of a header as the newest two messages hold it.
  void expect_header(const std::string& name, const std::string& value) {
    const auto messages = nats_client().read_stream(kStream);
    ASSERT_GE(messages.size(), 2U);
    for (auto message = messages.end() - 2; message != messages.end(); ++message)
      EXPECT_EQ(message->header(name), value) << message->subject;
  }

  std::size_t accepted_ = 0;
};

TEST_F(Carried, IsEverythingThatEmitAccepts) {
  catch_up();  // opens the wal store
  for (const auto& headers : awkward_headers())
    (void)emit("subject => 'h', headers => $json$" + headers + "$json$");
  for (const auto& text : awkward_texts()) {
    (void)emit("subject => 'k', key => " + text);
    (void)emit("subject => 't', type => " + text);
  }
  for (const auto& subject : awkward_subjects()) (void)emit("subject => " + subject);
  EXPECT_GT(accepted_, 70U);
  catch_up();
  EXPECT_EQ(nats_client().read_stream(kStream).size(), accepted_);
}

TEST_F(Carried, NumbersInHeadersAreTheirTextDigitForDigit) {
  catch_up();
  for (const auto& [json, text] : std::vector<std::pair<std::string, std::string>>{
           {"12345678901234567890123", "12345678901234567890123"},
           {"1.10", "1.10"},
           {"0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"},
           {"1e400", "1" + std::string(400, '0')},
           {"true", "true"}}) {
    ASSERT_TRUE(emit(R"(subject => 'n', headers => '{"n": )" + json + "}'")) << json;
    ASSERT_NO_FATAL_FAILURE(catch_up());
    expect_header("n", text);
  }
}

// One format an epoch: what was committed before the change keeps the old one. And whoever
// publishes again publishes the same.
TEST_F(World, AChangeOfFormatLeavesWhatWasCommittedBefore) {
  const std::string event =
      "SELECT outbox.emit('order.placed', '{\"n\": 1.10}', key => 'k 1', type => 'placed', "
      "headers => '{\"traceparent\": \"00-a-b-01\"}', store => 'table')";
  const auto carry = [&](const std::string& format) {
    auto settings = unconfirmed();
    settings["relay.format"] = "\"" + format + "\"";
    app_sql(event);  // before the epoch that the next relay opens
    catch_up(settings);
    app_sql(event);
    catch_up(settings);
  };
  carry("plain");
  carry("cloudevents");
  carry("cloudevents-binary");
  const auto messages = nats_client().read_stream(kStream);
  ASSERT_EQ(messages.size(), 6U);
  const std::vector<std::string> formats = {"plain", "plain", "plain", "json", "json", "binary"};
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto& message = messages[i];
    EXPECT_EQ(message.header("traceparent"), "00-a-b-01") << "in every format";
    EXPECT_EQ(message.header("Postrider-Key"), "k 1");
    EXPECT_EQ(message.header("ce-id").has_value(), formats[i] == "binary") << i;
    if (formats[i] == "json") {
      EXPECT_EQ(message.header("Content-Type"), "application/cloudevents+json");
      EXPECT_NE(message.data.find("{\"n\": 1.10}"), std::string::npos) << message.data;
      const auto json = nlohmann::json::parse(message.data);
      EXPECT_EQ(json["id"], *message.header("Postrider-Id"));
      EXPECT_EQ(json["source"], "/postrider/shop");
      EXPECT_EQ(json["traceparent"], "00-a-b-01");
    } else {
      EXPECT_EQ(message.data, "{\"n\": 1.10}") << i;
    }
  }
  EXPECT_EQ(messages[5].header("ce-id"), messages[5].header("Postrider-Id"));
  EXPECT_EQ(messages[5].header("ce-subject"), "k%201");
  // The broker loses its tail: the relay of today publishes each again in the format of its time.
  const auto texts = [&] {
    std::string all;
    for (const auto& message : nats_client().read_stream(kStream)) {
      all += message.subject + "\n";
      for (const auto& [name, value] : message.headers) all += name + ": " + value + "\n";
      all += message.data + "\n";
    }
    return all;
  };
  const auto before = texts();
  nats_client().api(std::string("STREAM.DELETE.") + kStream);
  auto settings = unconfirmed();
  settings["relay.format"] = "\"cloudevents-binary\"";
  catch_up(settings);
  EXPECT_EQ(texts(), before);
}

}  // namespace
}  // namespace postrider::test
