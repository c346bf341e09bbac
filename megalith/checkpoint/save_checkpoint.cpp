// The collective half of checkpoint.hpp: who writes what, and the commit.
#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "megalith/checkpoint/agreement.hpp"
#include "megalith/checkpoint/checkpoint.hpp"
#include "megalith/checkpoint/manifest.hpp"
#include "megalith/checkpoint/safetensors.hpp"
#include "megalith/core/atomic_file.hpp"
#include "megalith/core/error.hpp"
#include "megalith/parallel/collectives.hpp"

namespace megalith {
namespace {

namespace fs = std::filesystem;

/// One box of one tensor: the unit of ownership.
struct Piece {
  const CheckpointTensor* tensor;
  const Box* box;

  std::string name() const { return tensor->prefix + box->name; }
  int64_t bytes() const {
    return box->num_elements() * static_cast<int64_t>(tensor->local.element_size());
  }
  /// Weights lie in files of their own; the rest goes by the first word of its prefix.
  std::string kind() const {
    return tensor->prefix.empty() ? "model" : tensor->prefix.substr(0, tensor->prefix.find('.'));
  }
  /// A whole tensor keeps its name, so that the file means the same to any reader.
  std::string key() const {
    if (box->length == box->global_shape) return name();
    return fmt::format("{}@{}", name(), fmt::join(box->offset, ","));
  }
};

/// The pieces this rank writes. Tensor ranks that all hold a replicated tensor leave it to the
/// first; data-parallel replicas take turns, each next piece going to the one with the least so
/// far, largest pieces first. Every replica computes the same division.
std::vector<Piece> owned_pieces(const std::vector<CheckpointTensor>& tensors,
                                const ProcessGroups& groups) {
  std::vector<Piece> pieces;
  for (const auto& tensor : tensors) {
    if (tensor.shard.replicated && groups.tensor().rank != 0) continue;
    for (const auto& box : tensor.shard.boxes) pieces.push_back({&tensor, &box});
  }
  std::stable_sort(pieces.begin(), pieces.end(),
                   [](const Piece& a, const Piece& b) { return a.bytes() > b.bytes(); });
  std::vector<int64_t> load(static_cast<size_t>(groups.data().size()), 0);
  std::vector<Piece> mine;
  for (const auto& piece : pieces) {
    const auto least = std::min_element(load.begin(), load.end());
    *least += piece.bytes();
    if (least - load.begin() == groups.data().rank) mine.push_back(piece);
  }
  return mine;
}

/// Writes one file and adds it to the manifest.
void write_file(const fs::path& folder, const std::string& kind, int64_t world_rank,
                const std::vector<Piece>& pieces, Manifest& manifest) {
  std::map<std::string, const Piece*> by_key;
  std::vector<SafetensorsEntry> entries;
  for (const auto& piece : pieces) {
    TORCH_CHECK(by_key.emplace(piece.key(), &piece).second, "two tensors are named '", piece.key(),
                "'");
    entries.push_back({piece.key(), piece.tensor->local.scalar_type(), piece.box->length});
  }
  const std::string name = fmt::format("{}_{:05d}.safetensors", kind, world_rank);
  SafetensorsWriter writer((folder / name).string(), std::move(entries),
                           {{"format", "pt"}, {"megalith_token", manifest.token}});
  const auto file_index = static_cast<int64_t>(manifest.files.size());
  for (const auto& entry : writer.entries()) {
    const Piece& piece = *by_key.at(entry.name);
    const std::string sum = writer.append(box_view(piece.tensor->local, *piece.box));
    manifest.tensors.push_back(
        {piece.name(),
         kind,
         entry.dtype,
         piece.box->global_shape,
         {{file_index, entry.name, piece.box->offset, piece.box->length, sum}}});
  }
  writer.commit();
  manifest.files.push_back({name, writer.size(), writer.header_sha256()});
}

void write_text(const fs::path& path, const std::string& text) {
  AtomicFile file(path.string());
  file.write(text);
  file.commit();
}

fs::path partial_manifest(const fs::path& folder, int64_t world_rank) {
  return folder / fmt::format("rank_{:05d}.json", world_rank);
}

/// Several slices of one tensor on one rank become one entry, in the order read_manifest wants.
void gather_slices(Manifest& manifest) {
  std::map<std::string, ManifestTensor> tensors;
  for (auto& tensor : manifest.tensors) {
    const auto [place, is_new] = tensors.try_emplace(tensor.name, tensor);
    if (!is_new) place->second.slices.push_back(tensor.slices.front());
  }
  manifest.tensors.clear();
  for (auto& [name, tensor] : tensors) manifest.tensors.push_back(std::move(tensor));
}

/// What this rank adds to the checkpoint: its files and its partial manifest.
void write_share(const fs::path& folder, const std::vector<Piece>& pieces, Manifest manifest,
                 const ProcessGroups& groups) {
  if (!fs::is_directory(folder)) {
    throw RunError(
        "does not see {}, which rank 0 created; the save folder must be on a disk that "
        "all ranks share",
        folder.string());
  }
  std::map<std::string, std::vector<Piece>> by_kind;
  for (const auto& piece : pieces) by_kind[piece.kind()].push_back(piece);
  for (const auto& [kind, list] : by_kind) {
    write_file(folder, kind, groups.world_rank(), list, manifest);
  }
  gather_slices(manifest);
  write_text(partial_manifest(folder, groups.world_rank()), manifest_text(manifest));
}

/// Rank 0, when all shares are there: the manifest of all.
void write_manifest(const fs::path& folder, const nlohmann::json& meta,
                    const ProcessGroups& groups) {
  std::vector<Manifest> parts;
  for (int64_t rank = 0; rank < groups.world().size(); ++rank) {
    const auto path = partial_manifest(folder, rank);
    if (!fs::exists(path)) {
      throw RunError(
          "does not see {}, which rank {} wrote; the save folder must be on a disk that "
          "all ranks share",
          path.string(), rank);
    }
    parts.push_back(read_manifest(path.string(), /*partial=*/true));
  }
  Manifest whole = merge_manifests(std::move(parts));
  whole.meta = meta;
  for (int64_t rank = 0; rank < groups.world().size(); ++rank) {
    fs::remove(partial_manifest(folder, rank));
  }
  write_text(folder / kManifestName, manifest_text(whole));
}

/// Gives the complete folder its name; one that has the name already goes away in the same step.
void move_into_place(const fs::path& temporary, const fs::path& target) {
  if (!fs::exists(target)) {
    fs::rename(temporary, target);
  } else if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) !=
             0) {
    // No exchange on this file system: for a moment neither has the name, but both are whole.
    fs::path old = temporary;
    old += kReplacedSuffix;
    fs::rename(target, old);
    fs::rename(temporary, target);
    fs::rename(old, temporary);
  }
  sync_folder(target.parent_path().string());
  std::error_code ignored;  // the old one, if any; remove_unfinished_saves() gets the rest
  fs::remove_all(temporary, ignored);
}

