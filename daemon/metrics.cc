#include "daemon/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <sstream>
#include <vector>

namespace postrider {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

// Collects families with one label, the source.
class Families {
 public:
  explicit Families(const std::string& source) { label_ = {"source", source}; }

  void counter(const char* name, const char* help, std::uint64_t value) {
    prometheus::ClientMetric metric;
    metric.counter.value = static_cast<double>(value);
    add(name, help, MetricType::Counter, metric);
  }
  void gauge(const char* name, const char* help, double value) {
    prometheus::ClientMetric metric;
    metric.gauge.value = value;
    add(name, help, MetricType::Gauge, metric);
  }
  // One gauge per state, 1 for the present one.
  void states(const char* name, const char* help, RelayState present) {
    MetricFamily family{name, help, MetricType::Gauge, {}};
    for (const auto state : {RelayState::kStarting, RelayState::kStandby, RelayState::kRunning,
                             RelayState::kWaiting, RelayState::kDraining, RelayState::kHalted}) {
      prometheus::ClientMetric metric;
      metric.label = {label_, {"state", to_string(state)}};
      metric.gauge.value = state == present ? 1 : 0;
      family.metric.push_back(metric);
    }
    families_.push_back(std::move(family));
  }
  [[nodiscard]] std::string text() const {
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, families_);
    return out.str();
  }

 private:
  void add(const char* name, const char* help, MetricType type, prometheus::ClientMetric metric) {
    metric.label = {label_};
    families_.push_back({name, help, type, {metric}});
  }

  prometheus::ClientMetric::Label label_;
  std::vector<MetricFamily> families_;
};

double bytes_between(Lsn newer, Lsn older) {
  return newer > older ? static_cast<double>(newer.value - older.value) : 0;
}

}  // namespace

std::string metrics_text(const std::string& source, const RelayStatus& status,
                         std::int64_t now_us) {
  Families families(source);
  families.states("postrider_state", "The relay's state: 1 for the present one", status.state);
  families.gauge("postrider_ready", "1 when /readyz answers 200", status.ready() ? 1 : 0);
  families.gauge("postrider_stalled", "1 when work is pending and nothing moves",
                 status.stalled ? 1 : 0);
  families.counter("postrider_events_total", "Events acknowledged by the broker",
                   status.events_total);
  families.counter("postrider_event_bytes_total", "Bytes of those events' messages",
                   status.bytes_total);
  families.counter("postrider_transactions_total", "Transactions published whole",
                   status.transactions_total);
  families.counter("postrider_republished_total",
                   "Events published again after the broker lost them", status.republished_total);
  families.counter("postrider_recognised_total", "Events decoded again and found in the stream",
                   status.recognised_total);
  families.counter("postrider_ignored_changes_total",
                   "Row changes of an altered publication, not carried",
                   status.ignored_changes_total);
  families.counter("postrider_backfilled_rows_total", "Rows that backfills wrote into the WAL",
                   status.backfilled_rows_total);
  families.gauge("postrider_backfills_active", "Backfills that were ordered and have not ended",
                 status.backfills_active);
  families.gauge("postrider_backfills_failed", "Backfills that only a person can help",
                 status.backfills_failed);
  families.counter("postrider_sessions_total", "Sessions started", status.sessions_total);
  families.counter("postrider_confirmations_total", "Confirmations sent to the slot",
                   status.confirmations_total);
  families.gauge("postrider_in_flight_messages", "Sent and not acknowledged",
                 static_cast<double>(status.in_flight));
  families.gauge("postrider_in_flight_bytes", "Bytes of messages sent and not acknowledged",
                 static_cast<double>(status.in_flight_bytes));
  families.gauge("postrider_ordinal", "Ordinal of the newest acknowledged message",
                 static_cast<double>(status.published.ordinal));
  families.gauge("postrider_epoch", "Number of the present epoch", status.epoch);
  families.gauge("postrider_unconfirmed_bytes", "WAL received and not confirmed to the slot",
                 bytes_between(status.received, status.confirmed));
  if (status.wal_retained_bytes)
    families.gauge("postrider_wal_retained_bytes",
                   "WAL that the slot keeps on the source's disk, of the whole cluster",
                   static_cast<double>(*status.wal_retained_bytes));
  families.gauge("postrider_waiting_for_standby",
                 "1 while PostgreSQL holds events back until a standby has them",
                 status.standbys_behind.empty() ? 0 : 1);
  const double age = status.last_commit_time_us == 0
                         ? 0
                         : static_cast<double>(now_us - status.last_commit_time_us) / 1e6;
  families.gauge("postrider_last_event_age_seconds",
                 "Since the commit of the newest acknowledged event", std::max(0.0, age));
  return families.text();
}

}  // namespace postrider
