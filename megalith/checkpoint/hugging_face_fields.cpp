#include "megalith/checkpoint/hugging_face_fields.hpp"

#include <algorithm>

namespace megalith {
namespace {

using Json = nlohmann::json;

/// Says nothing that could change a model.
bool is_empty(const Json& value) {
  return value.is_null() || value == false || (value.is_structured() && value.empty());
}

}  // namespace

const Json& JsonFields::take(const std::string& key) {
  static const Json kNothing;
  taken_.insert(key);
  const auto found = object_.find(key);
  return found == object_.end() ? kNothing : *found;
}

void JsonFields::wrong(const std::string& key, const char* wanted, const Json& value) {
  problems_.add("{}: '{}' must be {}, got {}", source_, key, wanted, value.dump());
}

template <class Value>
Value JsonFields::get(const std::string& key, Value otherwise, bool (Json::*is)() const noexcept,
                      const char* wanted) {
  const Json& value = take(key);
  if (value.is_null()) return otherwise;
  if (!(value.*is)()) {
    wrong(key, wanted, value);
    return otherwise;
  }
  return value.get<Value>();
}

std::optional<int64_t> JsonFields::optional_integer(const std::string& key) {
  const Json& value = take(key);
  if (value.is_null()) return std::nullopt;
  if (!value.is_number_unsigned() || value.get<uint64_t>() > uint64_t{INT64_MAX}) {
    wrong(key, "a whole number", value);
    return 1;
  }
  return value.get<int64_t>();
}

int64_t JsonFields::integer(const std::string& key, int64_t otherwise, int64_t least) {
  const int64_t value = optional_integer(key).value_or(otherwise);
  if (value >= least) return value;
  problems_.add("{}: '{}' must be {} or more, got {}", source_, key, least, value);
  return least;
}

int64_t JsonFields::required_integer(const std::string& key) {
  if (take(key).is_null()) {
    problems_.add("{}: has no '{}', which the model needs", source_, key);
    return 1;
  }
  return integer(key, 1);
}

std::optional<int64_t> JsonFields::integer_or_null(const std::string& key, int64_t otherwise) {
  if (!object_.contains(key)) {
    taken_.insert(key);
    return otherwise;
  }
  const auto value = optional_integer(key);
  if (!value || *value >= 1) return value;
  problems_.add("{}: '{}' must be 1 or more, got {}", source_, key, *value);
  return 1;
}

std::optional<double> JsonFields::optional_number(const std::string& key) {
  const Json& value = take(key);
  if (value.is_null()) return std::nullopt;
  if (!value.is_number()) {
    wrong(key, "a number", value);
    return 1.0;
  }
  return value.get<double>();
}

double JsonFields::number(const std::string& key, double otherwise) {
  return optional_number(key).value_or(otherwise);
}

double JsonFields::required_number(const std::string& key) {
  const auto value = optional_number(key);
  if (!value) problems_.add("{}: has no '{}', which its kind needs", source_, key);
  return value.value_or(1.0);
}

bool JsonFields::boolean(const std::string& key, bool otherwise) {
  return get<bool>(key, otherwise, &Json::is_boolean, "true or false");
}

std::string JsonFields::text(const std::string& key, const std::string& otherwise) {
  return get<std::string>(key, otherwise, &Json::is_string, "text");
}

Json JsonFields::object(const std::string& key) {
  return get<Json>(key, Json(), &Json::is_object, "an object");
}

Json JsonFields::list(const std::string& key) {
  return get<Json>(key, Json(), &Json::is_array, "a list");
}

void JsonFields::refuse(const std::string& key, const std::string& why) {
  taken_.insert(key);
  problems_.add("{}: '{}': {}", source_, key, why);
}

void JsonFields::take_rest() {
  for (const auto& [key, value] : object_.items()) taken_.insert(key);
}

void JsonFields::refuse_unknown(const std::set<std::string>& harmless,
                                const std::vector<std::string>& ignored) {
  for (const auto& key : ignored) {
    if (!object_.contains(key) || taken_.contains(key)) {
      problems_.add("--ignore-config-key {}: {} has no such unknown field; leave it out", key,
                    source_);
    }
    taken_.insert(key);
  }
  for (const auto& [key, value] : object_.items()) {
    if (taken_.contains(key) || harmless.contains(key) || is_empty(value)) continue;
    std::string text = value.dump();
    if (text.size() > 80) text = text.substr(0, 77) + "...";
    problems_.add(
        "{}: '{}' ({}) is not supported: what it does to the model is not known here{}", source_,
        key, text,
        harmless.empty() ? "" : "; if it does nothing to it, give --ignore-config-key " + key);
  }
}

const std::set<std::string>& harmless_hugging_face_fields() {
  static const std::set<std::string> fields{
      // names and versions
      "_name_or_path", "architectures", "dtype", "model_type", "name_or_path", "torch_dtype",
      "transformers_version", "tokenizer_class", "unsloth_version", "unsloth_fixed",
      // tokens
      "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id",
      "cls_token_id", "mask_token_id", "decoder_start_token_id", "forced_bos_token_id",
      "forced_eos_token_id", "prefix",
      // how it is trained and started from
      "attention_dropout", "attn_pdrop", "embd_pdrop", "resid_pdrop", "hidden_dropout_prob",
      "attention_probs_dropout_prob", "classifier_dropout", "summary_activation",
      "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj",
      "initializer_range", "gradient_checkpointing", "problem_type", "finetuning_task", "id2label",
      "label2id", "num_labels", "task_specific_params",
      // how it is run: the order and precision of additions, caches, what calls return
      "pretraining_tp", "use_cache", "cache_implementation", "reorder_and_upcast_attn",
      "_attn_implementation", "attn_implementation", "_attn_implementation_autoset",
      "keys_to_ignore_at_inference", "output_attentions", "output_hidden_states", "return_dict",
      "return_dict_in_generate", "torchscript", "use_bfloat16", "tf_legacy_loss",
      "chunk_size_feed_forward", "n_ctx", "output_past",
      // generation's defaults
      "max_length", "min_length", "max_new_tokens", "do_sample", "early_stopping", "num_beams",
      "num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p", "typical_p",
      "repetition_penalty", "length_penalty", "no_repeat_ngram_size",
      "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "output_scores",
      "remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens",
      "begin_suppress_tokens", "is_decoder"};
  return fields;
}

}  // namespace megalith
