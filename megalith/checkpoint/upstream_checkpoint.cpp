#include "megalith/checkpoint/upstream_checkpoint.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "megalith/checkpoint/torch_file.hpp"
#include "megalith/checkpoint/upstream_folder.hpp"
#include "megalith/checkpoint/upstream_layout.hpp"
#include "megalith/checkpoint/upstream_names.hpp"
#include "megalith/core/error.hpp"

namespace megalith {
namespace {

using Kind = PickleValue::Kind;
using File = std::shared_ptr<const TorchFile>;

constexpr size_t kShownNames = 10;
constexpr int64_t kMaxChunks = 1000;

/// The weights of one tensor rank by name, all stages together.
using RankTensors = std::map<std::string, UpstreamPart>;

/// The numbers beside the weights that all ranks of one save share.
struct SaveFacts {
  double version = 0;
  int64_t iteration = 0;
  bool operator==(const SaveFacts&) const = default;
};

SaveFacts facts_of(const Pickle& pickle) {
  SaveFacts facts;
  const auto* version = pickle.find(pickle.root(), "checkpoint_version");
  if (version != nullptr && version->kind == Kind::kFloat) facts.version = version->real;
  if (version != nullptr && version->kind == Kind::kInt) {
    facts.version = static_cast<double>(version->integer);
  }
  for (const char* name : {"iteration", "total_iters"}) {  // the second before v1.0
    const auto* iteration = pickle.find(pickle.root(), name);
    if (iteration != nullptr && iteration->kind == Kind::kInt) {
      facts.iteration = iteration->integer;
      break;
    }
  }
  return facts;
}

std::vector<File> open_files(const UpstreamFolder& folder, Problems& problems) {
  std::vector<File> files;
  for (const auto& path : folder.files) {
    try {
      files.push_back(path.empty() ? nullptr : std::make_shared<const TorchFile>(path));
    } catch (const UsageError& error) {
      problems.add("{}", error.what());
      files.push_back(nullptr);
    }
  }
  return files;
}

/// Adds all tensors below a dictionary under their paths. A pickle can name one dictionary many
/// times over, and inside itself: depth and number are bounded.
class Flattener {
 public:
  Flattener(File file, int64_t first_layer, RankTensors& tensors, Problems& problems)
      : file_(std::move(file)), first_layer_(first_layer), tensors_(tensors), problems_(problems) {}

  void add(const PickleValue& dict, const std::string& path, int depth) {
    constexpr int kDeepest = 16;
    constexpr int64_t kMost = 200'000;
    constexpr size_t kLongestName = 300;
    num_seen_ += 1 + static_cast<int64_t>(dict.items.size()) / 2;
    if (depth > kDeepest || num_seen_ > kMost) {
      throw UsageError("{}: its model is nested deeper than {} or has more than {} entries",
                       file_->path(), kDeepest, kMost);
    }
    const Pickle& pickle = file_->pickle();
    for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
      const auto &key = pickle.item(dict, i), &value = pickle.item(dict, i + 1);
      if (key.kind != Kind::kText || path.size() + key.text.size() > kLongestName) continue;
      const std::string name =
          path.empty() ? std::string(key.text) : fmt::format("{}.{}", path, key.text);
      if (value.kind == Kind::kDict) add(value, name, depth + 1);
      if (value.kind == Kind::kTensor) add_tensor(name, pickle.tensor(value));
    }
  }
  int64_t num_layers() const { return num_layers_; }

 private:
  void add_tensor(const std::string& path, const PickleTensor& tensor) {
    const std::string name = upstream_name(path, first_layer_);
    if (name.empty()) return;
    num_layers_ = std::max(num_layers_, upstream_layer(name) + 1 - first_layer_);
    const bool is_new = tensors_.emplace(name, UpstreamPart{file_, tensor}).second;
    // The embedding of the last stage, to which the logits are tied, stands there a second time.
    if (!is_new && name != "embedding.word_embeddings.weight" && name != "output_layer.weight") {
      problems_.add("{}: weight '{}' is there twice", file_->path(), shown(name));
    }
  }

