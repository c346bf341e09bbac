#include "megalith/tokenizer/text_normalizer.hpp"

#include <algorithm>

#include "megalith/tokenizer/bert_normalizer.hpp"
#include "megalith/tokenizer/regex_pattern.hpp"
#include "megalith/tokenizer/unicode.hpp"
#include "megalith/tokenizer/unicode_forms.hpp"

namespace megalith {
namespace {

const std::vector<std::string> kSupported{"BertNormalizer", "Lowercase", "NFC",         "NFD",
                                          "NFKC",           "NFKD",      "Prepend",     "Replace",
                                          "Sequence",       "Strip",     "StripAccents"};

class Bert : public TextNormalizer {
 public:
  explicit Bert(const BertCleaning& cleaning) : normalizer_(cleaning) {}
  void apply(std::string& text) const override {
    SourcedText normal{std::move(text), {}};
    normalizer_.apply(normal);
    text = std::move(normal.text);
  }
  bool works_in_parts() const override { return true; }

 private:
  BertNormalizer normalizer_;
};

class Lower : public TextNormalizer {
 public:
  void apply(std::string& text) const override { lower_.apply(text); }
  bool works_in_parts() const override { return true; }

 private:
  LowerCase lower_;
};

class InForm : public TextNormalizer {
 public:
  explicit InForm(unicode::Form form) : normalization_(form) {}
  void apply(std::string& text) const override { normalization_.apply(text); }
  bool works_in_parts() const override { return true; }

 private:
  unicode::Normalization normalization_;
};

class Decomposed : public TextNormalizer {
 public:
  void apply(std::string& text) const override {
    SourcedText decomposed{std::move(text), {}};
    decomposition_.apply(decomposed);
    text = std::move(decomposed.text);
  }
  bool works_in_parts() const override { return true; }

 private:
  unicode::Decomposition decomposition_;
};

class Prepend : public TextNormalizer {
 public:
  explicit Prepend(std::string what) : what_(std::move(what)) {}
  void apply(std::string& text) const override {
    if (!text.empty()) text.insert(0, what_);
  }
  bool works_in_parts() const override { return what_.empty(); }

 private:
  std::string what_;
};

class Replace : public TextNormalizer {
 public:
  Replace(TextPattern pattern, std::string by) : pattern_(std::move(pattern)), by_(std::move(by)) {}
  void apply(std::string& text) const override { text = pattern_.replaced(text, by_); }
  bool works_in_parts() const override { return false; }

 private:
  TextPattern pattern_;
  std::string by_;
};

class Strip : public TextNormalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) { spaces_.add(unicode::spaces(), 1); }
  void apply(std::string& text) const override {
    size_t first = text.size(), end = 0;  // of what is not white space
    for (size_t at = 0; at < text.size();) {
      const auto [code, length] = unicode::decode(text.data() + at);
      if (spaces_[code] == 0) {
        first = std::min(first, at);
        end = at + length;
      }
      at += length;
    }
    const size_t begin = left_ ? first : 0;
    const size_t stop = right_ ? std::max(end, begin) : text.size();
    text = text.substr(begin, stop - begin);
  }
  bool works_in_parts() const override { return false; }

 private:
  bool left_, right_;
  unicode::ClassTable spaces_;
};

/// Drops marks of every kind.
class StripAccents : public TextNormalizer {
 public:
  StripAccents() { marks_.add(unicode::marks(), 1); }
  void apply(std::string& text) const override {
    std::string kept;
    for (size_t at = 0; at < text.size();) {
      const auto [code, length] = unicode::decode(text.data() + at);
      if (marks_[code] == 0) kept.append(text, at, length);
      at += length;
    }
    text = std::move(kept);
  }
  bool works_in_parts() const override { return true; }

 private:
  unicode::ClassTable marks_;
};

std::unique_ptr<TextNormalizer> read_bert(const JsonPlace& place) {
  BertCleaning cleaning;
  cleaning.clean_text = place.flag("clean_text");
  cleaning.space_out_ideographs = place.flag("handle_chinese_chars");
  cleaning.lower_case = place.flag("lowercase");
  cleaning.strip_accents = place.flag("strip_accents", cleaning.lower_case);
  return std::make_unique<Bert>(cleaning);
}

std::unique_ptr<TextNormalizer> read_step(const std::string& type, const JsonPlace& place) {
  using unicode::Form;
  if (type == "BertNormalizer") return read_bert(place);
  if (type == "Lowercase") return std::make_unique<Lower>();
  if (type == "NFC") return std::make_unique<InForm>(Form::kNfc);
  if (type == "NFD") return std::make_unique<Decomposed>();
  if (type == "NFKC") return std::make_unique<InForm>(Form::kNfkc);
  if (type == "NFKD") return std::make_unique<InForm>(Form::kNfkd);
  if (type == "Prepend") return std::make_unique<Prepend>(place.text("prepend"));
  if (type == "Replace") {
    return std::make_unique<Replace>(TextPattern(place), place.text("content"));
  }
  if (type == "Strip") {
    return std::make_unique<Strip>(place.flag("strip_left"), place.flag("strip_right"));
  }
  return std::make_unique<StripAccents>();
}

}  // namespace

TextNormalizers read_normalizer(const JsonPlace& place) {
  TextNormalizers steps;
  const std::string type = place.type("normalizer", kSupported);
  if (type == "Sequence") {
    for (const JsonPlace& step : place.list("normalizers")) {
      for (auto& normalizer : read_normalizer(step)) steps.push_back(std::move(normalizer));
    }
  } else if (!type.empty()) {
    steps.push_back(read_step(type, place));
  }
  return steps;
}

TextPattern::TextPattern(const JsonPlace& owner) {
  const auto place = owner.require("pattern");
  if (!place) return;
  if (place->find("String")) {
    literal_ = place->text("String");
    if (literal_->empty()) place->complain("an empty text matches nothing; leave the step out");
  } else if (place->find("Regex")) {
    expression_ = place->text("Regex");
    try {
      regex_ = std::make_shared<const RegexPattern>(expression_);
    } catch (const UsageError& error) {
      place->complain(fmt::format("the pattern {}: {}", expression_, error.what()));
    }
  } else {
    place->complain(R"(expected {"String": "..."} or {"Regex": "..."})");
  }
}

void TextPattern::each_match(std::string_view text,
                             const std::function<void(size_t begin, size_t end)>& visit) const {
  if (literal_) {
    each_occurrence(text, *literal_, visit);
  } else if (regex_) {
    regex_->each_match(text, visit);
  }
}

std::string TextPattern::replaced(std::string_view text, std::string_view by) const {
  std::string result;
  size_t done = 0;
  each_match(text, [&](size_t begin, size_t end) {
    result.append(text, done, begin - done).append(by);
    done = end;
  });
  return result.append(text, done);
}

}  // namespace megalith
