#include "megalith/parallel/parameter.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "megalith/parallel/random.hpp"

namespace megalith {
namespace {

/// A box of rows becomes one of whole rows of so many columns.
void add_columns(Box& box, int64_t columns) {
  box.global_shape.push_back(columns);
  box.offset.push_back(0);
  box.length.push_back(columns);
}

}  // namespace

at::Tensor main_gradient(const at::Tensor& parameter) {
  return parameter.is_leaf() ? parameter.grad() : at::Tensor();
}

ParameterBuilder::ParameterBuilder(ParameterList& list, at::ScalarType dtype, at::Device device,
                                   std::optional<int64_t> seed, int64_t tensor_rank,
                                   int64_t tensor_size)
    : list_(&list),
      dtype_(dtype),
      device_(device),
      seed_(seed),
      tensor_rank_(tensor_rank),
      tensor_size_(tensor_size) {}

ParameterBuilder ParameterBuilder::scope(const std::string& prefix) const {
  ParameterBuilder inner = *this;
  inner.prefix_ += prefix + ".";
  return inner;
}

at::Tensor ParameterBuilder::replicated(const std::string& name, std::vector<int64_t> shape,
                                        Init init, bool weight_decay, Copies copies) const {
  ShardSpec shard{{Box{prefix_ + name, shape, std::vector<int64_t>(shape.size(), 0), shape}}, true};
  at::Tensor value = add(name, std::move(shape), std::move(shard), init, weight_decay);
  list_->back().partial_over_tensor = copies == Copies::kPartial;
  return value;
}

at::Tensor ParameterBuilder::split(const std::string& name, std::vector<int64_t> global_shape,
                                   int64_t dim, Init init, bool weight_decay) const {
  TORCH_CHECK(global_shape[dim] % tensor_size_ == 0, prefix_ + name, ": size ", global_shape[dim],
              " of dim ", dim, " does not divide by ", tensor_size_, " tensor ranks");
  Box box{prefix_ + name, global_shape, std::vector<int64_t>(global_shape.size(), 0), global_shape};
  box.length[dim] /= tensor_size_;
  box.offset[dim] = tensor_rank_ * box.length[dim];
  auto local_shape = box.length;
  return add(name, std::move(local_shape), ShardSpec{{std::move(box)}}, init, weight_decay);
}

at::Tensor ParameterBuilder::fused(const std::string& name, const std::vector<Part>& parts,
                                   int64_t columns, Init init, bool weight_decay) const {
  ShardSpec shard;
  int64_t local_rows = 0;
  for (const auto& part : parts) {
    TORCH_CHECK(part.global_rows % tensor_size_ == 0, prefix_ + part.name, ": ", part.global_rows,
                " rows do not divide by ", tensor_size_, " tensor ranks");
    const int64_t rows = part.global_rows / tensor_size_;
    Box box{prefix_ + part.name, {part.global_rows}, {tensor_rank_ * rows}, {rows}, local_rows};
    if (columns >= 0) add_columns(box, columns);
    shard.boxes.push_back(std::move(box));
    local_rows += rows;
  }
  std::vector<int64_t> local_shape{local_rows};
  if (columns >= 0) local_shape.push_back(columns);
  return add(name, std::move(local_shape), std::move(shard), init, weight_decay);
}

at::Tensor ParameterBuilder::vocabulary(const std::string& name, int64_t rows, int64_t padded_rows,
                                        int64_t columns, Init init) const {
  TORCH_CHECK(padded_rows % tensor_size_ == 0, prefix_ + name, ": ", padded_rows,
              " padded rows do not divide by ", tensor_size_, " tensor ranks");
  const int64_t local_rows = padded_rows / tensor_size_;
  const int64_t first = std::min(rows, tensor_rank_ * local_rows);
  const int64_t last = std::min(rows, first + local_rows);
  Box box{prefix_ + name, {rows}, {first}, {last - first}};
  std::vector<int64_t> local_shape{local_rows};
  if (columns >= 0) {
    add_columns(box, columns);
    local_shape.push_back(columns);
  }
  ShardSpec shard;
  if (last > first) shard.boxes.push_back(std::move(box));
  return add(name, std::move(local_shape), std::move(shard), init, /*weight_decay=*/columns >= 0);
}

at::Tensor ParameterBuilder::add(const std::string& name, std::vector<int64_t> local_shape,
                                 ShardSpec shard, Init init, bool weight_decay) const {
  const at::ScalarType exact = dtype_ == at::kDouble ? at::kDouble : at::kFloat;
  at::Tensor value = at::zeros(local_shape, at::TensorOptions(exact));
  for (const auto& box : shard.boxes) {
    at::Tensor rows = value.narrow(0, box.local_row, box.length[0]);
    if (init.kind == Init::Kind::kOnes) rows.fill_(1.0);
    if (init.kind == Init::Kind::kNormal && seed_) fill_normal(rows, box, *seed_, init.std);
  }
  value = value.to(at::TensorOptions(device_).dtype(dtype_));
  value.set_requires_grad(true);
  list_->push_back({prefix_ + name, value, std::move(shard), weight_decay});
  return value;
}

}  // namespace megalith
