#include "megalith/tokenizer/split_step.hpp"

#include <algorithm>

#include "megalith/tokenizer/cl100k_splitter.hpp"
#include "megalith/tokenizer/gpt2_splitter.hpp"
#include "megalith/tokenizer/text_normalizer.hpp"
#include "megalith/tokenizer/unicode.hpp"

namespace megalith {
namespace {

constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

/// What becomes of the matches and of what lies between them: visits pieces in order.
class PieceCutter {
 public:
  PieceCutter(Behavior behavior, bool invert, const TextPart& piece, const PieceVisit& visit)
      : behavior_(behavior), invert_(invert), piece_(piece), visit_(visit) {}

  void match(size_t begin, size_t end) {
    if (begin > done_) section(begin, invert_);
    section(end, !invert_);
  }
  void finish() {
    if (done_ < piece_.text.size()) section(piece_.text.size(), invert_);
    flush(done_);
  }

 private:
  /// What lies between done_ and `end`.
  void section(size_t end, bool is_match) {
    const bool joins = joins_previous(is_match);
    if (!joins) flush(done_);
    dropped_ = behavior_ == Behavior::kRemoved && is_match;
    was_match_ = is_match;
    done_ = end;
  }
  bool joins_previous(bool is_match) const {
    switch (behavior_) {
      case Behavior::kMergedWithPrevious:
        return is_match && !was_match_;
      case Behavior::kMergedWithNext:
        return !is_match && was_match_;
      case Behavior::kContiguous:
        return is_match == was_match_;
      default:
        return false;
    }
  }
  void flush(size_t end) {
    if (end > begin_ && !dropped_) {
      visit_({piece_.text.substr(begin_, end - begin_), piece_.at_start && begin_ == 0});
    }
    begin_ = end;
  }

  Behavior behavior_;
  bool invert_;
  const TextPart& piece_;
  const PieceVisit& visit_;
  size_t begin_ = 0;  // of the piece that is being put together
  size_t done_ = 0;
  bool was_match_ = false, dropped_ = false;
};

Behavior read_behavior(const JsonPlace& place) {
  const std::vector<std::string> names{"Removed", "Isolated", "MergedWithPrevious",
                                       "MergedWithNext", "Contiguous"};
  const std::string name = place.choice("behavior", names);
  const auto found = std::find(names.begin(), names.end(), name);
  return found == names.end() ? Behavior::kIsolated : static_cast<Behavior>(found - names.begin());
}

class PatternSplit : public PreTokenizerStep {
 public:
  PatternSplit(TextPattern pattern, Behavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  void split(const TextPart& piece, const PieceVisit& visit) const override {
    PieceCutter cutter(behavior_, invert_, piece, visit);
    pattern_.each_match(piece.text, [&](size_t begin, size_t end) { cutter.match(begin, end); });
    cutter.finish();
  }
  bool works_in_parts() const override { return false; }
  bool cuts_at_spaces() const override { return false; }

 private:
  TextPattern pattern_;
  Behavior behavior_;
  bool invert_;
};

/// A pattern that leaves nothing out, each match a piece, by hand-written code.
template <class Splitter>
class KnownSplit : public PreTokenizerStep {
 public:
  explicit KnownSplit(Splitter splitter) : splitter_(std::move(splitter)) {}

  void split(const TextPart& piece, const PieceVisit& visit) const override {
    for (size_t begin = 0; begin < piece.text.size();) {
      const size_t end = splitter_.piece_end(piece.text, begin);
      visit({piece.text.substr(begin, end - begin), piece.at_start && begin == 0});
      begin = end;
    }
  }
  bool works_in_parts() const override { return true; }
  bool cuts_at_spaces() const override { return true; }

 private:
  Splitter splitter_;
};

/// Cuts at the characters of a class.
class ClassSplit : public PreTokenizerStep {
 public:
  ClassSplit(std::span<const unicode::CodePointRange> ranges, Behavior behavior, bool is_space)
      : behavior_(behavior), is_space_(is_space) {
    kinds_.add(ranges, 1);
  }

  void split(const TextPart& piece, const PieceVisit& visit) const override {
    PieceCutter cutter(behavior_, false, piece, visit);
    for (size_t at = 0; at < piece.text.size();) {
      const auto [code, length] = unicode::decode(piece.text.data() + at);
      if (kinds_[code] != 0) cutter.match(at, at + length);
      at += length;
    }
    cutter.finish();
  }
  bool works_in_parts() const override { return true; }
  bool cuts_at_spaces() const override { return is_space_; }

 private:
  unicode::ClassTable kinds_;
  Behavior behavior_;
  bool is_space_;
};

std::unique_ptr<PreTokenizerStep> read_split(const JsonPlace& place) {
  TextPattern pattern(place);
  const Behavior behavior = read_behavior(place);
  const bool invert = place.flag("invert", false);
  // A match or what lies between matches: both stay, and there is nothing between.
  const bool each_match_a_piece =
      behavior == Behavior::kIsolated || (behavior == Behavior::kRemoved && invert);
  if (each_match_a_piece) {
    const std::string& expression = pattern.expression();
    if (expression == kGpt2Pattern) {
      return std::make_unique<KnownSplit<Gpt2Splitter>>(Gpt2Splitter());
    }
    if (expression == kLlama3Pattern) {
      return std::make_unique<KnownSplit<Cl100kSplitter>>(Cl100kSplitter(3));
    }
    if (expression == kQwen2Pattern) {
      return std::make_unique<KnownSplit<Cl100kSplitter>>(Cl100kSplitter(1));
    }
  }
  return std::make_unique<PatternSplit>(std::move(pattern), behavior, invert);
}

}  // namespace

std::unique_ptr<PreTokenizerStep> read_split_step(const std::string& type, const JsonPlace& place) {
  if (type == "Split") return read_split(place);
  if (type == "Digits") {
    const bool single = place.flag("individual_digits");
    return std::make_unique<ClassSplit>(
        unicode::numbers(), single ? Behavior::kIsolated : Behavior::kContiguous, false);
  }
  if (type == "Punctuation") {
    const Behavior behavior = place.find("behavior") ? read_behavior(place) : Behavior::kIsolated;
    return std::make_unique<ClassSplit>(unicode::bert_punctuation(), behavior, false);
  }
  return std::make_unique<ClassSplit>(unicode::spaces(), Behavior::kRemoved, true);
}

}  // namespace megalith
