package keyring

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fixed returns a ring whose keys are known bytes.
func fixed(t *testing.T, active uint8, ids ...uint8) *Ring {
	t.Helper()
	f := file{Active: active, Keys: map[string][]byte{}}
	for _, id := range ids {
		f.Keys[fmt.Sprint(id)] = bytes.Repeat([]byte{id}, KeySize)
	}
	data, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	r, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRing_MACIsTheKnownValue(t *testing.T) {
	t.Parallel()
	// Computed apart from this code: HMAC-SHA-256, key 32 × 0x01, over
	// len("l")‖"l"‖len("ab")‖"ab"‖len("")‖"" with four-byte lengths.
	const want = "4161a3c95622855175f6f63c9e33b37366be211f0440392fd48842cbfd3f22a0"
	id, sum := fixed(t, 1, 1).MAC("l", []byte("ab"), nil)
	if id != 1 || len(sum) != 32 {
		t.Fatalf("id %d, %d bytes", id, len(sum))
	}
	if got := hex.EncodeToString(sum); got != want {
		t.Errorf("MAC %s, want %s", got, want)
	}
}

func TestRing_FieldsDoNotRunIntoOneAnother(t *testing.T) {
	t.Parallel()
	r := fixed(t, 1, 1)
	seen := map[string]string{}
	for name, fields := range map[string][][]byte{
		"a,bc":  {[]byte("a"), []byte("bc")},
		"ab,c":  {[]byte("ab"), []byte("c")},
		"abc":   {[]byte("abc")},
		"abc,":  {[]byte("abc"), nil},
		",abc":  {nil, []byte("abc")},
		"empty": {},
	} {
		_, sum := r.MAC("label", fields...)
		if other, found := seen[string(sum)]; found {
			t.Errorf("%s and %s have one MAC", name, other)
		}
		seen[string(sum)] = name
	}
	_, other := r.MAC("another label", []byte("abc"))
	if seen[string(other)] != "" {
		t.Error("two labels give one MAC")
	}
}

func TestRing_RotationKeepsOldKeysVerifying(t *testing.T) {
	t.Parallel()
	old, err := New()
	if err != nil {
		t.Fatal(err)
	}
	id, sum := old.MAC("l", []byte("x"))
	next, err := old.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	if next.Active() != id+1 || old.Active() != id {
		t.Errorf("active keys %d and %d", next.Active(), old.Active())
	}
	if !next.Verify(id, sum, "l", []byte("x")) {
		t.Error("a value of the old key does not verify")
	}
	newID, newSum := next.MAC("l", []byte("x"))
	if old.Verify(newID, newSum, "l", []byte("x")) {
		t.Error("a ring verifies under a key it does not hold")
	}
	if bytes.Equal(sum, newSum) {
		t.Error("the new key is the old one")
	}
}

// A key that was added verifies and makes nothing, so that every process can learn of it before one makes anything with it.
func TestRing_AnAddedKeyVerifiesAndMakesNothingUntilItIsActivated(t *testing.T) {
	t.Parallel()
	old := fixed(t, 2, 1, 2)
	next, id, err := old.Add()
	if err != nil || id != 3 || next.Active() != 2 || !slices.Equal(next.IDs(), []uint8{1, 2, 3}) || !slices.Equal(old.IDs(), []uint8{1, 2}) {
		t.Fatalf("key %d was added, %d is active, %v", id, next.Active(), err)
	}
	if by, sum := next.MAC("l", []byte("x")); !old.Verify(by, sum, "l", []byte("x")) {
		t.Error("a ring that has not learned of the key refuses a value of one that has")
	}
	active, err := next.Activate(3)
	if err != nil || active.Active() != 3 || next.Active() != 2 {
		t.Fatalf("%d is active, %v", active.Active(), err)
	}
	if by, sum := active.MAC("l", []byte("x")); by != 3 || !next.Verify(by, sum, "l", []byte("x")) {
		t.Error("a ring that has learned of the key refuses a value of it")
	}
	if by, sum := next.MAC("l", []byte("x")); !active.Verify(by, sum, "l", []byte("x")) {
		t.Error("a value of the former key does not verify")
	}
	_, err = next.Activate(4)
	if !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a key that is not there: %v", err)
	}
}

