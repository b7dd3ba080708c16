package auditlog

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// headName begins what is signed, so that no signature of ours for another purpose is one of a head.
const headName = "doorcode audit head"

// headVersion is that of the signed bytes.
const headVersion = 1

// Head is what a seal says: all rows whose transaction lies in [FromTx, ToTx) are in the tree, at these places and no
// others, behind all that were sealed before.
type Head struct {
	Number    int64     // from 1, without a gap
	FromTx    int64     // 0 in the first seal, which also takes the rows from before there were seals
	ToTx      int64     // the next seal's FromTx
	At        time.Time // when it was made, to the microsecond
	Rows      int64     // leaves of this seal
	Newest    time.Time // time of the newest row of this seal, to the microsecond; zero when there is none
	Size      int64     // leaves of the tree
	Root      Hash
	Key       string // id of the key
	Signature []byte // Ed25519 over Message
}

// Message is what is signed: every field but the key and the signature, in a fixed form.
func (h Head) Message() []byte {
	m := binary.BigEndian.AppendUint32(nil, uint32(len(headName)))
	m = append(m, headName...)
	m = append(m, headVersion)
	for _, number := range [...]int64{h.Number, h.FromTx, h.ToTx, micros(h.At), h.Rows, micros(h.Newest), h.Size} {
		m = binary.BigEndian.AppendUint64(m, uint64(number)) //nolint:gosec // the bits of the number, not its value
	}
	return append(m, h.Root[:]...)
}

// micros are microseconds since 1970, of the zero time 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Signer signs heads. It returns the id of its key.
type Signer interface {
	SignMessage(message []byte) (key string, signature []byte)
}

// Verifier knows public keys by their ids.
type Verifier interface {
	VerifyMessage(key string, message, signature []byte) bool
}

// Sign returns the head with key and signature.
func (h Head) Sign(s Signer) Head {
	h.Key, h.Signature = s.SignMessage(h.Message())
	return h
}

// Signed reports whether one of the keys signed the head as it is.
func (h Head) Signed(v Verifier) bool { return v.VerifyMessage(h.Key, h.Message(), h.Signature) }

// Same reports whether two heads say the same. Signatures are not compared: both may be good.
func (h Head) Same(other Head) bool { return string(h.Message()) == string(other.Message()) }

// Follows reports whether the head can come right after another one: without a gap, and without rows lost from the tree.
func (h Head) Follows(previous Head) bool {
	return h.Number == previous.Number+1 && h.FromTx == previous.ToTx && h.ToTx >= h.FromTx && h.Rows >= 0 &&
		h.Size == previous.Size+h.Rows && !h.At.Before(previous.At)
}

// Record is a head in JSON: a line of an anchor file, and the data of seal.v1.made. Its fields stay as they are.
type Record struct {
	Number    int64      `json:"seal"`
	FromTx    int64      `json:"from_tx"`
	ToTx      int64      `json:"to_tx"`
	At        time.Time  `json:"at"`
	Rows      int64      `json:"rows"`
	Newest    *time.Time `json:"newest,omitempty"`
	Size      int64      `json:"tree_size"`
	Root      string     `json:"root"` // base64
	KeyID     string     `json:"key_id"`
	Signature string     `json:"signature"` // base64
}

// MarshalJSON writes the head, hashes and signature in base64.
func (h Head) MarshalJSON() ([]byte, error) {
	w := Record{
		Number: h.Number, FromTx: h.FromTx, ToTx: h.ToTx, At: h.At.UTC(), Rows: h.Rows, Size: h.Size, Root: h.Root.String(), KeyID: h.Key,
		Signature: base64.StdEncoding.EncodeToString(h.Signature),
	}
	if !h.Newest.IsZero() {
		newest := h.Newest.UTC()
		w.Newest = &newest
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON wrote. Whether it is signed is for the caller to ask.
func (h *Head) UnmarshalJSON(data []byte) error {
	var w Record
	err := json.Unmarshal(data, &w)
	if err != nil {
		return fmt.Errorf("read a head: %w", err)
	}
	root, err := base64.StdEncoding.DecodeString(w.Root)
	if err != nil || len(root) != len(Hash{}) {
		return errors.New("read a head: the root is no SHA-256 in base64")
	}
	signature, err := base64.StdEncoding.DecodeString(w.Signature)
	if err != nil {
		return errors.New("read a head: the signature is not base64")
	}
	*h = Head{
		Number: w.Number, FromTx: w.FromTx, ToTx: w.ToTx, At: w.At.UTC(), Rows: w.Rows, Size: w.Size, Root: Hash(root), Key: w.KeyID,
		Signature: signature,
	}
	if w.Newest != nil {
		h.Newest = w.Newest.UTC()
	}
	return nil
}
