// Norms, activations, dropout and rotary positions as plain differentiable functions.
//
// Norms and softmax keep their statistics in fp32 (double for double input); results have the
// input's dtype. First form: the best LibTorch call. Randomness comes only from the generator
// passed.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace megalith::ops {

/// Over the last dim: input [..., H], weight [H], bias [H].
at::Tensor layer_norm(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                      double epsilon);
/// x / rms(x) * weight over the last dim; no bias.
at::Tensor rms_norm(const at::Tensor& input, const at::Tensor& weight, double epsilon);

/// GeLU by the error function, or OpenAI's tanh form.
at::Tensor gelu(const at::Tensor& input, bool tanh_form);
/// silu(gate) * up, where `input` [..., 2F] holds gate then up -> [..., F].
at::Tensor swiglu(const at::Tensor& input);
/// relu(x)².
at::Tensor squared_relu(const at::Tensor& input);

/// Zeroes elements with `probability` and scales the rest by 1/(1 - probability). In fp32 and bf16
/// on CPUs the mask is computed again in backward (dropout_mask.hpp), else it is kept.
at::Tensor dropout(const at::Tensor& input, double probability, at::Generator generator);

/// residual + dropout(input), in one pass where dropout is one; of one shape.
at::Tensor add_dropped(const at::Tensor& residual, const at::Tensor& input, double probability,
                       at::Generator generator);

/// The next 64 bits of a CPU generator: the key of a mask.
uint64_t draw_key(const at::Generator& generator);

/// Angles of rotary positions: position_ids [B, S] and R/2 frequencies -> [S, B, 1, R/2] in fp32
/// (double kept by the caller's cast).
at::Tensor rotary_angles(const at::Tensor& position_ids, const std::vector<double>& frequencies);
/// Rotates the first R of the last dim of x [S, B, A, D] in halves (not interleaved); cosine and
/// sine are multiplied by `scale`.
at::Tensor apply_rotary(const at::Tensor& x, const at::Tensor& angles, double scale = 1.0);

}  // namespace megalith::ops
