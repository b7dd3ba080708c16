package main

import (
	"os"
	"path/filepath"
	"strings"
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

func TestTable_EachItemHasItsTestOrItsReason(t *testing.T) {
	t.Parallel()
	table, err := read(filepath.Join(root(t), dataFile))
	if err != nil {
		t.Fatal(err)
	}
	tests, err := Find(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range faults(table, tests) {
		t.Error(fault)
	}
}

func TestPage_IsCurrent(t *testing.T) {
	t.Parallel()
	want, err := build(root(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root(t), pageFile))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is not current, run go generate ./pkg/archtest/security:\n%s", pageFile, diff)
	}
}

// whole is a table without faults and the tests that it names.
func whole() (Table, []Test) {
	var table Table
	for n := 1; n <= Items; n++ {
		table.Items = append(table.Items, Item{Number: n, Rule: "A | rule.", Reason: "Later."})
	}
	table.Before = "# Security\n"
	table.Items[8].Reason = ""
	table.Items[8].Tests = map[string][]string{"pkg/b": {"TestSEC09_Two"}, "pkg/a": {"TestOne"}}
	return table, []Test{
		{Package: "pkg/a", Name: "TestOne", File: "a_test.go", Items: []int{9}},
		{Package: "pkg/b", Name: "TestSEC09_Two", File: "b_test.go", Items: []int{9}},
		{Package: "pkg/b", Name: "TestThree", File: "b_test.go"},
	}
}

func TestFaults_NamesEachFault(t *testing.T) {
	t.Parallel()
	table, tests := whole()
	if found := faults(table, tests); len(found) > 0 {
		t.Fatal(found)
	}
	for want, spoil := range map[string]func(*Table, []Test){
		"SEC-70 has no row": func(table *Table, _ []Test) { table.Items = table.Items[:69] },
		"row 2 is that of SEC-03: the rows stand in order, one for each item": func(table *Table, _ []Test) { table.Items[1].Number = 3 },
		"SEC-71 is no item": func(table *Table, _ []Test) {
			table.Items = append(table.Items, Item{Number: 71, Rule: "x", Reason: "x"})
		},
		"SEC-04 does not say its rule":                                         func(table *Table, _ []Test) { table.Items[3].Rule = "" },
		"SEC-05 has neither a test nor a reason":                               func(table *Table, _ []Test) { table.Items[4].Reason = "" },
		"SEC-06 names pkg/a and no test of it":                                 func(table *Table, _ []Test) { table.Items[5].Tests = map[string][]string{"pkg/a": nil} },
		"SEC-09 names TestOne of pkg/a, whose name and comment do not name it": func(_ *Table, tests []Test) { tests[0].Items = nil },
		"SEC-09 names TestOne, which pkg/a does not have":                      func(_ *Table, tests []Test) { tests[0].Name = "TestOther" },
		"SEC-09 names TestOne of pkg/a twice":                                  func(table *Table, _ []Test) { table.Items[8].Tests["pkg/a"] = []string{"TestOne", "TestOne"} },
		"TestThree of pkg/b names SEC-12, whose row does not name it":          func(_ *Table, tests []Test) { tests[2].Items = []int{12} },
	} {
		table, tests := whole()
		spoil(&table, tests)
		if found := faults(table, tests); !strings.Contains(strings.Join(found, "\n"), want) {
			t.Errorf("%q is not among %q", want, found)
		}
	}
}

func TestRender_LinksEachTest(t *testing.T) {
	t.Parallel()
	table, tests := whole()
	page := render(table, tests)
	for _, want := range []string{
		"DO NOT EDIT. -->\n\n# Security\n\n| |", "| SEC-08 | A \\| rule. | Later. |\n",
		"| SEC-09 | A \\| rule. | [TestOne](../pkg/a/a_test.go)<br>[TestSEC09_Two](../pkg/b/b_test.go) |\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in:\n%s", want, page)
		}
	}
}

func TestFind_ReadsNamesAndDocComments(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, source := range map[string]string{
		"pkg/a/a_test.go":          "package a\n\nfunc TestMain() {}\n\n// SEC-57, SEC-09 and\n// SEC-57 once more.\nfunc TestOne() {\n\t// SEC-01\n}\n\nfunc helper() {}\n\nfunc (x T) TestTwo() {}\n\nfunc FuzzSEC14_Three() {}\n",
		"pkg/a/a.go":               "package a\n\n// SEC-03\nfunc TestNone() {}\n",
		"pkg/a/testdata/b_test.go": "no go",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err != nil {
			t.Fatal(err)
		}
		err = os.WriteFile(path, []byte(source), 0o600)
		if err != nil {
			t.Fatal(err)
		}
	}
	got, err := Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []Test{
		{Package: "pkg/a", Name: "TestOne", File: "a_test.go", Items: []int{9, 57}},
		{Package: "pkg/a", Name: "FuzzSEC14_Three", File: "a_test.go", Items: []int{14}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	err = os.WriteFile(filepath.Join(dir, "c_test.go"), []byte("no go"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Find(dir)
	if err == nil {
		t.Error("a file that is not Go is read")
	}
}

func TestRun_WritesThePageAndRefusesFaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err != nil {
			t.Fatal(err)
		}
		err = os.WriteFile(path, []byte(text), 0o600)
		if err != nil {
			t.Fatal(err)
		}
	}
	var rows strings.Builder
	for n := 1; n <= Items; n++ {
		rows.WriteString("  - {sec: " + id(n)[4:] + ", rule: It holds., reason: Later.}\n")
	}
	err := run(dir)
	if err == nil {
		t.Error("a folder outside every module has a page")
	}
	write("go.mod", "module x\n")
	err = run(dir)
	if err == nil {
		t.Error("a module without a table has a page")
	}
	write(dataFile, "before: Text.\nitems:\n"+strings.ReplaceAll(rows.String(), ": 0", ": "))
	err = run(dir)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(pageFile)))
	if err != nil || !strings.Contains(string(page), "| SEC-70 | It holds. | Later. |") {
		t.Errorf("the page is %s, %v", page, err)
	}
	for wrong, named := range map[string]string{"before: Text.\nitems: []\n": "SEC-01 has no row", "after: x\n": "after"} {
		write(dataFile, wrong)
		err = run(dir)
		if err == nil || !strings.Contains(err.Error(), named) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}
