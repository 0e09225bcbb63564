package task

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestText_IsMadeStorable(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                "plain",
		"a\x00b":               "a\uFFFDb",
		"a\xffb":               "a\uFFFDb",
		strings.Repeat("é", 9): "ééé [...]",
	} {
		if got := storable(in, 13); got != want {
			t.Errorf("storable(%q) is %q, want %q", in, got, want)
		}
	}
}

func FuzzText_IsMadeStorable(f *testing.F) {
	f.Add("a\x00\xff", 20)
	f.Fuzz(func(t *testing.T, s string, max int) {
		max = 10 + abs(max)%100
		got := storable(s, max)
		if len(got) > max || !utf8.ValidString(got) || strings.Contains(got, "\x00") {
			t.Errorf("storable(%q, %d) is %q", s, max, got)
		}
	})
}

func abs(n int) int {
	if n < 0 {
		return -(n + 1)
	}
	return n
}
