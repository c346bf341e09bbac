// Our reader and writer against files of the safetensors package, and the reader against files that
// break the format.
#include "megalith/checkpoint/safetensors.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "megalith/core/digest.hpp"
#include "megalith/core/error.hpp"
#include "support/process.hpp"
#include "support/temporary_folder.hpp"

namespace megalith {
namespace {

using testing::error_of;
using ::testing::HasSubstr;
using testing::TemporaryFolder;
using Json = nlohmann::json;

const std::string kGolden = std::string(MEGALITH_SOURCE_DIR) + "/tests/golden/safetensors/";

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const auto byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned>(byte));
  return text;
}

Json describe(const SafetensorsFile& file) {
  Json tensors = Json::object();
  for (const auto& entry : file.entries()) {
    const at::Tensor tensor = file.tensor(entry);
    EXPECT_EQ(tensor.scalar_type(), entry.dtype);
    EXPECT_EQ(tensor.sizes().vec(), entry.shape);
    const at::Tensor bits = as_bits(tensor).contiguous();
    tensors[entry.name] = {
        {"dtype", safetensors_dtype_name(entry.dtype)},
        {"shape", entry.shape},
        {"bytes", hex({static_cast<const std::byte*>(bits.data_ptr()), bits.nbytes()})}};
  }
  return tensors;
}

void write_all(const SafetensorsFile& source, const std::string& path) {
  std::vector<SafetensorsEntry> entries = source.entries();
  SafetensorsWriter writer(path, entries, {{"made by", "a test"}}, SafetensorsWriter::Sums::kTaken);
  for (const auto& entry : writer.entries()) writer.append(source.tensor(entry.name));
  for (size_t i = 0; i < writer.entries().size(); ++i) {
    const std::string& name = writer.entries()[i].name;
    EXPECT_EQ(writer.sums()[i], sha256_hex(source.bytes(*source.find(name)))) << name;
  }
  writer.commit();
}

/// Large tensors' sums are taken beside the writing of others: each must end up with its own.
TEST(Safetensors, SumsOfLargeAndSmallTensorsAreInOrder) {
  TemporaryFolder folder;
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, at::Tensor> tensors;
  for (int64_t i = 0; i < 12; ++i) {
    const std::string name = fmt::format("t{:02d}", i);
    // 400 bytes, 1 MB and, twice, more than may be in flight together.
    const int64_t size = i % 3 == 0 ? 100 : i % 6 == 5 ? 10'000'000 : 250'000;
    tensors[name] = at::arange(size, at::kFloat) + static_cast<double>(i);
    entries.push_back({name, at::kFloat, {size}});
  }
  SafetensorsWriter writer(folder.path("a.safetensors"), entries, {},
                           SafetensorsWriter::Sums::kTaken);
  for (const auto& entry : writer.entries()) writer.append(tensors.at(entry.name));
  for (size_t i = 0; i < writer.entries().size(); ++i) {
    const at::Tensor& tensor = tensors.at(writer.entries()[i].name);
    const std::span bytes(static_cast<const std::byte*>(tensor.data_ptr()), tensor.nbytes());
    EXPECT_EQ(writer.sums()[i], sha256_hex(bytes)) << i;
  }
  writer.commit();
  const SafetensorsFile file(folder.path("a.safetensors"));
  for (const auto& [name, tensor] : tensors) EXPECT_TRUE(at::equal(file.tensor(name), tensor));
}

TEST(Safetensors, ReadsEveryTypeOfThePackagesFileBitForBit) {
  const SafetensorsFile file(kGolden + "all_types.safetensors");
  EXPECT_EQ(describe(file), Json::parse(std::ifstream(kGolden + "all_types.json")));
  EXPECT_EQ(file.metadata().at("origin"), "safetensors package");
  EXPECT_EQ(file.find("absent"), nullptr);
}

TEST(Safetensors, TensorOutlivesTheFileObject) {
  at::Tensor tensor;
  {
    const SafetensorsFile file(kGolden + "all_types.safetensors");
    tensor = file.tensor("ids.i64");
  }
  EXPECT_EQ(tensor[2].item<int64_t>(), int64_t{1} << 62);
}

TEST(Safetensors, WritesWhatItReads) {
  const TemporaryFolder folder;
  const SafetensorsFile source(kGolden + "all_types.safetensors");
  write_all(source, folder.path("copy.safetensors"));
  const SafetensorsFile copy(folder.path("copy.safetensors"));
  EXPECT_EQ(describe(copy), describe(source));
  for (const auto& entry : copy.entries()) {
    const auto place = reinterpret_cast<uintptr_t>(copy.bytes(entry).data());
    EXPECT_EQ(place % c10::elementSize(entry.dtype), 0U) << entry.name;
  }
  EXPECT_EQ(testing::names_in(folder.path()), std::vector<std::string>{"copy.safetensors"});
}

