// How PyTorch describes tensors and storages inside a pickle; see pickle.hpp.
//
// A tensor is a call of one of a few functions of torch._utils with a storage, an offset, sizes and
// strides; a storage is a description kept outside the pickle. Checks every number. Format:
// PyTorch, torch/_utils.py and torch/serialization.py.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "megalith/checkpoint/pickle.hpp"

namespace megalith {

/// The values of a list or of a call's arguments.
using PickleValues = std::vector<const PickleValue*>;
/// Throws a UsageError that says where in the pickle.
using PickleProblem = std::function<void(const std::string&)>;

/// Whether a function of this name makes a tensor of a storage.
bool is_tensor_function(std::string_view name);

/// The tensor that `function` makes of `arguments`; `items` gives the values of a list.
PickleTensor tensor_from(std::string_view function, const PickleValues& arguments,
                         const std::vector<PickleStorage>& storages,
                         const std::function<PickleValues(const PickleValue&)>& items,
                         const PickleProblem& problem);

/// The storage that ("storage", type, key, device, number of elements[, view]) describes.
PickleStorage storage_from(const PickleValues& parts,
                           const std::function<PickleValues(const PickleValue&)>& items,
                           const PickleProblem& problem);

}  // namespace megalith
