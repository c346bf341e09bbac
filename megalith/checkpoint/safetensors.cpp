#include "megalith/checkpoint/safetensors.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "megalith/core/digest.hpp"
#include "megalith/core/error.hpp"
#include "megalith/ops/transpose.hpp"

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

namespace megalith {
namespace {

using Json = nlohmann::json;

constexpr int64_t kLengthBytes = 8;
constexpr int64_t kMaxHeaderBytes = 100'000'000;  // as the reference implementation
constexpr size_t kInFlightBytes = 64 << 20;
constexpr size_t kOverlapBytes = 1 << 18;  // a thread costs as much as a sum of 50 kB

constexpr std::array<std::pair<const char*, at::ScalarType>, 10> kDtypes = {
    {{"F64", at::kDouble},
     {"F32", at::kFloat},
     {"F16", at::kHalf},
     {"BF16", at::kBFloat16},
     {"I64", at::kLong},
     {"I32", at::kInt},
     {"I16", at::kShort},
     {"I8", at::kChar},
     {"U8", at::kByte},
     {"BOOL", at::kBool}}};

int64_t dtype_size(at::ScalarType dtype) { return static_cast<int64_t>(c10::elementSize(dtype)); }

/// Bytes of a tensor, or nothing when the number does not fit.
std::optional<int64_t> checked_bytes(const std::vector<int64_t>& shape, at::ScalarType dtype) {
  int64_t bytes = dtype_size(dtype);
  for (const int64_t size : shape) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) return std::nullopt;
  }
  return bytes;
}

/// Parses an object in which no key stands twice; nlohmann alone would keep the last.
Json parse_header(const std::string& path, std::string_view text) {
  std::vector<std::set<std::string>> keys;
  std::string repeated;
  const auto watch = [&](int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys.back().insert(key).second) repeated = key;
    }
    return true;
  };
  Json header;
  try {
    header = Json::parse(text, watch);
  } catch (const Json::exception& error) {
    throw UsageError("{}: is not a safetensors file, or is damaged: its header is not JSON ({})",
                     path, error.what());
  }
  if (!header.is_object()) throw UsageError("{}: the safetensors header is not an object", path);
  if (!repeated.empty()) {
    throw UsageError("{}: '{}' stands twice in the safetensors header", path, repeated);
  }
  return header;
}

/// A list of integers >= 0, or a UsageError that names the tensor.
std::vector<int64_t> read_counts(const std::string& path, const std::string& name, const Json& info,
                                 const char* key) {
  const auto list = info.find(key);
  const auto is_count = [](const Json& value) {
    return value.is_number_unsigned() && value.get<uint64_t>() <= uint64_t{INT64_MAX};
  };
  if (list == info.end() || !list->is_array() ||
      !std::all_of(list->begin(), list->end(), is_count)) {
    throw UsageError("{}: tensor '{}': '{}' must be a list of whole numbers, got {}", path, name,
                     key, list == info.end() ? "nothing" : list->dump());
  }
  return list->get<std::vector<int64_t>>();
}

SafetensorsEntry read_entry(const std::string& path, const std::string& name, const Json& info) {
  if (!info.is_object()) throw UsageError("{}: tensor '{}' has no description", path, name);
  const std::string dtype_name = info.contains("dtype") && info["dtype"].is_string()
                                     ? info["dtype"].get<std::string>()
                                     : "(missing)";
  const auto dtype = safetensors_dtype(dtype_name);
  if (!dtype) {
    std::vector<std::string> known;
    for (const auto& known_dtype : kDtypes) known.emplace_back(known_dtype.first);
    throw UsageError("{}: tensor '{}' has dtype {}; supported are {}", path, name, dtype_name,
                     fmt::join(known, ", "));
  }
  SafetensorsEntry entry{name, *dtype, read_counts(path, name, info, "shape")};
  const auto offsets = read_counts(path, name, info, "data_offsets");
  if (offsets.size() != 2 || offsets[0] > offsets[1]) {
    throw UsageError("{}: tensor '{}': data_offsets must be a begin and an end, got [{}]", path,
                     name, fmt::join(offsets, ", "));
  }
  entry.begin = offsets[0];
  entry.end = offsets[1];
  const auto bytes = checked_bytes(entry.shape, entry.dtype);
  if (!bytes || *bytes != entry.end - entry.begin) {
    throw UsageError("{}: tensor '{}': {} of shape [{}] does not fill its {} bytes", path, name,
                     dtype_name, fmt::join(entry.shape, ", "), entry.end - entry.begin);
  }
  return entry;
}