// It shows SEC-26 of deploy/SECURITY.md.
func TestRing_VerifyRefusesEveryChange(t *testing.T) {
	t.Parallel()
	r := fixed(t, 2, 1, 2)
	id, sum := r.MAC("l", []byte("x"))
	flipped := bytes.Clone(sum)
	flipped[31] ^= 1
	for name, ok := range map[string]bool{
		"other field": r.Verify(id, sum, "l", []byte("y")),
		"other label": r.Verify(id, sum, "m", []byte("x")),
		"other key":   r.Verify(1, sum, "l", []byte("x")),
		"no key":      r.Verify(9, sum, "l", []byte("x")),
		"flipped bit": r.Verify(id, flipped, "l", []byte("x")),
		"cut":         r.Verify(id, sum[:31], "l", []byte("x")),
		"empty":       r.Verify(id, nil, "l", []byte("x")),
	} {
		if ok {
			t.Errorf("%s verifies", name)
		}
	}
	_, err := r.MACWith(9, "l")
	if !errors.Is(err, ErrUnknownKey) {
		t.Errorf("unknown key: %v", err)
	}
	_, err = r.Derive(9, nil, "i")
	if !errors.Is(err, ErrUnknownKey) {
		t.Errorf("derive from an unknown key: %v", err)
	}
}

func TestRing_FileRoundTrip(t *testing.T) {
	t.Parallel()
	r, err := New()
	if err != nil {
		t.Fatal(err)
	}
	r, err = r.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	data, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ring.json")
	err = os.WriteFile(path, data, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	id, sum := r.MAC("l", []byte("x"))
	if !back.Verify(id, sum, "l", []byte("x")) || fmt.Sprint(back.IDs()) != "[1 2]" {
		t.Errorf("ring changed on disk: %v", back.IDs())
	}
}

func TestRead_RefusesBrokenFilesWithoutQuotingThem(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"no JSON":       "SECRETSECRET",
		"short key":     `{"active":1,"keys":{"1":"U0VDUkVU"}}`,
		"no active":     `{"active":2,"keys":{"1":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}`,
		"id zero":       `{"active":0,"keys":{"0":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}`,
		"id 01":         `{"active":1,"keys":{"01":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}`,
		"id with words": `{"active":1,"keys":{"SECRETSECRET":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}`,
		"empty":         ``,
	} {
		path := filepath.Join(t.TempDir(), "ring.json")
		err := os.WriteFile(path, []byte(content), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Read(path)
		if err == nil {
			t.Errorf("%s was read", name)
			continue
		}
		if strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "U0VD") {
			t.Errorf("%s: the error quotes the file", name)
		}
	}
}

// It shows SEC-26 of deploy/SECURITY.md.
func TestRing_ShowsAMaskEverywhere(t *testing.T) {
	t.Parallel()
	r := fixed(t, 7, 7)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("ring", "ring", r)
	inJSON, err := json.Marshal(map[string]any{"ring": r})
	if err != nil {
		t.Fatal(err)
	}
	for name, shown := range map[string]string{
		"%v": fmt.Sprintf("%v", r), "%+v": fmt.Sprintf("%+v", r), "%#v": fmt.Sprintf("%#v", r), "%x": fmt.Sprintf("%x", r),
		"String": r.String(), "GoString": r.GoString(), "log": log.String(), "JSON": string(inJSON),
	} {
		if !strings.Contains(shown, mask) || strings.Contains(shown, "0707") || strings.Contains(shown, "BwcH") {
			t.Errorf("%s shows %s", name, shown)
		}
	}
}

func TestRing_RotationEndsAt255(t *testing.T) {
	t.Parallel()
	_, err := fixed(t, 255, 1, 255).Rotate()
	if err == nil {
		t.Error("a 256th key was made")
	}
}

func TestDerive_DependsOnSaltAndPurpose(t *testing.T) {
	t.Parallel()
	r := fixed(t, 1, 1)
	seen := map[string]bool{}
	for _, c := range []struct{ salt, info string }{{"a", "x"}, {"b", "x"}, {"a", "y"}} {
		key, err := r.Derive(1, []byte(c.salt), c.info)
		if err != nil || len(key) != KeySize {
			t.Fatalf("%d bytes: %v", len(key), err)
		}
		if seen[string(key)] {
			t.Errorf("salt %s and purpose %s give a key that was there", c.salt, c.info)
		}
		seen[string(key)] = true
	}
}
