#include "megalith/checkpoint/hugging_face.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <set>

#include "megalith/checkpoint/hugging_face_bert.hpp"
#include "megalith/checkpoint/manifest.hpp"
#include "megalith/ops/transpose.hpp"

namespace megalith {
namespace {

constexpr size_t kMostNamed = 20;  // a file of another model misses everything

/// "- first - second - ... and 280 more".
void add_limited(Problems& problems, const std::vector<std::string>& texts, const char* what) {
  for (size_t i = 0; i < std::min(kMostNamed, texts.size()); ++i) problems.add("{}", texts[i]);
  if (texts.size() > kMostNamed) {
    problems.add("... and {} more tensors {}", texts.size() - kMostNamed, what);
  }
}

bool is_supported(at::ScalarType dtype) {
  return dtype == at::kFloat || dtype == at::kHalf || dtype == at::kBFloat16;
}

/// Today's names with prefix, as they are in a folder.
class FileNames {
 public:
  FileNames(const HuggingFaceFolder& files, HuggingFaceFamily family)
      : files_(files), prefix_(name_of(family).prefix), family_(family) {
    // Base models are saved without the prefix.
    const auto& names = files.names();
    has_prefix_ = std::any_of(names.begin(), names.end(),
                              [&](const std::string& name) { return name.starts_with(prefix_); });
  }

  std::string of(const std::string& name) const {
    const std::string today = without_prefix(name);
    if (family_ != HuggingFaceFamily::kBert || files_.has(today)) return today;
    const std::string other = without_prefix(other_bert_name(name));
    return files_.has(other) ? other : today;
  }

