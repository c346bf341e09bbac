#include "megalith/tasks/finetune/squad.hpp"

#include <algorithm>

#include "megalith/tasks/finetune/example_fields.hpp"
#include "megalith/tasks/finetune/json_input.hpp"
#include "megalith/tasks/finetune/python_text.hpp"
#include "megalith/tokenizer/unicode.hpp"

namespace megalith {
namespace {

constexpr char32_t kNarrowNoBreakSpace = 0x202F;

bool is_squad_space(char32_t code) {
  return code == ' ' || code == '\t' || code == '\r' || code == '\n' || code == kNarrowNoBreakSpace;
}

SquadAnswer read_answer(const JsonPlace& place) {
  SquadAnswer answer{.text = place.text("text"), .start = 0};
  if (!place.has("answer_start") || !place.value().at("answer_start").is_number_integer()) {
    place.mistake(fmt::format(
        "\"answer_start\" is {}, expected a number of characters",
        place.has("answer_start") ? shown(place.value().at("answer_start")) : "missing"));
  } else {
    answer.start = place.value().at("answer_start").get<int64_t>();
  }
  return answer;
}

class SquadReader {
 public:
  SquadReader(SquadDataset& dataset, FileMistakes& mistakes)
      : dataset_(dataset), mistakes_(mistakes) {}

  void read(const JsonPlace& top) {
    top.each("data", [&](const JsonPlace& article) {
      article.each("paragraphs", [&](const JsonPlace& paragraph) { read_paragraph(paragraph); });
    });
  }

 private:
  void read_paragraph(const JsonPlace& paragraph) {
    dataset_.contexts.push_back(paragraph.text("context"));
    if (paragraph.has("context") && paragraph.value().at("context").is_string() &&
        is_blank(dataset_.contexts.back())) {
      paragraph.mistake("the context is empty; delete the paragraph");
    }
    paragraph.each("qas", [&](const JsonPlace& place) { read_question(place); });
  }

  void read_question(const JsonPlace& place) {
    SquadQuestion question{.id = place.text("id"),
                           .question = place.text("question"),
                           .context = dataset_.contexts.size() - 1,
                           .answers = {},
                           .is_impossible = false};
    if (!question.id.empty()) ids_.add(question.id, place.place(), mistakes_);
    if (place.has("is_impossible")) {
      const auto& value = place.value().at("is_impossible");
      if (!value.is_boolean()) {
        place.mistake(fmt::format("\"is_impossible\" is {}, expected true or false", shown(value)));
      } else {
        question.is_impossible = value.get<bool>();
        dataset_.has_unanswerable = true;
      }
    }
    if (place.has("answers")) {
      place.each("answers",
                 [&](const JsonPlace& answer) { question.answers.push_back(read_answer(answer)); });
    }
    if (question.is_impossible && !question.answers.empty()) {
      place.mistake(fmt::format("is_impossible is true and there is the answer {}",
                                shortened(question.answers.front().text)));
    }
    if (!question.is_impossible && question.answers.empty()) dataset_.is_labelled = false;
    dataset_.questions.push_back(std::move(question));
  }

  SquadDataset& dataset_;
  FileMistakes& mistakes_;
  UniqueIds ids_;
};

}  // namespace

SquadDataset read_squad(const std::string& path) {
  SquadDataset dataset;
  dataset.path = path;
  const auto document = read_json_file(path);
  FileMistakes mistakes(path);
  SquadReader(dataset, mistakes).read({document, "", mistakes});
  mistakes.raise_if_any();
  if (dataset.questions.empty()) throw UsageError("{}: holds no question", path);
  return dataset;
}

std::vector<ByteRange> squad_words(std::string_view context) {
  std::vector<ByteRange> words;
  bool in_word = false;
  for (size_t at = 0; at < context.size();) {
    const auto [code, length] = unicode::decode(context.data() + at);
    const bool is_space = is_squad_space(code);
    if (!is_space && !in_word) words.push_back({at, at});
    in_word = !is_space;
    at += length;
    if (in_word) words.back().end = at;
  }
  return words;
}

namespace {

/// Where each character begins, and the end of the text.
std::vector<size_t> character_places(std::string_view text) {
  std::vector<size_t> places;
  for (size_t at = 0; at < text.size(); at += unicode::decode(text.data() + at).length) {
    places.push_back(at);
  }
  places.push_back(text.size());
  return places;
}

/// The word of a byte; between words the one before.
std::optional<size_t> word_of(const std::vector<ByteRange>& words, size_t byte) {
  const auto after =
      std::upper_bound(words.begin(), words.end(), byte,
                       [](size_t value, const ByteRange& word) { return value < word.begin; });
  if (after == words.begin()) return std::nullopt;
  return static_cast<size_t>(after - words.begin()) - 1;
}

}  // namespace

std::optional<WordSpan> find_answer(std::string_view context, const std::vector<ByteRange>& words,
                                    const SquadAnswer& answer) {
  const auto places = character_places(context);
  const auto num_characters = static_cast<int64_t>(places.size()) - 1;
  const auto length = static_cast<int64_t>(character_places(answer.text).size()) - 1;
  if (answer.start < 0 || answer.start >= num_characters || length == 0) return std::nullopt;
  const int64_t last = std::min(answer.start + length, num_characters) - 1;
  const auto first_word = word_of(words, places[static_cast<size_t>(answer.start)]);
  const auto last_word = word_of(words, places[static_cast<size_t>(last)]);
  if (!first_word || !last_word) return std::nullopt;
  std::string actual;
  for (size_t word = *first_word; word <= *last_word; ++word) {
    if (word > *first_word) actual += ' ';
    actual += context.substr(words[word].begin, words[word].end - words[word].begin);
  }
  std::string wanted;
  for (const std::string_view word : python::split(answer.text)) {
    if (!wanted.empty()) wanted += ' ';
    wanted += word;
  }
  if (actual.find(wanted) == std::string::npos) return std::nullopt;
  return WordSpan{*first_word, *last_word};
}

}  // namespace megalith
