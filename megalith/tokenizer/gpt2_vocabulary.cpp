#include "megalith/tokenizer/gpt2_vocabulary.hpp"

#include <simdjson.h>

#include <algorithm>

#include "megalith/core/atomic_file.hpp"
#include "megalith/core/error.hpp"
#include "megalith/tokenizer/byte_alphabet.hpp"

namespace megalith {
namespace {

std::string_view next_line(std::string_view& rest) {
  const size_t end = std::min(rest.find('\n'), rest.size());
  std::string_view line = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

}  // namespace

Gpt2Vocabulary::Gpt2Vocabulary(const std::string& path) : path_(path) {
  const simdjson::padded_string text(read_text_file(path));
  simdjson::dom::parser parser;
  simdjson::dom::element document;
  if (const auto error = parser.parse(text).get(document)) {
    throw UsageError("--vocab-file {}: not a JSON file: {}; expected GPT-2's vocab.json", path,
                     simdjson::error_message(error));
  }
  simdjson::dom::object entries;
  if (document.get(entries)) {
    throw UsageError("--vocab-file {}: expected a JSON object of token: id", path);
  }
  const ByteAlphabet alphabet;
  const size_t size = entries.size();
  std::vector<bool> seen(size, false);
  bytes_.resize(size);
  ids_.reserve(size);
  for (const auto entry : entries) {
    int64_t id = 0;
    if (entry.value.get(id)) {
      throw UsageError("--vocab-file {}: the id of '{}' is not a whole number", path, entry.key);
    }
    if (id < 0 || id >= static_cast<int64_t>(size)) {
      throw UsageError(
          "--vocab-file {}: '{}' has the id {}, but {} entries need the ids 0 to {} "
          "without holes",
          path, entry.key, id, size, static_cast<int64_t>(size) - 1);
    }
    const auto index = static_cast<size_t>(id);
    if (seen[index]) {
      throw UsageError("--vocab-file {}: the id {} of '{}' is taken by another entry", path, id,
                       entry.key);
    }
    seen[index] = true;
    const std::string key(entry.key);
    if (!ids_.emplace(key, static_cast<int32_t>(id)).second) {
      throw UsageError("--vocab-file {}: '{}' stands there twice", path, key);
    }
    bytes_[index] = alphabet.bytes(key).value_or(key);
  }
  if (size == 0) throw UsageError("--vocab-file {}: the vocabulary is empty", path);
}

std::optional<int32_t> Gpt2Vocabulary::find(std::string_view entry) const {
  const auto found = ids_.find(entry);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<BytePairMerge> Gpt2Vocabulary::read_merges(const std::string& path) const {
  const std::string text = read_text_file(path);
  std::vector<BytePairMerge> merges;
  std::string_view rest = text;
  for (int64_t number = 1; !rest.empty(); ++number) {
    const std::string_view line = next_line(rest);
    if (line.starts_with("#version") || line.empty()) continue;
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || space == 0 || space + 1 == line.size() ||
        line.find(' ', space + 1) != std::string_view::npos) {
      throw UsageError(
          "--merge-file {}, line {}: expected two parts separated by one space, got "
          "'{}'; give GPT-2's merges.txt",
          path, number, line.substr(0, 60));
    }
    const auto part = [&](const std::string& entry) {
      if (const auto id = find(entry)) return *id;
      throw UsageError(
          "--merge-file {}, line {}: '{}' is not in {}; the two files must belong "
          "together",
          path, number, entry, path_);
    };
    const std::string left(line.substr(0, space)), right(line.substr(space + 1));
    merges.push_back({part(left), part(right), part(left + right)});
  }
  return merges;
}

}  // namespace megalith
