// The collective half of checkpoint.hpp: who writes what, and the commit.
#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "megalith/checkpoint/agreement.hpp"
#include "megalith/checkpoint/checkpoint.hpp"
#include "megalith/checkpoint/checkpoint_writer.hpp"
#include "megalith/checkpoint/manifest.hpp"
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

/// What checkpoint_writer.hpp wants of a piece.
NewSlice slice_of(const Piece& piece) {
  const CheckpointTensor& tensor = *piece.tensor;
  const Box& box = *piece.box;
  return {piece.name(),
          piece.kind(),
          tensor.local.scalar_type(),
          box.global_shape,
          box.offset,
          box.length,
          [&tensor, &box] { return box_view(tensor.local, box); }};
}

fs::path partial_manifest(const fs::path& folder, int64_t world_rank) {
  return folder / fmt::format("rank_{:05d}.json", world_rank);
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
  std::map<std::string, std::vector<NewSlice>> by_kind;
  for (const auto& piece : pieces) by_kind[piece.kind()].push_back(slice_of(piece));
  for (auto& [kind, slices] : by_kind) {
    write_slices(folder.string(), file_name(kind, groups.world_rank()), std::move(slices),
                 manifest);
  }
  gather_slices(manifest);
  write_text_file(partial_manifest(folder, groups.world_rank()).string(), manifest_text(manifest));
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
  write_text_file((folder / kManifestName).string(), manifest_text(whole));
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
  const fs::path temporary = temporary_name(target.string(), token);
  const std::string what = target.string();

  TemporaryFolder guard(temporary.string());
  agree(failure_of([&] {
          if (is_first) prepare_folder(folder, temporary.string(), target.string());
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
          move_into_place(temporary.string(), target.string());
        }),
        what, world, device);
  guard.keep();
  agree(failure_of([&] {
          if (is_first) write_latest_iteration(folder, iteration);
        }),
        what + " (written, but not marked as the latest)", world, device);
}

}  // namespace megalith
