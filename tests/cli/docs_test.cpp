// The documents point at what is there: every `path: symbol` and `path` of this repository, and
// every relative link, in README.md and docs/.
//
// A pair is a code span on one line that holds a path below the root, a colon, a space and a
// symbol; the symbol must stand in that file as a whole word. Fenced blocks are not read: they show
// commands and what these write. Whether the text around a pair is true, only a reader can say.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

const fs::path& root() {
  static const fs::path path = MEGALITH_SOURCE_DIR;
  return path;
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// README.md and the Markdown files under docs/, sorted.
std::vector<fs::path> documents() {
  std::vector<fs::path> paths{root() / "README.md"};
  for (const auto& entry : fs::recursive_directory_iterator(root() / "docs")) {
    if (entry.path().extension() == ".md") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

/// A line outside fenced blocks, and where it stands: "docs/training.md:12".
struct Line {
  std::string place, text;
};

std::vector<Line> prose_lines(const fs::path& document) {
  std::vector<Line> lines;
  std::istringstream in(read_file(document));
  const std::string name = fs::relative(document, root()).string();
  bool fenced = false;
  int number = 0;
  for (std::string text; std::getline(in, text);) {
    ++number;
    if (text.rfind("```", 0) == 0) {
      fenced = !fenced;
    } else if (!fenced) {
      lines.push_back({name + ":" + std::to_string(number), text});
    }
  }
  return lines;
}

/// What `pattern`'s first group holds, for each match.
std::vector<std::string> matches(const std::string& text, const std::regex& pattern) {
  std::vector<std::string> found;
  for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it) {
    found.push_back((*it)[1].str());
  }
  return found;
}

/// The code spans of a line.
std::vector<std::string> code_spans(const std::string& text) {
  static const std::regex pattern("`([^`]+)`");
  return matches(text, pattern);
}

/// The path of a span that begins like a file of the repository, or "". Patterns and names with a
/// gap to be filled in are not paths.
std::string path_of(const std::string& span) {
  static const std::array<const char*, 9> folders = {
      "megalith/", "cli/", "tests/", "configs/", "tools/", "docs/", "assets/", "bench/", "cmake/"};
  const std::string path = span.substr(0, span.find(": "));
  if (path.find_first_of(" *<>{}$") != std::string::npos) return "";
  const bool known = std::any_of(folders.begin(), folders.end(),
                                 [&](const char* folder) { return path.rfind(folder, 0) == 0; });
  return known ? path : "";
}

/// The symbol of a pair, or "" where the span is a path alone.
std::string symbol_of(const std::string& span) {
  const size_t colon = span.find(": ");
  return colon == std::string::npos ? "" : span.substr(colon + 2);
}

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

bool holds_word(const std::string& text, const std::string& word) {
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    const size_t after = at + word.size();
    if ((at == 0 || !is_word(text[at - 1])) && (after == text.size() || !is_word(text[after]))) {
      return true;
    }
  }
  return false;
}

TEST(Docs, EveryPathAndSymbolIsThere) {
  for (const auto& document : documents()) {
    for (const auto& line : prose_lines(document)) {
      for (const auto& span : code_spans(line.text)) {
        const std::string path = path_of(span), symbol = symbol_of(span);
        if (path.empty()) continue;
        if (!fs::exists(root() / path)) {
          ADD_FAILURE() << line.place << ": there is no " << path;
        } else if (!symbol.empty()) {
          EXPECT_TRUE(holds_word(read_file(root() / path), symbol))
              << line.place << ": " << path << " does not hold " << symbol;
        }
      }
    }
  }
}

TEST(Docs, EveryRelativeLinkLeadsSomewhere) {
  const std::regex pattern(R"(\]\(([^)\s]+)\))");
  for (const auto& document : documents()) {
    for (const auto& line : prose_lines(document)) {
      for (const auto& target : matches(line.text, pattern)) {
        if (target.find("://") != std::string::npos || target.front() == '#') continue;
        const std::string path = target.substr(0, target.find('#'));
        EXPECT_TRUE(fs::exists(document.parent_path() / path))
            << line.place << ": the link to " << target << " leads nowhere";
      }
    }
  }
}

/// The walk is the list of files one has to open; a pair that is broken over two lines, or written
/// in another form, would silently be checked no more.
TEST(Docs, TheWalkNamesEveryFileOnTheWay) {
  std::set<std::string> paths;
  for (const auto& line : prose_lines(root() / "docs/follow-one-batch.md")) {
    EXPECT_EQ(std::count(line.text.begin(), line.text.end(), '`') % 2, 0)
        << line.place << ": a code span does not end on its line";
    for (const auto& span : code_spans(line.text)) {
      if (!symbol_of(span).empty()) paths.insert(path_of(span));
    }
  }
  for (const char* path :
       {"cli/pretrain.cpp", "megalith/training/run_config.cpp", "megalith/training/trainer.cpp",
        "megalith/data/batch_loader.cpp", "megalith/data/gpt_dataset.cpp",
        "megalith/data/indexed_dataset.cpp", "megalith/pipeline/schedule.cpp",
        "megalith/models/gpt.cpp", "megalith/layers/transformer_layer.cpp",
        "megalith/layers/parallel_linear.cpp", "megalith/parallel/mappings.cpp",
        "megalith/parallel/collectives.cpp", "megalith/layers/vocab_parallel.cpp",
        "megalith/optimizer/gradient_buffer.cpp", "megalith/optimizer/optimizer.cpp",
        "megalith/ops/adam.cpp"}) {
    EXPECT_EQ(paths.count(path), 1U) << "docs/follow-one-batch.md does not name " << path;
  }
}

}  // namespace
