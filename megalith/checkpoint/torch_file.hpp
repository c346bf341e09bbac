// A file of torch.save read as data: its pickle, and the tensors in it.
//
// Reads the zip container of today and the plain stream of before PyTorch 1.6; runs nothing, takes
// memory for what is asked of it only, and trusts no number in the file. What the values mean is
// the caller's business. Formats: PyTorch, torch/serialization.py.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>

#include "megalith/checkpoint/pickle.hpp"
#include "megalith/checkpoint/zip_file.hpp"
#include "megalith/core/mapped_file.hpp"

namespace megalith {

class TorchFile {
 public:
  /// Reads the pickle and finds the storages. Throws UsageError naming the file and what is wrong.
  explicit TorchFile(const std::string& path);

  const std::string& path() const { return file_->path(); }
  const Pickle& pickle() const { return *pickle_; }
  /// What keeps the tensor from being read: its storage is missing or has another size. Nothing
  /// when it can be read.
  std::optional<std::string> mistake(const PickleTensor& tensor) const;
  /// A tensor on the CPU, over the mapped file where its place allows; it must not be written.
  /// Checks the checksum of its storage the first time. Throws UsageError.
  at::Tensor tensor(const PickleTensor& tensor) const;

 private:
  struct Storage {
    std::span<const std::byte> bytes;
    const ZipFile::Entry* entry = nullptr;
  };
  void open_zip();
  void open_stream();
  const Storage* find(const PickleStorage& storage) const;

  std::shared_ptr<const MappedFile> file_;
  std::unique_ptr<const ZipFile> zip_;
  std::unique_ptr<const Pickle> pickle_;
  std::map<std::string, Storage, std::less<>> storages_;
  mutable std::set<const Storage*> checked_;
};

}  // namespace megalith
