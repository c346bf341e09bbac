#include "megalith/core/fields.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

namespace megalith {
namespace {

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;  // clang 14 asks for it

std::string number_text(double value) {
  return value == std::floor(value) && std::abs(value) < 1e15 ? fmt::format("{:.0f}", value)
                                                              : fmt::format("{}", value);
}

/// Whole words only: "12x" and "" are no numbers. Integers may be written 1_000. Digits that no
/// machine number holds give the error.
template <class Number>
struct Parsed {
  std::optional<Number> value;
  bool too_large = false;
};

template <class Number>
Parsed<Number> parse(std::string word) {
  std::erase(word, '_');
  Number value = 0;
  const auto* end = word.data() + word.size();
  const auto [stop, error] = std::from_chars(word.data(), end, value);
  if (stop != end || word.empty()) return {};
  if (error == std::errc::result_out_of_range) return {.value = std::nullopt, .too_large = true};
  if (error != std::errc()) return {};
  return {.value = value};
}

/// `word` is quoted as the user wrote it.
std::optional<std::string> out_of_range(const Field& field, double value, const std::string& word) {
  if (!std::isfinite(value)) {
    return fmt::format("--{} must be a finite number{}{}, got {}", field.name,
                       field.range ? ", " : "", field.range ? field.range->text : "", word);
  }
  if (field.range && !field.range->holds(value)) {
    return fmt::format("--{} must be {}, got {}", field.name, field.range->text, word);
  }
  return std::nullopt;
}

/// The single word of a field that takes one value; the last wins where several were given.
struct Setter {
  const Field& field;
  const std::vector<std::string>& words;

  std::string complaint(const char* expected, const std::string& word) const {
    return fmt::format("--{} needs {}, got '{}'", field.name, expected, word);
  }
  std::optional<std::string> missing(const char* expected) const {
    return fmt::format("--{} needs {}, got nothing", field.name, expected);
  }

  std::optional<std::string> integer(const std::function<void(int64_t)>& assign,
                                     const std::string& word) const {
    const auto [value, too_large] = parse<int64_t>(word);
    if (too_large) return complaint("a whole number of at most 18 digits", word);
    if (!value) return complaint("a whole number", word);
    if (auto problem = out_of_range(field, static_cast<double>(*value), word)) return problem;
    assign(*value);
    return std::nullopt;
  }
  std::optional<std::string> number(const std::function<void(double)>& assign,
                                    const std::string& word) const {
    const auto [value, too_large] = parse<double>(word);
    if (too_large) return complaint("a number between 1e-308 and 1e308", word);
    if (!value) return complaint("a number", word);
    if (auto problem = out_of_range(field, *value, word)) return problem;
    assign(*value);
    return std::nullopt;
  }

