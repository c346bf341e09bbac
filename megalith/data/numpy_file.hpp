// Arrays of integers in NumPy's .npy format: written as NumPy writes them, read by mapping.
//
// Only what index caches need: int16, int32, int64, uint32 and uint64, little-endian, C order, one
// or two dimensions. Promise: a file written here has the bytes numpy.save gives for the same
// array, and a file that reads without an error has exactly the size that its header says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace megalith {

enum class NumpyType { kInt16, kInt32, kInt64, kUint32, kUint64 };

/// "int32", as numpy.dtype prints it.
const char* numpy_type_name(NumpyType type);

/// A read-only array, in memory of its own or in a mapped file. Copies share the numbers.
class IntegerArray {
 public:
  IntegerArray() = default;
  /// Takes the numbers over. T is int16_t, int32_t, int64_t, uint32_t or uint64_t; `columns` =
  /// 0 for one dimension.
  template <class T>
  explicit IntegerArray(std::vector<T> values, int64_t columns = 0);

  NumpyType type() const { return type_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  /// Number of entries over all dimensions.
  int64_t size() const { return size_; }
  /// Entry of the flattened array. Not checked against size(), nor against int64 for uint64.
  int64_t operator[](int64_t index) const;
  /// The numbers without the header.
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  friend IntegerArray read_numpy(const std::string& path);

  NumpyType type_ = NumpyType::kInt64;
  std::vector<int64_t> shape_ = {0};
  int64_t size_ = 0;
  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
};

/// The header NumPy writes before the numbers.
std::string numpy_header(NumpyType type, const std::vector<int64_t>& shape);

/// Writes to a temporary name and renames, without waiting for the disk. Throws UsageError when the
/// file cannot be created.
void write_numpy(const std::string& path, const IntegerArray& array);

/// Maps a file. Throws UsageError naming the path and what is wrong with it.
IntegerArray read_numpy(const std::string& path);

}  // namespace megalith
