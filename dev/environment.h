// `postrider dev`: one folder with a private PostgreSQL cluster and nats-server, ready for
// `postrider migrate` and `postrider relay`.
//
// up() is idempotent: it makes what is missing, starts what is stopped, on the ports of the first
// time. Interrupted at any point it can be run again. Whoever may enter the folder may use the
// servers: they are for development, not for data that matters.
#pragma once

#include <filesystem>
#include <iosfwd>

#include "dev/nats_server.h"
#include "dev/postgres_server.h"

namespace postrider::dev {

class Environment {
 public:
  // `folder` is made when missing. Throws std::runtime_error when it cannot be.
  explicit Environment(std::filesystem::path folder);

  void up(std::ostream& out);
  // Stops both servers; with `remove` also deletes their data.
  void down(bool remove, std::ostream& out);
  // True when both run.
  bool status(std::ostream& out) const;

  PostgresServer& postgres() { return postgres_; }
  NatsServer& nats() { return nats_; }

 private:
  void make_roles_and_database() const;
  void write_configuration() const;
  void write_environment() const;

  std::filesystem::path folder_;
  PostgresServer postgres_;
  NatsServer nats_;
};

}  // namespace postrider::dev
