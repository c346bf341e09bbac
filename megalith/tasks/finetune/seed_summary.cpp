#include "megalith/tasks/finetune/seed_summary.hpp"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "megalith/core/atomic_file.hpp"

namespace megalith {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

size_t median_run(const std::vector<double>& scores) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return scores[a] < scores[b]; });
  return order.at((scores.size() - 1) / 2);
}

Json summarize_seeds(const TaskConfig& config, const std::vector<SeedRun>& runs) {
  const char* const name = config.recipe().score;
  std::vector<double> scores;
  Json rows = Json::array();
  for (const auto& run : runs) {
    scores.push_back(run.metrics.at("dev").at(name).get<double>());
    rows.push_back({{"seed", run.seed}, {"score", scores.back()}, {"folder", run.folder}});
  }
  const size_t median = median_run(scores);
  Json summary = {{"task", config.task}, {"score", name}, {"runs", rows}, {"median", rows[median]}};
  for (const char* part : {"dev", "test"}) {
    const Json& metrics = runs[median].metrics;
    if (metrics.contains(part)) summary[part] = metrics.at(part);
  }
  return summary;
}

std::string summary_text(const Json& summary) {
  std::string text;
  const auto name = summary.at("score").get<std::string>();
  for (const auto& run : summary.at("runs")) {
    text += fmt::format("seed {}: dev {} {:.6g}\n", run.at("seed").get<int64_t>(), name,
                        run.at("score").get<double>());
  }
  const Json& median = summary.at("median");
  text += fmt::format("median dev {} {:.6g}, of seed {}\n", name, median.at("score").get<double>(),
                      median.at("seed").get<int64_t>());
  return text;
}

void write_summary(const std::string& folder, const Json& summary) {
  const fs::path source = summary.at("median").at("folder").get<std::string>();
  for (const auto& entry : fs::directory_iterator(source)) {
    const std::string name = entry.path().filename().string();
    const bool is_prediction = name.starts_with("dev_") || name.starts_with("test_");
    if (!is_prediction || !entry.is_regular_file()) continue;
    write_text_file((fs::path(folder) / name).string(), read_text_file(entry.path().string()));
  }
  write_text_file((fs::path(folder) / "metrics.json").string(), summary.dump(2) + "\n");
}

}  // namespace megalith
