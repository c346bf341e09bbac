// megalith launch from outside, with real processes: statuses, prefixes, signals, and that nobody
// is left behind. What a rank does is a shell script (launch_driver) where the real subcommands
// cannot be made to fail or hang on demand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/support/process.hpp"

namespace megalith::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Clock = std::chrono::steady_clock;

std::vector<std::string> driver(const std::string& script, int num_ranks = 2,
                                const std::string& grace = "1",
                                const std::string& prefix = "auto") {
  return {MEGALITH_LAUNCH_DRIVER, std::to_string(num_ranks), grace, prefix, script};
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The numbers that ranks print as "pid N".
std::vector<pid_t> printed_pids(const std::string& output) {
  std::vector<pid_t> pids;
  std::istringstream words(output);
  for (std::string word; words >> word;) {
    if (word == "pid" && words >> word) pids.push_back(std::stoi(word));
  }
  return pids;
}

/// True when the process runs; a zombie that nobody has reaped yet does not.
bool is_running(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  return !text.empty() && text.compare(text.rfind(')') + 2, 1, "Z") != 0;
}

bool all_end_within(const std::vector<pid_t>& pids, double seconds) {
  const auto start = Clock::now();
  while (seconds_since(start) < seconds) {
    bool any = false;
    for (const pid_t pid : pids) any = any || is_running(pid);
    if (!any) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

// dash forks for `sleep`: a script's process and its child are both to end.
constexpr const char* kSleep = "echo pid $$; sleep 300 & echo pid $!; wait";

TEST(Launch, LinesCarryTheirRankAndDoNotMix) {
  const auto result = run_process(driver(
      "i=0; while [ $i -lt 200 ]; do echo line $i of $RANK; i=$((i+1)); done; printf end", 3));
  EXPECT_EQ(result.status, 0) << result.err;
  std::vector<int> next(3, 0);
  std::istringstream lines(result.out);
  int num_ends = 0;
  for (std::string line; std::getline(lines, line);) {
    const int rank = line.at(1) - '0';
    if (line == "[" + std::to_string(rank) + "] end") {
      ++num_ends;  // an unfinished last line is shown too
      continue;
    }
    const auto expected = "[" + std::to_string(rank) + "] line " + std::to_string(next[rank]++) +
                          " of " + std::to_string(rank);
    ASSERT_EQ(line, expected);
  }
  EXPECT_EQ(next, std::vector<int>(3, 200));
  EXPECT_EQ(num_ends, 3);
}

TEST(Launch, StandardErrorStaysStandardError) {
  const auto result = run_process(driver("echo out; echo problem >&2", 1));
  EXPECT_EQ(result.out, "[0] out\n");
  EXPECT_EQ(result.err, "[0] problem\n");
}

TEST(Launch, PrefixesCanBeSwitchedOff) {
  EXPECT_EQ(run_process(driver("echo bare", 1, "1", "never")).out, "bare\n");
}

TEST(Launch, MuchOutputPassesWhole) {
  // 8 MB a rank: more than pipes and the launcher hold.
  const auto result = run_process(driver("head -c 6000000 /dev/zero | base64 -w 76", 2));
  EXPECT_EQ(result.status, 0);
  const size_t lines_a_rank = (8000000 + 75) / 76;
  EXPECT_EQ(result.out.size(), 2 * (8000000 + lines_a_rank * 5));
}

TEST(Launch, ASlowReaderGetsWhatTheRanksLeftInTheirPipes) {
  // The ranks end while the launcher holds all it will hold and the rest lies in their pipes.
  const auto result = run_process(
      {"bash", "-c",
       std::string("'") + MEGALITH_LAUNCH_DRIVER +
           "' 3 1 never 'head -c 300000 /dev/zero | base64 -w 79' | (sleep 0.5; wc -c)"});
  EXPECT_EQ(result.out, std::to_string(3 * 405064) + "\n");
}

TEST(Launch, StandardInputGoesToRankZero) {
  const auto result = run_process(driver("cat; echo done"), {.input = "hello\n"});
  EXPECT_THAT(result.out, HasSubstr("[0] hello\n"));
  EXPECT_THAT(result.out, Not(HasSubstr("[1] hello")));
  EXPECT_THAT(result.out, HasSubstr("[1] done\n"));
}

TEST(Launch, AFailingRankEndsTheOthersAndGivesItsStatus) {
  const auto start = Clock::now();
  const auto result = run_process(
      driver("if [ $RANK = 1 ]; then sleep 0.2; exit 7; fi; " + std::string(kSleep), 3));
  EXPECT_EQ(result.status, 7);
  EXPECT_LT(seconds_since(start), 5);
  EXPECT_THAT(result.err, HasSubstr("rank 1"));
  EXPECT_THAT(result.err, HasSubstr("exit status 7"));
  const auto pids = printed_pids(result.out);
  EXPECT_EQ(pids.size(), 4u);
  EXPECT_TRUE(all_end_within(pids, 1));
}

TEST(Launch, ARankThatIgnoresSigtermIsKilledAfterTheGracePeriod) {
  const auto start = Clock::now();
  const auto result =
      run_process(driver("if [ $RANK = 1 ]; then sleep 0.2; exit 3; fi; trap '' TERM; echo pid $$; "
                         "while :; do sleep 0.1; done"));
  EXPECT_EQ(result.status, 3);
  EXPECT_GT(seconds_since(start), 1.0);
  EXPECT_LT(seconds_since(start), 6);
  EXPECT_THAT(result.err, HasSubstr("SIGKILL"));
  EXPECT_TRUE(all_end_within(printed_pids(result.out), 1));
}

TEST(Launch, ARankEndedByASignalGives128AndTheSignal) {
  const auto result =
      run_process(driver("if [ $RANK = 0 ]; then sleep 0.1; kill -9 $$; fi; exec sleep 300"));
  EXPECT_EQ(result.status, 128 + SIGKILL);
  EXPECT_THAT(result.err, HasSubstr("rank 0"));
  EXPECT_THAT(result.err, HasSubstr("signal 9"));
}

TEST(Launch, SignalsReachEveryRankOnceAndTheRanksDecide) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
    Process process(
        driver("trap 'echo caught; n=$((n+1))' INT TERM HUP USR1; n=0; echo pid $$; "
               "while [ $n = 0 ]; do sleep 0.02; done; sleep 0.2; echo count $n"));
    ASSERT_TRUE(process.wait_for_output("[0] pid"));
    ASSERT_TRUE(process.wait_for_output("[1] pid"));
    process.send(signal);
    const auto result = process.wait(20);
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(result.out, HasSubstr("[0] count 1\n")) << signal;
    EXPECT_THAT(result.out, HasSubstr("[1] count 1\n")) << signal;
  }
}

TEST(Launch, NobodyOutlivesAKilledLauncher) {
  Process process(driver("echo pid $$; exec sleep 300", 4));
  for (const char* mark : {"[0] pid", "[1] pid", "[2] pid", "[3] pid"}) {
    ASSERT_TRUE(process.wait_for_output(mark));
  }
  const auto pids = printed_pids(process.output());
  ASSERT_EQ(pids.size(), 4u);
  process.send(SIGKILL);
  EXPECT_EQ(process.wait(10).status, 128 + SIGKILL);
  EXPECT_TRUE(all_end_within(pids, 2));
}

TEST(Launch, AClosedStandardOutputHangsNothing) {
  const auto result =
      run_process(driver("exec >&- 2>&-; sleep 0.2; [ $RANK = 0 ] || exit 4"), {}, 20);
  EXPECT_EQ(result.status, 4);
}

TEST(Launch, AProcessThatLeftItsRankDoesNotHoldTheLauncher) {
  // setsid takes the process out of the rank's group; it keeps the rank's pipes open.
  Process process(driver("setsid sleep 3 & sleep 0.1; echo over"));
  const auto start = Clock::now();
  EXPECT_EQ(process.wait(20).status, 0);
  EXPECT_LT(seconds_since(start), 2.5);
}

TEST(Launch, AReaderThatLeavesEndsTheRanks) {
  const auto words = driver("while :; do echo tick; sleep 0.01; done");
  std::string command;
  for (const auto& word : words) command += "'" + word + "' ";
  const auto start = Clock::now();
  const auto result = run_process({"bash", "-c", command + " | head -n 3; echo ${PIPESTATUS[0]}"});
  EXPECT_THAT(result.out, HasSubstr("tick"));
  EXPECT_THAT(result.out, HasSubstr("141"));
  EXPECT_LT(seconds_since(start), 10);
}

TEST(Launch, RanksRunUnderBatchScheduling) {
  // Field 41 of /proc/PID/stat; 3 is SCHED_BATCH.
  const auto result = run_process(driver("cut -d' ' -f41 /proc/self/stat", 1));
  EXPECT_EQ(result.out, "[0] 3\n");
}

// From here on the real binary.

std::vector<std::string> launch(const std::vector<std::string>& words) {
  std::vector<std::string> all = {MEGALITH_BINARY, "launch"};
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

TEST(LaunchBinary, TellsEachRankWhoItIs) {
  const auto result = run_process(launch({"--nproc-per-node", "2", "doctor", "--json"}));
  EXPECT_EQ(result.status, 0) << result.err;
  for (const std::string rank : {"0", "1"}) {
    EXPECT_THAT(result.out, HasSubstr("[" + rank + "]     \"rank\": " + rank + ","));
  }
  EXPECT_THAT(result.out, HasSubstr("\"world_size\": 2"));
  EXPECT_THAT(result.out, HasSubstr("megalith launch"));
}

TEST(LaunchBinary, GivesTheStatusOfAMistake) {
  const auto result = run_process(launch({"--nproc-per-node=2", "doctor", "--no-such-flag"}));
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("no-such-flag"));
}

TEST(LaunchBinary, ExplainsItsOwnMistakes) {
  EXPECT_THAT(run_process(launch({"doctor"})).err, HasSubstr("--nproc-per-node"));
  EXPECT_THAT(run_process(launch({"--nproc-per-node", "2"})).err, HasSubstr("no subcommand"));
  EXPECT_THAT(run_process(launch({"--nproc-per-node", "0", "doctor"})).err, HasSubstr("0"));
  const auto nested = run_process(
      launch({"--nproc-per-node", "2", "doctor"}),
      {.environment = {{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "127.0.0.1"}}});
  EXPECT_EQ(nested.status, 2);
  EXPECT_THAT(nested.err, HasSubstr("already makes this process rank 0 of 2"));
}

TEST(LaunchBinary, DoctorEndsWellWhateverTheEnvironmentSays) {
  const auto result = run_process({MEGALITH_BINARY, "doctor"},
                                  {.environment = {{"RANK", "x"}, {"WORLD_SIZE", "2"}}});
  EXPECT_EQ(result.status, 0);
  EXPECT_THAT(result.out, HasSubstr("RANK='x'"));
}

}  // namespace
}  // namespace megalith::testing
