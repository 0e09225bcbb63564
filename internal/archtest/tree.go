package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A Tree is a repository that was read once, for all checks: its packages, its Go files and its
// other files with prose.
type Tree struct {
	// Packages are the packages of every module, without tests' own packages, sorted by
	// directory. A directory is a module if it has a go.mod.
	Packages []Package
	set      *token.FileSet
	files    []file // sorted by name
}

type file struct {
	name   string // relative to the repository, with slashes
	text   string
	parsed *ast.File // nil unless the file is of Go
}

// Read returns the tree below root. It skips testdata, vendor and directories whose name begins
// with a dot or underscore, as the go command skips them.
func Read(root string) (*Tree, error) {
	t := &Tree{set: token.NewFileSet()}
	modules := map[string]string{} // directory to path
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && name != root && skipped(entry.Name()) {
			return filepath.SkipDir
		}
		if !entry.Type().IsRegular() || !isGo(name) && entry.Name() != "go.mod" && !hasProse(name) {
			return nil
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		f, err := t.read(name, filepath.ToSlash(relative))
		if err != nil {
			return err
		}
		if path.Base(f.name) == "go.mod" {
			_, after, _ := strings.Cut(f.text, "module ")
			modules[path.Dir(f.name)], _, _ = strings.Cut(after, "\n")
		}
		t.files = append(t.files, f)
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.Packages, err = packages(t.files, modules)
	if len(t.Packages) == 0 && err == nil {
		err = fmt.Errorf("no packages found below %s: is it the repository?", root)
	}
	return t, err
}

// Files returns the names of the files that were read, relative to the repository, with slashes.
func (t *Tree) Files() (names []string) {
	for _, f := range t.files {
		names = append(names, f.name)
	}
	return names
}

func (t *Tree) read(from, name string) (file, error) {
	text, err := os.ReadFile(from)
	if err != nil {
		return file{}, err
	}
	f := file{name: name, text: string(text)}
	if isGo(name) {
		f.parsed, err = parser.ParseFile(t.set, name, text, parser.ParseComments|parser.SkipObjectResolution)
	}
	return f, err
}

// skipped reports whether the go command ignores a directory.
func skipped(dir string) bool {
	return dir == "testdata" || dir == "vendor" || strings.HasPrefix(dir, ".") || strings.HasPrefix(dir, "_")
}

func isGo(name string) bool   { return path.Ext(name) == ".go" }
func isTest(name string) bool { return strings.HasSuffix(name, "_test.go") }

// packages returns the packages that the files belong to. A file of Go belongs to none if it is a
// test, or is built on none of the systems.
func packages(files []file, modules map[string]string) ([]Package, error) {
	byDir := map[string]*Package{}
	for _, f := range files {
		if f.parsed == nil || isTest(f.name) {
			continue
		}
		if built, err := isBuilt(f); err != nil || !built {
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.name, err)
			}
			continue
		}
		dir := path.Dir(f.name)
		p := byDir[dir]
		if p == nil {
			p = &Package{Dir: dir, Path: importPath(dir, modules), Name: f.parsed.Name.Name}
			byDir[dir] = p
		}
		p.files = append(p.files, f)
		for _, spec := range f.parsed.Imports {
			p.Imports = append(p.Imports, strings.Trim(spec.Path.Value, "`\""))
		}
	}
	all := []Package{}
	for _, p := range byDir {
		slices.Sort(p.Imports)
		p.Imports = slices.Compact(p.Imports)
		all = append(all, *p)
	}
	slices.SortFunc(all, func(a, b Package) int { return strings.Compare(a.Dir, b.Dir) })
	return all, nil
}

// isBuilt reports whether a file is built on one of [Systems].
func isBuilt(f file) (bool, error) {
	for _, system := range Systems {
		c := build.Default
		c.GOOS, c.CgoEnabled = system, false
		c.OpenFile = func(string) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader([]byte(f.text))), nil
		}
		if match, err := c.MatchFile(path.Split(f.name)); err != nil || match {
			return match, err
		}
	}
	return false, nil
}

// importPath returns the import path of a directory: that of the nearest module above it, and the
// way down from there.
func importPath(dir string, modules map[string]string) string {
	for at := dir; ; at = path.Dir(at) {
		if module, is := modules[at]; is {
			return path.Join(module, strings.TrimPrefix(strings.TrimPrefix(dir, at), "/"))
		}
		if at == "." {
			return dir
		}
	}
}
