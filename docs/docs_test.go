// Package docs has the documents, and tests that hold them to the repository.
package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// The program in the README is the first that a newcomer copies.
func TestReadme_ShowsACompleteProgramOfLessThan30Lines(t *testing.T) {
	_, rest, _ := strings.Cut(read(t, "../README.md"), "```go\n")
	shown, _, _ := strings.Cut(rest, "```")
	// Without its package comment.
	_, program, _ := strings.Cut(read(t, "../examples/hello/main.go"), "\n")
	if shown != program {
		t.Errorf("README.md shows another program than examples/hello/main.go:\n%s", shown)
	}
	if n := strings.Count(shown, "\n"); n >= 30 {
		t.Errorf("the program has %d lines", n)
	}
}

// The first page of the README alone shows a reader what the project is, with proof.
func TestReadme_ProvesWithinItsFirstSixtyLines(t *testing.T) {
	lines := strings.SplitAfter(read(t, "../README.md"), "\n")
	screen := strings.Join(lines[:60], "")
	for what, text := range map[string]string{
		"what it is for": "At a deploy", "the picture": "pod v2", "the program": "func main()", "a command": "make run", "another command": "lastcall rehearse -- ",
		"the figures": "docs/performance.md", "with a peer": "| River: ", "the measured loss": "`http.Server.Shutdown`: ",
	} {
		if !strings.Contains(screen, text) {
			t.Errorf("the first sixty lines lack %s (%q)", what, text)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#: ]+)(#[^)]*)?\)`)

func TestDocuments_EveryRelativeLinkLeadsSomewhere(t *testing.T) {
	links := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && path != ".." && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".md" && d.Name() != "llms.txt" {
			return nil
		}
		for _, m := range link.FindAllStringSubmatch(read(t, path), -1) {
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s links to %s, which does not exist", path, m[1])
			}
		}
		return nil
	})
	if err != nil || links == 0 {
		t.Fatalf("%d links checked, %v", links, err)
	}
}

// tests are the names of all tests of the repository.
var tests = sync.OnceValues(func() (map[string]bool, error) {
	names := map[string]bool{}
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
				names[fn.Name.Name] = true
			}
		}
		return nil
	})
	return names, err
})

// exist fails the test for each test that a text names and that does not exist.
func exist(t *testing.T, page, text string) (n int) {
	t.Helper()
	names, err := tests()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(text, -1) {
		n++
		if !names[name] {
			t.Errorf("%s names %s, which no test file has", page, name)
		}
	}
	return n
}

// shutdown.md lists the mistakes that programs make when they stop, and for each the tests that
// show its effect here.
func TestShutdown_EveryMistakeNamesTestsThatExist(t *testing.T) {
	page := read(t, "shutdown.md")
	exist(t, "shutdown.md", page)
	_, list, _ := strings.Cut(page, "## The 25 mistakes")
	rows := regexp.MustCompile(`(?m)^\| *(\d+) \|.*$`).FindAllStringSubmatch(list, -1)
	if len(rows) != 25 {
		t.Errorf("shutdown.md has %d mistakes, want 25", len(rows))
	}
	for _, row := range rows {
		if !strings.Contains(row[0], "cannot") && !strings.Contains(row[0], "`Test") {
			t.Errorf("mistake %s names no test, and does not say that nothing can be done", row[1])
		}
	}
}

// mistakes.md names for each mistake the tool that finds it, and the test with a program that has
// it.
func TestMistakes_EveryTestThatThePageNamesExists(t *testing.T) {
	if n := exist(t, "mistakes.md", read(t, "mistakes.md")); n < 20 {
		t.Errorf("mistakes.md names %d tests", n)
	}
}

// faults.md describes how each fault affects the work, and names for each row the tests that tried
// it.
func TestFaults_EveryFaultNamesTestsThatExist(t *testing.T) {
	rows := 0
	for line := range strings.Lines(read(t, "faults.md")) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| what ") {
			continue
		}
		rows++
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if n := exist(t, "faults.md", cells[len(cells)-1]); len(cells) != 5 || n == 0 {
			t.Errorf("a row of %d cells that names %d tests: %s", len(cells), n, line)
		}
	}
	if rows < 20 {
		t.Errorf("faults.md has %d faults", rows)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
