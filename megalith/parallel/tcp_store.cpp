#include "megalith/parallel/tcp_store.hpp"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <unistd.h>

#include <chrono>
#include <future>
#include <memory>
#include <thread>

#include "megalith/core/error.hpp"

namespace megalith {
namespace {

using StorePointer = c10::intrusive_ptr<c10d::Store>;

constexpr const char* kCure =
    "the port is in use by another program: set MASTER_PORT to a free one on every rank";

bool holds(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

StorePointer open_or_explain(const std::string& host, const c10d::TCPStoreOptions& options) {
  try {
    return c10::make_intrusive<c10d::TCPStore>(host, options);
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    if (options.isServer && holds(text, "EADDRINUSE")) {
      throw RunError("cannot serve the store at {}:{}: {}", host, options.port, kCure);
    }
    if (!options.isServer && (holds(text, "Ping failed") || holds(text, "recvValue") ||
                              holds(text, "Connection reset") || holds(text, "recv"))) {
      throw RunError("{}:{} answers, but not as a store: {}", host, options.port, kCure);
    }
    throw;
  }
}

/// Whether anybody listens there, found out within seconds.
bool takes_connections(const std::string& host, uint16_t port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return false;
  bool taken = false;
  for (const addrinfo* one = found; one != nullptr && !taken; one = one->ai_next) {
    const int socket = ::socket(one->ai_family, one->ai_socktype, one->ai_protocol);
    if (socket < 0) continue;
    const timeval limit{.tv_sec = 1, .tv_usec = 0};
    ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    taken = ::connect(socket, one->ai_addr, one->ai_addrlen) == 0;
    ::close(socket);
  }
  ::freeaddrinfo(found);
  return taken;
}

}  // namespace

StorePointer open_tcp_store(const std::string& host, const c10d::TCPStoreOptions& options) {
  if (options.isServer) return open_or_explain(host, options);
  // In a thread of its own, which is left behind when the wait is over: nothing ends a read of
  // c10d's from outside.
  auto opening = std::make_shared<std::packaged_task<StorePointer()>>(
      [host, options] { return open_or_explain(host, options); });
  auto opened = opening->get_future();
  std::thread([opening] { (*opening)(); }).detach();
  constexpr auto kSlack = std::chrono::seconds(1);  // c10d's own message comes first
  if (opened.wait_for(options.timeout + kSlack) == std::future_status::timeout) {
    TORCH_CHECK(takes_connections(host, options.port), "nobody listens at ", host, ":",
                options.port);
    throw RunError("{}:{} takes the connection and has not answered for {:.3g} minutes: {}", host,
                   options.port, static_cast<double>(options.timeout.count()) / 60e3, kCure);
  }
  return opened.get();
}

}  // namespace megalith
