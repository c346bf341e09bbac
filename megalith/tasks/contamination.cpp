#include "megalith/tasks/contamination.hpp"

#include <algorithm>

namespace megalith {
namespace {

double ratio(int64_t part, int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

nlohmann::ordered_json counts_json(const NgramOverlap::Counts& counts) {
  return {{"overlap", counts.overlap()},
          {"ngrams", counts.ngrams},
          {"found", counts.found},
          {"distinct_ngrams", counts.distinct_ngrams},
          {"distinct_found", counts.distinct_found},
          {"distinct_overlap", counts.distinct_overlap()}};
}

}  // namespace

size_t NgramOverlap::HashNgram::operator()(const Ngram& ngram) const {
  uint64_t hash = 0;
  for (const int32_t word : ngram) {  // multiply and fold, as in wyhash
    const auto product =
        static_cast<unsigned __int128>(hash ^ static_cast<uint64_t>(word)) * 0x9E3779B97F4A7C15ULL;
    hash = static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
    hash += 0xA0761D6478BD642FULL;
  }
  return hash;
}

bool NgramOverlap::push(int32_t word) {
  std::copy(last_.begin() + 1, last_.end(), last_.begin());
  last_.back() = word;
  return ++run_ >= kWords;
}

void NgramOverlap::begin_test(std::string name) {
  files_.push_back({.name = std::move(name), .ngrams = {}});
  run_ = 0;
}

void NgramOverlap::add_test_word(std::string_view word) {
  auto known = dictionary_.find(word);
  if (known == dictionary_.end()) {
    known = dictionary_.emplace(word, static_cast<int32_t>(dictionary_.size())).first;
    longest_word_ = std::max(longest_word_, word.size());
  }
  if (!push(known->second)) return;
  const auto [entry, is_new] = numbers_.try_emplace(last_, static_cast<int32_t>(numbers_.size()));
  if (is_new) found_.push_back(false);
  files_.back().ngrams.push_back(entry->second);
}

void NgramOverlap::see_train_word(std::string_view word) {
  ++num_train_words_;
  const auto known = dictionary_.find(word);
  if (known == dictionary_.end()) {
    run_ = 0;
    return;
  }
  if (!push(known->second)) return;
  const auto entry = numbers_.find(last_);
  if (entry != numbers_.end()) found_[entry->second] = true;
}

double NgramOverlap::Counts::overlap() const { return ratio(found, ngrams); }
double NgramOverlap::Counts::distinct_overlap() const {
  return ratio(distinct_found, distinct_ngrams);
}

NgramOverlap::Counts NgramOverlap::count(const std::vector<const TestFile*>& files) const {
  Counts counts;
  std::vector<bool> seen(found_.size(), false);
  for (const auto* file : files) {
    for (const int32_t number : file->ngrams) {
      ++counts.ngrams;
      counts.found += found_[number] ? 1 : 0;
      if (seen[number]) continue;
      seen[number] = true;
      ++counts.distinct_ngrams;
      counts.distinct_found += found_[number] ? 1 : 0;
    }
  }
  return counts;
}

NgramOverlap::Counts NgramOverlap::counts() const {
  std::vector<const TestFile*> all;
  for (const auto& file : files_) all.push_back(&file);
  return count(all);
}

void NgramOverlap::add_to(Report& report) const {
  const Counts all = counts();
  report.add("overlap", all.overlap(),
             "found / ngrams: the paper's, the share of the test's 8-grams found in training");
  report.add("ngrams", all.ngrams, "8-grams of the test data, every place");
  report.add("found", all.found, "those that the training data hold");
  report.add("distinct_ngrams", all.distinct_ngrams, "different 8-grams of the test data");
  report.add("distinct_found", all.distinct_found, "those that the training data hold");
  report.add("distinct_overlap", all.distinct_overlap(),
             "distinct_found / distinct_ngrams: each different 8-gram counted once");
  report.add("train_words", num_train_words_, "words of the training data");
  if (files_.size() < 2) return;
  for (const auto& file : files_) {
    nlohmann::ordered_json line{{"file", file.name}};
    line.update(counts_json(count({&file})));
    report.add_to_list("files", std::move(line));
  }
}

}  // namespace megalith
