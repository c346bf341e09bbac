#include "megalith/checkpoint/torch_file.hpp"

#include <ATen/ATen.h>

#include <bit>
#include <cstring>

#include "megalith/core/error.hpp"

static_assert(std::endian::native == std::endian::little, "PyTorch's files are little-endian");

namespace megalith {
namespace {

using Kind = PickleValue::Kind;

constexpr std::string_view kPickleName = "/data.pkl";
/// 0x1950a86a20f9469cfc6c as the pickle that opens a stream.
constexpr std::string_view kStreamMagic =
    "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
constexpr int64_t kStreamVersion = 1001;

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The folder of all entries, such as "archive"; torch.save names it after the file.
std::string top_folder(const std::string& path, const ZipFile& zip) {
  std::string folder;
  for (const auto& [name, entry] : zip.entries()) {
    const auto slash = name.find('/');
    if (slash == std::string::npos || name.substr(slash) != kPickleName) continue;
    if (!folder.empty()) {
      throw UsageError("{}: holds two pickles, '{}' and '{}'; torch.save writes one", path,
                       shown(folder), shown(name));
    }
    folder = name.substr(0, slash);
  }
  if (folder.empty()) {
    throw UsageError("{}: is a zip container without a data.pkl, so torch.save did not write it",
                     path);
  }
  return folder;
}

}  // namespace

TorchFile::TorchFile(const std::string& path) : file_(std::make_shared<const MappedFile>(path)) {
  if (ZipFile::is_zip(*file_)) {
    open_zip();
  } else if (as_text(file_->bytes()).starts_with(kStreamMagic)) {
    open_stream();
  } else {
    throw UsageError("{}: {}", path,
                     file_->size() == 0 ? "is empty"
                                        : "is not a file that torch.save wrote, or is damaged: its "
                                          "first bytes are of no known kind");
  }
}

void TorchFile::open_zip() {
  zip_ = std::make_unique<const ZipFile>(file_);
  const std::string folder = top_folder(path(), *zip_);
  const auto* order = zip_->find(folder + "/byteorder");
  if (order != nullptr && as_text(order->bytes) != "little") {
    throw UsageError("{}: was written with byte order '{}'; only little is read", path(),
                     shown(as_text(order->bytes)));
  }
  const auto* entry = zip_->find(folder + std::string(kPickleName));
  zip_->check(*entry);
  pickle_ = std::make_unique<const Pickle>(path(), entry->bytes);
  const std::string prefix = folder + "/data/";
  for (const auto& [name, storage] : zip_->entries()) {
    if (name.starts_with(prefix)) {
      storages_[name.substr(prefix.size())] = {storage.bytes, &storage};
    }
  }
}

void TorchFile::open_stream() {
  auto rest = file_->bytes().subspan(kStreamMagic.size());
  const auto next = [&] {
    auto pickle = std::make_unique<const Pickle>(path(), rest);
    rest = rest.subspan(pickle->num_bytes());
    return pickle;
  };
  const auto version = next();
  if (version->root().kind != Kind::kInt || version->root().integer != kStreamVersion) {
    throw UsageError("{}: is a stream of torch.save of another version than {}", path(),
                     kStreamVersion);
  }
  const auto system = next();
  const auto* order = system->find(system->root(), "little_endian");
  if (order != nullptr && order->kind == Kind::kBool && order->integer == 0) {
    throw UsageError("{}: was written with big-endian numbers; only little-endian ones are read",
                     path());
  }
  pickle_ = next();
  std::map<std::string_view, const PickleStorage*> known;
  for (const auto& storage : pickle_->storages()) known[storage.key] = &storage;
  const auto keys = next();
  for (size_t i = 0; i < keys->root().items.size(); ++i) {
    const std::string_view key = keys->item(keys->root(), i).text;
    const auto storage = known.find(key);
    if (storage == known.end()) {
      throw UsageError("{}: damaged: it holds a storage '{}' that its pickle does not name", path(),
                       shown(key));
    }
    uint64_t count = 0;
    const uint64_t width = c10::elementSize(storage->second->dtype);
    if (rest.size() >= sizeof count) std::memcpy(&count, rest.data(), sizeof count);
    if (rest.size() < sizeof count || count > (rest.size() - sizeof count) / width) {
      throw UsageError("{}: truncated: it ends in the middle of storage '{}'; copy the file again",
                       path(), shown(key));
    }
    storages_[std::string(key)] = {rest.subspan(sizeof count, count * width)};
    rest = rest.subspan(sizeof count + count * width);
  }
}

const TorchFile::Storage* TorchFile::find(const PickleStorage& storage) const {
  const auto found = storages_.find(storage.key);
  return found == storages_.end() ? nullptr : &found->second;
}

std::optional<std::string> TorchFile::mistake(const PickleTensor& tensor) const {
  const auto& wanted = tensor.storage;
  const auto* storage = find(wanted);
  if (storage == nullptr) {
    return fmt::format("its storage '{}' is not in the file", shown(wanted.key));
  }
  const auto bytes = wanted.num_elements * static_cast<int64_t>(c10::elementSize(wanted.dtype));
  if (static_cast<int64_t>(storage->bytes.size()) != bytes) {
    return fmt::format("its storage '{}' has {} bytes, {} are expected", shown(wanted.key),
                       storage->bytes.size(), bytes);
  }
  return std::nullopt;
}

at::Tensor TorchFile::tensor(const PickleTensor& wanted) const {
  if (const auto text = mistake(wanted)) throw UsageError("{}: a tensor: {}", path(), *text);
  const auto* storage = find(wanted.storage);
  if (storage->entry != nullptr && !checked_.contains(storage)) {
    zip_->check(*storage->entry);
    checked_.insert(storage);
  }
  if (wanted.num_elements() == 0) return at::empty(wanted.shape, wanted.dtype);
  const size_t width = c10::elementSize(wanted.dtype);
  const size_t first =
      static_cast<size_t>(wanted.storage.first) * c10::elementSize(wanted.storage.dtype) +
      static_cast<size_t>(wanted.offset) * width;
  const auto bytes = storage->bytes.subspan(first, static_cast<size_t>(wanted.extent()) * width);
  if (reinterpret_cast<uintptr_t>(bytes.data()) % width == 0) {
    return at::from_blob(
        const_cast<std::byte*>(bytes.data()), wanted.shape, wanted.strides,
        [file = file_, bytes](void*) { file->release(bytes); }, wanted.dtype);
  }
  const at::Tensor copy = at::empty({wanted.extent()}, wanted.dtype);
  std::memcpy(copy.data_ptr(), bytes.data(), bytes.size());
  file_->release(bytes);
  return copy.as_strided(wanted.shape, wanted.strides);
}

}  // namespace megalith
