#include "megalith/tasks/finetune/span_logits.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "megalith/core/atomic_file.hpp"
#include "megalith/tasks/finetune/json_input.hpp"

namespace megalith {
namespace {

using Key = std::pair<std::string, int64_t>;  // question and window

std::string name_of(const SpanLogits& row) {
  return fmt::format("window {} of question {}", row.window, shortened(row.id));
}

/// Floats as short as they read back the same.
std::string number_list(const std::vector<float>& numbers) {
  std::string text = "[";
  for (const float number : numbers) {
    if (text.size() > 1) text += ',';
    fmt::format_to(std::back_inserter(text), "{}", number);
  }
  return text + "]";
}

std::vector<float> read_floats(const nlohmann::json& object, const char* key,
                               const std::string& place, FileMistakes& mistakes) {
  const auto found = object.find(key);
  const auto is_number = [](const nlohmann::json& value) { return value.is_number(); };
  if (found == object.end() || !found->is_array() ||
      !std::all_of(found->begin(), found->end(), is_number)) {
    mistakes.add(place, fmt::format("\"{}\" must be a list of numbers", key));
    return {};
  }
  return found->get<std::vector<float>>();
}

void add_sums(const std::vector<float>& logits, std::vector<double>& sums) {
  sums.resize(logits.size(), 0);
  for (size_t i = 0; i < logits.size(); ++i) sums[i] += logits[i];
}

std::vector<float> divided(const std::vector<double>& sums, size_t count) {
  std::vector<float> mean;
  mean.reserve(sums.size());
  for (const double sum : sums) {
    mean.push_back(static_cast<float>(sum / static_cast<double>(count)));
  }
  return mean;
}

}  // namespace

std::vector<SpanLogits> span_logits(const SquadDataset& dataset, const SquadFeatures& features,
                                    std::span<const WindowLogits> logits) {
  if (logits.size() != features.windows.size()) {
    throw RunError("{} windows have logits, and there are {}", logits.size(),
                   features.windows.size());
  }
  std::vector<SpanLogits> rows;
  for (size_t i = 0; i < logits.size(); ++i) {
    const SquadWindow& window = features.windows[i];
    const auto cut = [&](std::span<const float> all) {
      const auto used = all.first(std::min(all.size(), window.features.ids.size()));
      return std::vector<float>(used.begin(), used.end());
    };
    rows.push_back({dataset.questions[window.question].id, window.number, cut(logits[i].start),
                    cut(logits[i].end)});
  }
  return rows;
}

std::vector<WindowLogits> window_logits(const SquadDataset& dataset, const SquadFeatures& features,
                                        const std::vector<SpanLogits>& rows) {
  std::map<Key, const SpanLogits*> by_key;
  for (const auto& row : rows) by_key[{row.id, row.window}] = &row;
  if (rows.size() != features.windows.size()) {
    throw UsageError(
        "the saved predictions have {} windows, and {} makes {}; use the vocabulary, "
        "sequence length and stride they were made with",
        rows.size(), dataset.path, features.windows.size());
  }
  std::vector<WindowLogits> logits;
  for (const SquadWindow& window : features.windows) {
    const std::string& id = dataset.questions[window.question].id;
    const auto found = by_key.find({id, window.number});
    const bool fits =
        found != by_key.end() && found->second->start.size() == window.features.ids.size();
    if (!fits) {
      throw UsageError(
          "the saved predictions have no window {} of {} ids of question {}; use the "
          "vocabulary, sequence length and stride they were made with",
          window.number, window.features.ids.size(), shortened(id));
    }
    logits.push_back({found->second->start, found->second->end});
  }
  return logits;
}

void write_span_logits(const std::string& path, const std::vector<SpanLogits>& rows) {
  AtomicFile file(path);
  for (const auto& row : rows) {
    file.write(fmt::format(R"({{"id":{},"window":{},"start_logits":{},"end_logits":{}}})"
                           "\n",
                           nlohmann::json(row.id).dump(), row.window, number_list(row.start),
                           number_list(row.end)));
  }
  file.commit();
}

std::vector<SpanLogits> read_span_logits(const std::string& path) {
  std::vector<SpanLogits> rows;
  FileMistakes mistakes(path);
  std::map<Key, std::string> seen;
  read_json_lines(path, mistakes, [&](const nlohmann::json& object, int64_t line) {
    const std::string place = fmt::format("line {}", line);
    SpanLogits row{.id = JsonPlace(object, place, mistakes).text("id"),
                   .window = 0,
                   .start = read_floats(object, "start_logits", place, mistakes),
                   .end = read_floats(object, "end_logits", place, mistakes)};
    const auto window = object.find("window");
    if (window != object.end() && window->is_number_integer()) {
      row.window = window->get<int64_t>();
    } else {
      mistakes.add(place, "\"window\" must be the window's number");
    }
    if (row.start.size() != row.end.size()) {
      mistakes.add(place,
                   fmt::format("has {} start and {} end logits", row.start.size(), row.end.size()));
    }
    if (!seen.insert({{row.id, row.window}, place}).second) {
      mistakes.add(place, name_of(row) + " was there before");
    }
    rows.push_back(std::move(row));
  });
  mistakes.raise_if_any();
  if (rows.empty()) throw UsageError("{}: holds no prediction", path);
  return rows;
}

std::vector<SpanLogits> average_span_logits(const std::vector<std::string>& paths) {
  if (paths.empty()) throw UsageError("there are no predictions to average; name their files");
  std::vector<SpanLogits> mean = read_span_logits(paths.front());
  std::map<Key, size_t> index;
  std::vector<std::vector<double>> starts(mean.size()), ends(mean.size());
  for (size_t i = 0; i < mean.size(); ++i) {
    index[{mean[i].id, mean[i].window}] = i;
    add_sums(mean[i].start, starts[i]);
    add_sums(mean[i].end, ends[i]);
  }
  for (size_t file = 1; file < paths.size(); ++file) {
    const auto rows = read_span_logits(paths[file]);
    if (rows.size() != mean.size()) {
      throw UsageError(
          "{}: has {} windows, and {} has {}; average predictions of the same data, "
          "vocabulary, sequence length and stride",
          paths[file], rows.size(), paths.front(), mean.size());
    }
    for (const auto& row : rows) {
      const auto found = index.find({row.id, row.window});
      if (found == index.end() || mean[found->second].start.size() != row.start.size()) {
        throw UsageError(
            "{}: {} with {} logits is not in {}; average predictions of the same data, "
            "vocabulary, sequence length and stride",
            paths[file], name_of(row), row.start.size(), paths.front());
      }
      add_sums(row.start, starts[found->second]);
      add_sums(row.end, ends[found->second]);
    }
  }
  for (size_t i = 0; i < mean.size(); ++i) {
    mean[i].start = divided(starts[i], paths.size());
    mean[i].end = divided(ends[i], paths.size());
  }
  return mean;
}

}  // namespace megalith
