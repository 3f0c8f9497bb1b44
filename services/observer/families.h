// Metric families under construction.
//
// Purpose: samples are added in any order and come out by name, each name once.
// Who may call: one thread. Nothing fails.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "prometheus/metric_family.h"

namespace millrace {

using MetricLabels = std::vector<std::pair<std::string_view, std::string>>;

class Families {
 public:
  void Counter(std::string_view name, std::string_view help, const MetricLabels& labels,
               double value) {
    Add(name, help, prometheus::MetricType::Counter, labels).counter.value = value;
  }
  void Gauge(std::string_view name, std::string_view help, const MetricLabels& labels,
             double value) {
    Add(name, help, prometheus::MetricType::Gauge, labels).gauge.value = value;
  }
  // To be filled.
  prometheus::ClientMetric::Histogram& Histogram(std::string_view name, std::string_view help,
                                                 const MetricLabels& labels) {
    return Add(name, help, prometheus::MetricType::Histogram, labels).histogram;
  }

  std::vector<prometheus::MetricFamily> Take() {
    std::vector<prometheus::MetricFamily> all;
    for (auto& [name, family] : families_) all.push_back(std::move(family));
    families_.clear();
    return all;
  }

 private:
  prometheus::ClientMetric& Add(std::string_view name, std::string_view help,
                                prometheus::MetricType type, const MetricLabels& labels) {
    prometheus::MetricFamily& family = families_[std::string(name)];
    family.name = name;
    family.help = help;
    family.type = type;
    prometheus::ClientMetric& metric = family.metric.emplace_back();
    for (const auto& [key, value] : labels) metric.label.push_back({std::string(key), value});
    return metric;
  }

  std::map<std::string, prometheus::MetricFamily> families_;
};

}  // namespace millrace
