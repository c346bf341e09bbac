#include "megalith/tokenizer/pre_tokenizer.hpp"

#include <algorithm>

#include "megalith/tokenizer/bert_splitter.hpp"
#include "megalith/tokenizer/gpt2_splitter.hpp"
#include "megalith/tokenizer/split_step.hpp"
#include "megalith/tokenizer/unicode.hpp"

namespace megalith {
namespace {

const std::vector<std::string> kSupported{"BertPreTokenizer", "ByteLevel", "Digits", "Metaspace",
                                          "Punctuation",      "Sequence",  "Split",  "Whitespace",
                                          "WhitespaceSplit"};

class Bert : public PreTokenizerStep {
 public:
  void split(const TextPart& piece, const PieceVisit& visit) const override {
    splitter_.split(piece.text, [&](std::string_view word) {
      visit({word, piece.at_start && word.data() == piece.text.data()});
    });
  }
  bool works_in_parts() const override { return true; }
  bool cuts_at_spaces() const override { return true; }

 private:
  BertSplitter splitter_;
};

class ByteLevel : public PreTokenizerStep {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex)
      : add_prefix_space_(add_prefix_space), use_regex_(use_regex) {}

  void split(const TextPart& piece, const PieceVisit& visit) const override {
    if (add_prefix_space_ && piece.text.front() != ' ') {
      cut(" " + std::string(piece.text), piece.at_start, visit);
    } else {
      cut(piece.text, piece.at_start, visit);
    }
  }
  bool works_in_parts() const override { return true; }
  bool cuts_at_spaces() const override { return use_regex_; }

 private:
  void cut(std::string_view text, bool at_start, const PieceVisit& visit) const {
    if (!use_regex_) return visit({text, at_start});
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = splitter_.piece_end(text, begin);
      visit({text.substr(begin, end - begin), at_start && begin == 0});
      begin = end;
    }
  }

  bool add_prefix_space_, use_regex_;
  Gpt2Splitter splitter_;
};

enum class PrependScheme { kAlways, kFirst, kNever };

class Metaspace : public PreTokenizerStep {
 public:
  Metaspace(std::string mark, PrependScheme scheme, bool split)
      : mark_(std::move(mark)), scheme_(scheme), split_(split) {}

  void split(const TextPart& piece, const PieceVisit& visit) const override {
    std::string text;
    size_t done = 0;
    each_occurrence(piece.text, " ", [&](size_t begin, size_t end) {
      text.append(piece.text, done, begin - done).append(mark_);
      done = end;
    });
    text.append(piece.text, done);
    const bool prepend =
        scheme_ == PrependScheme::kAlways || (scheme_ == PrependScheme::kFirst && piece.at_start);
    if (prepend && !text.starts_with(mark_)) text.insert(0, mark_);
    if (!split_) return visit({text, piece.at_start});
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find(mark_, begin + 1), text.size());
      visit({std::string_view(text).substr(begin, end - begin), piece.at_start && begin == 0});
      begin = end;
    }
  }
  bool works_in_parts() const override { return true; }
  bool cuts_at_spaces() const override { return split_; }

 private:
  std::string mark_;
  PrependScheme scheme_;
  bool split_;
};

/// \w+|[^\w\s]+, where white space vanishes.
class Whitespace : public PreTokenizerStep {
 public:
  Whitespace() {
    kinds_.add(unicode::spaces(), kSpace);
    kinds_.add(unicode::words(), kWord);
  }
  void split(const TextPart& piece, const PieceVisit& visit) const override {
    uint8_t kind = kSpace;
    size_t begin = 0;
    const auto end_at = [&](size_t at) {
      if (kind == kSpace || at == begin) return;
      visit({piece.text.substr(begin, at - begin), piece.at_start && begin == 0});
    };
    for (size_t at = 0; at < piece.text.size();) {
      const auto [code, length] = unicode::decode(piece.text.data() + at);
      const uint8_t next = kinds_[code];
      if (next != kind) {
        end_at(at);
        begin = at;
        kind = next;
      }
      at += length;
    }
    end_at(piece.text.size());
  }
  bool works_in_parts() const override { return true; }
  bool cuts_at_spaces() const override { return true; }

 private:
  static constexpr uint8_t kSpace = 1, kWord = 2;  // neither: everything else
  unicode::ClassTable kinds_;
};

std::unique_ptr<PreTokenizerStep> read_metaspace(const JsonPlace& place) {
  const std::string mark = place.character("replacement");
  std::string scheme = "always";
  if (place.find("prepend_scheme")) {
    scheme = place.choice("prepend_scheme", {"always", "first", "never"});
  }
  if (!place.flag("add_prefix_space", true)) {
    if (place.find("prepend_scheme") && scheme != "never") {
      place.complain(fmt::format("add_prefix_space false contradicts prepend_scheme {}", scheme));
    }
    scheme = "never";
  }
  return std::make_unique<Metaspace>(mark,
                                     scheme == "first"   ? PrependScheme::kFirst
                                     : scheme == "never" ? PrependScheme::kNever
                                                         : PrependScheme::kAlways,
                                     place.flag("split", true));
}

std::unique_ptr<PreTokenizerStep> read_step(const std::string& type, const JsonPlace& place) {
  if (type == "BertPreTokenizer") return std::make_unique<Bert>();
  if (type == "ByteLevel") {
    return std::make_unique<ByteLevel>(place.flag("add_prefix_space"),
                                       place.flag("use_regex", true));
  }
  if (type == "Metaspace") return read_metaspace(place);
  if (type == "Whitespace") return std::make_unique<Whitespace>();
  return read_split_step(type, place);
}

}  // namespace

PreTokenizer::PreTokenizer(const JsonPlace& place) { add(place); }

void PreTokenizer::add(const JsonPlace& place) {
  const std::string type = place.type("pre-tokenizer", kSupported);
  if (type == "Sequence") {
    for (const JsonPlace& step : place.list("pretokenizers")) add(step);
    return;
  }
  if (type.empty()) return;
  if (byte_level_) {
    place.complain("follows ByteLevel, which is supported as the last pre-tokenizer only");
  }
  byte_level_ = type == "ByteLevel";
  steps_.push_back(read_step(type, place));
}

void PreTokenizer::split_from(size_t step, const TextPart& piece, const PieceVisit& visit) const {
  if (step == steps_.size()) return visit(piece);
  if (step + 1 == steps_.size()) return steps_[step]->split(piece, visit);
  steps_[step]->split(piece, [&](const TextPart& part) { split_from(step + 1, part, visit); });
}

bool PreTokenizer::works_in_parts() const {
  const auto all = [this](auto holds) { return std::all_of(steps_.begin(), steps_.end(), holds); };
  const auto any = [this](auto holds) { return std::any_of(steps_.begin(), steps_.end(), holds); };
  return all([](const auto& step) { return step->works_in_parts(); }) &&
         any([](const auto& step) { return step->cuts_at_spaces(); });
}

}  // namespace megalith
