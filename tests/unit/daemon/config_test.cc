#include "daemon/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>

#include "base/error.h"

namespace postrider {
namespace {

using testing::HasSubstr;

// A configuration file and an environment of the test's own.
class ConfigFile : public testing::Test {
 protected:
  ConfigFile() { write("[source]\nname = \"shop\"\n"); }
  ~ConfigFile() override {
    ::unlink(path_.c_str());
    for (const auto& name : variables_) ::unsetenv(name.c_str());
  }
  void write(const std::string& text) { std::ofstream(path_, std::ios::trunc) << text; }
  void set(const std::string& name, const std::string& value) {
    ::setenv(name.c_str(), value.c_str(), 1);
    variables_.push_back(name);
  }
  std::string url(const std::vector<std::string>& settings = {}) {
    return load_config(path_, settings).relay.nats.url;
  }
  // What load_config says against it, with the remedy.
  std::string refusal(const std::vector<std::string>& settings = {}) {
    try {
      (void)load_config(path_, settings);
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.error().kind, ErrorKind::kConfiguration);
      return failure.what();
    }
    return "";
  }

  const std::string path_ = testing::TempDir() + "config_test." + std::to_string(::getpid());
  std::vector<std::string> variables_;
};

TEST_F(ConfigFile, IsBeatenByTheEnvironmentAndThatByTheCommandLine) {
  EXPECT_EQ(url(), "nats://127.0.0.1:4222");
  set("NATS_URL", "nats://127.0.0.1:1");
  EXPECT_EQ(url(), "nats://127.0.0.1:1") << "fills the gap";
  EXPECT_EQ(url({"nats.url=nats://127.0.0.1:4"}), "nats://127.0.0.1:4");
  write("[source]\nname = \"shop\"\n[nats]\nurl = \"nats://127.0.0.1:2\"\n");
  EXPECT_EQ(url(), "nats://127.0.0.1:2");
  set("POSTRIDER_NATS_URL", "nats://127.0.0.1:3");
  EXPECT_EQ(url(), "nats://127.0.0.1:3");
  EXPECT_EQ(url({"nats.url=nats://127.0.0.1:4"}), "nats://127.0.0.1:4");
  EXPECT_EQ(url({"nats.url=nats://127.0.0.1:4", "nats.url=nats://127.0.0.1:5"}),
            "nats://127.0.0.1:5");
}

TEST_F(ConfigFile, SettingsOfTheCommandLineAreReadAsStrictly) {
  const auto config =
      load_config(path_, {"relay.confirm=acked", "relay.window_messages=7", "stream.create=false",
                          "source.conninfo=host=/run dbname=a"});
  EXPECT_EQ(config.relay.confirm, ConfirmMode::kAcked);
  EXPECT_EQ(config.relay.window_messages, 7U);
  EXPECT_FALSE(config.relay.stream.create);
  EXPECT_EQ(config.relay.source.conninfo, "host=/run dbname=a");
  EXPECT_THAT(refusal({"relay.confim=acked"}),
              testing::AllOf(HasSubstr("--set: unknown key \"relay.confim\""),
                             HasSubstr("did you mean \"relay.confirm\"?")));
  EXPECT_THAT(refusal({"relay.confirm"}), HasSubstr("no value"));
  EXPECT_THAT(refusal({"relay.confirm=maybe"}), HasSubstr("--set relay.confirm: \"maybe\""));
  EXPECT_THAT(refusal({"relay.window_messages=many"}), HasSubstr("is not an integer"));
}

TEST_F(ConfigFile, NamesTheFormatOfEvents) {
  const auto format = [&](const std::vector<std::string>& settings) {
    return load_config(path_, settings).relay.format;
  };
  EXPECT_EQ(format({}), EventFormat::kPlain);
  EXPECT_EQ(format({"relay.format=plain"}), EventFormat::kPlain);
  EXPECT_EQ(format({"relay.format=cloudevents"}), EventFormat::kCloudEventsStructured);
  EXPECT_EQ(format({"relay.format=cloudevents-binary"}), EventFormat::kCloudEventsBinary);
  EXPECT_THAT(
      refusal({"relay.format=cloudevent"}),
      testing::AllOf(HasSubstr("relay.format: \"cloudevent\""), HasSubstr("cloudevents-binary")));
}

TEST_F(ConfigFile, AVariableOfASectionThatIsNoKeyIsRefused) {
  set("POSTRIDER_NATS_SERVER", "/usr/sbin/nats-server");  // what `postrider dev` reads
  set("POSTRIDER_STREAM", "SHOP");                        // of dev.env
  set("POSTRIDER_FAILPOINTS", "");
  EXPECT_EQ(refusal(), "");
  set("POSTRIDER_RELAY_CONFIM", "acked");
  EXPECT_THAT(refusal(), testing::AllOf(HasSubstr("unknown variable POSTRIDER_RELAY_CONFIM"),
                                        HasSubstr("did you mean POSTRIDER_RELAY_CONFIRM?")));
}

// It could not say which of several tables it means: a salt that is given so and passed over would
// be missing from every hash.
TEST_F(ConfigFile, AVariableOfARepeatedSectionIsRefused) {
  for (const char* name :
       {"POSTRIDER_CAPTURE_HASH_SALT", "POSTRIDER_OUTBOX_TABLE", "POSTRIDER_READMODEL_NAME",
        "POSTRIDER_PROJECTION_SUBJECTS", "POSTRIDER_REPLICA_TABLES", "POSTRIDER_VERIFY_KEY"}) {
    ::setenv(name, "x", 1);
    EXPECT_THAT(refusal(), testing::AllOf(HasSubstr(name), HasSubstr("repeated section"),
                                          HasSubstr("unset it")));
    ::unsetenv(name);
  }
  set("POSTRIDER_CAPTURE_HASH_SALT", "x");
  EXPECT_THAT(refusal(), HasSubstr("below [[capture]]"));
}

// Of a Service "postrider-readmodel", or "postrider-nats", in the pod's namespace.
TEST_F(ConfigFile, VariablesThatKubernetesMakesOfServicesAreNoSettings) {
  for (const char* service : {"POSTRIDER_READMODEL", "POSTRIDER_NATS"}) {
    const std::string name(service);
    const std::map<std::string, std::string> links = {
        {name + "_SERVICE_HOST", "10.0.0.1"},         {name + "_SERVICE_PORT", "80"},
        {name + "_SERVICE_PORT_HTTP", "80"},          {name + "_PORT", "tcp://10.0.0.1:80"},
        {name + "_PORT_80_TCP", "tcp://10.0.0.1:80"}, {name + "_PORT_80_TCP_ADDR", "10.0.0.1"}};
    for (const auto& [link, value] : links) ::setenv(link.c_str(), value.c_str(), 1);
    write("[source]\nname = \"shop\"\n");
    EXPECT_NO_THROW((void)load_config(path_));
    for (const auto& [link, value] : links) ::unsetenv(link.c_str());
  }
  set("POSTRIDER_READMODEL_PORT", "80");
  EXPECT_THAT(refusal(), HasSubstr("POSTRIDER_READMODEL_PORT"));
}

TEST_F(ConfigFile, AnIdentityOfTheCommandLineReplacesTheFilesOfAnyKind) {
  const std::string secret = path_ + ".secret";
  std::ofstream(secret) << "x\n";
  ASSERT_EQ(::chmod(secret.c_str(), 0600), 0);
  const auto nats = [&](const std::vector<std::string>& settings) {
    return load_config(path_, settings).relay.nats;
  };
  const std::string quoted = "\"" + secret + "\"\n";
  const std::string user = "[source]\nname = \"shop\"\n[nats]\nuser = \"relay\"\npassword_file = ";
  write(user + quoted);
  auto who = nats({"nats.creds=" + secret});
  EXPECT_EQ(who.credentials_file, secret);
  EXPECT_TRUE(who.user.empty() && who.password_file.empty() && who.nkey_seed_file.empty());
  who = nats({"nats.user=admin"});
  EXPECT_EQ(who.user, "admin");
  EXPECT_EQ(who.password_file, secret) << "of the same kind: only the name is another";

  write("[source]\nname = \"shop\"\n[nats]\ncreds = " + quoted);
  who = nats({"nats.user=admin", "nats.password_file=" + secret});
  EXPECT_EQ(who.user, "admin");
  EXPECT_EQ(who.password_file, secret);
  EXPECT_TRUE(who.credentials_file.empty());
  set("POSTRIDER_NATS_NKEY_SEED", secret);
  who = nats({});
  EXPECT_EQ(who.nkey_seed_file, secret);
  EXPECT_TRUE(who.credentials_file.empty());
  who = nats({"nats.user=admin"});
  EXPECT_EQ(who.user, "admin");
  EXPECT_TRUE(who.nkey_seed_file.empty());

  // Two kinds from one place contradict each other as ever.
  EXPECT_THAT(refusal({"nats.user=admin", "nats.creds=" + secret}), HasSubstr("exclude"));
  EXPECT_THAT(refusal({"nats.creds=" + secret, "nats.password_file=" + secret}),
              HasSubstr("without nats.user"));
  ::unsetenv("POSTRIDER_NATS_NKEY_SEED");
  write(user + quoted + "creds = " + quoted);
  EXPECT_THAT(refusal(), HasSubstr("exclude each other"));
  ::unlink(secret.c_str());
}

TEST_F(ConfigFile, APlainConnectionToAnotherMachineIsRefusedUnlessAcceptedByName) {
  EXPECT_TRUE(load_config(path_).warnings.empty());
  EXPECT_THAT(refusal({"nats.url=nats://broker:4222"}), HasSubstr("nats.insecure = true"));
  EXPECT_THAT(refusal({"source.conninfo=host=db"}), HasSubstr("source.insecure = true"));
  EXPECT_THAT(refusal({"source.verify_conninfo=host=db"}),
              testing::AllOf(HasSubstr("source.verify_conninfo leads"),
                             HasSubstr("source.insecure = true")));
  EXPECT_THAT(refusal({"migrate.conninfo=host=db"}), HasSubstr("migrate.conninfo leads"));
  EXPECT_THAT(refusal({"target.conninfo=host=db"}), HasSubstr("target.insecure = true"));
  EXPECT_EQ(refusal({"source.conninfo=host=db sslmode=verify-full", "nats.url=tls://broker"}), "");
  const auto config = load_config(
      path_, {"nats.url=nats://broker:4222", "nats.insecure=true", "http.listen=0.0.0.0:9464"});
  EXPECT_THAT(config.warnings,
              testing::ElementsAre(HasSubstr("nats.url leads to"), HasSubstr("http.listen")));
}

TEST_F(ConfigFile, ThatHoldsAPasswordAndOthersMayReadIsWarnedOf) {
  write("[source]\nname = \"shop\"\nconninfo = \"host=/run password=x\"\n");
  ASSERT_EQ(::chmod(path_.c_str(), 0644), 0);
  EXPECT_THAT(load_config(path_).warnings, testing::ElementsAre(HasSubstr("chmod 600")));
  ASSERT_EQ(::chmod(path_.c_str(), 0600), 0);
  EXPECT_TRUE(load_config(path_).warnings.empty());
  write("[source]\nname = \"shop\"\nverify_conninfo = \"host=/run password=x\"\n");
  EXPECT_TRUE(load_config(path_).warnings.empty());
  ASSERT_EQ(::chmod(path_.c_str(), 0644), 0);
  EXPECT_THAT(load_config(path_).warnings, testing::ElementsAre(HasSubstr("chmod 600")));
}

TEST_F(ConfigFile, ReplicasFindTheirReadModelAndWhatIsCaptured) {
  const std::string base =
      "[source]\nname = \"shop\"\nconninfo = \"host=/tmp\"\n[[capture]]\ntables = "
      "[\"public.*\"]\nmask = [\"email\"]\nhash = [\"usr\"]\nhash_salt = \"s\"\nrename = { usr = "
      "\"user\" "
      "}\nwhere = \"id > 1\"\n[[readmodel]]\nname = \"copy\"\nschema = \"mine\"\n";
  write(base +
        "[[replica]]\n[[replica]]\ntables = [\"sales.*\"]\nschema = \"other\"\ncreate = "
        "true\non_new_column = \"add\"\nsubjects = \"shop.cdc.>\"\n");
  const auto config = load_config(path_);
  ASSERT_EQ(config.readmodels.size(), 1U);
  const auto& replicas = config.readmodels[0].replicas;
  ASSERT_EQ(replicas.rules.size(), 2U);
  EXPECT_EQ(replicas.rules[0].schema, "mine");
  EXPECT_EQ(replicas.rules[0].tables, std::vector<std::string>{"*.*"});
  EXPECT_EQ(replicas.rules[0].on_new_column, replica::OnNewColumn::kHalt);
  EXPECT_FALSE(replicas.rules[0].create);
  EXPECT_EQ(replicas.rules[1].schema, "other");
  EXPECT_EQ(replicas.rules[1].on_new_column, replica::OnNewColumn::kAdd);
  EXPECT_EQ(replicas.source_conninfo, "host=/tmp");
  const auto carried = replicas.carried("public", "t").value();
  EXPECT_TRUE(carried.masks("email") && carried.hashes("usr") && !carried.hashes("email"));
  EXPECT_EQ(carried.hash_salt, "s");
  EXPECT_EQ(carried.rename.at("usr"), "user");
  EXPECT_EQ(carried.where, "id > 1");
  EXPECT_FALSE(replicas.carried("sales", "t").has_value());

  write(base + "[[replica]]\nsubjects = \"other.>\"\n");
  EXPECT_THAT(refusal(), HasSubstr("replica.subjects"));
  write(base + "[[replica]]\nreadmodel = \"cpy\"\n");
  EXPECT_THAT(refusal(), HasSubstr("did you mean \"copy\""));
  write(base + "source = \"else\"\n[[replica]]\ncreate = true\n");
  EXPECT_THAT(refusal(), HasSubstr("look at source"));
  write(base);
  EXPECT_THAT(refusal(), HasSubstr("no projection and no replica"));
}

}  // namespace
}  // namespace postrider
