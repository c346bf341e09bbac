#include "megalith/parallel/topology.hpp"

namespace megalith {

Coordinates coordinates_of(const Layout& layout, int64_t rank) {
  Coordinates at;
  at.tensor = rank % layout.tensor;
  rank /= layout.tensor;
  at.context = rank % layout.context;
  rank /= layout.context;
  at.data = rank % layout.data;
  at.pipeline = rank / layout.data;
  return at;
}

int64_t rank_of(const Layout& layout, const Coordinates& at) {
  return at.tensor +
         layout.tensor * (at.context + layout.context * (at.data + layout.data * at.pipeline));
}

std::vector<int64_t> group_ranks(const Layout& layout, const AxisSet& axes, int64_t rank) {
  const Coordinates mine = coordinates_of(layout, rank);
  std::vector<int64_t> ranks;
  for (int64_t other = 0; other < layout.world_size(); ++other) {
    const Coordinates at = coordinates_of(layout, other);
    if ((axes.tensor || at.tensor == mine.tensor) && (axes.context || at.context == mine.context) &&
        (axes.data || at.data == mine.data) && (axes.pipeline || at.pipeline == mine.pipeline)) {
      ranks.push_back(other);
    }
  }
  return ranks;
}

Layout make_layout(int64_t world_size, int64_t tensor, Problems& problems) {
  Layout layout;
  layout.tensor = tensor;
  if (world_size % tensor != 0) {
    problems.add(
        "--tensor-model-parallel-size {} does not divide the {} rank(s) of this run; start a "
        "multiple of {} ranks, e.g. megalith launch --nproc-per-node {}",
        tensor, world_size, tensor, tensor);
    return layout;
  }
  layout.data = world_size / tensor;
  return layout;
}

}  // namespace megalith
