#include "megalith/tasks/finetune/squad_windows.hpp"

#include <algorithm>

namespace megalith {
namespace {

/// Pieces of a context, by index.
struct PieceSpan {
  int64_t first = 0, last = 0;
};

/// A window's pieces of the context.
struct DocSpan {
  int64_t start = 0, length = 0;
};

std::vector<DocSpan> doc_spans(int64_t num_pieces, int64_t room, int64_t stride) {
  std::vector<DocSpan> spans;
  for (int64_t start = 0; start < num_pieces;) {
    const int64_t length = std::min(num_pieces - start, room);
    spans.push_back({start, length});
    if (start + length == num_pieces) break;
    start += std::min(length, stride);
  }
  return spans;
}

/// The first of the spans that see `piece` with the most context; the recipe's own formula.
size_t best_span(const std::vector<DocSpan>& spans, int64_t piece) {
  size_t best = 0;
  double best_score = -1;
  for (size_t i = 0; i < spans.size(); ++i) {
    const int64_t end = spans[i].start + spans[i].length - 1;
    if (piece < spans[i].start || piece > end) continue;
    const auto context = static_cast<double>(std::min(piece - spans[i].start, end - piece));
    const double score = context + 0.01 * static_cast<double>(spans[i].length);
    if (score > best_score) {
      best_score = score;
      best = i;
    }
  }
  return best;
}

/// The narrowest reading of the recipe's: within the words that hold the answer the first run of
/// pieces that is the answer's own; the words themselves where there is none ("1970" in "1970s").
PieceSpan tighten(const std::vector<TextPiece>& pieces, PieceSpan words,
                  const std::vector<int32_t>& answer) {
  const auto length = static_cast<int64_t>(answer.size());
  for (int64_t first = words.first; first + length - 1 <= words.last && length > 0; ++first) {
    const auto same = [](int32_t id, const TextPiece& piece) { return id == piece.id; };
    if (std::equal(answer.begin(), answer.end(), pieces.begin() + first, same)) {
      return {first, first + length - 1};
    }
  }
  return words;
}

std::optional<PieceSpan> answer_pieces(const SquadDataset& dataset, const SquadQuestion& question,
                                       const std::vector<TextPiece>& pieces,
                                       const WordPieceTokenizer& tokenizer) {
  const std::string& context = dataset.contexts[question.context];
  const auto words = squad_words(context);
  const SquadAnswer& answer = question.answers.front();
  const auto found = find_answer(context, words, answer);
  if (!found) return std::nullopt;
  const auto first_at_or_after = [&](size_t byte) {
    return std::partition_point(pieces.begin(), pieces.end(),
                                [&](const TextPiece& piece) { return piece.source.begin < byte; }) -
           pieces.begin();
  };
  const PieceSpan span{first_at_or_after(words[found->first].begin),
                       first_at_or_after(words[found->last].end) - 1};
  if (span.last < span.first) return std::nullopt;
  return tighten(pieces, span, tokenizer.encode(answer.text));
}

class WindowBuilder {
 public:
  WindowBuilder(const WordPieceTokenizer& tokenizer, const SquadConfig& config, int64_t seq_length)
      : tokenizer_(tokenizer),
        config_(config),
        special_(special_ids(tokenizer)),
        seq_length_(seq_length) {
    if (seq_length < config.max_query_length + 4) {
      throw UsageError(
          "a sequence length of {} leaves no room for a context beside [CLS], [SEP], [SEP] and "
          "--max-query-length {}; use at least {}",
          seq_length, config.max_query_length, config.max_query_length + 4);
    }
  }

  void add(const SquadQuestion& question, size_t index, const std::vector<TextPiece>& pieces,
           const std::optional<PieceSpan>& answer, std::vector<SquadWindow>& windows) const {
    auto query = tokenizer_.encode(question.question);
    query.resize(std::min(query.size(), static_cast<size_t>(config_.max_query_length)));
    const int64_t context_place = static_cast<int64_t>(query.size()) + 2;
    const auto spans = doc_spans(static_cast<int64_t>(pieces.size()),
                                 seq_length_ - context_place - 1, config_.doc_stride);
    for (size_t i = 0; i < spans.size(); ++i) {
      SquadWindow window{.question = index,
                         .number = static_cast<int64_t>(i),
                         .features = window_features(query, pieces, spans[i]),
                         .context_place = context_place,
                         .first_piece = spans[i].start,
                         .num_pieces = spans[i].length,
                         .has_most_context = {},
                         .start = 0,
                         .end = 0};
      for (int64_t piece = 0; piece < spans[i].length; ++piece) {
        window.has_most_context.push_back(best_span(spans, spans[i].start + piece) == i);
      }
      const int64_t last = spans[i].start + spans[i].length - 1;
      if (answer && answer->first >= spans[i].start && answer->last <= last) {
        window.start = context_place + answer->first - spans[i].start;
        window.end = context_place + answer->last - spans[i].start;
      }
      windows.push_back(std::move(window));
    }
  }

 private:
  TokenFeatures window_features(const std::vector<int32_t>& query,
                                const std::vector<TextPiece>& pieces, const DocSpan& span) const {
    std::vector<int32_t> ids;
    for (int64_t i = span.start; i < span.start + span.length; ++i) {
      ids.push_back(pieces[static_cast<size_t>(i)].id);
    }
    return pair_features(query, ids, special_, seq_length_, PairTruncation::kEnd);
  }

  const WordPieceTokenizer& tokenizer_;
  const SquadConfig& config_;
  SpecialIds special_;
  int64_t seq_length_;
};

}  // namespace

FieldList SquadConfig::fields() {
  return {
      {"doc-stride", &doc_stride,
       "Pieces from the beginning of one window of a context to that of the next.", at_least(1)},
      {"max-query-length", &max_query_length, "Pieces of a question; longer ones lose their end.",
       at_least(1)},
      {"n-best-size", &n_best_size, "Answers of a question that are kept.", at_least(1)},
      {"max-answer-length", &max_answer_length, "The longest answer, in pieces.", at_least(1)},
      {"null-score-diff-threshold", &null_score_diff_threshold,
       "SQuAD 2.0: nothing is answered where the logits of no answer are larger than the best "
       "answer's by more than this. Otherwise the value that makes F1 best is found."},
  };
}

SquadFeatures build_squad_features(const SquadDataset& dataset, const WordPieceTokenizer& tokenizer,
                                   const SquadConfig& config, int64_t seq_length, SquadUse use) {
  const bool training = use == SquadUse::kTraining;
  if (training && !dataset.is_labelled) {
    throw UsageError("{}: questions without answers; training needs a file with answers",
                     dataset.path);
  }
  SquadFeatures features;
  features.report = ReadReport(dataset.path);
  for (const auto& context : dataset.contexts)
    features.contexts.push_back(tokenizer.pieces(context));
  const WindowBuilder builder(tokenizer, config, seq_length);
  for (size_t i = 0; i < dataset.questions.size(); ++i) {
    const SquadQuestion& question = dataset.questions[i];
    const auto& pieces = features.contexts[question.context];
    features.report.add_read();
    std::optional<PieceSpan> answer;
    if (training && !question.answers.empty()) {
      answer = answer_pieces(dataset, question, pieces, tokenizer);
      if (!answer) {
        features.report.leave_out(
            "the answer does not stand at its place in the context",
            fmt::format("{} ({} at {})", question.id, shortened(question.answers.front().text),
                        question.answers.front().start));
        continue;
      }
    }
    builder.add(question, i, pieces, answer, features.windows);
  }
  return features;
}

}  // namespace megalith
