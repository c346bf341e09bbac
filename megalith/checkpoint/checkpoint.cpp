#include "megalith/checkpoint/checkpoint.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <future>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "megalith/checkpoint/manifest.hpp"
#include "megalith/checkpoint/safetensors.hpp"
#include "megalith/core/digest.hpp"
#include "megalith/core/error.hpp"

namespace megalith {
namespace {

constexpr size_t kShownMistakes = 10;
constexpr int64_t kParallelBytes = 8 << 20;  // threads cost more than the checksums of less

at::Tensor narrow_to(at::Tensor tensor, const std::vector<int64_t>& offset,
                     const std::vector<int64_t>& length) {
  for (size_t dim = 0; dim < offset.size(); ++dim) {
    tensor = tensor.narrow(static_cast<int64_t>(dim), offset[dim], length[dim]);
  }
  return tensor;
}

std::vector<int64_t> difference(std::vector<int64_t> a, const std::vector<int64_t>& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return a;
}

/// Moves bits when the types are equal, converts otherwise.
void copy_values(at::Tensor target, const at::Tensor& source) {
  if (target.scalar_type() == source.scalar_type()) {
    as_bits(target).copy_(as_bits(source));
  } else {
    target.copy_(source);
  }
}

/// One copy from a stored slice into a local tensor.
struct Copy {
  at::Tensor target;  // the part of the local tensor
  const ManifestTensor* tensor;
  const ManifestSlice* slice;
  std::vector<int64_t> offset, length;  // inside the slice
};

/// What is wrong with asking for this box, or nothing.
std::optional<std::string> box_mistake(const Manifest& manifest, const CheckpointTensor& wanted,
                                       const Box& box, Checkpoint::DtypeMismatch on_mismatch) {
  const std::string name = wanted.prefix + box.name;
  const auto* tensor = manifest.find(name);
  if (tensor == nullptr) return fmt::format("there is no tensor '{}'", name);
  if (tensor->shape != box.global_shape) {
    return fmt::format("tensor '{}' has shape [{}], the model wants [{}]", name,
                       fmt::join(tensor->shape, ", "), fmt::join(box.global_shape, ", "));
  }
  if (tensor->dtype != wanted.local.scalar_type() &&
      on_mismatch == Checkpoint::DtypeMismatch::kRefuse) {
    return fmt::format("tensor '{}' is stored as {}, wanted as {}", name,
                       safetensors_dtype_name(tensor->dtype),
                       safetensors_dtype_name(wanted.local.scalar_type()));
  }
  return std::nullopt;
}

void plan_box(const Manifest& manifest, const CheckpointTensor& wanted, const Box& box,
              std::vector<Copy>& copies) {
  const auto* tensor = manifest.find(wanted.prefix + box.name);
  const at::Tensor view = box_view(wanted.local, box);
  for (const auto& slice : tensor->slices) {
    const auto shared = overlap(box.offset, box.length, slice.offset, slice.length);
    if (!shared) continue;
    copies.push_back({narrow_to(view, difference(shared->offset, box.offset), shared->length),
                      tensor, &slice, difference(shared->offset, slice.offset), shared->length});
  }
}

/// Throws one UsageError with all that keeps the request from being filled.
void check_request(const std::string& folder, const Manifest& manifest,
                   const std::vector<CheckpointTensor>& tensors,
                   Checkpoint::DtypeMismatch on_mismatch) {
  std::vector<std::string> mistakes;
  for (const auto& wanted : tensors) {
    for (const auto& box : wanted.shard.boxes) {
      const auto mistake = box_mistake(manifest, wanted, box, on_mismatch);
      if (mistake) mistakes.push_back(*mistake);
    }
  }
  if (mistakes.empty()) return;
  const size_t shown = std::min(mistakes.size(), kShownMistakes);
  std::string text;
  for (size_t i = 0; i < shown; ++i) text += "\n  - " + mistakes[i];
  if (shown < mistakes.size()) text += fmt::format("\n  - and {} more", mistakes.size() - shown);
  throw UsageError("{}: does not fit this run, nothing was loaded:{}", folder, text);
}

}  // namespace

at::Tensor box_view(const at::Tensor& local, const Box& box) {
  const at::Tensor whole = local.detach();
  const at::Tensor view =
      whole.dim() == 0 ? whole : whole.narrow(0, box.local_row, box.length.at(0));
  TORCH_CHECK(view.sizes() == box.length, box.name, ": rows of ", local.sizes(), " from ",
              box.local_row, " do not have the box's shape ", box.length);
  return view;
}

/// A slice that lies in a file, and the tensor it is of.
struct StoredSlice {
  const ManifestTensor* tensor;
  const ManifestSlice* slice;
};

struct Checkpoint::State {
  std::string folder;
  bool verify = true;
  Manifest manifest;
  // Opened when first needed, each at most once.
  mutable std::map<int64_t, SafetensorsFile> files;
  mutable std::set<const ManifestSlice*> verified;

