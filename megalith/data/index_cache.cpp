#include "megalith/data/index_cache.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "megalith/core/atomic_file.hpp"
#include "megalith/core/digest.hpp"
#include "megalith/core/error.hpp"

namespace megalith {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kNoteFormat = "megalith index cache 1";

/// Python prints the shortest digits that read back the same, and always a point or an exponent.
std::string python_float(double value) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

/// json.dumps(value, indent=4), character for character.
std::string python_json(const Json& value, size_t depth = 0) {
  const std::string indent(4 * (depth + 1), ' ');
  const std::string closing(4 * depth, ' ');
  const bool object = value.is_object();
  if (!value.is_structured()) {
    return value.is_number_float() ? python_float(value.get<double>()) : value.dump(-1, ' ', true);
  }
  if (value.empty()) return object ? "{}" : "[]";
  std::string text = object ? "{\n" : "[\n";
  for (auto item = value.begin(); item != value.end(); ++item) {
    if (item != value.begin()) text += ",\n";
    text += indent;
    if (object) text += Json(item.key()).dump(-1, ' ', true) + ": ";
    text += python_json(*item, depth + 1);
  }
  return text + "\n" + closing + (object ? "}" : "]");
}

/// Upstream's running sum starts with the whole number 0, which shows in the text.
Json matrix_json(const DatasetDescription& description) {
  if (!description.split_text) return nullptr;
  Json rows = Json::array();
  for (const auto& bounds : description.matrix) {
    if (!bounds) {
      rows.push_back(nullptr);
      continue;
    }
    const bool starts_the_sum = rows.empty();
    const Json low = starts_the_sum ? Json(0) : Json(bounds->first);
    rows.push_back(Json::array({low, bounds->second}));
  }
  return rows;
}

Json description_json(const DatasetDescription& description) {
  Json json;
  json["class"] = description.class_name;
  json["dataset_path"] = description.dataset_path;
  json["num_samples"] = description.num_samples ? Json(*description.num_samples) : Json(nullptr);
  json["index_split"] = split_name(description.split);
  json["random_seed"] = description.seed;
  json["sequence_length"] = description.sequence_length;
  json["split"] = description.split_text ? Json(*description.split_text) : Json(nullptr);
  json["split_matrix"] = matrix_json(description);
  json["tokenizer"] = Json::parse(description.tokenizer_json);
  json.update(Json::parse(description.more_json));
  return json;
}

std::string description_of(const Json& json) {
  try {
    return python_json(json);
  } catch (const Json::exception&) {
    throw UsageError("{}: the path is not UTF-8, which the names of index files need",
                     json.value("dataset_path", std::string("a dataset")));
  }
}

std::string note_part() { return "megalith.json"; }

}  // namespace

std::string description_text(const DatasetDescription& description) {
  return description_of(description_json(description));
}

std::string blend_description_text(const std::vector<DatasetDescription>& children, Split split,
                                   const std::vector<double>& weights,
                                   std::optional<int64_t> size) {
  Json json;
  json["class"] = kBlendClass;
  json["datasets"] = Json::array();
  for (const auto& child : children) json["datasets"].push_back(description_json(child));
  json["split"] = split_name(split);
  json["weights"] = Json::array();
  for (const double weight : weights) {
    json["weights"].push_back(size ? Json(weight) : Json(std::llround(weight)));
  }
  json["size"] = size ? Json(*size) : Json(nullptr);
  return description_of(json);
}

std::string gpt_fingerprint(std::span<const int32_t> lengths, Interval interval,
                            const GptIndexRequest& request) {
  const auto used = lengths.subspan(static_cast<size_t>(interval.first),
                                    static_cast<size_t>(interval.second - interval.first));
  Json json;
  json["first_sequence"] = interval.first;
  json["end_sequence"] = interval.second;
  json["sequence_lengths_sha256"] = sha256_hex(std::as_bytes(used));
  json["add_extra_token"] = request.add_extra_token;
  json["keep_partial_sample"] = request.keep_partial_sample;
  return json.dump();
}

