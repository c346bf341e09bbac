// RACE's folders of articles: read_race() of choice_questions.hpp.
#include <algorithm>
#include <filesystem>
#include <tuple>

#include "megalith/tasks/finetune/choice_questions.hpp"
#include "megalith/tasks/finetune/example_fields.hpp"
#include "megalith/tasks/finetune/json_input.hpp"

namespace megalith {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kNumChoices = 4;

struct RaceFile {
  fs::path path;
  std::string group;
};

/// "high1001.txt" as ("high", 1001).
std::tuple<std::string, int64_t, std::string> name_order(const fs::path& path) {
  const std::string stem = path.stem().string();
  const size_t digits = std::min(stem.find_first_of("0123456789"), stem.size());
  int64_t number = 0;
  for (size_t i = digits; i < stem.size() && stem[i] >= '0' && stem[i] <= '9' && i < digits + 15;
       ++i)
    number = number * 10 + (stem[i] - '0');
  return {stem.substr(0, digits), number, stem};
}

void add_files(const fs::path& folder, const std::string& group, std::vector<RaceFile>& files) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".txt") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end(),
            [](const fs::path& a, const fs::path& b) { return name_order(a) < name_order(b); });
  for (auto& path : paths) files.push_back({std::move(path), group});
}

std::vector<RaceFile> files_of(const std::string& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    throw UsageError(
        "{}: is no folder; give RACE's train, dev or test, which holds middle and high", folder);
  }
  const fs::path path = fs::path(folder).lexically_normal();
  const fs::path last = path.filename().empty() ? path.parent_path().filename() : path.filename();
  std::vector<RaceFile> files;
  for (const char* group : {"middle", "high"}) {
    if (last == group) add_files(path, group, files);
    if (fs::is_directory(path / group, error)) add_files(path / group, group, files);
  }
  if (files.empty()) {
    throw UsageError(
        "{}: no .txt files in {} or {}; give RACE's train, dev or test folder, or one "
        "of its folders middle and high",
        folder, (path / "middle").string(), (path / "high").string());
  }
  return files;
}

/// "A" to "D" as a number.
std::optional<int64_t> letter_value(const nlohmann::json& value) {
  if (!value.is_string()) return std::nullopt;
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() != 1 || text[0] < 'A' || text[0] >= 'A' + kNumChoices) return std::nullopt;
  return text[0] - 'A';
}

/// The questions of one file.
class RaceArticle {
 public:
  RaceArticle(const RaceFile& file, ChoiceSet& set) : file_(file), set_(set) {}

  void read(FileMistakes& mistakes) {
    const auto document = read_json_file(file_.path.string());
    const JsonPlace top(document, "", mistakes);
    article_ = top.text("article");
    if (top.has("article") && is_blank(article_)) top.mistake("the article is empty");
    questions_ = top.texts("questions");
    top.each("options", [&](const JsonPlace& options) { options_.push_back(options.texts()); });
    if (top.has("answers")) {
      top.each("answers", [&](const JsonPlace& answer) {
        labels_.push_back(letter_value(answer.value()));
        if (!labels_.back()) {
          answer.mistake(fmt::format("is {}, expected one of A, B, C, D", shown(answer.value())));
        }
      });
    }
    if (options_.size() != questions_.size() ||
        (top.has("answers") && labels_.size() != questions_.size())) {
      top.mistake(
          fmt::format("has {} questions, {} lists of options and {} answers; there must be "
                      "as many of each",
                      questions_.size(), options_.size(), labels_.size()));
    }
    for (size_t i = 0; i < std::min(questions_.size(), options_.size()); ++i) add(i, mistakes);
  }

 private:
  void add(size_t i, FileMistakes& mistakes) {
    if (options_[i].size() != kNumChoices) {
      mistakes.add(fmt::format("options/{}", i),
                   fmt::format("has {} options, RACE has {}", options_[i].size(), kNumChoices));
    }
    set_.questions.push_back({.id = fmt::format("{}-{}", file_.path.filename().string(), i),
                              .group = file_.group,
                              .context = article_,
                              .question = questions_[i],
                              .choices = options_[i],
                              .label = i < labels_.size() ? labels_[i] : std::nullopt});
  }

  const RaceFile& file_;
  ChoiceSet& set_;
  std::string article_;
  std::vector<std::string> questions_;
  std::vector<std::vector<std::string>> options_;
  std::vector<std::optional<int64_t>> labels_;
};

}  // namespace

ChoiceSet read_race(const std::string& folder) {
  ChoiceSet set{
      .path = folder, .num_choices = kNumChoices, .questions = {}, .report = ReadReport(folder)};
  Problems problems;
  for (const RaceFile& file : files_of(folder)) {
    FileMistakes mistakes(file.path.string());
    problems.collect([&] {
      RaceArticle(file, set).read(mistakes);
      mistakes.raise_if_any();
    });
    if (problems.texts().size() >= 10) break;
  }
  problems.raise_if_any();
  if (set.questions.empty()) throw UsageError("{}: holds no question", folder);
  set.report.add_read(static_cast<int64_t>(set.questions.size()));
  return set;
}

}  // namespace megalith
