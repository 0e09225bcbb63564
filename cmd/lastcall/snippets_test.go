//go:build !norehearse

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/lastcall-go/lastcall/internal/execfile"
)

// snippet is a CI configuration of docs/rehearse.md.
type snippet struct {
	commands  []string // shell commands that rehearse
	published []string // files that its steps and reports take
}

// read collects commands and files from all strings of a YAML node.
func (s *snippet) read(n *yaml.Node) {
	switch {
	case n.Kind != yaml.ScalarNode:
		for _, child := range n.Content {
			s.read(child)
		}
	case strings.Contains(n.Value, "lastcall rehearse"):
		s.commands = append(s.commands, n.Value)
	case slices.Contains([]string{".html", ".sarif", ".xml"}, filepath.Ext(n.Value)):
		s.published = append(s.published, n.Value)
	}
}

// A snippet for CI works as pasted: its rehearsal passes with a server that ends well, and writes
// each file that is then published.
func TestRehearse_TheSnippetsForCIWorkAsPasted(t *testing.T) {
	t.Parallel() // it waits most of the time
	page, err := os.ReadFile("../../docs/rehearse.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)\n```yaml\n(.*?)\n```\n").FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 2 {
		t.Fatalf("the page has %d snippets, want one for GitHub and one for GitLab", len(blocks))
	}
	for _, block := range blocks {
		var (
			root yaml.Node
			s    snippet
		)
		if err := yaml.Unmarshal([]byte(block[1]), &root); err != nil {
			t.Errorf("%v:\n%s", err, block[1])
			continue
		}
		s.read(&root)
		if len(s.commands) != 1 || len(s.published) == 0 {
			t.Errorf("it rehearses with %q, and publishes %q:\n%s", s.commands, s.published, block[1])
			continue
		}
		first, _, _ := strings.Cut(block[1], ":")
		t.Run(first, func(t *testing.T) {
			t.Parallel()
			s.runs(t)
		})
	}
}

// runs runs the commands as a CI runner does.
func (s *snippet) runs(t *testing.T) {
	dir := t.TempDir()
	server := "#!/bin/sh\ntrap 'exit 0' TERM\nwhile :; do sleep 0.1; done\n"
	if err := execfile.Write(filepath.Join(dir, "server"), []byte(server), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, command := range s.commands {
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", command)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GITHUB_STEP_SUMMARY="+filepath.Join(dir, "summary.md"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	}
	for _, name := range s.published {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%q does not write %s, which is published: %v", s.commands, name, err)
		}
	}
}
