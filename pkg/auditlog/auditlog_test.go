package auditlog_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"doorcode/pkg/auditlog"
)

// rfc6962 is the tree hash as RFC 6962 2.1 defines it, of whole leaves.
func rfc6962(leaves []auditlog.Hash) auditlog.Hash {
	if len(leaves) == 0 {
		return sha256.Sum256(nil)
	}
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	left, right := rfc6962(leaves[:k]), rfc6962(leaves[k:])
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}

func TestTree_IsThatOfTheRFCAndGoesOnFromItsFrontier(t *testing.T) {
	t.Parallel()
	tree := &auditlog.Tree{}
	var leaves []auditlog.Hash
	for i := range 300 {
		root, err := tree.Root()
		if err != nil || root != rfc6962(leaves) {
			t.Fatalf("%d leaves: %v, %v", i, root, err)
		}
		tree, err = auditlog.Grown(tree.Size(), tree.Frontier())
		if err != nil {
			t.Fatal(err)
		}
		leaf := auditlog.Hash(sha256.Sum256([]byte{0, byte(i), byte(i >> 8)}))
		leaves = append(leaves, leaf)
		err = tree.Add(leaf)
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := auditlog.Grown(tree.Size(), tree.Frontier()[1:])
	if err == nil {
		t.Error("a frontier of another tree was taken")
	}
}

// column is a column of a row: NULL, or short of few letters, so that two rows are often nearly the same.
func column(t *rapid.T, name string) []byte {
	if rapid.Bool().Draw(t, name+" is null") {
		return nil
	}
	return []byte(rapid.StringOfN(rapid.RuneFrom([]rune("a\x00\xff")), 0, 3, -1).Draw(t, name))
}

func draw(t *rapid.T, name string) auditlog.Row {
	c := func(n string) []byte { return column(t, name+" "+n) }
	return auditlog.Row{
		At: rapid.Int64Range(-1, 1).Draw(t, name+" at"), Tx: rapid.Int64Range(0, 1).Draw(t, name+" tx"),
		ID: c("id"), Kind: c("kind"), Workspace: c("workspace"), Login: c("login"), Challenge: c("challenge"), Actor: c("actor"), Detail: c("detail"),
	}
}

// SEC-63: no other row has the leaf of a row, whatever moves from one column into the next.
func TestSEC63_DifferentRowsHaveDifferentLeaves(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw(t, "a"), draw(t, "b")
		left, buffer := a.Leaf(nil)
		right, _ := b.Leaf(buffer)
		if same := cmp.Equal(a, b); (left == right) != same {
			t.Fatalf("%+v and %+v: the same leaf is %t", a, b, left == right)
		}
	})
	moved := [...]auditlog.Row{
		{ID: []byte("ab"), Kind: []byte("c")},
		{ID: []byte("a"), Kind: []byte("bc")},
		{ID: []byte("ab"), Workspace: []byte("c")},
		{ID: []byte("ab"), Kind: []byte("c"), Workspace: []byte{}},
	}
	seen := map[auditlog.Hash]bool{}
	for _, r := range moved {
		leaf, _ := r.Leaf(nil)
		seen[leaf] = true
	}
	if len(seen) != len(moved) {
		t.Errorf("%d rows have %d leaves", len(moved), len(seen))
	}
}

// The leaf of a row is for ever: whoever changes its bytes changes the version, and every list that was signed stays good.
func TestLeaf_StaysAsItWas(t *testing.T) {
	t.Parallel()
	r := auditlog.Row{
		At: 1_780_473_720_123_456, Tx: 42, ID: []byte("a.1"), Kind: []byte("challenge.v1.approved"), Workspace: []byte("acme"), Actor: []byte("web"),
		Detail: []byte(`{"a": 1}`),
	}
	leaf, _ := r.Leaf(nil)
	if leaf.String() != "IufSvZWvKRLE4jxAZQRLf43i1q9v3GWPen6XTUdZfr8=" {
		t.Errorf("the leaf is %s", leaf)
	}
}

func TestList_IsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var list auditlog.List
		list.Add(auditlog.Place{Kind: []byte("gone")})
		list.Reset()
		var want, got []auditlog.Place
		for i := range rapid.IntRange(0, 9).Draw(t, "places") {
			p := auditlog.Place{
				At: rapid.Int64().Draw(t, "at"), ID: []byte(rapid.StringN(0, 200, -1).Draw(t, "id")),
				Kind: []byte(rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "kind")), Leaf: auditlog.Hash{byte(i)},
			}
			list.Add(p)
			want = append(want, p)
		}
		r := auditlog.NewReader(list.Bytes())
		for p, ok := r.Next(); ok; p, ok = r.Next() {
			got = append(got, p)
		}
		if diff := cmp.Diff(want, got); diff != "" || !r.Whole() {
			t.Fatal(diff)
		}
		if len(want) > 0 { // Half a place is none.
			r = auditlog.NewReader(list.Bytes()[:len(list.Bytes())-1])
			n := 0
			for _, ok := r.Next(); ok; _, ok = r.Next() {
				n++
			}
			if n != len(want)-1 || r.Whole() {
				t.Fatalf("%d places of %d, whole %t", n, len(want)-1, r.Whole())
			}
		}
	})
}

