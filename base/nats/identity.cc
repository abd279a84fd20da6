#include "base/nats/identity.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/error.h"

namespace postrider::nats {
namespace {

using Bytes = std::vector<unsigned char>;

constexpr std::string_view kBase32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
constexpr std::string_view kBase64Url =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::size_t kKeySize = 32;
constexpr std::size_t kChecksumSize = 2;
// Prefix bytes of nats-io/nkeys: they make a seed begin with S, a user's public key with U.
constexpr unsigned kSeedPrefix = 18U << 3U;
constexpr unsigned kPrefixMask = 0xF8U;

struct Free {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

// Wiped when it goes.
struct Secret {
  explicit Secret(std::string value) : text(std::move(value)) {}
  ~Secret() { OPENSSL_cleanse(text.data(), text.size()); }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  std::string text;
};

[[noreturn]] void throw_unusable(const std::string& path, const std::string& what) {
  throw Failure(ErrorKind::kConfiguration, path + " " + what, "check the file and its rights");
}

// The first line as it stands: a password may end with a blank.
std::string read_password(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!file || !std::getline(file, line)) throw_unusable(path, "cannot be read");
  return line;
}

std::string_view trimmed(std::string_view line) {
  constexpr const char* kBlank = " \t\r";
  const auto begin = std::min(line.find_first_not_of(kBlank), line.size());
  return line.substr(begin, line.find_last_not_of(kBlank) + 1 - begin);
}

// Its line, whatever stands around it.
std::string read_seed_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw_unusable(path, "cannot be read");
  for (std::string line; std::getline(file, line);)
    if (trimmed(line).starts_with("SU")) return std::string(trimmed(line));
  throw_unusable(path, "holds no seed of a user's nkey");
}

// What stands between a BEGIN and an END line; blocks are counted from 0.
std::string read_block(const std::string& path, int number) {
  std::ifstream file(path);
  if (!file) throw_unusable(path, "cannot be read");
  std::string text;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (!trimmed(line).starts_with("---")) {
      if (inside && number == 0) text += trimmed(line);
      continue;
    }
    if (inside && number-- == 0) return text;
    inside = !inside;
  }
  throw_unusable(path, "is no credentials file: a user JWT and a seed, each between BEGIN and END");
}

// Nothing but whole characters of the alphabet.
bool decode_base32(std::string_view text, Bytes& bytes) {
  unsigned held = 0;
  unsigned bits = 0;
  for (const char c : text) {
    const auto digit = kBase32.find(c);
    if (digit == std::string_view::npos) return false;
    held = (held << 5U | static_cast<unsigned>(digit)) & 0xFFFU;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push_back(static_cast<unsigned char>(held >> bits));
  }
  return true;
}

// Without padding; `digits` are 32 or 64.
std::string encode(const Bytes& bytes, std::string_view digits) {
  const unsigned each = digits.size() == kBase32.size() ? 5 : 6;
  const unsigned mask = static_cast<unsigned>(digits.size()) - 1;
  std::string text;
  unsigned held = 0;
  unsigned bits = 0;
  for (const unsigned char byte : bytes) {
    held = (held << 8U | byte) & 0x3FFFU;
    for (bits += 8; bits >= each;) {
      bits -= each;
      text += digits[held >> bits & mask];
    }
  }
  if (bits > 0) text += digits[held << (each - bits) & mask];
  return text;
}

// CRC-16/XMODEM, lowest byte first.
std::array<unsigned char, kChecksumSize> checksum(const unsigned char* bytes, std::size_t count) {
  unsigned crc = 0;
  for (std::size_t i = 0; i < count; ++i) {
    crc ^= static_cast<unsigned>(bytes[i]) << 8U;
    for (int bit = 0; bit < 8; ++bit)
      crc = ((crc & 0x8000U) != 0 ? crc << 1U ^ 0x1021U : crc << 1U) & 0xFFFFU;
  }
  return {static_cast<unsigned char>(crc & 0xFFU), static_cast<unsigned char>(crc >> 8U)};
}

struct Key {
  unsigned char kind = 0;  // prefix byte of the public key
  std::unique_ptr<EVP_PKEY, Free> key;
};

Key read_seed(std::string_view seed) {
  constexpr std::size_t kPrefixSize = 2;
  Bytes raw;
  const bool decoded = decode_base32(seed, raw);
  Key read;
  if (decoded && raw.size() == kPrefixSize + kKeySize + kChecksumSize &&
      (raw[0] & kPrefixMask) == kSeedPrefix) {
    const auto expected = checksum(raw.data(), kPrefixSize + kKeySize);
    if (std::equal(expected.begin(), expected.end(), raw.end() - kChecksumSize)) {
      read.kind = static_cast<unsigned char>((raw[0] & 0x07U) << 5U | raw[1] >> 3U);
      read.key.reset(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr,
                                                  raw.data() + kPrefixSize, kKeySize));
    }
  }
  OPENSSL_cleanse(raw.data(), raw.size());
  if (!read.key)
    throw Failure(ErrorKind::kConfiguration, "the seed of the nkey is none",
                  "a seed is one line of 58 characters that begins with S");
  return read;
}

}  // namespace

std::string public_key_of(std::string_view seed) {
  const Key key = read_seed(seed);
  Bytes bytes(1 + kKeySize);
  bytes[0] = key.kind;
  std::size_t size = kKeySize;
  if (EVP_PKEY_get_raw_public_key(key.key.get(), bytes.data() + 1, &size) != 1)
    throw Failure(ErrorKind::kInternal, "the nkey has no public key");
  const auto check = checksum(bytes.data(), bytes.size());
  bytes.insert(bytes.end(), check.begin(), check.end());
  return encode(bytes, kBase32);
}

std::string sign(std::string_view seed, std::string_view text) {
  const Key key = read_seed(seed);
  const std::unique_ptr<EVP_MD_CTX, Free> context(EVP_MD_CTX_new());
  std::size_t size = 64;
  Bytes signature(size);
  if (!context ||
      EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.key.get()) != 1 ||
      EVP_DigestSign(context.get(), signature.data(), &size,
                     reinterpret_cast<const unsigned char*>(text.data()), text.size()) != 1)
    throw Failure(ErrorKind::kInternal, "the nonce cannot be signed");
  return encode(signature, kBase64Url);
}

void add_identity(const NatsOptions& options, std::string_view user, std::string_view password,
                  std::string_view nonce, nlohmann::json& connect) {
  if (!options.credentials_file.empty()) {
    connect["jwt"] = read_block(options.credentials_file, 0);
    const Secret seed(read_block(options.credentials_file, 1));
    if (!nonce.empty()) connect["sig"] = sign(seed.text, nonce);
  } else if (!options.nkey_seed_file.empty()) {
    const Secret seed(read_seed_file(options.nkey_seed_file));
    connect["nkey"] = public_key_of(seed.text);
    if (!nonce.empty()) connect["sig"] = sign(seed.text, nonce);
  } else if (!user.empty() && password.empty()) {
    connect["auth_token"] = user;
  } else if (!user.empty()) {
    connect["user"] = user;
    connect["pass"] = password;
  } else if (!options.user.empty()) {
    connect["user"] = options.user;
    connect["pass"] = options.password_file.empty() ? "" : read_password(options.password_file);
  }
}

}  // namespace postrider::nats
