// Package archtest checks that this repository keeps to its architecture: which
// package may import which, the names of packages and tests, comments on all exported
// names, and the lengths of files and functions.
//
// The rules about imports are a table in the package's test, with a reason for each row.
// [Load] asks the go command which packages a module has and what they import. It does so
// for every system on which the library is vetted, since a file for one system may have
// imports of its own. Tests may import everything, but only tests may import packages that
// are made for tests.
package archtest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
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
	Files   []string // files that are not tests, absolute
	std     map[string]bool
}

// Load returns the packages of every module below root, tests' own packages
// excepted, sorted by directory. A directory is a module if it has a go.mod;
// testdata, vendor and names that begin with a dot or underscore are skipped,
// as the go command skips them.
func Load(ctx context.Context, root string) ([]Package, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	modules, err := findModules(root)
	if err != nil {
		return nil, err
	}
	byPath := map[string]*Package{}
	for _, module := range modules {
		for _, system := range Systems {
			if err := list(ctx, root, module, system, byPath); err != nil {
				return nil, err
			}
		}
	}
	var out []Package
	for _, p := range byPath {
		if len(p.Files) > 0 {
			slices.Sort(p.Imports)
			slices.Sort(p.Files)
			p.Imports, p.Files = slices.Compact(p.Imports), slices.Compact(p.Files)
			out = append(out, *p)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no packages found below %s: is it the repository?", root)
	}
	slices.SortFunc(out, func(a, b Package) int { return cmp.Compare(a.Dir, b.Dir) })
	return out, nil
}

func findModules(root string) ([]string, error) {
	var modules []string
	err := filepath.WalkDir(root, func(file string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && file != root && skipped(name) {
			return filepath.SkipDir
		}
		if name == "go.mod" {
			modules = append(modules, filepath.Dir(file))
		}
		return nil
	})
	return modules, err
}

// list adds the packages that `go list -deps` prints for one module on one system.
func list(ctx context.Context, root, module, system string, byPath map[string]*Package) error {
	cmd := exec.CommandContext(ctx, "go", "list", "-e", "-deps", "-test=false",
		"-json=ImportPath,Name,Dir,Standard,Imports,GoFiles,Module,Error", "./...")
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=readonly")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s in %s: %w\n%s", cmd, module, err, &complaints)
	}
	type listed struct {
		ImportPath, Name, Dir string
		Standard              bool
		Imports, GoFiles      []string
		Module                *struct{ Dir string }
		Error                 *struct{ Err string }
	}
	std := map[string]bool{"C": true, "unsafe": true}
	var own []*Package
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var l listed
		if err := decoder.Decode(&l); err != nil {
			return fmt.Errorf("reading what %s printed: %w", cmd, err)
		}
		if l.Standard {
			std[l.ImportPath] = true
			continue
		}
		if l.Module == nil || l.Module.Dir != module {
			continue
		}
		if l.Error != nil {
			if excluded(l.Error.Err) {
				continue // a package for other systems, or with tests only
			}
			return errors.New(l.Error.Err)
		}
		p := byPath[l.ImportPath]
		if p == nil {
			dir, err := filepath.Rel(root, l.Dir)
			if err != nil {
				return err
			}
			p = &Package{Dir: filepath.ToSlash(dir), Path: l.ImportPath, Name: l.Name, std: map[string]bool{}}
			byPath[l.ImportPath] = p
		}
		p.Imports = append(p.Imports, l.Imports...)
		for _, file := range l.GoFiles {
			p.Files = append(p.Files, filepath.Join(l.Dir, file))
		}
		own = append(own, p)
	}
	for _, p := range own {
		for _, imported := range p.Imports {
			if std[imported] {
				p.std[imported] = true
			}
		}
	}
	return nil
}

func excluded(message string) bool {
	return strings.Contains(message, "build constraints exclude all Go files") ||
		strings.Contains(message, "no non-test Go files")
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
			if !allowed(row.Allow, what, p.std[imported]) {
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