  /// A file whose size and header are the ones that were written.
  const SafetensorsFile& file(int64_t index) const;
  /// The stored slice, checked against the manifest's description.
  const SafetensorsEntry& entry(const ManifestTensor& tensor, const ManifestSlice& slice) const;
  /// Compares the checksums of the slices that were not verified yet, on all threads.
  void verify_slices(const std::vector<StoredSlice>& slices) const;
};

const SafetensorsFile& Checkpoint::State::file(int64_t index) const {
  if (const auto found = files.find(index); found != files.end()) return found->second;
  const auto& expected = manifest.files[static_cast<size_t>(index)];
  const auto path = std::filesystem::path(folder) / expected.name;
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  if (error) {
    throw UsageError("{}: cannot be read though {} names it: {}", path.string(), kManifestName,
                     error.message());
  }
  if (static_cast<int64_t>(bytes) != expected.bytes) {
    throw UsageError(
        "{}: {}: has {} bytes, {} were written; restore the file or load an earlier "
        "checkpoint with --ckpt-step",
        path.string(), static_cast<int64_t>(bytes) < expected.bytes ? "truncated" : "altered",
        bytes, expected.bytes);
  }
  SafetensorsFile file(path.string());
  const auto token = file.metadata().find("megalith_token");
  if (token == file.metadata().end() || token->second != manifest.token) {
    throw UsageError("{}: foreign: it was not written by the save that wrote {}", path.string(),
                     kManifestName);
  }
  if (sha256_hex(file.header_bytes()) != expected.header_sha256) {
    throw UsageError("{}: damaged: the checksum of its header does not match", path.string());
  }
  return files.emplace(index, std::move(file)).first->second;
}

const SafetensorsEntry& Checkpoint::State::entry(const ManifestTensor& tensor,
                                                 const ManifestSlice& slice) const {
  const auto& source = file(slice.file);
  const auto* entry = source.find(slice.key);
  if (entry == nullptr || entry->dtype != tensor.dtype || entry->shape != slice.length) {
    throw UsageError("{}: does not hold '{}' as {} describes it", source.path(), slice.key,
                     kManifestName);
  }
  return *entry;
}

void Checkpoint::State::verify_slices(const std::vector<StoredSlice>& slices) const {
  struct Work {
    const SafetensorsFile* file;
    const SafetensorsEntry* entry;
    const ManifestSlice* slice;
    int64_t bytes;
  };
  std::vector<Work> work;
  int64_t bytes = 0;
  for (const auto& [tensor, slice] : slices) {
    if (!verified.insert(slice).second) continue;
    const auto& stored = entry(*tensor, *slice);
    work.push_back({&file(slice->file), &stored, slice, stored.end - stored.begin});
    bytes += work.back().bytes;
  }
  // The largest first, each by whoever is free: slices are of very different sizes.
  std::stable_sort(work.begin(), work.end(),
                   [](const Work& a, const Work& b) { return a.bytes > b.bytes; });
  std::atomic<size_t> next = 0;
  const auto take_turns = [&] {
    for (size_t i = next++; i < work.size(); i = next++) {
      const auto& [source, stored, slice, size] = work[i];
      if (sha256_hex(source->bytes(*stored)) != slice->sha256) {
        throw UsageError(
            "{}: damaged: the checksum of '{}' does not match; restore the file or load an "
            "earlier checkpoint with --ckpt-step",
            source->path(), slice->key);
      }
      source->release(*stored);
    }
  };
  try {
    std::vector<std::future<void>> others;
    const int num_threads = bytes < kParallelBytes ? 1 : at::get_num_threads();
    for (int i = 1; i < num_threads; ++i) {
      others.push_back(std::async(std::launch::async, take_turns));
    }
    take_turns();
    for (auto& other : others) other.get();
  } catch (...) {
    for (const auto& done : work) verified.erase(done.slice);
    throw;
  }
}

Checkpoint Checkpoint::open(const std::string& folder, std::optional<int64_t> iteration,
                            bool verify) {
  auto state = std::make_shared<State>();
  state->folder = find_checkpoint(folder, iteration);
  state->verify = verify;
  const auto path = (std::filesystem::path(state->folder) / kManifestName).string();
  state->manifest = read_manifest(path);
  if (iteration && *iteration != state->manifest.iteration) {
    throw UsageError("{}: is of iteration {}, asked for was {}", path, state->manifest.iteration,
                     *iteration);
  }
  return Checkpoint(std::move(state));
}

const std::string& Checkpoint::folder() const { return state_->folder; }
int64_t Checkpoint::iteration() const { return state_->manifest.iteration; }
const nlohmann::json& Checkpoint::meta() const { return state_->manifest.meta; }
const Manifest& Checkpoint::manifest() const { return state_->manifest; }
bool Checkpoint::has(const std::string& name) const { return state_->manifest.find(name); }

std::vector<std::string> Checkpoint::names(const std::string& kind) const {
  std::vector<std::string> names;
  for (const auto& tensor : state_->manifest.tensors) {
    if (tensor.kind == kind) names.push_back(tensor.name);
  }
  return names;
}

void Checkpoint::read(const std::vector<CheckpointTensor>& tensors,
                      DtypeMismatch on_mismatch) const {
  check_request(state_->folder, state_->manifest, tensors, on_mismatch);
  std::vector<Copy> copies;
  for (const auto& wanted : tensors) {
    for (const auto& box : wanted.shard.boxes) plan_box(state_->manifest, wanted, box, copies);
  }
  std::vector<StoredSlice> slices;
  for (const auto& copy : copies) {
    state_->entry(*copy.tensor, *copy.slice);
    slices.push_back({copy.tensor, copy.slice});
  }
  if (state_->verify) state_->verify_slices(slices);
  for (const auto& copy : copies) {
    const auto& file = state_->file(copy.slice->file);
    const auto& entry = state_->entry(*copy.tensor, *copy.slice);
    copy_values(copy.target, narrow_to(file.tensor(entry), copy.offset, copy.length));
    file.release(entry);  // else the whole checkpoint would count as this process's memory
  }
}

at::Tensor Checkpoint::read_global(const std::string& name) const {
  const auto* tensor = state_->manifest.find(name);
  if (tensor == nullptr) throw UsageError("{}: there is no tensor '{}'", state_->folder, name);
  const std::vector<int64_t> origin(tensor->shape.size(), 0);
  const at::Tensor whole = at::empty(tensor->shape, tensor->dtype);
  read({{"", whole, {{Box{name, tensor->shape, origin, tensor->shape}}}}});
  return whole;
}

at::Tensor Checkpoint::map_global(const std::string& name) const {
  const auto* tensor = state_->manifest.find(name);
  if (tensor == nullptr || tensor->slices.size() != 1) return read_global(name);
  const auto& slice = tensor->slices.front();
  return state_->file(slice.file).tensor(state_->entry(*tensor, slice));
}

at::Tensor Checkpoint::read_rows(const std::string& name, int64_t first_row,
                                 int64_t num_rows) const {
  const auto* tensor = state_->manifest.find(name);
  if (tensor == nullptr) throw UsageError("{}: there is no tensor '{}'", state_->folder, name);
  TORCH_CHECK(!tensor->shape.empty(), name, " has no rows");
  std::vector<int64_t> offset(tensor->shape.size(), 0), length = tensor->shape;
  offset[0] = first_row;
  length[0] = num_rows;
  const at::Tensor rows = at::empty(length, tensor->dtype);
  read({{"", rows, {{Box{name, tensor->shape, offset, length}}}}});
  return rows;
}

void Checkpoint::check_files() const {
  const auto num_files = static_cast<int64_t>(state_->manifest.files.size());
  for (int64_t index = 0; index < num_files; ++index) state_->file(index);
  for (const auto& tensor : state_->manifest.tensors) {
    for (const auto& slice : tensor.slices) state_->entry(tensor, slice);
  }
}

void Checkpoint::verify_all() const {
  check_files();
  std::vector<StoredSlice> slices;
  for (const auto& tensor : state_->manifest.tensors) {
    for (const auto& slice : tensor.slices) slices.push_back({&tensor, &slice});
  }
  state_->verify_slices(slices);
}

}  // namespace megalith
