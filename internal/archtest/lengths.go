package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
)

// The maximum number of lines of a file and of a function, tests included.
const (
	MaxFile     = 450
	MaxFunction = 70
)

// Lengths returns the Go files below root, tests included, that are longer than
// [MaxFile], and the functions that are longer than [MaxFunction]. It skips what
// [Load] skips, and generated files.
func Lengths(root string) ([]string, error) {
	var breaches []string
	err := filepath.WalkDir(root, func(file string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && file != root && skipped(entry.Name()) {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(file) != ".go" {
			return nil
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		found, err := lengths(file, filepath.ToSlash(name))
		breaches = append(breaches, found...)
		return err
	})
	return breaches, err
}

// skipped reports whether the go command ignores a directory.
func skipped(dir string) bool {
	return dir == "testdata" || dir == "vendor" || strings.HasPrefix(dir, ".") || strings.HasPrefix(dir, "_")
}

func lengths(file, name string) (breaches []string, err error) {
	fileSet := token.NewFileSet()
	parsed, err := parser.ParseFile(fileSet, file, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	if ast.IsGenerated(parsed) {
		return nil, nil
	}
	if n := fileSet.File(parsed.FileStart).LineCount(); n > MaxFile {
		breaches = append(breaches, fmt.Sprintf("%s has %d lines, more than %d: it tells more than one story, split it",
			name, n, MaxFile))
	}
	for _, decl := range parsed.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := fileSet.Position(fn.End()).Line - fileSet.Position(fn.Pos()).Line + 1; n > MaxFunction {
			breaches = append(breaches, fmt.Sprintf("%s: %s has %d lines, more than %d: give its parts names", name,
				fn.Name.Name, n, MaxFunction))
		}
	}
	return breaches, nil
}
