package archtest

import (
	"fmt"
	"go/ast"
)

// The maximum number of lines of a file and of a function, tests included.
const (
	MaxFile     = 450
	MaxFunction = 70
)

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