TEST(Safetensors, WritesAnyStrides) {
  const TemporaryFolder folder;
  const at::Tensor whole = at::arange(24, at::kFloat).reshape({4, 6});
  SafetensorsWriter writer(folder.path("t"), {{"t", at::kFloat, {6, 2}}}, {},
                           SafetensorsWriter::Sums::kTaken);
  writer.append(whole.narrow(0, 1, 2).t());
  writer.commit();
  EXPECT_TRUE(at::equal(SafetensorsFile(folder.path("t")).tensor("t"), whole.narrow(0, 1, 2).t()));
}

TEST(Safetensors, ThePackageReadsWhatIsWrittenHere) {
  const std::string python = std::string(MEGALITH_SOURCE_DIR) + "/.venv/bin/python";
  const std::string script =
      std::string(MEGALITH_SOURCE_DIR) + "/tests/oracles/safetensors_golden.py";
  const auto probe = std::filesystem::exists(python)
                         ? testing::run_process({python, "-c", "import safetensors, torch"})
                         : testing::ProcessResult{};
  if (probe.status != 0) GTEST_SKIP() << "no Python with safetensors and torch in .venv";
  const TemporaryFolder folder;
  const SafetensorsFile source(kGolden + "all_types.safetensors");
  write_all(source, folder.path("copy.safetensors"));
  const auto result =
      testing::run_process({python, script, "--check", folder.path("copy.safetensors")});
  ASSERT_EQ(result.status, 0) << result.err;
  const Json seen = Json::parse(result.out);
  EXPECT_EQ(seen.at("tensors"), describe(source));
  EXPECT_EQ(seen.at("metadata").at("made by"), "a test");
}

struct BadFile {
  const char* what;
  std::string header;
  int64_t data_bytes;
  const char* message;
};

class BadFiles : public ::testing::TestWithParam<BadFile> {};

TEST_P(BadFiles, AreRefusedWithFileAndReason) {
  const TemporaryFolder folder;
  const auto& bad = GetParam();
  const uint64_t length = bad.header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  const auto path = folder.write(
      "bad", bytes + bad.header + std::string(static_cast<size_t>(bad.data_bytes), 'x'));
  const std::string message = error_of<UsageError>([&] { SafetensorsFile file(path); });
  EXPECT_THAT(message, HasSubstr(path));
  EXPECT_THAT(message, HasSubstr(bad.message));
}

INSTANTIATE_TEST_SUITE_P(
    Format, BadFiles,
    ::testing::Values(
        BadFile{"not JSON", "{not json", 0, "not JSON"},
        BadFile{"a list", "[]", 0, "not an object"},
        BadFile{"unknown type", R"({"a":{"dtype":"F8_E5M2","shape":[1],"data_offsets":[0,1]}})", 1,
                "'a' has dtype F8_E5M2"},
        BadFile{"no type", R"({"a":{"shape":[1],"data_offsets":[0,1]}})", 1, "(missing)"},
        BadFile{"negative size", R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1,
                "'shape' must be"},
        BadFile{"shape and bytes", R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8,
                "does not fill its 8 bytes"},
        BadFile{"overflow",
                R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0,
                "does not fill its 0 bytes"},
        BadFile{"one offset", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", 1,
                "a begin and an end"},
        BadFile{"truncated data", R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}})", 11,
                "truncated"},
        BadFile{"bytes left over", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 2,
                "1 bytes after the last tensor"},
        BadFile{"overlap",
                R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                R"("b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
                6, "overlap"},
        BadFile{"hole",
                R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                R"("b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}})",
                6, "hole"},
        BadFile{"name twice",
                R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
                2, "stands twice"},
        BadFile{"metadata", R"({"__metadata__":{"k":1}})", 0, "is not a text"}),
    [](const auto& param_info) {
      std::string name = param_info.param.what;
      std::replace_if(
          name.begin(), name.end(), [](char c) { return !isalnum(c); }, '_');
      return name;
    });

TEST(Safetensors, RefusesShortAndForeignFiles) {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& bytes) {
    const auto path = folder.write("bad", bytes);
    return error_of<UsageError>([&] { SafetensorsFile file(path); });
  };
  EXPECT_THAT(message(""), HasSubstr("0 bytes are too few"));
  EXPECT_THAT(message("PK\x03\x04 a zip file, as Python's pickles are"),
              HasSubstr("is not a safetensors file"));
  EXPECT_THAT(message(std::string("\x40\0\0\0\0\0\0\0{", 9)), HasSubstr("truncated"));
  EXPECT_THAT(error_of<UsageError>([&] { SafetensorsFile file(folder.path("absent")); }),
              HasSubstr("absent: cannot open"));
}

}  // namespace
}  // namespace megalith
