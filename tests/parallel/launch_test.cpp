// What each launcher leaves in the environment, and what we make of it. The variables are those
// printed by torchrun 2.11, Open MPI 4.1 and documented by Slurm 23.
#include "megalith/parallel/launch.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Variables = std::map<std::string, std::string>;

LaunchEnvironment read(const Variables& variables) {
  return read_launch_environment([&](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  });
}

std::string mistake(const Variables& variables) {
  try {
    read(variables);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no mistake";
}

Variables with(Variables base, const Variables& more) {
  for (const auto& [name, value] : more) base[name] = value;
  return base;
}

Variables without(Variables base, const std::string& name) {
  base.erase(name);
  return base;
}

const Variables& torchrun() {
  static const Variables variables = {{"RANK", "5"},
                                      {"WORLD_SIZE", "8"},
                                      {"LOCAL_RANK", "1"},
                                      {"LOCAL_WORLD_SIZE", "4"},
                                      {"GROUP_RANK", "1"},
                                      {"MASTER_ADDR", "alpha"},
                                      {"MASTER_PORT", "41234"},
                                      {"TORCHELASTIC_RUN_ID", "none"},
                                      {"TORCHELASTIC_RESTART_COUNT", "2"},
                                      {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                                      {"OMP_NUM_THREADS", "1"}};
  return variables;
}

const Variables& open_mpi() {
  static const Variables variables = {
      {"OMPI_COMM_WORLD_RANK", "3"},       {"OMPI_COMM_WORLD_SIZE", "4"},
      {"OMPI_COMM_WORLD_LOCAL_RANK", "3"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
      {"PMIX_NAMESPACE", "1389428737"},    {"PMIX_RANK", "3"}};
  return variables;
}

const Variables& slurm() {
  static const Variables variables = {{"SLURM_JOB_ID", "4242"},
                                      {"SLURM_STEP_ID", "0"},
                                      {"SLURM_SRUN_COMM_PORT", "40001"},
                                      {"SLURM_PROCID", "3"},
                                      {"SLURM_NTASKS", "5"},
                                      {"SLURM_STEP_NUM_TASKS", "5"},
                                      {"SLURM_LOCALID", "1"},
                                      {"SLURM_NODEID", "1"},
                                      {"SLURM_STEP_TASKS_PER_NODE", "2(x2),1"},
                                      {"SLURM_STEP_NODELIST", "gpu[08-09],big1"}};
  return variables;
}

TEST(LaunchEnvironment, AnEmptyEnvironmentIsOneProcess) {
  const auto environment = read({});
  EXPECT_EQ(environment.launcher, Launcher::kNone);
  EXPECT_EQ(environment.world_size, 1);
  EXPECT_EQ(environment.rank, 0);
  EXPECT_FALSE(environment.use_agent_store);
}

TEST(LaunchEnvironment, ReadsTorchrun) {
  const auto environment = read(torchrun());
  EXPECT_EQ(environment.launcher, Launcher::kTorchrun);
  EXPECT_EQ(environment.rank, 5);
  EXPECT_EQ(environment.world_size, 8);
  EXPECT_EQ(environment.local_rank, 1);
  EXPECT_EQ(environment.local_world_size, 4);
  EXPECT_EQ(environment.master_addr, "alpha");
  EXPECT_EQ(environment.master_port, 41234);
  EXPECT_EQ(environment.restart_count, 2);
  EXPECT_TRUE(environment.use_agent_store);
}

TEST(LaunchEnvironment, RankVariablesWinOverOtherLaunchers) {
  auto variables = with(with(slurm(), open_mpi()), torchrun());
  EXPECT_EQ(read(variables).launcher, Launcher::kTorchrun);
  EXPECT_EQ(read(with(slurm(), open_mpi())).launcher, Launcher::kOpenMpi);
}

TEST(LaunchEnvironment, TheListeningSocketGoesToRankZeroOnly) {
  Variables variables = {{"RANK", "0"},
                         {"WORLD_SIZE", "2"},
                         {"MASTER_ADDR", "127.0.0.1"},
                         {"MEGALITH_LAUNCHER", "1"},
                         {"MEGALITH_MASTER_LISTEN_FD", "7"}};
  EXPECT_EQ(read(variables).master_listen_fd, 7);
  EXPECT_EQ(read(variables).launcher, Launcher::kMegalith);
  EXPECT_EQ(read(with(variables, {{"RANK", "1"}})).master_listen_fd, std::nullopt);
}

TEST(LaunchEnvironment, ByHandOnOneHostNeedsNoLocalNumbers) {
  const Variables variables = {{"RANK", "1"}, {"WORLD_SIZE", "3"}, {"MASTER_ADDR", "localhost"}};
  const auto environment = read(variables);
  EXPECT_EQ(environment.launcher, Launcher::kByHand);
  EXPECT_EQ(environment.local_rank, 1);
  EXPECT_EQ(environment.local_world_size, 3);
  EXPECT_EQ(environment.master_port, 29500);
  EXPECT_THAT(mistake(with(variables, {{"MASTER_ADDR", "alpha"}})),
              HasSubstr("LOCAL_WORLD_SIZE is not set"));
}

TEST(LaunchEnvironment, MistakesNameTheVariableAndItsValue) {
  EXPECT_THAT(mistake(with(torchrun(), {{"RANK", "8"}})), HasSubstr("RANK='8'"));
  EXPECT_THAT(mistake(with(torchrun(), {{"RANK", "-1"}})), HasSubstr("RANK='-1'"));
  EXPECT_THAT(mistake(with(torchrun(), {{"RANK", "1x"}})), HasSubstr("RANK='1x'"));
  EXPECT_THAT(mistake(with(torchrun(), {{"WORLD_SIZE", "0"}})), HasSubstr("WORLD_SIZE='0'"));
  EXPECT_THAT(mistake(with(torchrun(), {{"LOCAL_RANK", "4"}})), HasSubstr("LOCAL_RANK='4'"));
  EXPECT_THAT(mistake(with(torchrun(), {{"MASTER_PORT", "65536"}})), HasSubstr("MASTER_PORT"));
  EXPECT_THAT(mistake(with(torchrun(), {{"TORCHELASTIC_USE_AGENT_STORE", "yes"}})),
              HasSubstr("TORCHELASTIC_USE_AGENT_STORE='yes'"));
  EXPECT_THAT(mistake(without(torchrun(), "WORLD_SIZE")), HasSubstr("WORLD_SIZE is not set"));
  EXPECT_THAT(mistake(without(torchrun(), "RANK")), HasSubstr("RANK is not set"));
  EXPECT_THAT(mistake(without(torchrun(), "MASTER_ADDR")), HasSubstr("MASTER_ADDR is not set"));
  EXPECT_THAT(mistake(without(torchrun(), "LOCAL_RANK")), HasSubstr("LOCAL_RANK is not set"));
}

TEST(LaunchEnvironment, ReadsOpenMpiOnOneHost) {
  const auto environment = read(open_mpi());
  EXPECT_EQ(environment.launcher, Launcher::kOpenMpi);
  EXPECT_EQ(environment.rank, 3);
  EXPECT_EQ(environment.world_size, 4);
  EXPECT_EQ(environment.local_rank, 3);
  EXPECT_EQ(environment.master_addr, "127.0.0.1");
  // The port is the job's: the same on all ranks, another one for another job.
  EXPECT_EQ(environment.master_port,
            read(with(open_mpi(), {{"OMPI_COMM_WORLD_RANK", "0"}})).master_port);
  EXPECT_NE(environment.master_port,
            read(with(open_mpi(), {{"PMIX_NAMESPACE", "1389428738"}})).master_port);
  EXPECT_EQ(read(without(open_mpi(), "PMIX_NAMESPACE")).master_port, 29500);
}

TEST(LaunchEnvironment, OpenMpiOverSeveralHostsNeedsAnAddress) {
  const auto two_hosts = with(open_mpi(), {{"OMPI_COMM_WORLD_SIZE", "8"}});
  EXPECT_THAT(mistake(two_hosts), HasSubstr("MASTER_ADDR"));
  const auto environment = read(with(two_hosts, {{"MASTER_ADDR", "alpha"}, {"MASTER_PORT", "99"}}));
  EXPECT_EQ(environment.master_addr, "alpha");
  EXPECT_EQ(environment.master_port, 99);
}

TEST(LaunchEnvironment, ReadsSlurmInsideSrun) {
  const auto environment = read(slurm());
  EXPECT_EQ(environment.launcher, Launcher::kSlurm);
  EXPECT_EQ(environment.rank, 3);
  EXPECT_EQ(environment.world_size, 5);
  EXPECT_EQ(environment.local_rank, 1);
  EXPECT_EQ(environment.local_world_size, 2);
  EXPECT_EQ(environment.master_addr, "gpu08");
  EXPECT_NE(environment.master_port, read(with(slurm(), {{"SLURM_JOB_ID", "4243"}})).master_port);
  EXPECT_NE(environment.master_port, read(with(slurm(), {{"SLURM_STEP_ID", "1"}})).master_port);
  EXPECT_EQ(read(with(slurm(), {{"MASTER_ADDR", "beta"}})).master_addr, "beta");
}

TEST(LaunchEnvironment, ABareBatchScriptIsOneProcess) {
  // sbatch sets the task variables of rank 0 also where srun has started nothing.
  auto batch = without(without(slurm(), "SLURM_STEP_ID"), "SLURM_SRUN_COMM_PORT");
  EXPECT_EQ(read(batch).launcher, Launcher::kNone);
  EXPECT_EQ(read(batch).world_size, 1);
  // An interactive allocation's shell is a step with a reserved number.
  EXPECT_EQ(read(with(slurm(), {{"SLURM_STEP_ID", "4294967290"}})).launcher, Launcher::kNone);
}

TEST(LaunchEnvironment, TheStepsOwnTaskCountWinsOverTheAllocations) {
  const auto small_step =
      with(slurm(), {{"SLURM_NTASKS", "64"}, {"SLURM_TASKS_PER_NODE", "32(x2)"}});
  EXPECT_EQ(read(small_step).world_size, 5);
  EXPECT_EQ(read(small_step).local_world_size, 2);
}

TEST(LaunchEnvironment, SlurmMistakes) {
  EXPECT_THAT(mistake(with(slurm(), {{"SLURM_STEP_NODELIST", "gpu[08-"}})), HasSubstr("gpu[08-"));
  EXPECT_THAT(mistake(with(slurm(), {{"SLURM_STEP_TASKS_PER_NODE", "2(x"}})), HasSubstr("2(x"));
  EXPECT_THAT(mistake(without(slurm(), "SLURM_STEP_TASKS_PER_NODE")),
              HasSubstr("SLURM_STEP_TASKS_PER_NODE"));
  EXPECT_THAT(mistake(with(slurm(), {{"SLURM_NODEID", "3"}})), HasSubstr("SLURM_NODEID=3"));
}

TEST(LaunchEnvironment, AnUnknownMpiLauncherIsRefused) {
  EXPECT_THAT(mistake({{"PMI_RANK", "1"}, {"PMI_SIZE", "4"}}), HasSubstr("PMI_SIZE=4"));
  EXPECT_EQ(read({{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}}).world_size, 1);
}

TEST(NodeList, Expands) {
  EXPECT_THAT(expand_node_list("x1", "V"), ElementsAre("x1"));
  EXPECT_THAT(expand_node_list("node[003-005,9],x1", "V"),
              ElementsAre("node003", "node004", "node005", "node9", "x1"));
  EXPECT_THAT(expand_node_list("r[1-2]n[8-9].lan,z", "V"),
              ElementsAre("r1n8.lan", "r1n9.lan", "r2n8.lan", "r2n9.lan", "z"));
  EXPECT_THAT(expand_node_list("a[098-101]", "V"), ElementsAre("a098", "a099", "a100", "a101"));
}

TEST(NodeList, MalformedListsAreMistakes) {
  for (const char* list : {"", ",", "a,", "a[", "a]", "a[1", "a[2-1]", "a[x]", "a[[1]]", "a[1-]",
                           "a[]", "a[1,]", "a[0-99999999]", "a[-1]"}) {
    EXPECT_THROW(expand_node_list(list, "V"), UsageError) << list;
  }
}

TEST(TaskCounts, Expand) {
  EXPECT_THAT(expand_task_counts("2(x3),1", "V"), ElementsAre(2, 2, 2, 1));
  EXPECT_THAT(expand_task_counts("128", "V"), ElementsAre(128));
  for (const char* list : {"", ",", "2(x)", "2(x0)", "(x2)", "0", "2,", "2(x3", "a"}) {
    EXPECT_THROW(expand_task_counts(list, "V"), UsageError) << list;
  }
}

}  // namespace
}  // namespace megalith
