#include "relay/progress/epoch.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

EpochSettings settings(bool message_id) {
  return {.source = "shop", .message_id = message_id};
}

Epochs three() {
  Epochs epochs;
  epochs.open(1, Lsn{0x999}, settings(true));
  epochs.open(1, Lsn{0x200}, settings(false));
  epochs.open(2, Lsn{0x300}, settings(false));
  return epochs;
}

TEST(Epochs, TheFirstCoversEverything) {
  EXPECT_EQ(three().at(Lsn{0x1}).number, 1U);
  EXPECT_EQ(three().at(Lsn{0x1ff}).number, 1U);
}

TEST(Epochs, ACommitBelongsToTheNewestThatBeginsAtOrBeforeIt) {
  EXPECT_EQ(three().at(Lsn{0x200}).number, 2U);
  EXPECT_EQ(three().at(Lsn{0x2ff}).number, 2U);
  EXPECT_EQ(three().at(Lsn{0x300}).number, 103U);
  EXPECT_EQ(three().at(Lsn{0x9000}).number, 103U);
}

// Those that were opened before a promotion may be missing in the row that the promoted server has.
TEST(Epochs, OfANewTimelineLeaveRoomForThoseThatItsRowMayLack) {
  Epochs epochs;
  epochs.open(3, Lsn{}, settings(true));
  EXPECT_EQ(epochs.numbers(), std::vector<std::uint32_t>{201});
  epochs.open(3, Lsn{0x100}, settings(false));
  epochs.open(5, Lsn{0x200}, settings(false));
  EXPECT_EQ(epochs.numbers(), (std::vector<std::uint32_t>{201, 202, 403}));
}

TEST(Epochs, OpenForOtherSettingsOrAnotherTimeline) {
  const auto epochs = three();
  EXPECT_FALSE(epochs.needs_new(settings(false), 2));
  EXPECT_TRUE(epochs.needs_new(settings(true), 2));
  EXPECT_TRUE(epochs.needs_new(settings(false), 3));
  EXPECT_TRUE(Epochs().needs_new(settings(false), 1));
}

TEST(Epochs, SurviveTheCheckpointRow) {
  const auto read = Epochs::from_json(three().to_json());
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->newest(), three().newest());
  EXPECT_EQ(read->at(Lsn{0x250}), three().at(Lsn{0x250}));
}

TEST(Epochs, KeepFormatAndCaptures) {
  auto anew = settings(true);
  anew.format = EventFormat::kCloudEventsBinary;
  anew.captures = {{.tables = {"public.*"},
                    .subject = "rows.{table}",
                    .format = RowFormat::kDebezium,
                    .subject_column = "f",
                    .subject_values = {{"x", "y"}},
                    .columns = {"a"},
                    .exclude = {"b"},
                    .mask = {"c"},
                    .hash = {"d"},
                    .hash_salt = "salt",
                    .rename = {{"d", "e"}},
                    .where = ""}};
  Epochs epochs;
  epochs.open(1, Lsn{}, settings(true));
  EXPECT_EQ(epochs.to_json().find("captures"), std::string::npos) << "as older binaries wrote it";
  auto other = anew;
  other.captures[0].hash = {"d", "f"};
  EXPECT_NE(other, anew);
  other = anew;
  other.captures[0].hash_salt = "a";
  EXPECT_NE(other, anew);
  other = anew;
  other.captures[0].subject_values = {{"x", "z"}};
  EXPECT_NE(other, anew);
  other = anew;
  other.captures[0].subject_column = "g";
  EXPECT_NE(other, anew);
  other = anew;
  other.captures[0].rename = {{"a", "b"}};
  EXPECT_NE(other, anew);
  other = anew;
  other.captures = {};
  other.outboxes = {{.table = "a.b", .key = "", .headers = "h", .content_type = "c/d"},
                    {.table = "a.c", .header_columns = {{"X", "x"}}}};
  EXPECT_TRUE(other.carries_rows());
  Epochs with_outboxes;
  with_outboxes.open(1, Lsn{}, other);
  const auto read_outboxes = Epochs::from_json(with_outboxes.to_json());
  ASSERT_TRUE(read_outboxes.has_value());
  EXPECT_EQ(read_outboxes->newest(), with_outboxes.newest());
  EXPECT_TRUE(read_outboxes->any_captures());
  EXPECT_FALSE(epochs.any_captures());
  EXPECT_TRUE(epochs.needs_new(anew, 1));
  epochs.open(1, Lsn{0x200}, anew);
  const auto read = Epochs::from_json(epochs.to_json());
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->newest(), epochs.newest());
  EXPECT_TRUE(read->any_captures());
}