  File file_;
  int64_t first_layer_;
  RankTensors& tensors_;
  Problems& problems_;
  int64_t num_layers_ = 0, num_seen_ = 0;
};

/// One tensor rank's stages and, within them, interleaved chunks, in the order of the layers.
RankTensors gather_rank(const UpstreamFolder& folder, const std::vector<File>& files,
                        int64_t tensor_rank, Problems& problems) {
  RankTensors tensors;
  int64_t first_layer = 0;
  for (int64_t chunk = 0; chunk < kMaxChunks; ++chunk) {
    bool is_there = false;
    for (int64_t stage = 0; stage < folder.pipeline_size; ++stage) {
      const File& file = files[static_cast<size_t>(stage * folder.tensor_size + tensor_rank)];
      const Pickle& pickle = file->pickle();
      const auto* model = pickle.find(pickle.root(), fmt::format("model{}", chunk));
      if (chunk == 0 && model == nullptr) model = pickle.find(pickle.root(), "model");
      if (model == nullptr || model->kind != Kind::kDict) {
        if (chunk == 0) problems.add("{}: holds no 'model'", file->path());
        continue;
      }
      is_there = true;
      Flattener flattener(file, first_layer, tensors, problems);
      flattener.add(*model, "", 0);
      first_layer += flattener.num_layers();
    }
    if (!is_there) break;
  }
  return tensors;
}

/// All files are of one save, and of one that is read here.
SaveFacts check_facts(const std::vector<File>& files, Problems& problems) {
  const SaveFacts first = facts_of(files.front()->pickle());
  if (first.version != 0 && first.version != 1 && first.version != 2 && first.version != 3) {
    problems.add("{}: is of checkpoint_version {}; 0, 1.0, 2.0 and 3.0 are read",
                 files.front()->path(), first.version);
  }
  if (first.iteration < 0 || first.iteration > int64_t{1} << 53) {
    problems.add("{}: says it is of iteration {}", files.front()->path(), first.iteration);
  }
  for (const auto& file : files) {
    const SaveFacts facts = facts_of(file->pickle());
    if (facts == first) continue;
    problems.add(
        "{}: is of iteration {} and checkpoint_version {}, the first rank's file of {} and "
        "{}; copy the files of one save",
        file->path(), facts.iteration, facts.version, first.iteration, first.version);
  }
  return first;
}

/// Some ranks' folders can be missing at the end, where the names do not show it.
void check_sizes(const UpstreamFolder& folder, const UpstreamArguments& arguments,
                 Problems& problems) {
  auto tensor = arguments.integer("tensor_model_parallel_size");
  if (!tensor) tensor = arguments.integer("model_parallel_size");  // v1.0
  const int64_t pipeline =
      arguments.integer("pipeline_model_parallel_size").value_or(folder.pipeline_size);
  if (tensor && *tensor != folder.tensor_size) {
    problems.add("{}: holds the files of {} tensor ranks, and {} saved it; copy the files of all",
                 folder.path, folder.tensor_size, *tensor);
  }
  if (pipeline != folder.pipeline_size) {
    problems.add(
        "{}: holds the files of {} pipeline stages, and {} saved it; copy the files of all",
        folder.path, folder.pipeline_size, pipeline);
  }
}

UpstreamShape shape_of(const UpstreamFolder& folder, const RankTensors& tensors) {
  UpstreamShape shape;
  shape.tensor_size = folder.tensor_size;
  const auto size = [&](const char* name, size_t dim) {
    const auto found = tensors.find(name);
    const bool is_there = found != tensors.end() && found->second.tensor.shape.size() > dim;
    const int64_t value = is_there ? found->second.tensor.shape[dim] : 0;
    return std::min(value, int64_t{1} << 40);
  };
  shape.vocab_rows = size("embedding.word_embeddings.weight", 0) * folder.tensor_size;
  shape.hidden_size = size("embedding.word_embeddings.weight", 1);
  shape.num_positions = size("embedding.position_embeddings.weight", 0);
  shape.ffn_rows = size("decoder.layers.0.mlp.linear_fc1.weight", 0) * folder.tensor_size;
  shape.has_linear_bias = tensors.contains("decoder.layers.0.mlp.linear_fc1.bias");
  shape.has_output_layer = tensors.contains("output_layer.weight");
  shape.num_token_types = size("embedding.tokentype_embeddings.weight", 0);
  shape.has_pooler = tensors.contains("pooler.dense.weight");
  shape.has_lm_head = tensors.contains("lm_head.dense.weight");
  shape.has_order_head = tensors.contains("binary_head.weight");
  shape.has_choice_head = tensors.contains("multichoice_head.weight");
  shape.num_classes = size("classification_head.weight", 0);
  for (const auto& [name, part] : tensors) {
    shape.num_layers = std::max(shape.num_layers, upstream_layer(name) + 1);
  }
  return shape;
}

/// Names that should be there and are not, or the other way round: a few, and how many.
void add_names(const std::string& path, const char* what, const std::vector<std::string>& names,
               Problems& problems) {
  if (names.empty()) return;
  std::vector<std::string> some;
  for (size_t i = 0; i < std::min(names.size(), kShownNames); ++i) some.push_back(shown(names[i]));
  const std::string more =
      names.size() > kShownNames ? fmt::format(" and {} more", names.size() - kShownNames) : "";
  problems.add("{}: {}: {}{}", path, what, fmt::join(some, ", "), more);
}

/// The weights as tensors of ours; problems where a rank's do not fit.
std::vector<SourceTensor> join_ranks(const UpstreamFolder& folder, std::vector<RankTensors> ranks,
                                     const UpstreamShape& shape, const ModelConfig& config,
                                     double version, Problems& problems) {
  std::vector<SourceTensor> tensors;
  std::vector<std::string> missing, misfits;
  for (const auto& spec : upstream_tensors(config, shape.vocab_rows)) {
    std::vector<UpstreamPart> parts;
    for (size_t rank = 0; rank < ranks.size(); ++rank) {
      auto found = ranks[rank].extract(spec.name);
      if (found) {
        parts.push_back(std::move(found.mapped()));
      } else {
        missing.push_back(fmt::format("{} (tensor rank {})", spec.name, rank));
      }
    }
    if (parts.size() != ranks.size()) continue;
    if (const auto mistake = part_mistake(spec, parts)) {
      misfits.push_back(fmt::format("{}: {}", spec.name, *mistake));
      continue;
    }
    for (auto& tensor : assemble(spec, std::move(parts), config, version)) {
      tensors.push_back(std::move(tensor));
    }
  }
  std::set<std::string> left;
  for (auto& rank : ranks) {
    // Tied logits: where stages share the embedding, the last holds it again under this name.
    if (!config.untie_embeddings_and_output_weights) rank.erase("output_layer.weight");
    for (const auto& [name, part] : rank) left.insert(name);
  }
  add_names(folder.path, "weights are missing", missing, problems);
  add_names(folder.path, "weights do not fit", misfits, problems);
  add_names(folder.path, "weights that this model does not have", {left.begin(), left.end()},
            problems);
  return tensors;
}

/// What the checkpoint's meta says beside the model: where it comes from, and how far it got.
nlohmann::json meta_of(const UpstreamFolder& folder, const UpstreamArguments& arguments,
                       const SaveFacts& facts) {
  nlohmann::json meta;
  meta["source"] = {{"format", "Megatron-LM torch"},
                    {"checkpoint_version", facts.version},
                    {"tensor", folder.tensor_size},
                    {"pipeline", folder.pipeline_size}};
  auto consumed = arguments.integer("consumed_train_samples");
  const auto batch = arguments.integer("batch_size"), world = arguments.integer("world_size"),
             parallel = arguments.integer("model_parallel_size");
  const auto is_size = [](const std::optional<int64_t>& size) {
    return size && *size > 0 && *size < 1'000'000;
  };
  if (!consumed && is_size(batch) && is_size(world) && is_size(parallel)) {
    // v1.0 counted no samples; its batch never changed.
    int64_t samples = 0;
    const int64_t batch_of_all = *batch * (*world / *parallel);
    if (!__builtin_mul_overflow(facts.iteration, batch_of_all, &samples)) consumed = samples;
  }
  if (consumed && *consumed >= 0) {
    meta["training"] = {{"consumed_samples", *consumed}, {"schedule_samples", *consumed}};
  }
  return meta;
}

/// The model can be built, and is as deep as the tensors are.
void check_model(const ModelConfig& config, const UpstreamShape& shape, double version,
                 Problems& problems) {
  if (config.num_layers != shape.num_layers) {
    problems.add("it says that it has {} layers, and holds {}", config.num_layers,
                 shape.num_layers);
    return;
  }
  if (config.num_layers == 0 || config.hidden_size == 0) {
    problems.add("it holds no layers or no embedding of words");
    return;
  }
  config.check(shape.tensor_size, problems);
  if (config.group_query_attention && version < 2) {
    problems.add("it has query groups, which no release with checkpoint_version {} had", version);
  }
}

}  // namespace

