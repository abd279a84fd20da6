#include "base/nats/identity.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace postrider::nats {
namespace {

// RFC 8032, section 7.1, test 2: the key of a user, in the text form of nkeys.
constexpr const char* kSeed = "SUAEZTIITMUP7FW2TW3MGRXMCFHA6W4KGGPTLK5GETNIZ5XNJ64KN63OVI";

class Identity : public testing::Test {
 protected:
  ~Identity() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
  static nlohmann::json connect(const NatsOptions& options, const std::string& nonce = "",
                                const std::string& user = "", const std::string& password = "") {
    nlohmann::json json = nlohmann::json::object();
    add_identity(options, user, password, nonce, json);
    return json;
  }

  std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) /
      ("identity." + std::to_string(::testing::UnitTest::GetInstance()->random_seed()) + "." +
       testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(Identity, SignsAsEd25519Does) {
  // Of the one byte 0x72.
  EXPECT_EQ(
      sign(kSeed, "r"),
      "kqAJqfDUyrhyDoILX2QlQKKye1QWUD-Ps3YiI-vbadoIWsHkPhWZbkWPNhPQ8R2MOHsurrQwKu6wDSkWErsMAA");
  EXPECT_EQ(public_key_of(kSeed), "UA6UAF6D5BBYSWUSW4FKOTI3P26JZGBMZ4XMJFUMYDGVL4JK6RTAYUDN");
}

TEST_F(Identity, ASeedWithATypingErrorIsRefused) {
  std::string seed = kSeed;
  for (const std::size_t at : {0UL, 10UL, seed.size() - 1}) {
    seed = kSeed;
    seed[at] = seed[at] == 'A' ? 'B' : 'A';
    EXPECT_THROW((void)sign(seed, "r"), Failure) << at;
  }
  for (const char* text : {"", "S", "SU", "not a seed"})
    EXPECT_THROW((void)public_key_of(text), Failure) << text;
  EXPECT_THROW((void)public_key_of(public_key_of(kSeed)), Failure);
}

TEST_F(Identity, AnNkeyAnswersTheNonce) {
  NatsOptions options;
  options.nkey_seed_file = write("seed", std::string("# of the relay\n  ") + kSeed + "\r\n");
  const auto json = connect(options, "r");
  EXPECT_EQ(json.at("nkey"), public_key_of(kSeed));
  EXPECT_EQ(json.at("sig"), sign(kSeed, "r"));
  EXPECT_FALSE(connect(options).contains("sig"));
}

TEST_F(Identity, ACredentialsFileHoldsTokenAndSeed) {
  NatsOptions options;
  options.credentials_file =
      write("creds", std::string("-----BEGIN NATS USER JWT-----\neyJ0.eyJq.c2ln\n"
                                 "------END NATS USER JWT------\n\n* IMPORTANT *\n\n"
                                 "-----BEGIN USER NKEY SEED-----\n") +
                         kSeed + "\n------END USER NKEY SEED------\n");
  const auto json = connect(options, "r");
  EXPECT_EQ(json.at("jwt"), "eyJ0.eyJq.c2ln");
  EXPECT_EQ(json.at("sig"), sign(kSeed, "r"));
  options.credentials_file = write("half", "-----BEGIN NATS USER JWT-----\neyJ0\n");
  EXPECT_THROW((void)connect(options, "r"), Failure);
  options.credentials_file = "/does/not/exist";
  EXPECT_THROW((void)connect(options, "r"), Failure);
}

TEST_F(Identity, TheUrlCountsBeforeTheOptionsUser) {
  NatsOptions options;
  EXPECT_EQ(connect(options).size(), 0U);
  EXPECT_EQ(connect(options, "", "u", "p"), nlohmann::json({{"user", "u"}, {"pass", "p"}}));
  EXPECT_EQ(connect(options, "", "token"), nlohmann::json({{"auth_token", "token"}}));
  options.user = "me";
  options.password_file = write("password", "secret \nsecond line\n");
  EXPECT_EQ(connect(options), nlohmann::json({{"user", "me"}, {"pass", "secret "}}));
  EXPECT_EQ(connect(options, "", "u", "p"), nlohmann::json({{"user", "u"}, {"pass", "p"}}));
}

}  // namespace
}  // namespace postrider::nats
