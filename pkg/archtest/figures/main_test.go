package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"doorcode/pkg/archtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestRun_MeasuresOurOwnTree(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	err := run(".", &out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"function lines, p50 / p90 / max", "test : code, dispatch", "packages documented"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, &out)
		}
	}
	err = run("/", &out)
	if err == nil {
		t.Error("a folder outside every module is measured")
	}
}

func TestWrite_ComputesEachFigure(t *testing.T) {
	t.Parallel()
	functions := func(lines ...int) []archtest.Function {
		var all []archtest.Function
		for _, n := range lines {
			all = append(all, archtest.Function{Name: "f", Lines: n})
		}
		return all
	}
	var out strings.Builder
	err := write(&out, []archtest.File{
		{Path: "pkg/otp/a.go", Lines: 100, Filled: 90, Comments: 18, Functions: functions(1, 2, 3), Exported: 3, Documented: 3, PackageDoc: true},
		{Path: "pkg/otp/b.go", Lines: 50, Filled: 10, Functions: functions(40, 9), Exported: 1},
		{Path: "pkg/otp/a_test.go", Test: true, Lines: 300, Functions: functions(900)},
		{Path: "pkg/provider/sandbox/c.go", Lines: 50},
		{Path: "pkg/provider/providertest/d.go", Lines: 125, PackageDoc: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "Figure\tNow\tLine\n" +
		"files\t4\t\n" +
		"lines\t325\t\n" +
		"function lines, p50 / p90 / max\t3 / 40 / 40\t12 / 40 / 80\n" +
		"file lines, p50 / p90 / max\t50 / 125 / 125\t150 / 350 / 500\n" +
		"comments, share of filled lines\t18 %\t15-22 %\n" +
		"exported things documented\t75 %\t100 %\n" +
		"packages documented\t67 %\t100 %\n" +
		"test : code, overall\t2.12\t>= 1.1\n" +
		"test : code, dispatch\t-\t>= 2\n" +
		"test : code, otp\t2.00\t>= 2\n" +
		"test : code, check\t-\t>= 2\n" +
		"test : code, providers\t2.50\t>= 2\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestWrite_MeasuresNothingOfNothing(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	err := write(&out, nil)
	if err != nil || !strings.Contains(out.String(), "comments, share of filled lines\t-\t") {
		t.Errorf("unexpected table: %v\n%s", err, &out)
	}
}

// full is a writer that takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWrite_TellsWhenItCannot(t *testing.T) {
	t.Parallel()
	err := run(".", full{})
	if err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("unexpected error: %v", err)
	}
}
