#include "megalith/data/numpy_file.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <regex>
#include <type_traits>

#include "megalith/core/atomic_file.hpp"
#include "megalith/core/error.hpp"
#include "megalith/core/mapped_file.hpp"

namespace megalith {
namespace {

struct TypeFacts {
  NumpyType type;
  const char* name;
  const char* code;  // as in the header
  int64_t bytes;
};

constexpr std::array kTypes = {TypeFacts{NumpyType::kInt16, "int16", "<i2", 2},
                               TypeFacts{NumpyType::kInt32, "int32", "<i4", 4},
                               TypeFacts{NumpyType::kInt64, "int64", "<i8", 8},
                               TypeFacts{NumpyType::kUint32, "uint32", "<u4", 4},
                               TypeFacts{NumpyType::kUint64, "uint64", "<u8", 8}};

const TypeFacts& facts(NumpyType type) { return kTypes.at(static_cast<size_t>(type)); }

template <class T>
constexpr NumpyType type_of() {
  if constexpr (std::is_same_v<T, int16_t>) return NumpyType::kInt16;
  if constexpr (std::is_same_v<T, int32_t>) return NumpyType::kInt32;
  if constexpr (std::is_same_v<T, int64_t>) return NumpyType::kInt64;
  if constexpr (std::is_same_v<T, uint32_t>) return NumpyType::kUint32;
  if constexpr (std::is_same_v<T, uint64_t>) return NumpyType::kUint64;
}

template <class T>
int64_t load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return static_cast<int64_t>(value);
}

constexpr size_t kPreambleBytes = 10;  // magic, version 1.0, length of the text that follows
constexpr std::string_view kMagic("\x93NUMPY\x01\x00", 8);

struct Header {
  NumpyType type;
  std::vector<int64_t> shape;
  size_t bytes;  // with the preamble
};

[[noreturn]] void refuse(const std::string& path, const std::string& reason) {
  throw UsageError("{}: not an index array of this program: {}", path, reason);
}

Header parse_header(const std::string& path, std::span<const std::byte> bytes) {
  if (bytes.size() < kPreambleBytes || std::memcmp(bytes.data(), kMagic.data(), 8) != 0) {
    refuse(path, "it does not start with NumPy's mark, version 1.0");
  }
  const auto length = static_cast<size_t>(load<uint16_t>(bytes.data() + 8));
  if (bytes.size() < kPreambleBytes + length) refuse(path, "the header is cut off");
  const std::string text(reinterpret_cast<const char*>(bytes.data()) + kPreambleBytes, length);
  static const std::regex form(
      R"(\{'descr': '(<[iu][248])', 'fortran_order': False, 'shape': \((\d{1,18}),(?: (\d{1,18}))?\), \} *\n)");
  std::smatch match;
  if (!std::regex_match(text, match, form)) refuse(path, "unexpected header " + text);
  const auto known = std::find_if(kTypes.begin(), kTypes.end(),
                                  [&](const TypeFacts& type) { return match[1] == type.code; });
  if (known == kTypes.end()) refuse(path, "unexpected type " + match[1].str());
  Header header{known->type, {std::stoll(match[2])}, kPreambleBytes + length};
  if (match[3].matched) header.shape.push_back(std::stoll(match[3]));
  return header;
}

std::optional<int64_t> product(const std::vector<int64_t>& shape, int64_t item_bytes) {
  int64_t total = item_bytes;
  for (const int64_t n : shape) {
    if (__builtin_mul_overflow(total, n, &total)) return std::nullopt;
  }
  return total;
}

}  // namespace

const char* numpy_type_name(NumpyType type) { return facts(type).name; }

template <class T>
IntegerArray::IntegerArray(std::vector<T> values, int64_t columns) : type_(type_of<T>()) {
  auto owned = std::make_shared<const std::vector<T>>(std::move(values));
  size_ = static_cast<int64_t>(owned->size());
  shape_ = columns == 0 ? std::vector{size_} : std::vector{size_ / columns, columns};
  bytes_ = std::as_bytes(std::span(*owned));
  owner_ = std::move(owned);
}

template IntegerArray::IntegerArray(std::vector<int16_t>, int64_t);
template IntegerArray::IntegerArray(std::vector<int32_t>, int64_t);
template IntegerArray::IntegerArray(std::vector<int64_t>, int64_t);
template IntegerArray::IntegerArray(std::vector<uint32_t>, int64_t);
template IntegerArray::IntegerArray(std::vector<uint64_t>, int64_t);

int64_t IntegerArray::operator[](int64_t index) const {
  const std::byte* const start = bytes_.data();
  switch (type_) {
    case NumpyType::kInt16:
      return load<int16_t>(start + 2 * index);
    case NumpyType::kInt32:
      return load<int32_t>(start + 4 * index);
    case NumpyType::kUint32:
      return load<uint32_t>(start + 4 * index);
    case NumpyType::kInt64:
    case NumpyType::kUint64:
      break;
  }
  return load<int64_t>(start + 8 * index);
}

std::string numpy_header(NumpyType type, const std::vector<int64_t>& shape) {
  // NumPy leaves room for the first dimension to grow to 21 digits, then fills up to 64 bytes.
  constexpr size_t kGrowthDigits = 21;
  constexpr size_t kAlignment = 64;
  std::string text =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({},{}), }}", facts(type).code,
                  shape.at(0), shape.size() == 2 ? fmt::format(" {}", shape[1]) : "");
  text.append(kGrowthDigits - fmt::formatted_size("{}", shape[0]), ' ');
  text.append(kAlignment - (kPreambleBytes + text.size() + 1) % kAlignment, ' ');
  text += '\n';
  std::string header(kMagic);
  header += static_cast<char>(text.size() & 0xff);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

void write_numpy(const std::string& path, const IntegerArray& array) {
  AtomicFile file(path);
  file.write(numpy_header(array.type(), array.shape()));
  constexpr size_t kPiece = size_t{1} << 24;  // the file's buffer holds a piece at a time
  for (size_t done = 0; done < array.bytes().size(); done += kPiece) {
    const auto rest = array.bytes().subspan(done);
    file.write(rest.first(std::min(kPiece, rest.size())));
  }
  file.publish();
}

IntegerArray read_numpy(const std::string& path) {
  auto file = std::make_shared<const MappedFile>(path);
  const Header header = parse_header(path, file->bytes());
  const int64_t item_bytes = facts(header.type).bytes;
  const auto expected = product(header.shape, item_bytes);
  const auto payload = file->bytes().subspan(header.bytes);
  if (!expected || *expected != static_cast<int64_t>(payload.size())) {
    refuse(path, fmt::format("{} bytes follow a header that says shape ({})", payload.size(),
                             fmt::join(header.shape, ", ")));
  }
  IntegerArray array;
  array.type_ = header.type;
  array.shape_ = header.shape;
  array.size_ = *expected / item_bytes;
  array.bytes_ = payload;
  array.owner_ = std::move(file);
  return array;
}

}  // namespace megalith
