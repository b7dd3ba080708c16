package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The hard limits of a file and of a function outside tests, in lines.
const (
	MaxFileLines     = 500
	MaxFunctionLines = 80
)

// Function is a function or method with its length in lines, braces included.
type Function struct {
	Name  string
	Lines int
}

// File is what is measured of one Go file.
type File struct {
	Path       string // Below the root, with slashes.
	Test       bool
	Lines      int // All lines.
	Filled     int // Lines that are not blank.
	Comments   int // Lines that a comment covers alone or in part.
	Functions  []Function
	Exported   int // Exported types, functions, methods and values.
	Documented int // Those of them with a doc comment.
	PackageDoc bool
	Inits      int      // Functions named init.
	Sleeps     []string // Positions of calls that sleep or skip a test.
}

// Scan measures every Go file of ours under root that is not generated. Hidden folders, testdata and bin are left out.
func Scan(root string) ([]File, error) {
	var files []File
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			outside := strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" || name == "vendor"
			if path != root && outside {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		source, err := os.ReadFile(path) //nolint:gosec // The path comes from the walk.
		if err != nil {
			return err
		}
		file, generated, err := Measure(filepath.ToSlash(relative), source)
		if err != nil {
			return err
		}
		if !generated {
			files = append(files, file)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("measure the tree: %w", err)
	}
	return files, nil
}

// Measure measures one file. For a generated one it says so and no more.
func Measure(path string, source []byte) (file File, generated bool, err error) {
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, path, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return File{}, false, fmt.Errorf("measure: %w", err)
	}
	if ast.IsGenerated(tree) {
		return File{}, true, nil
	}
	file = File{
		Path:       path,
		Test:       strings.HasSuffix(path, "_test.go"),
		PackageDoc: tree.Doc != nil,
	}
	file.countLines(path, source)
	for _, decl := range tree.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			file.addFunction(set, d)
		case *ast.GenDecl:
			file.addDeclaration(d)
		}
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && idles(call) {
			file.Sleeps = append(file.Sleeps, set.Position(call.Pos()).String())
		}
		return true
	})
	return file, false, nil
}

// countLines counts all lines, those that are not blank, and those with a comment.
func (f *File) countLines(path string, source []byte) {
	lines := strings.Split(strings.TrimSuffix(string(source), "\n"), "\n")
	f.Lines = len(lines)
	for _, line := range lines {
		if strings.TrimSpace(line) != "" {
			f.Filled++
		}
	}
	set := token.NewFileSet()
	var s scanner.Scanner
	s.Init(set.AddFile(path, -1, len(source)), source, nil, scanner.ScanComments)
	last := 0 // The line counted last: two comments may share one.
	for {
		pos, kind, text := s.Scan()
		if kind == token.EOF {
			return
		}
		if kind != token.COMMENT {
			continue
		}
		first := set.Position(pos).Line
		end := first + strings.Count(text, "\n")
		f.Comments += end - max(first, last+1) + 1
		last = end
	}
}

// addFunction measures a function. A method counts as exported when its receiver's type is, too.
func (f *File) addFunction(set *token.FileSet, d *ast.FuncDecl) {
	f.Functions = append(f.Functions, Function{
		Name:  d.Name.Name,
		Lines: set.Position(d.End()).Line - set.Position(d.Pos()).Line + 1,
	})
	if d.Recv == nil && d.Name.Name == "init" {
		f.Inits++
	}
	exported := d.Name.IsExported()
	if d.Recv != nil {
		for _, receiver := range d.Recv.List {
			exported = exported && ast.IsExported(receiverName(receiver.Type))
		}
	}
	if exported {
		f.count(d.Doc)
	}
}

// receiverName returns the name of a receiver's type.
func receiverName(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiverName(t.X)
	case *ast.IndexExpr:
		return receiverName(t.X)
	case *ast.IndexListExpr:
		return receiverName(t.X)
	case *ast.Ident:
		return t.Name
	default:
		return ""
	}
}

// addDeclaration counts exported types and values. A comment on a group documents all of it, and so does one behind a
// value.
func (f *File) addDeclaration(d *ast.GenDecl) {
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() {
				f.count(s.Doc, d.Doc)
			}
		case *ast.ValueSpec:
			if slices.ContainsFunc(s.Names, (*ast.Ident).IsExported) {
				f.count(s.Doc, s.Comment, d.Doc)
			}
		}
	}
}

// count counts one exported thing, with whatever may document it.
func (f *File) count(docs ...*ast.CommentGroup) {
	f.Exported++
	if slices.ContainsFunc(docs, func(doc *ast.CommentGroup) bool { return doc != nil }) {
		f.Documented++
	}
}

// idles reports whether a call sleeps, or skips a test.
func idles(call *ast.CallExpr) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	on, ok := selector.X.(*ast.Ident)
	if !ok {
		return false
	}
	switch selector.Sel.Name {
	case "Sleep":
		return on.Name == "time"
	case "Skip", "Skipf", "SkipNow":
		return on.Name == "t" || on.Name == "tb" || on.Name == "b" || on.Name == "f"
	default:
		return false
	}
}