  std::optional<std::string> operator()(bool* target) const {
    const std::string word = words.empty() ? "true" : words.back();
    if (word != "true" && word != "false") return complaint("true or false", word);
    *target = word == "true";
    return std::nullopt;
  }
  std::optional<std::string> operator()(int64_t* target) const {
    if (words.empty()) return missing("a whole number");
    return integer([&](int64_t value) { *target = value; }, words.back());
  }
  std::optional<std::string> operator()(double* target) const {
    if (words.empty()) return missing("a number");
    return number([&](double value) { *target = value; }, words.back());
  }
  std::optional<std::string> operator()(std::string* target) const {
    if (words.empty()) return missing("a value");
    *target = words.back();
    return std::nullopt;
  }
  std::optional<std::string> operator()(std::optional<int64_t>* target) const {
    if (words.empty()) return missing("a whole number");
    return integer([&](int64_t value) { *target = value; }, words.back());
  }
  std::optional<std::string> operator()(std::optional<double>* target) const {
    if (words.empty()) return missing("a number");
    return number([&](double value) { *target = value; }, words.back());
  }
  std::optional<std::string> operator()(std::optional<std::string>* target) const {
    if (words.empty()) return missing("a value");
    *target = words.back();
    return std::nullopt;
  }
  std::optional<std::string> operator()(std::vector<std::string>* target) const {
    if (auto problem = wrong_count()) return problem;
    *target = words;
    return std::nullopt;
  }
  std::optional<std::string> operator()(std::vector<int64_t>* target) const {
    if (auto problem = wrong_count()) return problem;
    std::vector<int64_t> values;
    for (const auto& word : words) {
      if (auto problem = integer([&](int64_t value) { values.push_back(value); }, word)) {
        return problem;
      }
    }
    *target = values;
    return std::nullopt;
  }
  std::optional<std::string> operator()(const Choice& target) const {
    if (words.empty()) return missing("a name");
    const auto found = std::find(target.names.begin(), target.names.end(), words.back());
    if (found == target.names.end()) {
      return fmt::format("--{} must be one of {}, got '{}'", field.name,
                         fmt::format("{}", fmt::join(target.names, ", ")), words.back());
    }
    target.set(static_cast<size_t>(found - target.names.begin()));
    return std::nullopt;
  }
  std::optional<std::string> wrong_count() const {
    const bool unset = words.empty();  // as field_words gives a list that nobody set
    if (field.count == 0 || unset || static_cast<int64_t>(words.size()) == field.count) {
      return std::nullopt;
    }
    return fmt::format("--{} needs {} values, got {}", field.name, field.count, words.size());
  }
};

}  // namespace

Range at_least(double low) {
  return {fmt::format("at least {}", number_text(low)), [low](double x) { return x >= low; }};
}
Range above(double low) {
  return {fmt::format("greater than {}", number_text(low)), [low](double x) { return x > low; }};
}
Range between(double low, double high) {
  return {fmt::format("between {} and {}", number_text(low), number_text(high)),
          [low, high](double x) { return x >= low && x <= high; }};
}
Range half_open(double low, double high) {
  return {fmt::format("at least {} and below {}", number_text(low), number_text(high)),
          [low, high](double x) { return x >= low && x < high; }};
}

std::optional<std::string> set_field(const Field& field, const std::vector<std::string>& words) {
  return std::visit(Setter{field, words}, field.value);
}

std::optional<std::vector<std::string>> field_words(const Field& field) {
  using Words = std::optional<std::vector<std::string>>;
  const auto one = [](const auto& value) -> Words { return std::vector{fmt::format("{}", value)}; };
  const auto maybe = [&](const auto* value) -> Words {
    return *value ? one(**value) : std::nullopt;
  };
  return std::visit(
      Overloaded{[&](const bool* v) { return one(*v); }, [&](const int64_t* v) { return one(*v); },
                 [&](const double* v) { return one(*v); },
                 [&](const std::string* v) { return one(*v); },
                 [&](const std::optional<int64_t>* v) { return maybe(v); },
                 [&](const std::optional<double>* v) { return maybe(v); },
                 [&](const std::optional<std::string>* v) { return maybe(v); },
                 [](const std::vector<std::string>* v) -> Words { return *v; },
                 [](const std::vector<int64_t>* v) -> Words {
                   std::vector<std::string> words;
                   for (const int64_t x : *v) words.push_back(fmt::format("{}", x));
                   return words;
                 },
                 [&](const Choice& v) { return one(v.names.at(v.get())); }},
      field.value);
}

nlohmann::json fields_to_json(const FieldList& fields) {
  nlohmann::json object = nlohmann::json::object();
  for (const auto& field : fields) {
    object[field.name] =
        std::visit(Overloaded{[](const Choice& v) -> nlohmann::json { return v.names.at(v.get()); },
                              [](const auto* v) -> nlohmann::json {
                                using T = std::decay_t<decltype(*v)>;
                                if constexpr (requires { v->has_value(); }) {
                                  return *v ? nlohmann::json(**v) : nlohmann::json(nullptr);
                                } else {
                                  return nlohmann::json(static_cast<const T&>(*v));
                                }
                              }},
                   field.value);
  }
  return object;
}

void fields_from_json(const FieldList& fields, const nlohmann::json& object,
                      const std::string& source) {
  Problems problems;
  for (const auto& [key, value] : object.items()) {
    const auto field = std::find_if(fields.begin(), fields.end(),
                                    [&key = key](const Field& f) { return f.name == key; });
    if (field == fields.end()) {
      problems.add("{}: unknown setting '{}'; this program is older than the file", source, key);
      continue;
    }
    if (value.is_null()) {
      std::visit(Overloaded{[](const Choice&) {},
                            [](auto* v) {
                              if constexpr (requires { v->reset(); }) v->reset();
                            }},
                 field->value);
      continue;
    }
    const auto word = [](const nlohmann::json& v) {
      return v.is_string() ? v.get<std::string>() : v.dump();
    };
    std::vector<std::string> words;
    if (value.is_array()) {
      for (const auto& element : value) words.push_back(word(element));
    } else {
      words.push_back(word(value));
    }
    if (auto problem = set_field(*field, words)) problems.add("{}: {}", source, *problem);
  }
  problems.raise_if_any();
}

std::string nearest_name(const std::string& word, const std::vector<std::string>& known) {
  const auto distance = [](const std::string& a, const std::string& b) {
    std::vector<size_t> row(b.size() + 1);
    for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= a.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j <= b.size(); ++j) {
        const size_t above_left = diagonal;
        diagonal = row[j];
        row[j] =
            std::min({row[j] + 1, row[j - 1] + 1, above_left + (a[i - 1] == b[j - 1] ? 0 : 1)});
      }
    }
    return row[b.size()];
  };
  std::string best;
  size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const auto& name : known) {
    const size_t d = distance(word, name);
    if (d < best_distance) best_distance = d, best = name;
  }
  return best;
}

}  // namespace megalith