ModelSource read_upstream_checkpoint(const std::string& path, const UpstreamOverrides& overrides) {
  Problems problems;
  const UpstreamFolder folder = list_upstream_files(path, problems);
  const auto files = open_files(folder, problems);
  problems.raise_if_any();
  const SaveFacts facts = check_facts(files, problems);
  const UpstreamArguments arguments(files.front()->pickle());
  check_sizes(folder, arguments, problems);
  std::vector<RankTensors> ranks;
  for (int64_t rank = 0; rank < folder.tensor_size; ++rank) {
    ranks.push_back(gather_rank(folder, files, rank, problems));
  }
  problems.raise_if_any();
  const UpstreamShape shape = shape_of(folder, ranks.front());
  ModelSource source;
  source.origin = path;
  source.iteration = facts.iteration;
  source.config = upstream_model(arguments, shape, overrides, problems);
  if (problems.empty()) check_model(source.config, shape, facts.version, problems);
  if (!problems.empty()) throw UsageError("{}: {}", path, fmt::join(problems.texts(), "; "));
  source.tensors =
      join_ranks(folder, std::move(ranks), shape, source.config, facts.version, problems);
  source.meta = meta_of(folder, arguments, facts);
  problems.raise_if_any();
  return source;
}

}  // namespace megalith
