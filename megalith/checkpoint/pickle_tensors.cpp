#include "megalith/checkpoint/pickle_tensors.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include "megalith/core/error.hpp"

namespace megalith {

using Kind = PickleValue::Kind;

namespace {

struct TypeName {
  std::string_view storage, dtype;
  at::ScalarType type;
};

constexpr std::array<TypeName, 10> kTypes = {{{"DoubleStorage", "float64", at::kDouble},
                                              {"FloatStorage", "float32", at::kFloat},
                                              {"HalfStorage", "float16", at::kHalf},
                                              {"BFloat16Storage", "bfloat16", at::kBFloat16},
                                              {"LongStorage", "int64", at::kLong},
                                              {"IntStorage", "int32", at::kInt},
                                              {"ShortStorage", "int16", at::kShort},
                                              {"CharStorage", "int8", at::kChar},
                                              {"ByteStorage", "uint8", at::kByte},
                                              {"BoolStorage", "bool", at::kBool}}};

/// "torch.FloatStorage", "torch.cuda.FloatStorage", "torch.storage.UntypedStorage" (bytes).
std::optional<at::ScalarType> storage_type(std::string_view name) {
  if (!name.starts_with("torch.")) return std::nullopt;
  name.remove_prefix(6);
  for (const std::string_view module : {"cuda.", "storage."}) {
    if (name.starts_with(module)) name.remove_prefix(module.size());
  }
  if (name == "UntypedStorage") return at::kByte;
  for (const auto& type : kTypes) {
    if (name == type.storage) return type.type;
  }
  return std::nullopt;
}

std::optional<at::ScalarType> dtype_of(const PickleValue& value) {
  for (const auto& type : kTypes) {
    if (value.kind == Kind::kGlobal && value.text.starts_with("torch.") &&
        value.text.substr(6) == type.dtype) {
      return type.type;
    }
  }
  return std::nullopt;
}

bool is_count(const PickleValue& value) { return value.kind == Kind::kInt && value.integer >= 0; }

std::vector<int64_t> counts_of(const PickleValues& items, const char* what,
                               const PickleProblem& problem) {
  if (items.size() > kMaxTensorDims) {
    problem(fmt::format("a tensor has more than {} {}", kMaxTensorDims, what));
  }
  std::vector<int64_t> counts;
  for (const auto* item : items) {
    if (!is_count(*item)) problem(fmt::format("the {} of a tensor are no counts", what));
    counts.push_back(item->integer);
  }
  return counts;
}

/// The elements that a shape has, or nothing when the number does not fit.
std::optional<int64_t> checked_elements(const PickleTensor& tensor) {
  int64_t count = 1;
  for (const int64_t size : tensor.shape) {
    if (__builtin_mul_overflow(count, size, &count)) return std::nullopt;
  }
  return count;
}

/// offset + extent, or nothing when the number does not fit.
std::optional<int64_t> checked_end(const PickleTensor& tensor) {
  int64_t last = tensor.offset;
  for (size_t dim = 0; dim < tensor.shape.size(); ++dim) {
    int64_t reach = 0;
    if (__builtin_mul_overflow(tensor.shape[dim] - 1, tensor.strides[dim], &reach) ||
        __builtin_add_overflow(last, reach, &last)) {
      return std::nullopt;
    }
  }
  return last + 1;
}

/// No element outside the storage, and none that stands for more elements than the storage has.
void check_place(const PickleTensor& tensor, const PickleProblem& problem) {
  const auto width = static_cast<int64_t>(c10::elementSize(tensor.dtype));
  const auto storage_width = static_cast<int64_t>(c10::elementSize(tensor.storage.dtype));
  const int64_t room = (tensor.storage.num_elements - tensor.storage.first) * storage_width / width;
  const auto count = checked_elements(tensor);
  if (count == 0) return;
  const auto end = count ? checked_end(tensor) : std::nullopt;
  if (!end || *count > room || *end > room) {
    problem(fmt::format("a tensor of shape [{}] does not fit its storage of {} elements",
                        fmt::join(tensor.shape, ", "), room));
  }
}

}  // namespace

int64_t PickleTensor::num_elements() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

int64_t PickleTensor::extent() const {
  if (num_elements() == 0) return 0;
  int64_t extent = 1;
  for (size_t dim = 0; dim < shape.size(); ++dim) extent += (shape[dim] - 1) * strides[dim];
  return extent;
}

bool is_tensor_function(std::string_view name) {
  return name == "torch._utils._rebuild_tensor" || name == "torch._utils._rebuild_tensor_v2" ||
         name == "torch._utils._rebuild_tensor_v3";
}

PickleTensor tensor_from(std::string_view function, const PickleValues& arguments,
                         const std::vector<PickleStorage>& storages,
                         const std::function<PickleValues(const PickleValue&)>& items,
                         const PickleProblem& problem) {
  const bool is_well_formed = arguments.size() >= 4 && arguments[0]->kind == Kind::kStorage &&
                              is_count(*arguments[1]) && arguments[2]->kind == Kind::kList &&
                              arguments[3]->kind == Kind::kList;
  if (!is_well_formed) problem("a tensor is not described by storage, offset, sizes and strides");
  PickleTensor tensor;
  tensor.storage = storages[static_cast<size_t>(arguments[0]->integer)];
  tensor.dtype = tensor.storage.dtype;
  if (function.ends_with("_v3")) {  // of bytes, with a type of its own
    const auto dtype = arguments.size() > 6 ? dtype_of(*arguments[6]) : std::nullopt;
    if (!dtype) problem("a tensor is of a type that is not known here");
    tensor.dtype = *dtype;
  }
  tensor.offset = arguments[1]->integer;
  tensor.shape = counts_of(items(*arguments[2]), "sizes", problem);
  tensor.strides = counts_of(items(*arguments[3]), "strides", problem);
  if (tensor.shape.size() != tensor.strides.size()) {
    problem("a tensor has not as many strides as sizes");
  }
  check_place(tensor, problem);
  return tensor;
}

PickleStorage storage_from(const PickleValues& parts,
                           const std::function<PickleValues(const PickleValue&)>& items,
                           const PickleProblem& problem) {
  const bool is_well_formed = parts.size() >= 5 && parts[1]->kind == Kind::kGlobal &&
                              parts[2]->kind == Kind::kText && is_count(*parts[4]);
  if (!is_well_formed) problem("a storage is not described by type, key, device and size");
  PickleStorage storage;
  const auto type = storage_type(parts[1]->text);
  if (!type) problem(fmt::format("a storage is of type {}, not known here", shown(parts[1]->text)));
  storage.dtype = *type;
  storage.key = parts[2]->text;
  storage.num_elements = parts[4]->integer;
  const auto width = static_cast<int64_t>(c10::elementSize(storage.dtype));
  if (storage.num_elements > INT64_MAX / width) problem("a storage is larger than any file");
  // The older stream: a view of another storage, as (key, first element, number of elements).
  if (parts.size() > 5 && parts[5]->kind == Kind::kList) {
    const auto view = items(*parts[5]);
    const bool fits = view.size() == 3 && is_count(*view[1]) && is_count(*view[2]) &&
                      view[1]->integer <= storage.num_elements &&
                      view[2]->integer <= storage.num_elements - view[1]->integer;
    if (!fits) problem("a view of a storage does not fit it");
    storage.first = view[1]->integer;
  }
  return storage;
}

}  // namespace megalith
