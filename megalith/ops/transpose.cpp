#include "megalith/ops/transpose.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <future>
#include <vector>

namespace megalith::ops {
namespace {

// A block's rows are whole cache lines on both sides, and the block stays in the first cache.
constexpr int64_t kBlockBytes = 256;
constexpr int64_t kColumns = 32;
constexpr int64_t kParallelBytes = 1 << 18;

/// target[r, c] = source[c, r] of `rows` and `columns`; rows of the source lie `stride` apart.
template <class Element>
void copy_block(const Element* source, int64_t stride, Element* target, int64_t target_stride,
                int64_t rows, int64_t columns) {
  constexpr int64_t kRows = kBlockBytes / static_cast<int64_t>(sizeof(Element));
  // Through a block of its own: strides that are powers of two would share a few cache lines.
  std::array<Element, kRows * kColumns> block;
  for (int64_t c = 0; c < columns; ++c) {
    const Element* from = source + c * stride;
    for (int64_t r = 0; r < rows; ++r) block[r * kColumns + c] = from[r];
  }
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(block.data() + r * kColumns, columns, target + r * target_stride);
  }
}

/// body(first, last) for parts of 0 to `count`, each on a thread of its own. Not by
/// at::parallel_for: OpenMP's threads spin after a loop, on the core that a conversion's checksums
/// are taken on.
template <class Body>
void in_parts(int64_t count, int64_t least, const Body& body) {
  const int64_t parts = std::clamp<int64_t>(count / least, 1, at::get_num_threads());
  std::vector<std::future<void>> others;
  for (int64_t i = 1; i < parts; ++i) {
    others.push_back(std::async(std::launch::async,
                                [=, &body] { body(count * i / parts, count * (i + 1) / parts); }));
  }
  body(0, count / parts);
  for (auto& other : others) other.get();
}

template <class Element>
void copy_transposed(at::Tensor& target, const at::Tensor& view) {
  constexpr int64_t kRows = kBlockBytes / static_cast<int64_t>(sizeof(Element));
  const int64_t rows = view.size(0), columns = view.size(1), stride = view.stride(1);
  const int64_t target_stride = target.stride(0);
  const auto* const from = static_cast<const Element*>(view.const_data_ptr());
  auto* const to = static_cast<Element*>(target.mutable_data_ptr());
  const int64_t num_blocks = (rows + kRows - 1) / kRows;
  const int64_t bytes = kBlockBytes * std::max<int64_t>(columns, 1);
  in_parts(num_blocks, kParallelBytes / bytes + 1, [&](int64_t first, int64_t last) {
    for (int64_t r = first * kRows; r < std::min(last * kRows, rows); r += kRows) {
      for (int64_t c = 0; c < columns; c += kColumns) {
        copy_block(from + c * stride + r, stride, to + r * target_stride + c, target_stride,
                   std::min(kRows, rows - r), std::min(kColumns, columns - c));
      }
    }
  });
}

bool is_transposed_matrix(const at::Tensor& tensor) {
  return tensor.dim() == 2 && tensor.device().is_cpu() && tensor.stride(0) == 1 &&
         tensor.stride(1) >= tensor.size(0);
}

/// Rows of elements one after another.
bool has_plain_rows(const at::Tensor& tensor) {
  return tensor.dim() == 2 && tensor.device().is_cpu() && tensor.stride(1) == 1;
}

}  // namespace

void copy_into(at::Tensor target, const at::Tensor& source) {
  TORCH_CHECK(target.sizes() == source.sizes() && target.scalar_type() == source.scalar_type(),
              "a copy of ", source.scalar_type(), " ", source.sizes(), " into ",
              target.scalar_type(), " ", target.sizes());
  at::Tensor from = source;
  if (is_transposed_matrix(target) && has_plain_rows(source)) {
    target = target.t();
    from = source.t();
  }
  const bool by_blocks = is_transposed_matrix(from) && has_plain_rows(target);
  switch (by_blocks ? from.element_size() : 0) {
    case 1:
      return copy_transposed<uint8_t>(target, from);
    case 2:
      return copy_transposed<uint16_t>(target, from);
    case 4:
      return copy_transposed<uint32_t>(target, from);
    case 8:
      return copy_transposed<uint64_t>(target, from);
    default:
      target.copy_(from);
  }
}

at::Tensor contiguous_copy(const at::Tensor& tensor) {
  if (tensor.is_contiguous()) return tensor;
  at::Tensor target = at::empty(tensor.sizes(), tensor.options());
  copy_into(target, tensor);
  return target;
}

}  // namespace megalith::ops