/// Sorts by place and checks that the tensors fill the data without hole or overlap.
void check_places(const std::string& path, std::vector<SafetensorsEntry>& entries,
                  int64_t data_bytes) {
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  int64_t place = 0;
  for (const auto& entry : entries) {
    if (entry.end > data_bytes) {
      throw UsageError(
          "{}: truncated: tensor '{}' ends at byte {} of the data, and only {} bytes are there",
          path, entry.name, entry.end, data_bytes);
    }
    if (entry.begin != place) {
      throw UsageError("{}: tensor '{}' begins at byte {} of the data; expected {} ({})", path,
                       entry.name, entry.begin, place, entry.begin < place ? "overlap" : "hole");
    }
    place = entry.end;
  }
  if (place != data_bytes) {
    throw UsageError("{}: {} bytes after the last tensor belong to none", path, data_bytes - place);
  }
}

SafetensorsMetadata read_metadata(const std::string& path, const Json& object) {
  SafetensorsMetadata metadata;
  if (!object.is_object()) throw UsageError("{}: __metadata__ is not an object", path);
  for (const auto& [key, value] : object.items()) {
    if (!value.is_string()) throw UsageError("{}: __metadata__ '{}' is not a text", path, key);
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

/// Length field and JSON, padded with spaces so that the data begin at a multiple of eight.
std::string make_header(const std::vector<SafetensorsEntry>& entries,
                        const SafetensorsMetadata& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  for (const auto& entry : entries) {
    header[entry.name] = {{"dtype", safetensors_dtype_name(entry.dtype)},
                          {"shape", entry.shape},
                          {"data_offsets", {entry.begin, entry.end}}};
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  if (text.size() > static_cast<size_t>(kMaxHeaderBytes)) {
    throw RunError("a safetensors header of {} bytes is over the format's limit of {}", text.size(),
                   kMaxHeaderBytes);
  }
  const uint64_t length = text.size();
  std::string bytes(kLengthBytes, '\0');
  std::memcpy(bytes.data(), &length, kLengthBytes);
  return bytes + text;
}

void place_entries(std::vector<SafetensorsEntry>& entries) {
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return std::pair(-dtype_size(a.dtype), a.name) < std::pair(-dtype_size(b.dtype), b.name);
  });
  int64_t place = 0;
  for (auto& entry : entries) {
    const auto bytes = checked_bytes(entry.shape, entry.dtype);
    TORCH_CHECK(bytes, "tensor '", entry.name, "' is too large");
    entry.begin = place;
    entry.end = place += *bytes;
  }
}

}  // namespace

std::string safetensors_dtype_name(at::ScalarType dtype) {
  for (const auto& [name, known] : kDtypes) {
    if (known == dtype) return name;
  }
  TORCH_CHECK(false, "no safetensors type for ", c10::toString(dtype));
}

std::optional<at::ScalarType> safetensors_dtype(const std::string& name) {
  for (const auto& [known, dtype] : kDtypes) {
    if (name == known) return dtype;
  }
  return std::nullopt;
}

at::Tensor as_bits(const at::Tensor& tensor) {
  switch (tensor.element_size()) {
    case 1:
      return tensor.detach().view(at::kByte);
    case 2:
      return tensor.detach().view(at::kShort);
    case 4:
      return tensor.detach().view(at::kInt);
    default:
      return tensor.detach().view(at::kLong);
  }
}

SafetensorsFile::SafetensorsFile(const std::string& path)
    : file_(std::make_shared<const MappedFile>(path)) {
  if (file_->size() < kLengthBytes) {
    throw UsageError("{}: {} bytes are too few for a safetensors file; it is empty or truncated",
                     path, file_->size());
  }
  uint64_t length = 0;
  std::memcpy(&length, file_->bytes().data(), kLengthBytes);
  if (length > static_cast<uint64_t>(kMaxHeaderBytes)) {
    throw UsageError("{}: is not a safetensors file: its first bytes give a header of {} bytes",
                     path, length);
  }
  data_start_ = kLengthBytes + static_cast<int64_t>(length);
  if (data_start_ > file_->size()) {
    throw UsageError("{}: truncated: the header needs {} bytes and the file has {}", path,
                     data_start_, file_->size());
  }
  const auto header_text = header_bytes().subspan(kLengthBytes);
  const Json header =
      parse_header(path, {reinterpret_cast<const char*>(header_text.data()), header_text.size()});
  for (const auto& [name, info] : header.items()) {
    if (name == "__metadata__") {
      metadata_ = read_metadata(path, info);
    } else {
      entries_.push_back(read_entry(path, name, info));
    }
  }
  check_places(path, entries_, file_->size() - data_start_);
  for (size_t i = 0; i < entries_.size(); ++i) index_[entries_[i].name] = i;
}

