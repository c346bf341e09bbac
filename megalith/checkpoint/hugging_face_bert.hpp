// The BERT of Hugging Face: which heads a model has, its tensors, its config.json.
//
// What hugging_face_names.hpp and hugging_face_config.hpp are to decoders. Encoder and heads are
// told apart by the tensors that are there: published folders often hold more than the class that
// their config.json names. Order of the norms: docs/bert.md. Source: transformers,
// models/bert/{modeling,configuration}_bert.py.
#pragma once

#include <functional>

#include "megalith/checkpoint/hugging_face_config.hpp"
#include "megalith/checkpoint/hugging_face_fields.hpp"

namespace megalith {

/// "BertModel", "BertForPreTraining" and so on.
const std::vector<std::string>& bert_architectures();

/// config.json but for the vocabulary; heads as the named class has them.
void read_bert_fields(JsonFields& fields, HuggingFaceConfig& config);

/// Adds the heads whose tensors are there and that the class does not have, with a notice.
void add_bert_heads(HuggingFaceConfig& config, const std::function<bool(const std::string&)>& has);

/// Today's names with the prefix "bert."; the logits' copy of the embedding is not among them.
std::vector<HuggingFaceTensor> bert_tensors(const ModelConfig& config);

/// What a tensor is called in folders that transformers of other times wrote, or "".
std::string other_bert_name(const std::string& name);

/// A tensor that is a copy of another and its original's name, or "" for other tensors.
std::string original_of_bert_copy(const std::string& name);

std::vector<std::string> bert_misfits(const ModelConfig& config);

/// The class whose heads are the model's.
std::string bert_architecture_of(const ModelConfig& config);

/// The model without the heads that the class has not. A class that has more than the model is told
/// in `problems`.
ModelConfig as_bert_architecture(const ModelConfig& config, const std::string& architecture,
                                 const std::string& origin, Problems& problems);

/// The fields of config.json that describe the model.
nlohmann::json bert_fields(const ModelConfig& config, const nlohmann::json& original);

}  // namespace megalith
