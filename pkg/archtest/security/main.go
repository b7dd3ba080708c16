// Command security writes deploy/SECURITY.md from deploy/security.yaml: what doorcode promises about security, and which
// test shows it.
//
//	security [folder]
//
// The rules of the table are tests of this package: each item has a row, each row a test or a reason, each test that a
// row names exists, and a test names the item that it shows, so that a stranger finds either from the other.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"

	"doorcode/pkg/archtest"
)

//go:generate go run .

// Items is how many items there are, SEC-01 to SEC-70.
const Items = 70

// The data and the page that is made of it, below the module's root.
const (
	dataFile = "deploy/security.yaml"
	pageFile = "deploy/SECURITY.md"
)

// Table is the data file.
type Table struct {
	Before string `yaml:"before"` // Markdown before the table.
	Items  []Item `yaml:"items"`
}

// Item is one row.
type Item struct {
	Number int                 `yaml:"sec"`
	Rule   string              `yaml:"rule"`   // What holds, in a sentence.
	Tests  map[string][]string `yaml:"tests"`  // Names of tests by the folder of their package.
	Reason string              `yaml:"reason"` // Why there is no test, or what the tests leave open.
}

func main() {
	folder := "."
	if len(os.Args) > 1 {
		folder = os.Args[1]
	}
	err := run(folder)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run writes the page of the module that folder lies in. A table with faults is an error that names them all.
func run(folder string) error {
	root, err := archtest.Root(folder)
	if err != nil {
		return err
	}
	page, err := build(root)
	if err != nil {
		return err
	}
	err = os.WriteFile(filepath.Join(root, filepath.FromSlash(pageFile)), []byte(page), 0o644) //nolint:gosec // Everybody may read it.
	if err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// build reads the table, judges it and returns the page.
func build(root string) (string, error) {
	table, err := read(filepath.Join(root, filepath.FromSlash(dataFile)))
	if err != nil {
		return "", err
	}
	tests, err := Find(root)
	if err != nil {
		return "", err
	}
	found := faults(table, tests)
	if len(found) > 0 {
		return "", errors.New(strings.Join(found, "\n"))
	}
	return render(table, tests), nil
}

// read reads the data file; a field that nobody knows is an error.
func read(path string) (Table, error) {
	data, err := os.ReadFile(path) //nolint:gosec // The path is ours.
	if err != nil {
		return Table{}, fmt.Errorf("read the table: %w", err)
	}
	var t Table
	err = yaml.Load(data, &t, yaml.WithKnownFields())
	if err != nil {
		return Table{}, fmt.Errorf("read the table: %w", err)
	}
	return t, nil
}
