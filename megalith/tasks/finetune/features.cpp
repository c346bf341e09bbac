#include "megalith/tasks/finetune/features.hpp"

#include <algorithm>

namespace megalith {
namespace {

int32_t required_id(const Tokenizer& tokenizer, const char* token) {
  if (const auto id = tokenizer.token_id(token)) return *id;
  throw UsageError("{} has no {} in its vocabulary; fine-tuning needs a BERT vocabulary",
                   tokenizer.name(), token);
}

int64_t size_of(std::span<const int32_t> ids) { return static_cast<int64_t>(ids.size()); }

void check_length(int64_t seq_length, int64_t least) {
  if (seq_length < least) {
    throw UsageError("a sequence length of {} leaves no room for text; use at least {}", seq_length,
                     least);
  }
}

class FeatureBuilder {
 public:
  explicit FeatureBuilder(const SpecialIds& special) : special_(special) { append(special.cls, 0); }
  void append(int32_t id, int8_t type) {
    features_.ids.push_back(id);
    features_.types.push_back(type);
  }
  void append(std::span<const int32_t> ids, int8_t type) {
    for (const int32_t id : ids) append(id, type);
  }
  void separate(int8_t type) { append(special_.sep, type); }
  /// Keeps the first `size` ids.
  void keep(int64_t size) {
    features_.ids.resize(static_cast<size_t>(size));
    features_.types.resize(static_cast<size_t>(size));
  }
  int64_t size() const { return static_cast<int64_t>(features_.ids.size()); }
  TokenFeatures finish(int64_t num_dropped) {
    features_.num_dropped = num_dropped;
    return std::move(features_);
  }

 private:
  const SpecialIds& special_;
  TokenFeatures features_;
};

}  // namespace

SpecialIds special_ids(const Tokenizer& tokenizer) {
  return {required_id(tokenizer, "[CLS]"), required_id(tokenizer, "[SEP]"),
          required_id(tokenizer, "[PAD]")};
}

TokenFeatures single_features(std::span<const int32_t> text, const SpecialIds& special,
                              int64_t seq_length) {
  check_length(seq_length, 3);
  const int64_t room = std::min(size_of(text), seq_length - 2);
  FeatureBuilder builder(special);
  builder.append(text.first(static_cast<size_t>(room)), 0);
  builder.separate(0);
  return builder.finish(size_of(text) - room);
}

TokenFeatures pair_features(std::span<const int32_t> text_a, std::span<const int32_t> text_b,
                            const SpecialIds& special, int64_t seq_length,
                            PairTruncation truncation) {
  check_length(seq_length, 5);
  const int64_t excess = size_of(text_a) + size_of(text_b) + 3 - seq_length;
  if (truncation == PairTruncation::kLongerPart) {
    for (int64_t i = 0; i < excess; ++i) {
      auto& longer = text_a.size() > text_b.size() ? text_a : text_b;
      longer = longer.first(longer.size() - 1);
    }
  }
  FeatureBuilder builder(special);
  builder.append(text_a, 0);
  builder.separate(0);
  builder.append(text_b, 1);
  // Cut within A, its [SEP] is gone and the last one has type 1 all the same, as upstream's.
  builder.keep(std::min(builder.size(), seq_length - 1));
  builder.separate(1);
  return builder.finish(std::max(excess, int64_t{0}));
}

TokenFeatures classification_features(const LabelledText& example, const Tokenizer& tokenizer,
                                      int64_t seq_length, PairTruncation truncation) {
  const SpecialIds special = special_ids(tokenizer);
  const auto text_a = tokenizer.encode(example.text_a);
  if (!example.text_b) return single_features(text_a, special, seq_length);
  return pair_features(text_a, tokenizer.encode(*example.text_b), special, seq_length, truncation);
}

namespace {

std::string question_with_choice(const std::string& question, const std::string& choice) {
  if (question.find('_') == std::string::npos) return question + " " + choice;
  std::string text;
  for (const char c : question) {
    if (c == '_') {
      text += choice;
    } else {
      text += c;
    }
  }
  return text;
}

}  // namespace

std::vector<TokenFeatures> choice_features(const ChoiceQuestion& question,
                                           const Tokenizer& tokenizer, int64_t seq_length,
                                           int64_t max_qa_length) {
  const SpecialIds special = special_ids(tokenizer);
  const auto context = tokenizer.encode(question.context);
  std::vector<TokenFeatures> features;
  for (const auto& choice : question.choices) {
    auto qa = tokenizer.encode(question_with_choice(question.question, choice));
    const int64_t dropped = std::max(size_of(qa) - max_qa_length, int64_t{0});
    qa.resize(qa.size() - static_cast<size_t>(dropped));
    features.push_back(pair_features(qa, context, special, seq_length, PairTruncation::kEnd));
    features.back().num_dropped += dropped;
  }
  return features;
}

namespace {

void add_example(ExampleFeatures example, FeatureSet& features) {
  bool truncated = false;
  for (const auto& sequence : example.sequences) {
    truncated = truncated || sequence.num_dropped > 0;
    features.longest = std::max(features.longest, size_of(sequence.ids));
  }
  features.num_truncated += truncated ? 1 : 0;
  features.examples.push_back(std::move(example));
}

}  // namespace

FeatureSet build_features(const ClassificationSet& set, const Tokenizer& tokenizer,
                          int64_t seq_length, PairTruncation truncation) {
  FeatureSet features;
  for (const auto& example : set.examples) {
    add_example(
        {{classification_features(example, tokenizer, seq_length, truncation)}, example.label},
        features);
  }
  return features;
}

FeatureSet build_features(const ChoiceSet& set, const Tokenizer& tokenizer, int64_t seq_length,
                          int64_t max_qa_length) {
  FeatureSet features;
  for (const auto& question : set.questions) {
    add_example({choice_features(question, tokenizer, seq_length, max_qa_length), question.label},
                features);
  }
  return features;
}

FeatureBatch pad_features(std::span<const TokenFeatures> rows, int64_t length, int32_t pad_id) {
  size_t longest = 0;
  for (const auto& row : rows) longest = std::max(longest, row.ids.size());
  if (length > 0 && static_cast<int64_t>(longest) > length) {
    throw UsageError("a row of {} ids does not fit a batch of length {}", longest, length);
  }
  const size_t width = length > 0 ? static_cast<size_t>(length) : longest;
  FeatureBatch batch{.num_rows = static_cast<int64_t>(rows.size()),
                     .length = static_cast<int64_t>(width),
                     .ids = std::vector<int64_t>(rows.size() * width, pad_id),
                     .types = std::vector<int64_t>(rows.size() * width, 0),
                     .mask = std::vector<uint8_t>(rows.size() * width, 0)};
  for (size_t row = 0; row < rows.size(); ++row) {
    const auto at = static_cast<int64_t>(row * width);
    std::copy(rows[row].ids.begin(), rows[row].ids.end(), batch.ids.begin() + at);
    std::copy(rows[row].types.begin(), rows[row].types.end(), batch.types.begin() + at);
    std::fill_n(batch.mask.begin() + at, rows[row].ids.size(), uint8_t{1});
  }
  return batch;
}

}  // namespace megalith
