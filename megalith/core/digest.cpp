#include "megalith/core/digest.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

namespace megalith {
namespace {

std::string to_hex(std::span<const unsigned char> bytes) {
  std::string text;
  for (const unsigned char byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

std::string one_shot(const EVP_MD* kind, const void* data, size_t size) {
  unsigned char sum[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_Digest(data, size, sum, &length, kind, nullptr);
  return to_hex({sum, length});
}

}  // namespace

std::string md5_hex(std::string_view text) { return one_shot(EVP_md5(), text.data(), text.size()); }
std::string sha256_hex(std::string_view text) {
  return one_shot(EVP_sha256(), text.data(), text.size());
}
std::string sha256_hex(std::span<const std::byte> bytes) {
  return one_shot(EVP_sha256(), bytes.data(), bytes.size());
}

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr);
}
Sha256::~Sha256() = default;

void Sha256::update(std::span<const std::byte> bytes) {
  EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
}

std::string Sha256::hex() {
  unsigned char sum[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_DigestFinal_ex(state_->context, sum, &length);
  return to_hex({sum, length});
}

}  // namespace megalith
