package archtest_test

import (
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/internal/archtest"
)

func TestProse_FindsLongLinesAndHouseWords(t *testing.T) {
	long := strings.Repeat("word ", 25)
	for _, c := range []struct{ file, text, want string }{
		{"p.go", "// Load says whether it is there.", "p.go:3: \"says whether\": write reports whether"},
		{"p.go", "// Load does it, and says\n// whether it is there.", "p.go:3: \"says whether\""},
		{"p.go", "// Load says\n//\n// whether it is there.", ""},
		{"p.go", "// " + long, "p.go:3: 128 characters, more than 100"},
		{"p.go", "var x = `" + long + "`", ""},
		{"p.go", "var x = `// " + long + "`", ""},
		{"p.go", "var x = 1 // it is told", "receives"},
		{"p.go", "var x = `" + long + "` // long", "more than 100"},
		{"p.go", "/* it is\ntold */", "p.go:3: \"is told\": write receives"},
		{"p.go", "// see https://example.com/" + strings.Repeat("x", 100), ""},
		{"p.go", `// The error "whoever has it" is old.`, ""},
		{"p.go", "// The error \"whoever\n// has it\" is old.", ""},
		{"p.go", "//go:generate " + long, ""},
		{"p.go", "var x = f() //nolint:errcheck // " + long, ""},
		{"p.go", "var x = f() //nolint:errcheck // whoever", "the caller"},
		{"p.go", "// Run it:\n//\n//\tx " + long, ""},
		{"p.go", "var (\n\tx int // what it is\n\ty int // told by z\n)", ""},
		{"a.yaml", "# Run it:\n#   x " + long, ""},
		{"a.yaml", "# what it is\n# told", "receives"},
		{"a.yaml", "a: 1 # what it is\nb: 2 # told by a", ""},
		{"a.sql", "-- Whoever has deleted the row.", "the caller"},
		{"a.sql", "select '-- whoever' -- whoever", `a.sql:1: "whoever"`},
		{"a.sql", "select '-- whoever'", ""},
		{"a.yaml", "a: 1 # whoever", "the caller"},
		{"a.yaml", "a: b#whoever", ""},
		{"a.py", "a = '# whoever'", ""},
		{"a.js", "a() // whoever", "the caller"},
		{"Makefile", "all: ## whoever", "the caller"},
		{"Containerfile", "# whoever", "the caller"},
		{"scripts/setup", "true\n# whoever", "scripts/setup:2"},
		{"a.txt", "# whoever", ""},
		{"a.md", long, "more than 100"},
		{"a.md", "| " + long, ""},
		{"a.md", "```\n" + long + "\n```", ""},
		{"a.md", "```\ncode\n```\n" + long, "more than 100"},
		{"a.md", "It looks beside the table.", "alongside"},
		{"a.md", "It is\ntold", "receives"},
		{"a.md", "- It is\n- told", ""},
		{"a.md", "| beside |", "alongside"},
		{"a.md", "A plain sentence.", ""},
	} {
		root := t.TempDir()
		write(t, root, "any/any.go", "package any\n")
		text := c.text
		if c.file == "p.go" {
			text = "package p\n\n" + text + "\n"
		}
		write(t, root, c.file, text)
		got := strings.Join(archtest.Prose(load(t, root)), "\n")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q: %q, want %q", c.file, c.text, got, c.want)
		}
	}
}