const SafetensorsEntry* SafetensorsFile::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &entries_[found->second];
}

std::span<const std::byte> SafetensorsFile::header_bytes() const {
  return file_->bytes().first(static_cast<size_t>(data_start_));
}

std::span<const std::byte> SafetensorsFile::bytes(const SafetensorsEntry& entry) const {
  return file_->bytes().subspan(static_cast<size_t>(data_start_ + entry.begin),
                                static_cast<size_t>(entry.end - entry.begin));
}

void SafetensorsFile::release(const SafetensorsEntry& entry) const { file_->release(bytes(entry)); }

at::Tensor SafetensorsFile::tensor(const SafetensorsEntry& entry) const {
  const auto data = bytes(entry);
  if (data.empty()) return at::empty(entry.shape, entry.dtype);
  if (reinterpret_cast<uintptr_t>(data.data()) % static_cast<size_t>(dtype_size(entry.dtype))) {
    at::Tensor copy = at::empty(entry.shape, entry.dtype);  // files of old writers
    std::memcpy(copy.data_ptr(), data.data(), data.size());
    return copy;
  }
  return at::from_blob(
      const_cast<std::byte*>(data.data()), entry.shape,
      [file = file_, data](void*) { file->release(data); }, entry.dtype);
}

at::Tensor SafetensorsFile::tensor(const std::string& name) const {
  const auto* entry = find(name);
  if (entry == nullptr) throw UsageError("{}: has no tensor '{}'", path(), name);
  return tensor(*entry);
}

SafetensorsWriter::SafetensorsWriter(const std::string& path, std::vector<SafetensorsEntry> entries,
                                     const SafetensorsMetadata& metadata, Sums sums)
    : file_(path), entries_(std::move(entries)), takes_sums_(sums == Sums::kTaken) {
  place_entries(entries_);
  const std::string header = make_header(entries_, metadata);
  header_sha256_ = sha256_hex(header);
  file_.write(header);
}

void SafetensorsWriter::append(const at::Tensor& tensor) {
  TORCH_CHECK(next_ < entries_.size(), "more tensors than entries");
  const auto& entry = entries_[next_++];
  TORCH_CHECK(tensor.scalar_type() == entry.dtype && tensor.sizes() == entry.shape, "tensor '",
              entry.name, "' is ", tensor.scalar_type(), " ", tensor.sizes(), ", announced as ",
              entry.dtype, " ", entry.shape);
  const at::Tensor host = ops::contiguous_copy(as_bits(tensor).to(at::kCPU));
  const std::span bytes(static_cast<const std::byte*>(host.data_ptr()), host.nbytes());
  if (!takes_sums_) return file_.write(bytes);
  if (bytes.size() < kOverlapBytes) {
    sums_.push_back(sha256_hex(bytes));
  } else {
    // The sum takes about as long as the writing: beside it, on a thread of its own.
    make_room(bytes.size());
    sums_.emplace_back();
    pending_.push_back({sums_.size() - 1, host,
                        std::async(std::launch::async, [bytes] { return sha256_hex(bytes); })});
  }
  file_.write(bytes);
}

void SafetensorsWriter::make_room(size_t bytes) {
  for (const auto& pending : pending_) bytes += pending.tensor.nbytes();
  while (!pending_.empty() && (pending_.size() > 1 || bytes > kInFlightBytes)) {
    bytes -= pending_.front().tensor.nbytes();
    finish_oldest();
  }
}

void SafetensorsWriter::finish_oldest() {
  auto& oldest = pending_.front();
  sums_[oldest.index] = oldest.sum.get();
  pending_.pop_front();
}

const std::vector<std::string>& SafetensorsWriter::sums() {
  while (!pending_.empty()) finish_oldest();
  TORCH_CHECK(sums_.size() == entries_.size(), "only ", sums_.size(), " of ", entries_.size(),
              " tensors were written");
  return sums_;
}

void SafetensorsWriter::commit() {
  TORCH_CHECK(next_ == entries_.size(), "only ", next_, " of ", entries_.size(),
              " tensors were written");
  file_.commit();
}

}  // namespace megalith