func FuzzReader(f *testing.F) {
	var list auditlog.List
	list.Add(auditlog.Place{At: 7, ID: []byte("a"), Kind: []byte("k")})
	list.Add(auditlog.Place{At: 8, ID: []byte("b"), Kind: []byte("k")})
	f.Add(list.Bytes())
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, list []byte) {
		r, size := auditlog.NewReader(list), 0
		for p, ok := r.Next(); ok; p, ok = r.Next() {
			size += 42 + len(p.ID)
		}
		if size > len(list) {
			t.Errorf("%d bytes hold places of %d", len(list), size)
		}
	})
}

// pair signs with one key.
type pair struct{ ed25519.PrivateKey }

func (p pair) SignMessage(m []byte) (string, []byte) { return "k", ed25519.Sign(p.PrivateKey, m) }

func (p pair) VerifyMessage(key string, m, s []byte) bool {
	public, ok := p.Public().(ed25519.PublicKey)
	return ok && key == "k" && ed25519.Verify(public, m, s)
}

func head(p pair) auditlog.Head {
	return auditlog.Head{
		Number: 2, FromTx: 10, ToTx: 20, At: time.UnixMicro(1_780_473_720_123_456).UTC(), Rows: 3, Newest: time.UnixMicro(1_780_473_719_000_000).UTC(),
		Size: 5, Root: auditlog.Hash{1},
	}.Sign(p)
}

// SEC-63: no field of a head can be changed under its signature.
func TestSEC63_AHeadIsSignedWhole(t *testing.T) {
	t.Parallel()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := pair{private}
	data, err := json.Marshal(head(p))
	if err != nil {
		t.Fatal(err)
	}
	var read auditlog.Head
	err = json.Unmarshal(data, &read)
	if err != nil || !read.Signed(p) || !read.Same(head(p)) || !cmp.Equal(read, head(p)) {
		t.Errorf("%s is read as %+v: %v", data, read, err)
	}
	for name, change := range map[string]func(*auditlog.Head){
		"number": func(h *auditlog.Head) { h.Number++ }, "from": func(h *auditlog.Head) { h.FromTx++ }, "to": func(h *auditlog.Head) { h.ToTx++ },
		"time": func(h *auditlog.Head) { h.At = h.At.Add(time.Microsecond) }, "rows": func(h *auditlog.Head) { h.Rows++ },
		"newest": func(h *auditlog.Head) { h.Newest = time.Time{} }, "size": func(h *auditlog.Head) { h.Size++ },
		"root": func(h *auditlog.Head) { h.Root[31]++ }, "key": func(h *auditlog.Head) { h.Key = "other" },
		"signature": func(h *auditlog.Head) { h.Signature = append([]byte{1}, h.Signature[1:]...) },
	} {
		h := head(p)
		change(&h)
		if h.Signed(p) {
			t.Errorf("the %s can be changed", name)
		}
	}
}

func TestFollows_LeavesNoGap(t *testing.T) {
	t.Parallel()
	previous := head(pair{make([]byte, ed25519.PrivateKeySize)})
	next := auditlog.Head{Number: 3, FromTx: 20, ToTx: 30, At: previous.At, Rows: 1, Size: 6}
	if !next.Follows(previous) || next.Follows(auditlog.Head{}) {
		t.Error("the next one does not follow, or follows nothing")
	}
	for name, change := range map[string]func(*auditlog.Head){
		"a gap": func(h *auditlog.Head) { h.Number++ }, "a gap of transactions": func(h *auditlog.Head) { h.FromTx++ },
		"transactions twice": func(h *auditlog.Head) { h.FromTx-- }, "an end before the beginning": func(h *auditlog.Head) { h.ToTx = 19 },
		"more rows than leaves": func(h *auditlog.Head) { h.Rows++ }, "earlier": func(h *auditlog.Head) { h.At = h.At.Add(-1) },
	} {
		h := next
		change(&h)
		if h.Follows(previous) {
			t.Errorf("%s follows", name)
		}
	}
}

func TestUnmarshal_RefusesWhatIsNoHead(t *testing.T) {
	t.Parallel()
	for _, data := range []string{``, `[]`, `{}`, `{"root":"AA=="}`, `{"root":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","signature":"%"}`} {
		var h auditlog.Head
		if json.Unmarshal([]byte(data), &h) == nil {
			t.Errorf("%s is a head", data)
		}
	}
}
