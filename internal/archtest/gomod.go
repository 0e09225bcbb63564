package archtest

import (
	"fmt"
	"path"
	"slices"
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

// Versions returns the modules of which the go.mod files require different versions. What is built
// with one version cannot be used for another, nor can anything that imports it: each version more
// is compiled again, with all that depends on it.
func Versions(t *Tree) (breaches []string) {
	required := make(map[string]map[string][]string) // module to version to the files that require it
	for _, f := range t.files {
		if path.Base(f.name) != "go.mod" {
			continue
		}
		for line := range strings.Lines(f.text) {
			line, _, _ = strings.Cut(line, "//")
			words := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
			if len(words) != 2 || !strings.HasPrefix(words[1], "v") {
				continue
			}
			if required[words[0]] == nil {
				required[words[0]] = make(map[string][]string)
			}
			required[words[0]][words[1]] = append(required[words[0]][words[1]], f.name)
		}
	}
	for module, versions := range required {
		if len(versions) < 2 {
			continue
		}
		var all []string
		for version, files := range versions {
			all = append(all, version+" in "+strings.Join(files, ", "))
		}
		slices.Sort(all)
		breaches = append(breaches, fmt.Sprintf("%s: %s: run go get %s@VERSION with the highest of them in the other modules",
			module, strings.Join(all, "; "), module))
	}
	slices.Sort(breaches)
	return breaches
}
