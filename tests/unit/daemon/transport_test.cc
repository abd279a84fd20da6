#include "daemon/transport.h"

#include <gtest/gtest.h>

namespace postrider {
namespace {

TEST(Transport, OfPostgresIsPlainOffLoopbackUnlessTlsIsInsistedOn) {
  for (const char* conninfo :
       {"", "dbname=shop", "host=/run/postgresql", "host=localhost", "host=127.0.0.1 user=a",
        "hostaddr=::1 host=db", "postgresql://relay@localhost/shop", "host=db sslmode=require",
        "host=db sslmode=verify-full", "postgresql://db/shop?sslmode=verify-ca"})
    EXPECT_FALSE(is_plain_postgres(conninfo)) << conninfo;
  for (const char* conninfo : {"host=db", "host=localhost,db", "host=localhost hostaddr=10.0.0.1",
                               "host=db sslmode=prefer", "host=db sslmode=disable",
                               "postgresql://relay@db:5433/shop", "host=localhost.example"})
    EXPECT_TRUE(is_plain_postgres(conninfo)) << conninfo;
}

TEST(Transport, OfNatsIsPlainOffLoopbackWithoutTls) {
  for (const char* url : {"nats://127.0.0.1:4222", "nats://localhost", "nats://u:p@[::1]:4222",
                          "tls://broker:4222", "localhost:4222"})
    EXPECT_FALSE(is_plain_nats(url, false)) << url;
  for (const char* url : {"nats://broker:4222", "broker", "nats://localhost@broker",
                          "nats://localhost:4222,nats://broker:4222", "nats://[fe80::1]:4222"}) {
    EXPECT_TRUE(is_plain_nats(url, false)) << url;
    EXPECT_FALSE(is_plain_nats(url, true)) << url;
  }
}

TEST(Transport, SeesAPasswordInAConninfoOrUrl) {
  EXPECT_TRUE(has_password("host=db password=x"));
  EXPECT_TRUE(has_password("postgresql://u:x@db/shop"));
  EXPECT_FALSE(has_password("host=db passfile=/x"));
  EXPECT_TRUE(url_has_password("nats://u:x@broker:4222"));
  EXPECT_FALSE(url_has_password("nats://token@broker:4222/a:b"));
}

}  // namespace
}  // namespace postrider
