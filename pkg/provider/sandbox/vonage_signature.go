package sandbox

import (
	"crypto/hmac"
	"crypto/md5"  //nolint:gosec // the provider's own default, see providers.md 4.8
	"crypto/sha1" //nolint:gosec // one of the provider's methods, see providers.md 4.8
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"slices"
	"strings"
)

// canonical writes the parameters but the signature in the order of their
// names, with what would end a value made harmless (providers.md 4.8).
func canonical(fields map[string]string) string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		if name != "sig" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	harmless := strings.NewReplacer("&", "_", "=", "_")
	var text strings.Builder
	for _, name := range names {
		text.WriteString("&" + name + "=" + harmless.Replace(fields[name]))
	}
	return text.String()
}

// signature signs the parameters: a plain hash over them and the secret in
// lower case, or an HMAC in upper case. It is empty for Unsigned.
func signature(method SignatureMethod, secret string, fields map[string]string) string {
	text := canonical(fields)
	var algorithm func() hash.Hash
	switch method {
	case Unsigned:
		return ""
	case MD5Hash:
		sum := md5.Sum([]byte(text + secret)) //nolint:gosec // see the import
		return hex.EncodeToString(sum[:])
	case MD5HMAC:
		algorithm = md5.New
	case SHA1HMAC:
		algorithm = sha1.New
	case SHA256HMAC:
		algorithm = sha256.New
	case SHA512HMAC:
		algorithm = sha512.New
	}
	mac := hmac.New(algorithm, []byte(secret))
	mac.Write([]byte(text))
	return strings.ToUpper(hex.EncodeToString(mac.Sum(nil)))
}
