#include "tools/bench/ipc_bench/report.h"

#include <algorithm>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

namespace millrace::bench {

bool WriteJson(const std::string& file, const std::vector<Row>& rows) {
  nlohmann::json list = nlohmann::json::array();
  for (const Row& row : rows) {
    list.push_back({{"case", row.test_case},
                    {"subject", row.subject},
                    {"metric", row.metric},
                    {"unit", row.unit},
                    {"value", row.value}});
  }
  std::ofstream out(file);
  out << list.dump(1) << "\n";
  return out.good();
}

void PrintTable(const std::string& title, const std::vector<std::vector<std::string>>& lines) {
  std::vector<size_t> widths;
  for (const auto& line : lines) {
    widths.resize(std::max(widths.size(), line.size()));
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  std::cout << "\n" << title << "\n";
  for (const auto& line : lines) {
    std::cout << " ";
    for (size_t i = 0; i < line.size(); ++i) {
      const std::string fill(widths[i] - line[i].size(), ' ');
      std::cout << " " << (i == 0 ? line[i] + fill : " " + fill + line[i]);
    }
    std::cout << "\n";
  }
}

}  // namespace millrace::bench
