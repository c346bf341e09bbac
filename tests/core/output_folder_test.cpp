// Folders that appear whole or not at all, and what killed processes leave of them.
#include "megalith/core/output_folder.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "megalith/core/error.hpp"
#include "support/temporary_folder.hpp"

namespace megalith::testing {
namespace {

namespace fs = std::filesystem;

void fill(const OutputFolder& folder) {
  std::ofstream(folder.temporary_path() + "/file") << "text";
}

TEST(OutputFolder, AppearsWhenItIsCommitted) {
  const TemporaryFolder folder;
  {
    OutputFolder out(folder.path("a/out/"));
    fill(out);
    EXPECT_FALSE(fs::exists(folder.path("a/out")));
    out.commit();
  }
  EXPECT_EQ(names_in(folder.path("a")), std::vector<std::string>{"out"});
  EXPECT_EQ(folder.read("a/out/file"), "text");
}

TEST(OutputFolder, GoesAwayWhenItIsNot) {
  const TemporaryFolder folder;
  fill(OutputFolder(folder.path("out")));
  EXPECT_TRUE(folder.names().empty());
}

TEST(OutputFolder, ReplacesNothing) {
  const TemporaryFolder folder;
  folder.write("out/mine", "text");
  EXPECT_NE(error_of<UsageError>([&] {
              OutputFolder out(folder.path("out/"));
            }).find("is there already; it is not overwritten"),
            std::string::npos);
  EXPECT_EQ(folder.names(), std::vector<std::string>{"out"});
  EXPECT_NE(error_of<UsageError>([&] {
              OutputFolder out(folder.path("out/mine/x"));
            }).find("cannot be made: Not a directory"),
            std::string::npos);
}

/// A process that was killed while it filled a folder, beside one that still does.
TEST(OutputFolder, LeftoversOfTheDeadGoAndThoseOfTheLivingStay) {
  const TemporaryFolder folder;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const OutputFolder out(folder.path("out"));
    fill(out);
    if (::write(ready[1], "x", 1) != 1) ::_exit(1);
    while (true) ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const std::string left = fmt::format("out.tmp-{}", child);
  folder.write("out.tmp-draft/mine", "text");      // somebody's own
  folder.write("other.tmp-4194305/mine", "text");  // of another folder
  { const OutputFolder beside(folder.path("out")); }
  EXPECT_TRUE(fs::exists(folder.path(left + "/file"))) << "its process lives";
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(fs::exists(folder.path(left + "/file")));
  { const OutputFolder next(folder.path("out")); }
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"other.tmp-4194305", "out.tmp-draft"}));
}

}  // namespace
}  // namespace megalith::testing
