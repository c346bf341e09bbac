#include "megalith/ops/embedding.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

namespace megalith::ops {
namespace {

/// Each thread takes some of the columns of every row, so no two write to one number.
template <class Table, class Row>
void add_rows(Table* table, const Row* rows, const int64_t* ids, int64_t count, int64_t width) {
  at::parallel_for(0, width, 64, [&](int64_t first, int64_t last) {
    for (int64_t i = 0; i < count; ++i) {
      Table* const target = table + ids[i] * width;
      const Row* const source = rows + i * width;
      for (int64_t c = first; c < last; ++c) target[c] += static_cast<Table>(source[c]);
    }
  });
}

}  // namespace

void add_embedding_gradient(at::Tensor& table, const at::Tensor& rows, const at::Tensor& ids) {
  const int64_t width = table.size(1);
  if (!table.device().is_cpu()) {
    table.add_(at::embedding_dense_backward(rows, ids, table.size(0), -1, false));
    return;
  }
  TORCH_CHECK(table.is_contiguous(), "embedding gradients need a contiguous table");
  const at::Tensor flat_ids = ids.reshape({-1}).contiguous();
  const at::Tensor flat = rows.reshape({-1, width}).contiguous();
  const int64_t* const id = flat_ids.const_data_ptr<int64_t>();
  const int64_t count = flat.size(0);
  if (table.scalar_type() == at::kDouble) {
    add_rows(table.mutable_data_ptr<double>(), flat.const_data_ptr<double>(), id, count, width);
  } else if (flat.scalar_type() == at::kBFloat16) {
    add_rows(table.mutable_data_ptr<float>(), flat.const_data_ptr<at::BFloat16>(), id, count,
             width);
  } else {
    const at::Tensor exact = flat.to(at::kFloat);
    add_rows(table.mutable_data_ptr<float>(), exact.const_data_ptr<float>(), id, count, width);
  }
}

}  // namespace megalith::ops
