// The fields of a JSON object, read one by one so that what nobody asked for is known at the end.
//
// Mistakes are collected, with the file and the field. A field that is null counts as absent except
// where that is asked.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "megalith/core/error.hpp"

namespace megalith {

/// transformers' names of GeLU by tanh and by erf.
inline const std::set<std::string> kTanhGelu{"gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh",
                                             "gelu_fast"};
inline const std::set<std::string> kErfGelu{"gelu", "gelu_python"};

class JsonFields {
 public:
  /// `source` names the object in messages.
  JsonFields(nlohmann::json object, std::string source, Problems& problems)
      : object_(std::move(object)), source_(std::move(source)), problems_(problems) {}

  const std::string& source() const { return source_; }
  /// 1 when it is missing or no whole number, which goes to the problems.
  int64_t required_integer(const std::string& key);
  int64_t integer(const std::string& key, int64_t otherwise, int64_t least = 1);
  std::optional<int64_t> optional_integer(const std::string& key);
  /// At least 1; `otherwise` when absent, nothing when null.
  std::optional<int64_t> integer_or_null(const std::string& key, int64_t otherwise);
  double required_number(const std::string& key);
  double number(const std::string& key, double otherwise);
  std::optional<double> optional_number(const std::string& key);
  bool boolean(const std::string& key, bool otherwise);
  std::string text(const std::string& key, const std::string& otherwise);
  /// Null when absent or null.
  nlohmann::json object(const std::string& key);
  nlohmann::json list(const std::string& key);

  /// A value that is understood and not supported.
  void refuse(const std::string& key, const std::string& why);
  /// Nothing is unknown any more.
  void take_rest();
  /// Fields that were not read and are neither `harmless` nor `ignored`, unless they say nothing
  /// (null, false, empty). An ignored one that is not there is a mistake, too.
  void refuse_unknown(const std::set<std::string>& harmless,
                      const std::vector<std::string>& ignored);

 private:
  /// Null when absent or null.
  const nlohmann::json& take(const std::string& key);
  void wrong(const std::string& key, const char* wanted, const nlohmann::json& value);
  template <class Value>
  Value get(const std::string& key, Value otherwise, bool (nlohmann::json::*is)() const noexcept,
            const char* wanted);

  nlohmann::json object_;
  std::string source_;
  Problems& problems_;
  std::set<std::string> taken_;
};

/// Fields of a model's config.json that do not change what the model computes here: token ids,
/// generation defaults, training settings, names and versions.
const std::set<std::string>& harmless_hugging_face_fields();

}  // namespace megalith
