// Package archtest holds the rules of the tree that no compiler knows: which package may import which, how long files
// and functions may be, what has no place in a test.
//
// The rules are tests of this package. A package without a row in the import table fails them, so that nobody adds one
// without saying what it may know.
package archtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Module is the path that begins every package of ours.
const Module = "doorcode"

// Package is what go list tells about a package.
type Package struct {
	ImportPath   string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// Row says what the packages under a pattern may import besides the standard library.
type Row struct {
	Package string   // Path below the module; with "/..." at the end all below it, too.
	Ours    []string // Patterns of packages of ours.
	Others  []string // Modules of others.
	Tests   bool     // Has tests alone: a line of other code is a fault.
	Reason  string   // Why, as the failure tells it.
}

// Wall keeps a module of others out of all packages, tests included, but those behind it.
type Wall struct {
	Module string
	Behind []string // Patterns of packages of ours.
	Reason string
}

// Check returns a sentence for each import that neither row nor wall allows, and for each package without a row.
func Check(packages []Package, rows []Row, walls []Wall) []string {
	var faults []string
	for _, p := range packages {
		path := below(p.ImportPath)
		row, found := rowOf(path, rows)
		if !found {
			faults = append(faults, path+" has no row in the import table: add one that says what it may import")
			continue
		}
		if row.Tests && len(p.GoFiles) > 0 {
			faults = append(faults, fmt.Sprintf("%s has code outside its tests (%s): %s", path, p.GoFiles[0], row.Reason))
		}
		for _, imported := range p.Imports {
			if !allowed(row, imported) {
				faults = append(faults, fmt.Sprintf("%s must not import %s: %s", path, below(imported), row.Reason))
			}
		}
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			faults = append(faults, checkWalls(path, imported, walls)...)
			faults = append(faults, checkServices(path, imported)...)
		}
	}
	slices.Sort(faults)
	return slices.Compact(faults)
}

// below cuts the module off a package of ours.
func below(importPath string) string {
	return strings.TrimPrefix(importPath, Module+"/")
}

// rowOf returns the row with the longest pattern that matches.
func rowOf(path string, rows []Row) (Row, bool) {
	var best Row
	found := false
	for _, row := range rows {
		if matches(row.Package, path) && (!found || len(row.Package) > len(best.Package)) {
			best, found = row, true
		}
	}
	return best, found
}

// matches reports whether a pattern covers a path: the path itself, or, with "/..." at the end, all below it as well.
func matches(pattern, path string) bool {
	root, tree := strings.CutSuffix(pattern, "/...")
	return path == root || tree && strings.HasPrefix(path, root+"/")
}

// allowed reports whether a row covers an import. The standard library is open to all: its paths have no dot in the
// first element.
func allowed(row Row, imported string) bool {
	if path, ours := strings.CutPrefix(imported, Module+"/"); ours {
		return slices.ContainsFunc(row.Ours, func(pattern string) bool { return matches(pattern, path) })
	}
	if standard(imported) {
		return true
	}
	return slices.ContainsFunc(row.Others, func(module string) bool { return within(module, imported) })
}

// standard reports whether an import path belongs to the standard library.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

// within reports whether an import path lies in a module or in a tree of modules.
func within(module, imported string) bool {
	return imported == module || strings.HasPrefix(imported, module+"/")
}

// checkWalls judges one import by the walls.
func checkWalls(path, imported string, walls []Wall) []string {
	var faults []string
	for _, wall := range walls {
		behind := slices.ContainsFunc(wall.Behind, func(pattern string) bool { return matches(pattern, path) })
		if within(wall.Module, imported) && !behind {
			faults = append(faults, fmt.Sprintf("%s must not import %s: %s", path, imported, wall.Reason))
		}
	}
	return faults
}

// checkServices keeps processes apart: they meet on the bus, and in the two programs whose purpose it is to run several
// of them.
func checkServices(path, imported string) []string {
	to, ours := strings.CutPrefix(imported, Module+"/services/")
	if !ours {
		return nil
	}
	from, service := strings.CutPrefix(path, "services/")
	if !service {
		return []string{fmt.Sprintf("%s must not import services/%s: only services know services", path, to)}
	}
	from, _, _ = strings.Cut(from, "/")
	name, _, _ := strings.Cut(to, "/")
	if from == name || from == "standalone" || from == "e2e" {
		return nil
	}
	return []string{fmt.Sprintf("%s must not import services/%s: services know each other by the bus alone", path, to)}
}

// List returns the packages of the module at root. A package that does not compile is listed with what could be read.
func List(ctx context.Context, root string) ([]Package, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-e",
		"-json=ImportPath,GoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = root
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list packages: %w: %s", err, complaint.String())
	}
	var packages []Package
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p Package
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list packages: %w", err)
		}
		packages = append(packages, p)
	}
}

// Root returns the folder of the module that dir lies in.
func Root(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the module: no go.mod above the folder")
		}
		dir = parent
	}
}
