// The model that upstream's saved arguments describe.
//
// Upstream stores its whole argparse.Namespace; of it only plain values are read, under all names
// they have had. What this project has no counterpart for is a mistake, never left out in silence.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "megalith/checkpoint/pickle.hpp"
#include "megalith/layers/model_config.hpp"

namespace megalith {

/// Plain values of a Namespace; nothing where there is none or it is of another kind.
class UpstreamArguments {
 public:
  /// `state` is the root of a rank's file.
  explicit UpstreamArguments(const Pickle& pickle);

  bool is_there() const { return arguments_ != nullptr; }
  std::optional<int64_t> integer(const std::string& name) const;
  std::optional<double> real(const std::string& name) const;  // whole numbers, too
  std::optional<bool> flag(const std::string& name) const;
  std::optional<std::string> text(const std::string& name) const;
  /// True when there is a value that is neither None nor False nor 0.
  bool is_set(const std::string& name) const;

 private:
  const PickleValue* find(const std::string& name) const;
  const Pickle* pickle_;
  const PickleValue* arguments_;
};

/// What the tensors say by themselves; for files without arguments, and to compare with.
struct UpstreamShape {
  int64_t tensor_size = 1;
  int64_t num_layers = 0;
  int64_t vocab_rows = 0;  // padding included
  int64_t hidden_size = 0;
  int64_t num_positions = 0;  // 0: no learned positions
  int64_t ffn_rows = 0;       // of the first matrix of the MLP: twice the width when gated
  bool has_linear_bias = true;
  bool has_output_layer = false;
  // Of BERT; without a sentence order head it has no token types either.
  int64_t num_token_types = 0;
  bool has_pooler = false, has_lm_head = false, has_order_head = false, has_choice_head = false;
  int64_t num_classes = 0;

  bool is_bert() const { return num_token_types > 0 || has_pooler || has_lm_head; }
};

/// What the user says of files that do not say it themselves.
struct UpstreamOverrides {
  std::optional<int64_t> vocab_size;           // without padding
  std::optional<int64_t> num_attention_heads;  // of files without arguments
};

/// Adds to `problems` what is missing, contradictory or not supported.
ModelConfig upstream_model(const UpstreamArguments& arguments, const UpstreamShape& shape,
                           const UpstreamOverrides& overrides, Problems& problems);

}  // namespace megalith