 private:
  std::string without_prefix(const std::string& name) const {
    const bool is_cut = !has_prefix_ && name.starts_with(prefix_);
    return is_cut ? name.substr(prefix_.size()) : name;
  }
  const HuggingFaceFolder& files_;
  std::string prefix_;
  HuggingFaceFamily family_;
  bool has_prefix_;
};

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

void check_tensors(const HuggingFaceModel& model, Problems& problems) {
  std::vector<std::string> missing, wrong;
  for (const auto& [tensor, name] : model.tensors) {
    if (!model.files->has(name)) {
      missing.push_back(fmt::format("{}: has no tensor '{}' {}, which its config.json asks for",
                                    model.source.origin, name, shape_text(tensor.shape())));
      continue;
    }
    const auto& entry = model.files->entry(name);
    if (entry.shape != tensor.shape()) {
      wrong.push_back(fmt::format("{}: tensor '{}' is {}, config.json asks for {}",
                                  model.files->file_of(name), name, shape_text(entry.shape),
                                  shape_text(tensor.shape())));
    }
    if (!is_supported(entry.dtype)) {
      wrong.push_back(fmt::format("{}: tensor '{}' has type {}; supported are F32, F16 and BF16",
                                  model.files->file_of(name), name,
                                  safetensors_dtype_name(entry.dtype)));
    }
  }
  add_limited(problems, missing, "are missing");
  add_limited(problems, wrong, "do not fit");
}

/// The name that the file has for a tensor of the table; "" when the table has no such tensor.
std::string name_in_file(const HuggingFaceModel& model, const std::string& table_name) {
  const auto found =
      std::find_if(model.tensors.begin(), model.tensors.end(),
                   [&](const auto& tensor) { return tensor.first.name == table_name; });
  return found == model.tensors.end() ? "" : found->second;
}

/// The original in the file of what may be a copy (logits beside a tied embedding), or "".
std::string original_of(const HuggingFaceModel& model, const std::string& name) {
  if (model.config.family == HuggingFaceFamily::kBert) {
    return name_in_file(model, original_of_bert_copy(name));
  }
  const bool is_tied_output =
      name == "lm_head.weight" && !model.source.config.untie_embeddings_and_output_weights;
  return is_tied_output ? model.tensors.front().second : "";
}

/// An output layer beside a tied embedding is a copy of it, or a mistake.
void check_copy(const HuggingFaceModel& model, const std::string& name, const std::string& original,
                Problems& problems) {
  if (!model.files->has(original)) return;
  const at::Tensor a = model.files->tensor(name), b = model.files->tensor(original);
  if (a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() &&
      as_bits(a).equal(as_bits(b))) {
    return;
  }
  const bool is_bert = model.config.family == HuggingFaceFamily::kBert;
  problems.add(
      "{}: '{}' is not '{}', though config.json says tie_word_embeddings (or leaves it "
      "out); {}",
      model.source.origin, name, original,
      is_bert ? "BERT's logits are tied to the embedding here"
              : "say false there if the output layer has weights of its own");
}

void check_superfluous(HuggingFaceModel& model, Problems& problems) {
  std::set<std::string> wanted;
  for (const auto& [tensor, name] : model.tensors) wanted.insert(name);
  std::vector<std::string> superfluous;
  int64_t buffers = 0;
  for (const auto& name : model.files->names()) {
    if (wanted.contains(name)) continue;
    if (is_hugging_face_buffer(name)) {
      ++buffers;
    } else if (const auto original = original_of(model, name); !original.empty()) {
      check_copy(model, name, original, problems);
    } else {
      superfluous.push_back(fmt::format(
          "{}: tensor '{}' {} belongs to no {} of this config.json", model.files->file_of(name),
          name, shape_text(model.files->entry(name).shape), architecture_of(model.config)));
    }
  }
  add_limited(problems, superfluous, "are superfluous");
  if (buffers > 0) {
    model.notices.push_back(fmt::format(
        "{} tensors of masks, frequencies or positions are no weights; left out", buffers));
  }
}

/// The tensor that was read last; ranks as threads may read at the same time.
struct LastRead {
  std::mutex mutex;
  std::string name;
};

/// Each tensor's memory goes back to the system when the next one is read.
void add_parts(HuggingFaceModel& model) {
  const auto last = std::make_shared<LastRead>();
  for (const auto& [tensor, name] : model.tensors) {
    for (size_t i = 0; i < tensor.parts.size(); ++i) {
      SourceTensor part;
      part.name = tensor.parts[i].name;
      part.shape = tensor.parts[i].shape;
      part.dtype = model.files->entry(name).dtype;
      part.read = [files = model.files, tensor = tensor, name = name, i, last] {
        const std::lock_guard lock(last->mutex);
        if (!last->name.empty() && last->name != name) files->release(last->name);
        last->name = name;
        return tensor.part_of(files->tensor(name), i);
      };
      model.source.tensors.push_back(std::move(part));
    }
  }
}

/// Whether the checkpoint holds the very tensor, in type, shape and bits.
bool is_stored(const Checkpoint& checkpoint, const std::string& name, const at::Tensor& wanted) {
  const at::Tensor stored = checkpoint.map_global(name);
  return stored.scalar_type() == wanted.scalar_type() && stored.sizes() == wanted.sizes() &&
         as_bits(stored).equal(ops::contiguous_copy(as_bits(wanted)));
}

}  // namespace

std::string architecture_of(const HuggingFaceConfig& config) {
  return config.family == HuggingFaceFamily::kBert ? bert_architecture_of(config.model)
                                                   : name_of(config.family).architecture;
}

HuggingFaceModel open_hugging_face(const std::string& path, const HuggingFaceReadOptions& options) {
  HuggingFaceModel model;
  model.files = std::make_shared<const HuggingFaceFolder>(path);
  const std::string config_path = model.files->config_path();
  if (!std::filesystem::exists(config_path)) {
    throw UsageError("{}: is not there; the weights alone do not say what model they are of",
                     config_path);
  }
  Problems problems;
  model.config = read_hugging_face_config(config_path, options, problems);
  model.notices = model.config.notices;
  model.source.origin = path;
  model.source.meta["hugging_face"] = {{"config", model.config.json}};
  problems.raise_if_any();
  const FileNames file_names(*model.files, model.config.family);
  if (model.config.family == HuggingFaceFamily::kBert) {
    add_bert_heads(model.config,
                   [&](const std::string& name) { return model.files->has(file_names.of(name)); });
    model.notices = model.config.notices;
  }
  model.source.config = model.config.model;
  // Positions that were lowered are no weights' shape: only rotary models can be.
  for (auto& tensor : hugging_face_tensors(model.config.family, model.config.model)) {
    std::string name = file_names.of(tensor.name);
    model.tensors.emplace_back(std::move(tensor), std::move(name));
  }
  check_tensors(model, problems);
  check_superfluous(model, problems);
  problems.raise_if_any();
  add_parts(model);
  return model;
}

void check_gives_back(const Checkpoint& checkpoint, const HuggingFaceModel& model) {
  checkpoint.verify_all();
  std::vector<std::string> different;
  for (const auto& [tensor, name] : model.tensors) {
    const at::Tensor theirs = model.files->tensor(name);
    for (size_t i = 0; i < tensor.parts.size(); ++i) {
      if (is_stored(checkpoint, tensor.parts[i].name, tensor.part_of(theirs, i))) continue;
      different.push_back(name);
      break;
    }
    model.files->release(name);
  }
  if (different.empty()) return;
  throw RunError("{}: does not give back {} of {}: {}", checkpoint.folder(), different.size(),
                 model.source.origin, fmt::join(different, ", "));
}

}  // namespace megalith
