// The tiny GPT-2 of gpt2_tiny.safetensors and the layouts it is evaluated on, for the tests of
// tasks.
#pragma once

#include <nlohmann/json.hpp>

#include "megalith/models/gpt.hpp"
#include "support/global_tensors.hpp"
#include "support/golden.hpp"
#include "support/ranks.hpp"

namespace megalith::testing {

inline const Layout kEvaluationLayouts[] = {
    {.tensor = 1}, {.tensor = 2}, {.data = 2}, {.data = 3}, {.tensor = 2, .data = 2}};

inline ModelConfig tiny_evaluated_gpt2() {
  ModelConfig config;
  config.num_layers = 2;
  config.hidden_size = 32;
  config.num_attention_heads = 4;
  config.max_position_embeddings = 16;
  config.openai_gelu = true;
  config.vocab_size = 96;
  return config;
}

inline GptModel load_tiny_gpt2(const ProcessGroups& groups, at::ScalarType dtype) {
  static const TensorMap weights = read_golden_tensors("gpt2_tiny.safetensors");
  GptModel model(tiny_evaluated_gpt2(), groups, dtype, at::kCPU, 1);
  load_slices(model.parameters(), weights);
  return model;
}

}  // namespace megalith::testing
