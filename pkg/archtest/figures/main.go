// Command figures prints the figures of the tree: lengths, comments, tests, documentation.
//
//	figures [folder]
//
// The hard limits among them are tests of pkg/archtest; the rest is for the eye.
package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"text/tabwriter"

	"doorcode/pkg/archtest"
)

func main() {
	folder := "."
	if len(os.Args) > 1 {
		folder = os.Args[1]
	}
	err := run(folder, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// part is a piece of the tree whose tests are held to a ratio of their own.
type part struct {
	name    string
	folders []string // Folders whose files, also those further below, belong to it.
	goal    string
}

// parts returns the whole and the pieces where a mistake is dearest.
func parts() []part {
	return []part{
		{"overall", []string{""}, ">= 1.1"},
		{"dispatch", []string{"pkg/dispatch"}, ">= 2"},
		{"otp", []string{"pkg/otp"}, ">= 2"},
		{"check", []string{"services/verifier/internal/check"}, ">= 2"},
		{"providers", []string{"pkg/provider"}, ">= 2"},
	}
}

// run measures the module that folder lies in and writes the table to w.
func run(folder string, w io.Writer) error {
	root, err := archtest.Root(folder)
	if err != nil {
		return err
	}
	files, err := archtest.Scan(root)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	err = write(table, files)
	if err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	err = table.Flush()
	if err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	return nil
}

// write writes one line for each figure.
func write(w io.Writer, files []archtest.File) error {
	var functions, lengths []int
	var filled, comments, exported, documented int
	described := make(map[string]bool) // Whether the package of a folder has a comment.
	for _, f := range files {
		if f.Test {
			continue
		}
		lengths = append(lengths, f.Lines)
		for _, function := range f.Functions {
			functions = append(functions, function.Lines)
		}
		filled += f.Filled
		comments += f.Comments
		exported += f.Exported
		documented += f.Documented
		described[path.Dir(f.Path)] = described[path.Dir(f.Path)] || f.PackageDoc
	}
	packages := 0
	for _, has := range described {
		if has {
			packages++
		}
	}
	rows := [][3]string{
		{"Figure", "Now", "Line"},
		{"files", fmt.Sprint(len(lengths)), ""},
		{"lines", fmt.Sprint(sum(lengths)), ""},
		{"function lines, p50 / p90 / max", spread(functions), fmt.Sprintf("12 / 40 / %d", archtest.MaxFunctionLines)},
		{"file lines, p50 / p90 / max", spread(lengths), fmt.Sprintf("150 / 350 / %d", archtest.MaxFileLines)},
		{"comments, share of filled lines", percent(comments, filled), "15-22 %"},
		{"exported things documented", percent(documented, exported), "100 %"},
		{"packages documented", percent(packages, len(described)), "100 %"},
	}
	for _, p := range parts() {
		rows = append(rows, [3]string{"test : code, " + p.name, ratio(files, p), p.goal})
	}
	for _, row := range rows {
		_, err := fmt.Fprintf(w, "%s\t%s\t%s\n", row[0], row[1], row[2])
		if err != nil {
			return err
		}
	}
	return nil
}

// ratio divides the lines of a part's tests by the lines of its code. Packages that serve tests alone count as tests.
func ratio(files []archtest.File, p part) string {
	var tests, code int
	for _, f := range files {
		if !slices.ContainsFunc(p.folders, func(folder string) bool { return within(folder, f.Path) }) {
			continue
		}
		if f.Test || strings.HasSuffix(path.Dir(f.Path), "test") {
			tests += f.Lines
		} else {
			code += f.Lines
		}
	}
	if code == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(tests)/float64(code))
}

// within reports whether a file lies in a folder or further below; the empty folder is the root.
func within(folder, file string) bool {
	return folder == "" || strings.HasPrefix(file, folder+"/")
}

// spread returns median, ninetieth percentile and maximum, by nearest rank.
func spread(values []int) string {
	if len(values) == 0 {
		return "-"
	}
	slices.Sort(values)
	rank := func(share float64) int {
		return values[max(0, int(math.Ceil(share*float64(len(values))))-1)]
	}
	return fmt.Sprintf("%d / %d / %d", rank(0.5), rank(0.9), values[len(values)-1])
}

// percent returns a share with its sign.
func percent(some, all int) string {
	if all == 0 {
		return "-"
	}
	return fmt.Sprintf("%d %%", int(math.Round(100*float64(some)/float64(all))))
}

// sum adds values.
func sum(values []int) int {
	total := 0
	for _, v := range values {
		total += v
	}
	return total
}
