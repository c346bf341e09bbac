// Upstream's names for the weights of a transformer, in all spellings it has had, as the names of
// its core library, which are this project's but for what is fused there.
//
// Text only: what a name's tensor must look like is upstream_layout.hpp's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace megalith {

/// "language_model.transformer.layers.3.attention.dense.weight" (v1.0),
/// "language_model.encoder.layers.3.self_attention.dense.weight" (2021 on) and
/// "decoder.layers.3.self_attention.linear_proj.weight" (core) all give the last, with the layer
/// counted from `first_layer`. The layers of BERT, core's "encoder.", are "decoder." here as well;
/// its heads, pooler and segment embeddings have this project's names.
/// "" for what is no weight: frequencies of rotary positions, states of fused layers.
std::string upstream_name(std::string_view path, int64_t first_layer);

/// The layer of a name that upstream_name gave, or -1.
int64_t upstream_layer(std::string_view name);

}  // namespace megalith
