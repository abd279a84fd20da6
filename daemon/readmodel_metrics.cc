#include "daemon/readmodel_metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <functional>
#include <sstream>

namespace postrider {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Value = std::function<double(const ReadModelStatus&)>;

ClientMetric metric_of(const ReadModelStatus& status, MetricType type, double value) {
  ClientMetric metric;
  metric.label = {{"readmodel", status.name}};
  if (type == MetricType::Counter)
    metric.counter.value = value;
  else
    metric.gauge.value = value;
  return metric;
}

double age_seconds(const ReadModelStatus& status, std::int64_t now_us) {
  if (status.cursor.is_none()) return 0;
  return std::max(0.0,
                  static_cast<double>(now_us - status.cursor.fingerprint.commit_time_us) / 1e6);
}

}  // namespace

std::string readmodel_metrics_text(const std::vector<ReadModelStatus>& statuses,
                                   std::int64_t now_us) {
  std::vector<MetricFamily> families;
  const auto add = [&](const char* name, const char* help, MetricType type, const Value& value) {
    MetricFamily family{name, help, type, {}};
    for (const auto& status : statuses)
      family.metric.push_back(metric_of(status, type, value(status)));
    families.push_back(std::move(family));
  };
  const auto counter = [&](const char* name, const char* help, auto member) {
    add(name, help, MetricType::Counter,
        [member](const ReadModelStatus& s) { return static_cast<double>(s.*member); });
  };
  MetricFamily states{"postrider_readmodel_state",
                      "The read model's state: 1 for the present one",
                      MetricType::Gauge,
                      {}};
  for (const auto& status : statuses)
    for (const auto state :
         {ReadModelState::kStarting, ReadModelState::kStandby, ReadModelState::kRunning,
          ReadModelState::kWaiting, ReadModelState::kStopped, ReadModelState::kHalted}) {
      auto metric = metric_of(status, MetricType::Gauge, state == status.state ? 1 : 0);
      metric.label.push_back({"state", to_string(state)});
      states.metric.push_back(std::move(metric));
    }
  families.push_back(std::move(states));
  add("postrider_readmodel_ready", "1 when it is applied or stands by, and nothing is wrong",
      MetricType::Gauge, [](const auto& s) { return s.ready() ? 1 : 0; });
  add("postrider_readmodel_stalled",
      "1 when something is pending and nothing was committed for five minutes", MetricType::Gauge,
      [](const auto& s) { return s.stalled ? 1 : 0; });
  counter("postrider_readmodel_events_total", "Events applied", &ReadModelStatus::events_total);
  counter("postrider_readmodel_transactions_total", "Source transactions applied",
          &ReadModelStatus::transactions_total);
  counter("postrider_readmodel_batches_total", "Target transactions committed",
          &ReadModelStatus::batches_total);
  counter("postrider_readmodel_skipped_total", "Events seen again and passed over",
          &ReadModelStatus::skipped_total);
  counter("postrider_readmodel_parked_total", "Source transactions set aside by on_poison = park",
          &ReadModelStatus::parked_total);
  counter("postrider_readmodel_replica_rows_total", "Rows of replica tables written or deleted",
          &ReadModelStatus::replica_rows_total);
  counter("postrider_readmodel_replica_missing_total",
          "Updates passed over because the replica has no such row",
          &ReadModelStatus::replica_missing_total);
  counter("postrider_readmodel_replica_in_order_total",
          "Batches of row changes written one by one, as a constraint wanted",
          &ReadModelStatus::replica_in_order_total);
  counter("postrider_readmodel_sessions_total", "Sessions started",
          &ReadModelStatus::sessions_total);
  add("postrider_readmodel_ordinal", "Ordinal of the newest event applied", MetricType::Gauge,
      [](const auto& s) { return static_cast<double>(s.cursor.ordinal); });
  add("postrider_readmodel_lag_events", "Messages of the stream that are not applied yet",
      MetricType::Gauge, [](const auto& s) { return static_cast<double>(s.lag_events()); });
  add("postrider_readmodel_nears_stream_start",
      "1 when the stream's retention will soon remove what is not applied yet", MetricType::Gauge,
      [](const auto& s) { return s.nears_stream_start ? 1 : 0; });
  add("postrider_readmodel_last_event_age_seconds", "Since the commit of the newest event applied",
      MetricType::Gauge, [now_us](const auto& s) { return age_seconds(s, now_us); });
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

}  // namespace postrider
