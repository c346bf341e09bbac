// Field listings: words to values and back, ranges, mistakes that name flag, value and cure.
#include "megalith/core/fields.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "megalith/core/output_path.hpp"
#include "support/temporary_folder.hpp"

namespace megalith {
namespace {

enum class Colour { kRed, kBlue };

struct Config {
  int64_t count = 3;
  double rate = 0.5;
  bool on = false;
  std::string name = "x";
  std::optional<int64_t> limit;
  std::vector<std::string> paths;
  std::vector<int64_t> steps;
  Colour colour = Colour::kRed;

  FieldList fields() {
    return {{"count", &count, "", at_least(1)},
            {"rate", &rate, "", half_open(0, 1)},
            {"on", &on, ""},
            {"name", &name, ""},
            {"limit", &limit, "", above(0)},
            {"paths", &paths, ""},
            {"steps", &steps, "", at_least(0), "", 3},
            {"colour", choice(colour, {"red", "blue"}), ""}};
  }
};

const Field& field(const FieldList& fields, const std::string& name) {
  for (const auto& f : fields) {
    if (f.name == name) return f;
  }
  throw std::logic_error("no field " + name);
}

TEST(Fields, TakeWordsAndRefuseWhatIsNoValue) {
  Config config;
  const auto fields = config.fields();
  EXPECT_EQ(set_field(field(fields, "count"), {"12"}), std::nullopt);
  EXPECT_EQ(config.count, 12);
  EXPECT_EQ(set_field(field(fields, "rate"), {"2.5e-1"}), std::nullopt);
  EXPECT_EQ(config.rate, 0.25);
  EXPECT_EQ(set_field(field(fields, "colour"), {"blue"}), std::nullopt);
  EXPECT_EQ(config.colour, Colour::kBlue);
  EXPECT_EQ(set_field(field(fields, "steps"), {"1", "2", "3"}), std::nullopt);
  EXPECT_EQ(set_field(field(fields, "count"), {"12x"}), "--count needs a whole number, got '12x'");
  EXPECT_EQ(set_field(field(fields, "count"), {"0"}), "--count must be at least 1, got 0");
  EXPECT_EQ(set_field(field(fields, "rate"), {"1"}),
            "--rate must be at least 0 and below 1, got 1");
  EXPECT_TRUE(set_field(field(fields, "rate"), {"nan"}).has_value());
  EXPECT_EQ(set_field(field(fields, "colour"), {"green"}),
            "--colour must be one of red, blue, got 'green'");
  EXPECT_EQ(set_field(field(fields, "steps"), {"1"}), "--steps needs 3 values, got 1");
  EXPECT_EQ(set_field(field(fields, "rate"), {"inf"}),
            "--rate must be a finite number, at least 0 and below 1, got inf");
  EXPECT_EQ(set_field(field(fields, "count"), {"1_000"}), std::nullopt);
  EXPECT_EQ(set_field(field(fields, "count"), {"12"}), std::nullopt);
  EXPECT_EQ(set_field(field(fields, "count"), {"99999999999999999999"}),
            "--count needs a whole number of at most 18 digits, got '99999999999999999999'");
  EXPECT_EQ(config.count, 12) << "a refused value must not change the field";
}

TEST(Fields, GoThroughJsonUnchanged) {
  Config config{7, 0.125, true, "a b", 9, {"p", "q"}, {1, 2, 3}, Colour::kBlue};
  const auto object = fields_to_json(config.fields());
  Config copy;
  copy.limit = 1;
  fields_from_json(copy.fields(), object, "test");
  EXPECT_EQ(fields_to_json(copy.fields()), object);
  EXPECT_EQ(copy.colour, Colour::kBlue);

  config.limit.reset();
  fields_from_json(copy.fields(), fields_to_json(config.fields()), "test");
  EXPECT_EQ(copy.limit, std::nullopt);
  EXPECT_THROW(fields_from_json(copy.fields(), {{"colr", "red"}}, "test"), UsageError);
}

TEST(NearestName, FindsSlipsOfTheFinger) {
  const std::vector<std::string> known{"num-layers", "hidden-size", "lr"};
  EXPECT_EQ(nearest_name("num-layer", known), "num-layers");
  EXPECT_EQ(nearest_name("hiden-sise", known), "hidden-size");
  EXPECT_EQ(nearest_name("completely-else", known), "");
}

TEST(Problems, DoNotCallARefusedFlagMissing) {
  Problems problems;
  problems.add_refused_value("lr", "--lr needs a number, got 'x'");
  problems.add_missing("lr", "give one");
  problems.add_missing("seq-length", "give one");
  EXPECT_EQ(problems.texts(), (std::vector<std::string>{"--lr needs a number, got 'x'",
                                                        "--seq-length is missing: give one"}));
}

TEST(OutputPath, SaysWhatStandsInTheWayAndLeavesNothing) {
  const testing::TemporaryFolder folder;
  const std::string file = folder.write("file", "");
  EXPECT_EQ(why_no_folder(folder.path("new/and/deep")), std::nullopt);
  EXPECT_EQ(why_no_folder(file + "/below"), file + " is not a folder");
  EXPECT_EQ(why_no_file(folder.path("new")), std::nullopt);
  EXPECT_EQ(why_no_file(file), std::nullopt);
  EXPECT_EQ(why_no_file(folder.path()), "it is a folder");
  EXPECT_EQ(why_no_file(folder.path("no/file")), "there is no folder " + folder.path("no"));
  EXPECT_TRUE(why_no_folder("/proc/megalith").has_value());
  EXPECT_EQ(testing::names_in(folder.path()), std::vector<std::string>{"file"});
}

TEST(Problems, AreAllInOneMessage) {
  Problems problems;
  problems.raise_if_any();
  problems.add("first {}", 1);
  problems.add("second");
  problems.add("first 1");  // as a second check finds it again
  try {
    problems.raise_if_any();
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_STREQ(error.what(), "2 mistakes:\n  - first 1\n  - second");
  }
}

}  // namespace
}  // namespace megalith
