// The command line: reads it, loads the configuration, runs one command, and turns how it ended
// into an exit code. Everything else is elsewhere.
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <iostream>

#include "base/error.h"
#include "daemon/commands/commands.h"
#include "daemon/logging.h"
#include "daemon/migrate/migrate.h"
#include "daemon/version.h"

namespace {

using namespace postrider;

constexpr int kExitUsage = 64;
constexpr int kExitInternal = 70;

struct CommandLine {
  std::string config_path;
  std::vector<std::string> settings;      // of --set
  std::function<int(const Config&)> run;  // set by the chosen subcommand
  std::function<int()> run_without_config;

  [[nodiscard]] int execute() const {
    if (run_without_config) return run_without_config();
    const Config config = load_config(config_path, settings);
    configure_logging(config.log_level, config.log_json);
    for (const auto& warning : config.warnings) spdlog::warn("{}", warning);
    return run(config);
  }
};

// What every command that reads the configuration takes.
void add_config_options(CLI::App& command, CommandLine& line) {
  command.add_option("-c,--config", line.config_path, "TOML file (or POSTRIDER_CONFIG)")
      ->envname("POSTRIDER_CONFIG");
  command
      .add_option("--set", line.settings,
                  "section.key=value: beats environment and file; may be given several times")
      ->allow_extra_args(false);
}

CLI::App* add_command(CLI::App& app, CommandLine& line, const char* name, const char* what) {
  auto* command = app.add_subcommand(name, what);
  add_config_options(*command, line);
  return command;
}

void add_migrate(CLI::App& app, CommandLine& line) {
  auto* migrate =
      add_command(app, line, "migrate",
                  "Apply, take back or show the schema of a source or of its read models");
  auto print = std::make_shared<bool>(false);
  auto target = std::make_shared<bool>(false);
  migrate->add_flag("--print", *print, "Write the SQL of all migrations and exit");
  migrate->add_flag("--target", *target, "The database of the read models instead of the source");
  migrate->parse_complete_callback([&line, print, target] {
    if (*print)
      line.run_without_config = [target] {
        *target ? migrate_target_print(std::cout) : migrate_print(std::cout);
        return kExitOk;
      };
  });
  const auto add = [&](const char* name, const char* what, std::function<int(const Config&)> run) {
    auto* sub = migrate->add_subcommand(name, what);
    add_config_options(*sub, line);
    sub->add_flag("--target", *target, "The database of the read models instead of the source");
    sub->callback([&line, run = std::move(run)] { line.run = run; });
    return sub;
  };
  add("up", "Apply what is missing; make publication, checkpoint row and slot",
      [target](const Config& config) {
        *target ? migrate_target_up(config.target_owner_conninfo, std::cout)
                : migrate_up(config.migrate_options(), std::cout);
        return kExitOk;
      });
  add("baseline", "Adopt files that another tool applied, then as up",
      [target](const Config& config) {
        *target ? migrate_target_baseline(config.target_owner_conninfo, std::cout)
                : migrate_baseline(config.migrate_options(), std::cout);
        return kExitOk;
      });
  add("status", "Show what is applied; exit 1 when something is missing",
      [target](const Config& config) {
        const bool complete = *target
                                  ? migrate_target_status(config.target_owner_conninfo, std::cout)
                                  : migrate_status(config.migrate_options(), std::cout);
        return complete ? kExitOk : kExitNegative;
      });
  auto drop_slot = std::make_shared<bool>(false);
  add("down", "Take the schema back, with its events", [target, drop_slot](const Config& config) {
    *target ? migrate_target_down(config.target_owner_conninfo, std::cout)
            : migrate_down(config.migrate_options(), *drop_slot, std::cout);
    return kExitOk;
  })->add_flag("--drop-slot", *drop_slot, "Also drop the slot, and what it has not confirmed");
}

void add_relay(CLI::App& app, CommandLine& line) {
  auto* relay = add_command(app, line, "relay", "Carry events to NATS JetStream until stopped");
  auto once = std::make_shared<bool>(false);
  relay->add_flag("--until-caught-up", *once,
                  "Exit 0 once everything committed before the start is published");
  relay->callback([&line, once] {
    line.run = [once](const Config& config) { return run_relay(config, *once); };
  });
}

void add_repair(CLI::App& app, CommandLine& line) {
  auto* repair = add_command(
      app, line, "repair",
      "Send again what the source has committed and the stream lacks; for a relay that has halted");
  auto command = std::make_shared<RepairCommand>();
  repair->add_flag("--dry-run", command->dry_run,
                   "Change nothing, list everything; exit 1 when there is something to repair");
  repair->add_option("--void-after", command->void_after,
                     "Your word that events with a higher ordinal are void: they are deleted");
  repair->add_flag("--void-more", command->void_more,
                   "With --void-after: also where it gives up more than the dry run names");
  repair->add_flag(
      "--resend", command->resend,
      "Also where nothing is known to be wrong: a new slot, and what the stream lacks");
  repair->add_flag("--json", command->json, "One JSON object");
  repair->callback([&line, command] {
    line.run = [command](const Config& config) { return run_repair(config, *command); };
  });
}

void add_apply(CLI::App& app, CommandLine& line) {
  auto* apply = add_command(app, line, "apply", "Keep read models: apply the stream until stopped");
  apply->require_subcommand(0, 1);
  auto options = std::make_shared<ApplyOptions>();
  apply->add_option("--only", options->only, "Only this read model; may be given several times");
  apply->add_flag("--until-caught-up", options->until_caught_up,
                  "Exit 0 once everything in the stream at the start is applied");
  apply->parse_complete_callback([&line, options] {
    if (!line.run)
      line.run = [options](const Config& config) { return run_apply(config, *options); };
  });
  auto name = std::make_shared<std::string>();
  const auto add = [&](const char* command, const char* what) {
    auto* sub = apply->add_subcommand(command, what);
    add_config_options(*sub, line);
    sub->add_option("NAME", *name, "Read model")->required();
    return sub;
  };
  const auto add_decision = [&](const char* command, const char* what) {
    auto* sub = add(command, what);
    auto ordinal = std::make_shared<std::uint64_t>(0);
    auto* parked = sub->add_option("--parked", *ordinal,
                                   "A parked transaction, by its first ordinal; retry: or all");
    parked->expected(0, 1);
    sub->add_option("--ordinal", *ordinal,
                    "Only where the refused transaction begins with this ordinal")
        ->excludes(parked);
    sub->callback([&line, name, ordinal, parked, command] {
      line.run = [name, ordinal, parked, command](const Config& config) {
        const auto first = *ordinal == 0 ? std::nullopt : std::optional(*ordinal);
        if (parked->count() == 0) return run_apply_decision(config, *name, command, first);
        return run_parked_decision(config, *name, command, first);
      };
    });
  };
  add_decision("retry", "Try the refused transaction of a stopped read model again");
  add_decision("skip", "Go on without the refused transaction; an audit row keeps its events");
  add("rebuild", "Build a read model anew from the stream beside the live one, and swap")
      ->callback([&line, name] {
        line.run = [name](const Config& config) { return run_rebuild(config, *name); };
      });
}

void add_backfill(CLI::App& app, CommandLine& line) {
  auto* backfill = app.add_subcommand(
      "backfill", "Send the rows that captured tables hold already, through the WAL");
  backfill->require_subcommand(1);
  auto options = std::make_shared<BackfillOptions>();
  const auto add = [&](const char* name, const char* what, auto run) {
    auto* sub = add_command(*backfill, line, name, what);
    sub->callback([&line, run, options] {
      line.run = [run, options](const Config& config) { return run(config, *options); };
    });
    return sub;
  };
  auto* start =
      add("start", "Order a backfill; the running relay carries it out", run_backfill_start);
  start->add_option("TABLE", options->table, "schema.table")->required();
  start->add_option("--where", options->where, "SQL over a row: only these rows");
  start->add_flag(
      "--replace", options->replace,
      "The whole table in one transaction, which locks out its writers: also deletes what "
      "readers have too much, and needs no key");
  start->add_option("--workers", options->workers, "Connections at work at the same time")
      ->check(CLI::Range(1, 16));
  start->add_option("--rate", options->rows_per_second, "At most so many rows a second")
      ->check(CLI::Range(1, 100'000'000));
  start->add_flag("--follow", options->follow,
                  "Show progress until it has ended; exit 1 unless complete");
  auto* status = add("status", "Show how far backfills are", run_backfill_status);
  status->add_option("TABLE", options->table, "Only this table's");
  status->add_flag("--follow", options->follow, "Until all have ended; exit 1 unless complete");
  status->add_flag("--json", options->json, "One JSON object a line");
  for (const auto& [name, what] : {std::pair{"pause", "Stop between two chunks; survives restarts"},
                                   std::pair{"resume", "Go on after a pause"},
                                   std::pair{"cancel", "End it; what was sent stays sent"}})
    add(name, what,
        [name = std::string(name)](const Config& config, const BackfillOptions& o) {
          return run_backfill_decision(config, o, name);
        })
        ->add_option("TABLE", options->table, "schema.table")
        ->required();
}

void add_verify(CLI::App& app, CommandLine& line) {
  auto* verify = add_command(app, line, "verify",
                             "Compare a read model with its source, or the stream with the outbox; "
                             "exit 0 equal, 1 differs, 2 could not say");
  verify->require_subcommand(0, 1);
  auto options = std::make_shared<VerifyOptions>();
  const auto add_options = [options](CLI::App* command) {
    command->add_option("--timeout", options->timeout_seconds, "Seconds that each wait may take")
        ->check(CLI::Range(1, 3600));
    command->add_option("--limit", options->limit, "Findings to list")
        ->check(CLI::Range(0, 100'000));
    command->add_flag("--json", options->json, "One JSON object");
  };
  add_options(verify);
  verify->add_option("NAME", options->readmodel, "Read model");
  verify->parse_complete_callback([&line, options] {
    if (!line.run && !options->readmodel.empty())
      line.run = [options](const Config& config) { return run_verify_readmodel(config, *options); };
  });
  auto* stream = verify->add_subcommand("stream", "The stream against outbox.events");
  add_config_options(*stream, line);
  add_options(stream);
  stream->callback([&line, options] {
    line.run = [options](const Config& config) { return run_verify_stream(config, *options); };
  });
}

void add_replica(CLI::App& app, CommandLine& line) {
  auto* replica = app.add_subcommand("replica", "Replica tables of a read model");
  replica->require_subcommand(1);
  auto* create = replica->add_subcommand(
      "create", "Make the target tables that are missing, as the source defines them");
  add_config_options(*create, line);
  auto name = std::make_shared<std::string>();
  auto print = std::make_shared<bool>(false);
  create->add_option("NAME", *name, "Read model")->required();
  create->add_flag("--print", *print, "Write the SQL, and make nothing");
  create->callback([&line, name, print] {
    line.run = [name, print](const Config& config) {
      return run_replica_create(config, *name, *print);
    };
  });
}

void add_inspection(CLI::App& app, CommandLine& line) {
  add_command(app, line, "check",
              "Look for everything that would break a promise; exit 1 on a failure")
      ->callback([&line] { line.run = run_check; });

  auto* status = add_command(app, line, "status",
                             "Show how far events have come; exit 1 when something is wrong");
  auto json = std::make_shared<bool>(false);
  status->add_flag("--json", *json, "One JSON object");
  status->callback([&line, json] {
    line.run = [json](const Config& config) { return run_status(config, *json); };
  });

  auto* tail = add_command(app, line, "tail", "Print events as they arrive, until interrupted");
  auto options = std::make_shared<TailOptions>();
  tail->add_option("--from", options->from,
                   "start, or a position such as 00000001/00000000019F2D48/00000000; default: now");
  tail->add_flag("--until-end", options->until_end, "Stop at what is the end now");
  tail->add_flag("--json", options->json, "One JSON object a line");
  tail->callback([&line, options] {
    line.run = [options](const Config& config) { return run_tail(config, *options); };
  });
}

void add_replay(CLI::App& app, CommandLine& line) {
  auto* replay = add_command(app, line, "replay",
                             "Publish a range of the stream again, into a stream of its own");
  auto options = std::make_shared<ReplayOptions>();
  replay->add_option("--to", options->to_stream, "The other stream; made when it is missing")
      ->required();
  replay->add_option("--prefix", options->prefix,
                     "Takes the source's place in the subjects; default: the stream's name");
  replay->add_option("--from", options->from,
                     "start, ordinal:N, seq:N, a position or a commit time; inclusive");
  replay->add_option("--until", options->until, "The same, or end; inclusive");
  replay->add_option("--filter", options->filter,
                     "Pattern over the events' subjects, such as order.>");
  replay->add_flag("--dry-run", options->dry_run, "Read and count, and publish nothing");
  replay->callback([&line, options] {
    line.run = [options](const Config& config) { return run_replay(config, *options); };
  });
}

void add_dev(CLI::App& app, CommandLine& line) {
  auto* dev = app.add_subcommand("dev", "Private PostgreSQL and nats-server in a folder");
  dev->require_subcommand(1);
  auto folder = std::make_shared<std::string>(".postrider");
  auto remove = std::make_shared<bool>(false);
  const auto add = [&](const char* name, const char* what, DevCommand command) {
    auto* sub = dev->add_subcommand(name, what);
    sub->add_option("-D,--dir", *folder, "Folder that holds them (default .postrider)");
    sub->callback([&line, folder, remove, command] {
      line.run_without_config = [folder, remove, command] {
        return run_dev(command, *folder, *remove);
      };
    });
    return sub;
  };
  add("up", "Make what is missing, start what is stopped", DevCommand::kUp);
  add("down", "Stop both", DevCommand::kDown)
      ->add_flag("--delete", *remove, "Also delete their data");
  add("status", "Show whether they run; exit 1 unless both do", DevCommand::kStatus);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "postrider: carries committed PostgreSQL transactions to NATS JetStream, exactly once"};
  app.set_version_flag("--version", postrider::kVersion);
  app.require_subcommand(1);
  CommandLine line;
  add_migrate(app, line);
  add_relay(app, line);
  add_repair(app, line);
  add_apply(app, line);
  add_backfill(app, line);
  add_replica(app, line);
  add_verify(app, line);
  add_inspection(app, line);
  add_replay(app, line);
  add_dev(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? kExitOk : kExitUsage;
  }
  if (!line.run && !line.run_without_config) {
    std::cerr << "postrider: a subcommand is missing; see --help\n";
    return kExitUsage;
  }
  try {
    return line.execute();
  } catch (const postrider::Failure& failure) {
    std::cerr << "postrider: " << failure.what() << '\n';
    return postrider::info(failure.error().kind).exit_code;
  } catch (const std::exception& e) {
    std::cerr << "postrider: internal error: " << e.what() << '\n';
    return kExitInternal;
  }
}
