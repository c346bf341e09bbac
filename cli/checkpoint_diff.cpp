// megalith checkpoint diff: flags and what is printed; the work is in megalith/checkpoint/compare.
#include <algorithm>

#include "cli/command_line.hpp"
#include "cli/commands.hpp"
#include "megalith/checkpoint/compare.hpp"

namespace megalith::cli {
namespace {

void print_difference(const TensorDifference& tensor, size_t width) {
  using Kind = TensorDifference::Kind;
  fmt::print("  {:<{}}  ", tensor.name, width);
  switch (tensor.kind) {
    case Kind::kIdentical:
      break;
    case Kind::kSameValues:
      fmt::print("same values, other bits\n");
      break;
    case Kind::kDifferent:
      fmt::print("absolute {:.3g}, relative {:.3g}, {} of {} differ{}{}\n", tensor.absolute,
                 tensor.relative, tensor.num_different, tensor.num_elements,
                 tensor.note.empty() ? "" : "; ", tensor.note);
      break;
    case Kind::kOtherShape:
      fmt::print("shapes {}\n", tensor.note);
      break;
    case Kind::kOnlyInA:
      fmt::print("only in A\n");
      break;
    case Kind::kOnlyInB:
      fmt::print("only in B\n");
      break;
  }
}

}  // namespace

int run_checkpoint_diff(const Words& words) {
  std::vector<std::string> folder_a, folder_b;
  CommandLine command("megalith checkpoint diff",
                      "Compare two checkpoints: configuration, and for each tensor the largest "
                      "absolute and relative difference. The layouts that saved them may differ.");
  command.positional("A", folder_a, "a save folder (its latest) or an iter_... folder", 1, 1);
  command.positional("B", folder_b, "the same", 1, 1);
  if (!command.parse(words)) return 0;
  const auto a = Checkpoint::open(folder_a[0]), b = Checkpoint::open(folder_b[0]);
  fmt::print("A  {}  iteration {}\nB  {}  iteration {}\n", a.folder(), a.iteration(), b.folder(),
             b.iteration());
  const auto settings = compare_settings(a.meta(), b.meta());
  fmt::print("\nConfiguration: {}\n", settings.empty() ? "the same" : "");
  for (const auto& [path, of_a, of_b] : settings) fmt::print("  {}: {} -> {}\n", path, of_a, of_b);

  const auto tensors = compare_tensors(a, b);
  size_t width = 0, num_identical = 0;
  for (const auto& tensor : tensors) {
    width = std::max(width, tensor.name.size());
    num_identical += tensor.kind == TensorDifference::Kind::kIdentical;
  }
  fmt::print("\nTensors: {} of {} bit-identical\n", num_identical, tensors.size());
  for (const auto& tensor : tensors) {
    if (tensor.kind != TensorDifference::Kind::kIdentical) print_difference(tensor, width);
  }
  return 0;
}

}  // namespace megalith::cli
