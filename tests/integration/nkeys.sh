# NATS identities without NATS tools: Ed25519 by openssl, the nkey encoding (prefix, key, CRC-16,
# base32) and JWTs as the NATS documentation describes them. To be sourced.

nkeys_crc16() { # HEX -> CRC-16/XMODEM, little-endian hex
  local hex=$1 crc=0 i bit
  for ((i = 0; i < ${#hex}; i += 2)); do
    crc=$((crc ^ (0x${hex:i:2} << 8)))
    for ((bit = 0; bit < 8; bit++)); do
      if ((crc & 0x8000)); then crc=$(((crc << 1) ^ 0x1021)); else crc=$((crc << 1)); fi
    done
    crc=$((crc & 0xffff))
  done
  printf '%02x%02x' $((crc & 0xff)) $((crc >> 8))
}
nkeys_binary() { # HEX -> bytes
  local hex=$1 i
  for ((i = 0; i < ${#hex}; i += 2)); do printf "\\x${hex:i:2}"; done
}
nkeys_encode() { # HEX of prefix and key
  nkeys_binary "$1$(nkeys_crc16 "$1")" | base32 -w 0 | tr -d =
}
nkeys_hex() { od -An -v -tx1 | tr -d ' \n'; }

# Makes FILE (private key for openssl), FILE.nk (seed) and FILE.nk.pub; KIND is operator, account or user.
nkeys_make() { # FILE KIND
  local file=$1 prefix
  case $2 in operator) prefix=112 ;; account) prefix=0 ;; user) prefix=160 ;; esac
  local seed public
  openssl genpkey -algorithm ed25519 -out "$file"
  seed=$(openssl pkey -in "$file" -outform DER | tail -c 32 | nkeys_hex)
  public=$(openssl pkey -in "$file" -pubout -outform DER | tail -c 32 | nkeys_hex)
  nkeys_encode "$(printf '%02x%02x' $((144 | prefix >> 5)) $(((prefix & 31) << 3)))$seed" >"$file.nk"
  nkeys_encode "$(printf '%02x' "$prefix")$public" >"$file.nk.pub"
  chmod 600 "$file" "$file.nk"
}
nkeys_base64url() { base64 -w 0 | tr '+/' '-_' | tr -d =; }

# A JWT of CLAIMS (JSON members), issued by the identity in ISSUER_FILE for SUBJECT.
nkeys_jwt() { # ISSUER_FILE SUBJECT CLAIMS
  local text signature
  text=$(printf '{"typ":"JWT","alg":"ed25519-nkey"}' | nkeys_base64url)
  text+=.$(printf '{"jti":"test","iat":%d,"iss":"%s","sub":"%s",%s}' "$(date +%s)" "$(cat "$1.nk.pub")" "$2" "$3" | nkeys_base64url)
  printf '%s' "$text" >"$1.message"
  signature=$(openssl pkeyutl -sign -rawin -inkey "$1" -in "$1.message" | nkeys_base64url)
  printf '%s.%s' "$text" "$signature"
}
