// Which tensors a Hugging Face model of a family has, and which of ours they are made of.
//
// One table serves both directions and the check between them: each foreign tensor is some of our
// global tensors one after the other along dim 0, turned where the family stores matrices as
// [in, out] (GPT-2's Conv1D). Knows names and shapes, no files. Source: transformers,
// models/{gpt2,llama,mistral,qwen2,qwen3}/modeling_*.py. BERT's part: hugging_face_bert.hpp.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "megalith/layers/model_config.hpp"

namespace megalith {

enum class HuggingFaceFamily { kGpt2, kLlama, kMistral, kQwen2, kQwen3, kBert };

struct HuggingFaceFamilyName {
  HuggingFaceFamily family;
  const char* model_type;    // "llama"
  const char* architecture;  // "LlamaForCausalLM"; of BERT the one with all pretraining's heads
  const char* base;          // "LlamaModel": the same without the output layer
  const char* prefix;        // "model.": before the names of the base's tensors
};
const std::vector<HuggingFaceFamilyName>& hugging_face_families();
const HuggingFaceFamilyName& name_of(HuggingFaceFamily family);

struct HuggingFacePart {
  std::string name;  // ours
  std::vector<int64_t> shape;
};

struct HuggingFaceTensor {
  std::string name;  // with the prefix, as today's files have it
  bool transposed = false;
  std::vector<HuggingFacePart> parts;

  /// As the file holds it.
  std::vector<int64_t> shape() const;
  /// Our part `index` out of the file's tensor: a view.
  at::Tensor part_of(const at::Tensor& theirs, size_t index) const;
  /// The file's tensor out of our parts. `read` gives one by name.
  at::Tensor join(const std::function<at::Tensor(const std::string&)>& read) const;
};

/// In the order of the layers. The output layer is there when it is not tied.
std::vector<HuggingFaceTensor> hugging_face_tensors(HuggingFaceFamily family,
                                                    const ModelConfig& config);

/// Tensors that old versions stored and that hold no weights: masks, frequencies, positions.
bool is_hugging_face_buffer(const std::string& name);

}  // namespace megalith
