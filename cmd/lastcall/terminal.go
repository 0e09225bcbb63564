package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"
)

// screen is a terminal. Everything that is written to it comes out as printable text: servers,
// stores, programs and payloads choose what commands print, and a terminal obeys control
// characters. To move the cursor, a command calls move.
type screen struct {
	to   io.Writer
	file *os.File // nil in a test
	mu   sync.Mutex
	part []byte // the first bytes of a character; the rest comes with the next call
}

// harmless returns a writer for one of the program's standard files: a screen if it is a terminal
// of any type (TERM), or else the file itself.
func harmless(f *os.File) io.Writer {
	if term.IsTerminal(int(f.Fd())) {
		return &screen{to: f, file: f}
	}
	return f
}

// Write implements io.Writer.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := append(s.part, b...)
	whole := len(text)
	for i := max(0, whole-utf8.UTFMax); i < whole; i++ {
		if utf8.RuneStart(text[i]) && !utf8.FullRune(text[i:]) {
			whole = i
		}
	}
	s.part = slices.Clone(text[whole:])
	if _, err := io.WriteString(s.to, plainLines(string(text[:whole]))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// move writes control sequences for a terminal's cursor and colors. They must be the command's own.
func move(w io.Writer, format string, args ...any) {
	if s, ok := w.(*screen); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		w = s.to
	}
	_, _ = fmt.Fprintf(w, format, args...) // the next picture replaces it
}

// isTerminal reports whether the output is a terminal on which pictures can be drawn.
func isTerminal(w io.Writer) bool {
	_, ok := w.(*screen)
	return ok && os.Getenv("TERM") != "dumb"
}

// defaultColumns is the width of a page if nothing else is known.
const defaultColumns = 80

// columns is the width of a line.
func columns(w io.Writer) int {
	if s, ok := w.(*screen); ok && s.file != nil {
		if width, _, err := term.GetSize(int(s.file.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return defaultColumns
}

// plain makes text that a task's program or payload has chosen harmless for a terminal. Characters
// that are not printable become spaces, so the text can neither move the cursor nor break the line.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// plainLines is plain for text of several lines.
func plainLines(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) && r != utf8.RuneError {
			return r
		}
		return ' '
	}, s)
}

// cut shortens a text to a number of columns of a terminal. Some characters take two.
func cut(s string, n int) string {
	if n <= 0 {
		return ""
	}
	return runewidth.Truncate(s, n, "…")
}

// pad extends a text to at least a number of columns.
func pad(s string, n int) string { return runewidth.FillRight(s, n) }
