#include "daemon/config_values.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace postrider {
namespace {

using std::chrono::milliseconds;

ConfigValue text(const std::string& value) {
  return ConfigValue::from_text("VARIABLE", value);
}

// A value of a TOML file, as it stands there.
class Toml {
 public:
  explicit Toml(const std::string& value) : table_(toml::parse("key = " + value)) {}
  [[nodiscard]] ConfigValue value() const {
    return ConfigValue::from_toml("file:1: key", *table_.get("key"));
  }

 private:
  toml::table table_;
};

TEST(ConfigValue, DurationIsAnIntegerAndItsUnitWithinBothBounds) {
  EXPECT_EQ(text("1500ms").duration(0, days(1)), milliseconds(1500));
  EXPECT_EQ(text("2s").duration(0, days(1)), milliseconds(2000));
  EXPECT_EQ(text("2m").duration(0, days(1)), milliseconds(120'000));
  EXPECT_EQ(text("1h").duration(0, days(1)), milliseconds(3'600'000));
  EXPECT_EQ(text("1d").duration(0, days(1)), milliseconds(days(1)));
  for (const char* value : {"", "5", "s", "-1s", "1.5s", "1 s", "1w", "99999999999999999999s",
                            "9223372036854775807d", "2d", "99ms"})
    EXPECT_THROW((void)text(value).duration(100, days(1)), Failure) << value;
}

TEST(ConfigValue, IntegerAndBooleanAreTextOnlyOutsideTheFile) {
  EXPECT_EQ(text("7").integer(1, 7), 7);
  EXPECT_EQ(Toml("7").value().integer(7, 9), 7);
  EXPECT_THROW((void)Toml("\"7\"").value().integer(1, 9), Failure);
  EXPECT_THROW((void)text("8").integer(1, 7), Failure);
  EXPECT_THROW((void)text("7x").integer(1, 9), Failure);
  EXPECT_TRUE(text("true").boolean());
  EXPECT_FALSE(Toml("false").value().boolean());
  for (const char* value : {"yes", "1", "TRUE", ""})
    EXPECT_THROW((void)text(value).boolean(), Failure) << value;
  EXPECT_THROW((void)Toml("\"true\"").value().boolean(), Failure);
  EXPECT_THROW((void)Toml("1").value().text(), Failure);
  EXPECT_THROW((void)Toml("[1]").value().integer(0, 9), Failure);
}

TEST(ConfigValue, PatternCoversTheWholeText) {
  EXPECT_EQ(text("shop").matching("[a-z]+"), "shop");
  EXPECT_THROW((void)text("shop!").matching("[a-z]+"), Failure);
  EXPECT_THROW((void)text("").matching("[a-z]+"), Failure);
  EXPECT_EQ(text(std::string(1000, 'a')).matching("[a-z]+").size(), 1000U);
  EXPECT_THROW((void)text(std::string(1'000'000, 'a')).matching("[a-z]+"), Failure)
      << "and not a stack overflow";
}

TEST(ConfigValue, RefusalNamesPlaceValueAndRemedy) {
  try {
    (void)text("ack").one_of({"synced", "acked"});
    FAIL() << "it is none of them";
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.error().kind, ErrorKind::kConfiguration);
    EXPECT_EQ(failure.error().context, "VARIABLE: \"ack\" is none of synced, acked");
    EXPECT_EQ(failure.error().remedy, "did you mean \"acked\"?");
  }
}

TEST(NearestName, IsTheOneWithTheFewestEdits) {
  const std::vector<std::string> known = {"confirm", "confirm_margin", "window_bytes", "a"};
  EXPECT_EQ(nearest_name("confim", known), "confirm");
  EXPECT_EQ(nearest_name("confirm_marign", known), "confirm_margin");
  EXPECT_EQ(nearest_name("windowbytes", known), "window_bytes");
  EXPECT_EQ(nearest_name("", known), "a");
}

}  // namespace
}  // namespace postrider
