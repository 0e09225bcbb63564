package archtest

import (
	"strings"
	"testing"
)

func TestProse_FindsLongLinesAndHouseWords(t *testing.T) {
	long := strings.Repeat("word ", 25)
	for _, c := range []struct{ text, comment, want string }{
		{"// Load says whether it is there.", "//", "reports whether"},
		{"\t// " + long, "//", "more than 100"},
		{"\tx := `" + long + "`", "//", ""},
		{"// see https://example.com/" + strings.Repeat("x", 100), "//", ""},
		{`// The error "whoever has it" is old.`, "//", ""},
		{"-- Whoever has deleted the row.", "--", "the caller"},
		{long, "", "more than 100"},
		{"| " + long, "", ""},
		{"```\n" + long + "\n```", "", ""},
		{"```\ncode\n```\n" + long, "", "more than 100"},
		{"It looks beside the table.", "", "alongside"},
		{"| beside |", "", "alongside"},
		{"A plain sentence.", "", ""},
	} {
		got := strings.Join(prose("file", c.text, c.comment), "\n")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}
