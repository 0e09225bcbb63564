package lastcall_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The program in the README is the first that a newcomer copies.
func TestTheReadmeShowsACompleteProgramOfLessThan30Lines(t *testing.T) {
	_, rest, _ := strings.Cut(read(t, "README.md"), "```go\n")
	shown, _, _ := strings.Cut(rest, "```")
	_, program, _ := strings.Cut(read(t, "examples/hello/main.go"), "\n") // without its package comment
	if shown != program {
		t.Errorf("README.md shows another program than examples/hello/main.go:\n%s", shown)
	}
	if n := strings.Count(shown, "\n"); n >= 30 {
		t.Errorf("the program has %d lines", n)
	}
}

var link = regexp.MustCompile(`\]\(([^)#: ]+)(#[^)]*)?\)`)

func TestEveryRelativeLinkOfTheDocumentsLeadsSomewhere(t *testing.T) {
	links := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && path != "." && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".md" {
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

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
