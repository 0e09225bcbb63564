package archtest

import (
	"fmt"
	"path"
	"strings"
)

// Replaces returns the lines of go.mod files that replace anything but a module of the tree by its
// own directory. A program that requires a module does not get what its go.mod replaces.
func Replaces(t *Tree) (breaches []string) {
	modules := make(map[string]string) // directory to path
	for _, f := range t.files {
		if path.Base(f.name) == "go.mod" {
			_, after, _ := strings.Cut(f.text, "module ")
			modules[path.Dir(f.name)], _, _ = strings.Cut(after, "\n")
		}
	}
	for _, f := range t.files {
		if path.Base(f.name) != "go.mod" {
			continue
		}
		for i, line := range strings.Split(f.text, "\n") {
			old, by, is := strings.Cut(line, "=>")
			if !is || strings.HasPrefix(strings.TrimSpace(line), "//") {
				continue
			}
			name := strings.Fields(strings.TrimPrefix(strings.TrimSpace(old), "replace "))
			dir := path.Join(path.Dir(f.name), strings.TrimSpace(by))
			if len(name) != 1 || modules[dir] != name[0] {
				breaches = append(breaches, fmt.Sprintf("%s:%d: %s: only a module of this repository may be replaced, by its directory",
					f.name, i+1, strings.TrimSpace(line)))
			}
		}
	}
	return breaches
}