TEST(Epochs, OfAColumnWithoutValuesSurviveTheRowToo) {
  auto odd = settings(true);
  odd.captures = {{.tables = {"public.*"}, .subject = "rows", .subject_column = "region"}};
  Epochs epochs;
  epochs.open(1, Lsn{}, odd);
  const auto read = Epochs::from_json(epochs.to_json());
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->newest(), epochs.newest());
  EXPECT_FALSE(read->needs_new(odd, 1));
}

TEST(Epochs, AreForgottenOnceTheNextIsDurable) {
  auto epochs = three();
  epochs.forget_before(Lsn{0x250});
  EXPECT_EQ(epochs.at(Lsn{0x250}).number, 2U);
  epochs.forget_before(Lsn{0x10000});
  EXPECT_EQ(epochs.newest().number, 103U) << "the newest stays";
}

TEST(Epochs, OfAnUnknownEncoderAreRefusedByName) {
  auto text = three().to_json();
  const std::string ours = "\"encoder\":" + std::to_string(kEncoderVersion);
  text.replace(text.find(ours), ours.size(), "\"encoder\":77");
  const auto read = Epochs::from_json(text);
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().kind, ErrorKind::kEncoderMissing);
  EXPECT_NE(read.error().context.find("77"), std::string::npos);
}

TEST(Epochs, TakeOnlyIntegersThatFit) {
  const std::string good = three().to_json();
  const std::string number = R"("epoch":1,)";
  ASSERT_NE(good.find(number), std::string::npos) << good;
  for (const char* other : {"1e20", "4294967297", "-1", "true"}) {
    std::string text = good;
    text.replace(text.find(number), number.size(), std::string(R"("epoch":)") + other + ',');
    const auto read = Epochs::from_json(text);
    ASSERT_FALSE(read.has_value()) << other;
    EXPECT_EQ(read.error().kind, ErrorKind::kProtocol) << other;
  }
}

TEST(Epochs, RefuseTextThatIsNotTheirs) {
  for (const char* text : {"", "{}", "[1]", "[{}]", "[{\"epoch\":1}]", "nonsense"}) {
    const auto read = Epochs::from_json(text);
    ASSERT_FALSE(read.has_value()) << text;
    EXPECT_EQ(read.error().kind, ErrorKind::kProtocol) << text;
  }
}

TEST(Epochs, ReopenedByARepairDeclareItsHoleUntilItIsPublished) {
  auto epochs = three();
  epochs.reopen(3, Lsn{0x400}, OrdinalRange{11, 20});
  EXPECT_EQ(epochs.newest().number, 204U);
  EXPECT_EQ(epochs.at(Lsn{0x1}).number, 204U) << "what was before is forgotten";
  EXPECT_EQ(epochs.newest().settings, settings(false));
  // Other settings before the first message behind the hole: it is theirs to declare.
  epochs.open(3, Lsn{0x500}, settings(true));
  const auto read = Epochs::from_json(epochs.to_json());
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->at(Lsn{0x400}).hole, (OrdinalRange{11, 20}));
  EXPECT_EQ(read->newest().hole, (OrdinalRange{11, 20}));
  EXPECT_FALSE(Epochs::from_json(three().to_json())->newest().hole);
}

}  // namespace
}  // namespace postrider
