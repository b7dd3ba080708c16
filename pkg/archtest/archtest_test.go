package archtest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"doorcode/pkg/archtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// root returns the folder of our module.
func root(t *testing.T) string {
	t.Helper()
	dir, err := archtest.Root(".")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// It shows SEC-01 and SEC-69 of deploy/SECURITY.md.
func TestTree_KeepsTheImportTable(t *testing.T) {
	t.Parallel()
	packages, err := archtest.List(t.Context(), root(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) == 0 {
		t.Fatal("no packages found")
	}
	for _, fault := range archtest.Check(packages, rows(), walls()) {
		t.Error(fault)
	}
}

func TestTable_HasOneRowPerPackage(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, row := range rows() {
		if seen[row.Package] {
			t.Errorf("%s has two rows", row.Package)
		}
		seen[row.Package] = true
		if row.Reason == "" {
			t.Errorf("the row of %s gives no reason", row.Package)
		}
	}
}

// sample is a small table for made-up packages.
func sample() ([]archtest.Row, []archtest.Wall) {
	table := []archtest.Row{
		{Package: "pkg/otp", Ours: []string{"pkg/keyring"}, Reason: "pure"},
		{Package: "pkg/bus", Others: []string{"github.com/nats-io"}, Reason: "driver"},
		{Package: "services/auth/...", Ours: []string{"services/...", "pkg/..."}, Reason: "wiring"},
		{Package: "services/auth/internal/api", Reason: "closer"},
		{Package: "services/standalone", Ours: []string{"services/..."}, Reason: "all in one"},
		{Package: "services/e2e", Tests: true, Reason: "tests"},
	}
	return table, []archtest.Wall{{Module: "github.com/nats-io", Behind: []string{"pkg/bus"}, Reason: "wall"}}
}

func TestCheck_AllowsWhatTheTableAllows(t *testing.T) {
	t.Parallel()
	table, walls := sample()
	faults := archtest.Check([]archtest.Package{
		{ImportPath: "doorcode/pkg/otp", Imports: []string{"crypto/rand", "doorcode/pkg/keyring"}},
		{
			ImportPath: "doorcode/pkg/bus", Imports: []string{"github.com/nats-io/nats.go/jetstream"},
			TestImports: []string{"doorcode/pkg/bus/bustest", "github.com/other/thing"},
		},
		{ImportPath: "doorcode/services/auth", Imports: []string{"doorcode/services/auth/app", "doorcode/pkg/bus"}},
		{ImportPath: "doorcode/services/standalone", Imports: []string{"doorcode/services/auth/app"}},
		{ImportPath: "doorcode/services/e2e", XTestImports: []string{"doorcode/services/auth/app"}},
	}, table, walls)
	if len(faults) > 0 {
		t.Error(faults)
	}
}

func TestCheck_TellsTheReasonOfEachFault(t *testing.T) {
	t.Parallel()
	table, walls := sample()
	for want, p := range map[string]archtest.Package{
		"pkg/new has no row in the import table: add one that says what it may import": {ImportPath: "doorcode/pkg/new"},
		"pkg/otp must not import pkg/bus: pure": {
			ImportPath: "doorcode/pkg/otp", Imports: []string{"doorcode/pkg/bus"},
		},
		"pkg/otp must not import pkg/keyring/below: pure": {
			ImportPath: "doorcode/pkg/otp", Imports: []string{"doorcode/pkg/keyring/below"},
		},
		"pkg/otp must not import github.com/other/thing: pure": {
			ImportPath: "doorcode/pkg/otp", Imports: []string{"github.com/other/thing"},
		},
		"pkg/bus must not import github.com/nats-iou: driver": {
			ImportPath: "doorcode/pkg/bus", Imports: []string{"github.com/nats-iou"},
		},
		"pkg/otp must not import github.com/nats-io/nkeys: wall": {
			ImportPath: "doorcode/pkg/otp", TestImports: []string{"github.com/nats-io/nkeys"},
		},
		"pkg/otp must not import services/auth/app: only services know services": {
			ImportPath: "doorcode/pkg/otp", XTestImports: []string{"doorcode/services/auth/app"},
		},
		"services/auth/app must not import services/demo/app: services know each other by the bus alone": {
			ImportPath: "doorcode/services/auth/app", Imports: []string{"doorcode/services/demo/app"},
		},
		"services/auth/internal/api must not import pkg/otp: closer": {
			ImportPath: "doorcode/services/auth/internal/api", Imports: []string{"doorcode/pkg/otp"},
		},
		"services/e2e has code outside its tests (x.go): tests": {
			ImportPath: "doorcode/services/e2e", GoFiles: []string{"x.go"},
		},
	} {
		if diff := cmp.Diff([]string{want}, archtest.Check([]archtest.Package{p}, table, walls)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestList_ReadsAModule(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod":          "module doorcode\n\ngo 1.26\n",
		"pkg/a/a.go":      "package a\n\nimport _ \"fmt\"\n",
		"pkg/a/a_test.go": "package a\n\nimport _ \"testing\"\n",
		"pkg/b/broken.go": "package b\n\nimport _ \"doorcode/pkg/a\"\n\nfunc {\n",
	} {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o750)
		if err != nil {
			t.Fatal(err)
		}
		err = os.WriteFile(path, []byte(content), 0o600)
		if err != nil {
			t.Fatal(err)
		}
	}
	packages, err := archtest.List(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) != 2 {
		t.Fatalf("unexpected packages: %+v", packages)
	}
	want := archtest.Package{
		ImportPath: "doorcode/pkg/a", GoFiles: []string{"a.go"},
		Imports: []string{"fmt"}, TestImports: []string{"testing"},
	}
	if diff := cmp.Diff(want, packages[0]); diff != "" {
		t.Error(diff)
	}
	_, err = archtest.List(t.Context(), filepath.Join(dir, "missing"))
	if err == nil {
		t.Error("a folder that is not there is listed")
	}
}

func TestRoot_FindsTheModuleFromBelow(t *testing.T) {
	t.Parallel()
	above, err := archtest.Root(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if above != root(t) {
		t.Errorf("%s is not %s", above, root(t))
	}
	_, err = archtest.Root(string(filepath.Separator))
	if err == nil {
		t.Error("a module is found above everything")
	}
}
