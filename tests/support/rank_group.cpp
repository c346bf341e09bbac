#include "support/rank_group.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace megalith::testing {
namespace {

using Clock = std::chrono::steady_clock;

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// State and parent of a process: fields 3 and 4 of /proc/PID/stat, after the name.
std::pair<char, pid_t> state_and_parent(pid_t pid) {
  const std::string text = read_text("/proc/" + std::to_string(pid) + "/stat");
  if (text.empty()) return {'Z', 0};
  std::istringstream rest(text.substr(text.rfind(')') + 2));
  char state = 'Z';
  pid_t parent = 0;
  rest >> state >> parent;
  return {state, parent};
}

}  // namespace

int free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  ::bind(socket, reinterpret_cast<sockaddr*>(&address), size);
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(socket);
  return ntohs(address.sin_port);
}

bool is_listened_on(int port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address = loopback(port);
  const bool accepts =
      ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(socket);
  return accepts;
}

pid_t rank_process(pid_t parent, int64_t rank) {
  const std::string wanted = "RANK=" + std::to_string(rank);
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const pid_t pid = std::stoi(name);
    if (state_and_parent(pid).second != parent) continue;
    std::istringstream variables(read_text("/proc/" + name + "/environ"));
    for (std::string variable; std::getline(variables, variable, '\0');) {
      if (variable == wanted) return pid;
    }
  }
  return 0;
}

bool is_running(pid_t pid) { return state_and_parent(pid).first != 'Z'; }

bool all_end_within(const std::vector<pid_t>& pids, double seconds) {
  const auto limit = Clock::now() + std::chrono::duration<double>(seconds);
  while (Clock::now() < limit) {
    bool any = false;
    for (const pid_t pid : pids) any = any || is_running(pid);
    if (!any) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

RankGroup::RankGroup(int64_t world_size)
    : ranks_(static_cast<size_t>(world_size)), port_(free_port()) {}

void RankGroup::start(int64_t rank, const std::vector<std::string>& words,
                      const std::string& input) {
  const std::string number = std::to_string(rank), size = std::to_string(ranks_.size());
  ProcessOptions options;
  options.input = input;
  options.environment = {{"RANK", number},
                         {"WORLD_SIZE", size},
                         {"LOCAL_RANK", number},
                         {"LOCAL_WORLD_SIZE", size},
                         {"MASTER_ADDR", "127.0.0.1"},
                         {"MASTER_PORT", std::to_string(port_)}};
  ranks_.at(static_cast<size_t>(rank)) = std::make_unique<Process>(words, options);
}

void RankGroup::start_all(const std::vector<std::string>& words) {
  for (size_t rank = 0; rank < ranks_.size(); ++rank) start(static_cast<int64_t>(rank), words);
}

}  // namespace megalith::testing
