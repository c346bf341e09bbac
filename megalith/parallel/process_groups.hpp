// The groups of ranks that communicate, made from the topology and a backend.
//
// A Group is a value that layers keep; its communicator outlives every copy. Groups of one rank
// hold no backend: collectives.hpp knows that such a group needs no traffic. Which backend (gloo,
// NCCL, the thread ranks of the tests) is decided by the factory the caller passes; nothing here
// asks.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "megalith/parallel/call_record.hpp"
#include "megalith/parallel/topology.hpp"

namespace c10d {
class Backend;
}

namespace megalith {

/// What one rank has sent through collectives, by "operation group", e.g. "all_reduce tensor".
struct Traffic {
  struct Entry {
    int64_t calls = 0;
    int64_t bytes = 0;  // payload of the tensor handed in, counted once
  };
  std::map<std::string, Entry> entries;
};

/// Holds c10d's backend; defined in collectives.cpp so that this header stays light.
class Communicator;

struct Group {
  std::string name;                             // "tensor", "data", "model", "world"
  std::vector<int64_t> ranks;                   // world ranks, ascending
  int64_t rank = 0;                             // this rank's position in `ranks`
  std::shared_ptr<Communicator> communicator;   // null when size() == 1
  std::shared_ptr<Traffic> traffic;             // shared by the groups of one rank; may be null
  std::shared_ptr<CallRecord> calls = nullptr;  // likewise

  int64_t size() const { return static_cast<int64_t>(ranks.size()); }
};

/// Makes the backend of one group: its name, this rank's position in it, its world ranks. Called on
/// every rank of the group, in the same order of groups on all of them.
using BackendFactory = std::function<std::shared_ptr<Communicator>(
    const std::string& name, int64_t rank, const std::vector<int64_t>& ranks)>;

class ProcessGroups {
 public:
  /// One rank alone.
  ProcessGroups();
  /// Communicates: every rank of the layout must construct, with the same layout.
  /// `calls`: what watches this rank's waits; one of its own without.
  ProcessGroups(const Layout& layout, int64_t world_rank, const BackendFactory& factory,
                std::shared_ptr<CallRecord> calls = nullptr);

  const Layout& layout() const { return layout_; }
  const Coordinates& coordinates() const { return coordinates_; }
  int64_t world_rank() const { return world_.rank; }

  const Group& tensor() const {
    return tensor_;
  }  // slices of one layer (the paper's model-parallel group)
  const Group& data() const { return data_; }    // gradients are summed here: data x context
  const Group& model() const { return model_; }  // one replica of the model: tensor x pipeline
  const Group& world() const { return world_; }
  const std::shared_ptr<Traffic>& traffic() const { return traffic_; }
  /// What this rank is doing; to be told the phase of the run.
  CallRecord& calls() const { return *calls_; }

 private:
  Layout layout_;
  Coordinates coordinates_;
  std::shared_ptr<Traffic> traffic_;
  std::shared_ptr<CallRecord> calls_;
  Group tensor_, data_, model_, world_;
};

}  // namespace megalith
