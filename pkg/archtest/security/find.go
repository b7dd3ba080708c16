package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Test is a test or a fuzz target of ours.
type Test struct {
	Package string // Its folder below the root, with slashes.
	Name    string
	File    string // Name of the file in that folder.
	Items   []int  // Items that its name or its doc comment names, in order.
}

// Find returns every test under root, in the order of packages, files and lines. Hidden folders and testdata are left
// out, and so is TestMain.
func Find(root string) ([]Test, error) {
	var tests []Test
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error { //nolint:gosec // The root is the module that the caller stands in.
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		tree, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		tests = append(tests, testsOf(tree, filepath.ToSlash(folder), name)...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find the tests: %w", err)
	}
	return tests, nil
}

// testsOf returns the tests of one file.
func testsOf(tree *ast.File, folder, file string) []Test {
	var tests []Test
	for _, decl := range tree.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Recv != nil || f.Name.Name == "TestMain" {
			continue
		}
		if !strings.HasPrefix(f.Name.Name, "Test") && !strings.HasPrefix(f.Name.Name, "Fuzz") {
			continue
		}
		tests = append(tests, Test{
			Package: folder, Name: f.Name.Name, File: file, Items: itemsIn(f.Name.Name + "\n" + f.Doc.Text()),
		})
	}
	return tests
}

// mention finds SEC-07 in a comment and SEC07 in a name.
var mention = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`SEC-?([0-9]{2})`) })

// itemsIn returns the items that a text names, each once, in order.
func itemsIn(text string) []int {
	var items []int
	for _, m := range mention().FindAllStringSubmatch(text, -1) {
		n, err := strconv.Atoi(m[1])
		if err == nil {
			items = append(items, n)
		}
	}
	slices.SortFunc(items, cmp.Compare)
	return slices.Compact(items)
}