std::string bert_fingerprint(std::span<const int32_t> lengths, DocumentBounds bounds,
                             const BertIndexRequest& request) {
  const auto used = lengths.subspan(static_cast<size_t>(bounds.front()),
                                    static_cast<size_t>(bounds.back() - bounds.front()));
  Json json;
  json["document_bounds_sha256"] = sha256_hex(std::as_bytes(bounds));
  json["sentence_lengths_sha256"] = sha256_hex(std::as_bytes(used));
  json["keep_long_sentences"] = request.keep_long_sentences;
  return json.dump();
}

IndexCache::IndexCache(std::string folder, const std::string& class_name,
                       std::optional<Split> split, std::string description, std::string fingerprint)
    : description_(std::move(description)), fingerprint_(std::move(fingerprint)) {
  std::string name = fmt::format("{}-{}", md5_hex(description_), class_name);
  if (split) name += fmt::format("-{}", split_name(*split));
  stem_ = (std::filesystem::path(std::move(folder)) / name).string();
}

std::optional<std::vector<IntegerArray>> IndexCache::load(const std::vector<std::string>& parts,
                                                          std::string& reason) const {
  reason.clear();
  const std::string note_path = path(note_part());
  std::error_code error;
  if (!std::filesystem::exists(note_path, error)) {
    if (std::filesystem::exists(path(parts.front() + ".npy"), error)) {
      reason = "it has no note by this program";
    }
    return std::nullopt;
  }
  try {
    const Json note = Json::parse(read_text_file(note_path));
    if (note.at("format") != kNoteFormat) throw UsageError("its note has another format");
    if (note.at("source") != Json::parse(fingerprint_)) {
      throw UsageError("the dataset or a switch has changed since it was built");
    }
    std::vector<IntegerArray> arrays;
    for (const auto& part : parts) {
      arrays.push_back(read_numpy(path(part + ".npy")));
      if (note.at("sha256").at(part) != sha256_hex(arrays.back().bytes())) {
        throw UsageError("{} does not hold what was written", path(part + ".npy"));
      }
    }
    return arrays;
  } catch (const UsageError& problem) {
    reason = problem.what();
  } catch (const Json::exception&) {
    reason = note_path + " cannot be understood";
  }
  return std::nullopt;
}

void IndexCache::store(const std::vector<std::string>& parts,
                       const std::vector<IntegerArray>& arrays) const {
  const std::string folder = std::filesystem::path(stem_).parent_path().string();
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw UsageError(
        "{}: cannot make the folder for index files: {}; choose another with "
        "--data-cache-path",
        folder, error.message());
  }
  AtomicFile description(path("description.txt"));
  description.write(description_);
  description.publish();
  Json note{{"format", kNoteFormat}, {"source", Json::parse(fingerprint_)}};
  for (size_t i = 0; i < parts.size(); ++i) {
    write_numpy(path(parts[i] + ".npy"), arrays[i]);
    note["sha256"][parts[i]] = sha256_hex(arrays[i].bytes());
  }
  AtomicFile file(path(note_part()));
  file.write(note.dump(2) + "\n");
  file.publish();
}

std::vector<IntegerArray> load_or_build(const IndexCache* cache, IndexRole role,
                                        const std::vector<std::string>& parts,
                                        const std::function<std::vector<IntegerArray>()>& build,
                                        const std::function<void(const std::string&)>& notice) {
  if (!cache) return build();
  std::string reason;
  if (auto arrays = cache->load(parts, reason)) return std::move(*arrays);
  if (!reason.empty() && notice) {
    notice(fmt::format("{}-*: built again, because {}", cache->stem(), reason));
  }
  std::vector<IntegerArray> arrays = build();
  if (role == IndexRole::kLoadOrBuildPrivately) return arrays;
  cache->store(parts, arrays);
  // Mapped pages are shared by the ranks of a host; what was built is given back.
  if (auto mapped = cache->load(parts, reason)) return std::move(*mapped);
  return arrays;
}

}  // namespace megalith
