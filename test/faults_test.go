package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/faults.md says what becomes of the work when something goes wrong, and for each row which test
// has tried it.
func TestEveryFaultNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	exists := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && path != ".." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				exists[fn.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(read(t, "../docs/faults.md"))) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| what ") {
			continue
		}
		rows++
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		names := regexp.MustCompile("`(Test[A-Z]\\w+)`").FindAllStringSubmatch(cells[len(cells)-1], -1)
		if len(cells) != 5 || len(names) == 0 {
			t.Errorf("a row of %d cells that names %d tests: %s", len(cells), len(names), line)
		}
		for _, name := range names {
			if !exists[name[1]] {
				t.Errorf("docs/faults.md names %s, which no test file has", name[1])
			}
		}
	}
	if rows < 20 {
		t.Errorf("docs/faults.md has %d faults", rows)
	}
}
