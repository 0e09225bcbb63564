// Package archtest checks that this repository keeps to its architecture: which
// package may import which, the names of packages and tests, comments on all exported
// names, and the lengths of files and functions.
//
// The rules about imports are a table in the package's test, with a reason for each row.
// [Read] parses each file once, for all checks. A package's imports are those of its files for any
// system on which the library is vetted. Tests may import everything, but only tests may import
// packages that are made for tests.
package archtest

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Std in a row's Allow stands for the whole standard library.
const Std = "std"

// Any in a row's Allow stands for every import, except packages that are made for tests.
const Any = "*"

// Systems are the values of GOOS whose files are checked.
var Systems = []string{"linux", "darwin", "windows"}

// A Row lists what one package, or one tree of packages, may import.
type Row struct {
	// Package is the package's directory, relative to the repository, with
	// slashes: "." is the root package. An ending "/..." covers the directory
	// and everything below it. The row for a package is the one with exactly its
	// directory, else the longest one that covers it.
	Package string
	// Allow lists what it may import: [Std], [Any], directories of this
	// repository as in Package, or paths of other packages and modules. An
	// ending "/..." covers everything below.
	Allow []string
	// TestsOnly is true if only tests may import it.
	TestsOnly bool
	// Reason is the reason for the row; a row without one is itself a breach.
	Reason string
}

// A Package is one package of the repository.
type Package struct {
	Dir     string   // relative to the repository, with slashes
	Path    string   // its import path
	Name    string   // of its package clause
	Imports []string // by files that are not tests, on any of Systems
	files   []file   // files that are not tests
}

// Imports returns every breach of the table by the packages, and every row that
// has no reason or covers no package.
func Imports(packages []Package, table []Row) []string {
	var breaches []string
	breach := func(format string, args ...any) { breaches = append(breaches, fmt.Sprintf(format, args...)) }

	dirs := map[string]string{} // import path to directory
	for _, p := range packages {
		dirs[p.Path] = p.Dir
	}
	for _, row := range table {
		if strings.TrimSpace(row.Reason) == "" {
			breach("the row for %s has no reason: say why it may import what it may", row.Package)
		}
	}
	used := map[string]bool{}
	for _, p := range packages {
		row := rowFor(table, p.Dir)
		if row != nil {
			used[row.Package] = true
		}
		if row == nil {
			breach("%s is not in the table of allowed imports: add a row with its reason", p.Dir)
			continue
		}
		for _, imported := range p.Imports {
			what := imported
			if dir, ours := dirs[imported]; ours {
				what = dir
				if target := rowFor(table, dir); target != nil && target.TestsOnly && !row.TestsOnly {
					breach("%s imports %s, which only tests may import: %s", p.Dir, dir, target.Reason)
					continue
				}
			}
			if !allowed(row.Allow, what, isStd(imported)) {
				breach("%s imports %s, and may import only %s: %s", p.Dir, what, strings.Join(row.Allow, ", "), row.Reason)
			}
		}
	}
	for _, row := range table {
		if !used[row.Package] {
			breach("the row for %s is about no package: remove it", row.Package)
		}
	}
	return breaches
}

// rowFor returns the row of exactly dir, else the longest one that covers it, or
// nil.
func rowFor(table []Row, dir string) *Row {
	var best *Row
	for i, row := range table {
		if row.Package == dir {
			return &table[i]
		}
		if covers(row.Package, dir) && (best == nil || len(row.Package) > len(best.Package)) {
			best = &table[i]
		}
	}
	return best
}

func allowed(allow []string, imported string, std bool) bool {
	return slices.ContainsFunc(allow, func(a string) bool {
		return a == Any || a == Std && std || covers(a, imported)
	})
}

// isStd reports whether an import path is of the standard library, whose first element never has a
// dot; that of another module has one.
func isStd(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

func covers(pattern, name string) bool {
	if tree, ok := strings.CutSuffix(pattern, "/..."); ok {
		return name == tree || strings.HasPrefix(name, tree+"/")
	}
	return name == pattern
}

// Names returns the packages with a name, or a directory name, that says what
// they contain, such as util, and not what they are for.
func Names(packages []Package) []string {
	empty := []string{"util", "utils", "common", "types", "helper", "helpers", "misc", "shared"}
	var breaches []string
	for _, p := range packages {
		for _, name := range []string{p.Name, path.Base(p.Dir)} {
			if slices.Contains(empty, name) {
				breaches = append(breaches, fmt.Sprintf("%s is called %s, which says nothing: name it after what it provides",
					p.Dir, name))
				break
			}
		}
	}
	return breaches
}
