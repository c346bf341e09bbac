#include "megalith/parallel/process_groups.hpp"

#include <algorithm>

namespace megalith {

ProcessGroups::ProcessGroups() : ProcessGroups(Layout{}, 0, nullptr) {}

ProcessGroups::ProcessGroups(const Layout& layout, int64_t world_rank,
                             const BackendFactory& factory, std::shared_ptr<CallRecord> calls)
    : layout_(layout),
      coordinates_(coordinates_of(layout, world_rank)),
      traffic_(std::make_shared<Traffic>()),
      calls_(calls ? std::move(calls) : std::make_shared<CallRecord>()) {
  const auto make = [&](const char* name, const AxisSet& axes) {
    Group group{name, group_ranks(layout, axes, world_rank), 0, nullptr, traffic_, calls_};
    const auto mine = std::find(group.ranks.begin(), group.ranks.end(), world_rank);
    group.rank = mine - group.ranks.begin();
    if (group.size() > 1) group.communicator = factory(name, group.rank, group.ranks);
    return group;
  };
  world_ = make("world", {.tensor = true, .context = true, .data = true, .pipeline = true});
  tensor_ = make("tensor", {.tensor = true});
  data_ = make("data", {.context = true, .data = true});
  model_ = make("model", {.tensor = true, .pipeline = true});
}

}  // namespace megalith