/// Rank 0, before anything is written.
void prepare_folder(const fs::path& folder, const fs::path& temporary, const fs::path& target) {
  if (fs::exists(target) && !fs::exists(target / kManifestName)) {
    throw RunError(
        "{}: is there already and is no megalith checkpoint; it is not overwritten: move "
        "it away or choose another --save folder",
        target.string());
  }
  create_save_folder(folder);
  if (!fs::create_directory(temporary)) throw RunError("{}: exists", temporary.string());
}

/// Returns when no rank reports a failure, else throws the same SaveError on all.
/// Communicates: world, every rank must call.
void agree(const std::string& failure, const std::string& what, const Group& world,
           at::Device device) {
  const Failures failures = gather_failures(failure, world, device);
  if (failures.num_failed == 0) return;
  throw SaveError("cannot save {}: {} of {} ranks failed: {}", what, failures.num_failed,
                  world.size(), failures.text);
}

/// Every rank must save the same iteration. Communicates: world.
void check_iteration(int64_t iteration, const Group& world, at::Device device) {
  at::Tensor first = at::full({1}, iteration, at::kLong).to(device);
  broadcast(first, world, 0);
  const auto theirs = first.item<int64_t>();
  const Failures failures = gather_failures(
      theirs == iteration ? "" : fmt::format("is at iteration {}, rank 0 at {}", iteration, theirs),
      world, device);
  if (failures.num_failed > 0) throw RunError("cannot save a checkpoint: {}", failures.text);
}

/// Deletes the temporary folder when the save did not come to its end.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(fs::path path) : path_(std::move(path)) {}
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    // Peers may be deleting the same files: try again while something is left.
    for (int attempt = 0; !done_ && attempt < 10; ++attempt) {
      std::error_code error;
      fs::remove_all(path_, error);
      if (!error && !fs::exists(path_, error)) break;
    }
  }
  void keep() { done_ = true; }

 private:
  fs::path path_;
  bool done_ = false;
};

}  // namespace

void save_checkpoint(const std::string& folder, int64_t iteration,
                     const std::vector<CheckpointTensor>& tensors, const nlohmann::json& meta,
                     const ProcessGroups& groups) {
  const Group& world = groups.world();
  const at::Device device = tensors.empty() ? at::kCPU : tensors.front().local.device();
  const bool is_first = world.rank == 0;
  check_iteration(iteration, world, device);
  const std::string token = shared_token(world, device);
  const fs::path target = fs::path(folder) / iteration_name(iteration);
  fs::path temporary = target;
  temporary += ".tmp-" + token;
  const std::string what = target.string();

  TemporaryFolder guard(temporary);
  agree(failure_of([&] {
          if (is_first) prepare_folder(folder, temporary, target);
        }),
        what, world, device);
  agree(failure_of([&] {
          const Manifest mine{iteration, groups.layout(), token, nullptr, {}, {}};
          write_share(temporary, owned_pieces(tensors, groups), mine, groups);
        }),
        what, world, device);
  agree(failure_of([&] {
          if (!is_first) return;
          write_manifest(temporary, meta, groups);
          sync_folder(temporary.string());
          move_into_place(temporary, target);
        }),
        what, world, device);
  guard.keep();
  agree(failure_of([&] {
          if (is_first) write_latest_iteration(folder, iteration);
        }),
        what + " (written, but not marked as the latest)", world, device);
}

}  // namespace megalith
