package archtest

import (
	"errors"
	"fmt"
	"go/ast"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// The maximum number of lines of a file and of a function, tests included.
const (
	MaxFile     = 450
	MaxFunction = 70
)

// MaxRoot is the maximum number of files and directories in the root folder of a repository, which
// a reader sees first.
const MaxRoot = 70

// RootEntries returns a breach if the root folder has more than [MaxRoot] entries, without .git and
// what its .gitignore names.
func RootEntries(root string) (breaches []string, err error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	list, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ignored := []string{".git"}
	for line := range strings.Lines(string(list)) {
		if !strings.HasPrefix(line, "#") {
			ignored = append(ignored, strings.Trim(line, "/\n"))
		}
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return slices.ContainsFunc(ignored, func(pattern string) bool {
			match, err := path.Match(pattern, e.Name())
			return match && err == nil
		})
	})
	if n := len(entries); n > MaxRoot {
		breaches = append(breaches, fmt.Sprintf("the root folder has %d entries, more than %d: move some to where they are used", n, MaxRoot))
	}
	return breaches, nil
}

// Lengths returns the Go files, tests included, that are longer than [MaxFile], and the functions
// that are longer than [MaxFunction]. It skips generated files.
func Lengths(t *Tree) (breaches []string) {
	for _, f := range t.files {
		if f.parsed == nil || ast.IsGenerated(f.parsed) {
			continue
		}
		if n := t.set.File(f.parsed.FileStart).LineCount(); n > MaxFile {
			breaches = append(breaches, fmt.Sprintf("%s has %d lines, more than %d: it tells more than one story, split it",
				f.name, n, MaxFile))
		}
		for _, decl := range f.parsed.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := t.set.Position(fn.End()).Line - t.set.Position(fn.Pos()).Line + 1; n > MaxFunction {
				breaches = append(breaches, fmt.Sprintf("%s: %s has %d lines, more than %d: give its parts names",
					f.name, fn.Name.Name, n, MaxFunction))
			}
		}
	}
	return breaches
}
