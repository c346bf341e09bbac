// Python's pickle format read as data: nothing in it is looked up, called or built.
//
// Knows what PyTorch's files are made of: dictionaries, lists, numbers, texts and tensors (a place
// in a storage; torch_file.hpp has the bytes). Everything else - an argparse.Namespace, a NumPy
// generator, any class of anybody's - becomes an object of which only the name and the state that
// was stored are kept. Memory is bounded by the length of the text and the limits below; no
// recursion follows its nesting. Format: CPython, Lib/pickletools.py; protocols 0 to 5 in so far as
// PyTorch writes them.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace megalith {

/// Numbers and lists of a pickle never need more; what does is refused.
constexpr size_t kMaxPickleBytes = size_t{64} << 20;
constexpr size_t kMaxPickleValues = 2'000'000;
constexpr size_t kMaxPickleTensors = 200'000;
constexpr size_t kMaxTensorDims = 16;

/// A storage that tensors lie in.
struct PickleStorage {
  std::string_view key;
  at::ScalarType dtype = at::kByte;
  int64_t num_elements = 0;
  int64_t first = 0;  // where a view of another storage begins, in elements
};

/// Checked: it lies inside its storage, and no number overflows.
struct PickleTensor {
  PickleStorage storage;
  at::ScalarType dtype = at::kFloat;
  int64_t offset = 0;  // into the storage, in elements, as are the strides
  std::vector<int64_t> shape, strides;

  int64_t num_elements() const;
  /// From the first element to the last, both included; 0 without elements.
  int64_t extent() const;
};

struct PickleValue {
  enum class Kind : uint8_t {
    kNone,
    kBool,
    kInt,
    kFloat,
    kText,
    kList,
    kDict,
    kTensor,
    kStorage,
    kGlobal,
    kObject
  };
  Kind kind = Kind::kNone;
  union {
    int64_t integer = 0;  // kBool, kInt; kTensor and kStorage: an index
    double real;          // kFloat
  };
  std::string_view text;        // kText; kGlobal and kObject: "module.name"
  std::vector<uint32_t> items;  // kList; kDict: key, value, key, ...; kObject: its state, if any
};

/// What one pickle holds. Texts point into the bytes that were read, which must outlive it.
class Pickle {
 public:
  /// `origin` names the file in messages. Throws UsageError: damaged, too large, or not of the kind
  /// that PyTorch writes.
  Pickle(const std::string& origin, std::span<const std::byte> bytes);
  Pickle(Pickle&&) = default;
  Pickle& operator=(Pickle&&) = default;

  const PickleValue& root() const { return values_[root_]; }
  const PickleValue& item(const PickleValue& parent, size_t index) const {
    return values_[parent.items[index]];
  }
  /// The value under a text key of a dictionary, or of the dictionary that is an object's state.
  /// Null when there is none, or no dictionary.
  const PickleValue* find(const PickleValue& parent, std::string_view key) const;
  const PickleTensor& tensor(const PickleValue& value) const {
    return tensors_[static_cast<size_t>(value.integer)];
  }
  const std::vector<PickleTensor>& tensors() const { return tensors_; }
  const std::vector<PickleStorage>& storages() const { return storages_; }
  /// How many bytes the pickle took; others may follow it.
  size_t num_bytes() const { return num_bytes_; }

 private:
  friend class PickleMachine;
  std::deque<PickleValue> values_;
  std::vector<PickleTensor> tensors_;
  std::vector<PickleStorage> storages_;
  std::deque<std::string> names_;  // of globals whose module and name do not lie side by side
  uint32_t root_ = 0;
  size_t num_bytes_ = 0;
};

/// A text out of a foreign file for a message: short, and nothing in it moves a terminal.
std::string shown(std::string_view text);

}  // namespace megalith
