package task

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of what a task may carry. They are far above what a task needs and far below what hurts
// its neighbours.
const (
	// MaxPayload bounds a payload, in bytes.
	MaxPayload = 1 << 20
	// MaxCheckpoint bounds a checkpoint, in bytes.
	MaxCheckpoint = 1 << 20
	// MaxResult bounds a result, in bytes.
	MaxResult = 1 << 20
	// MaxLog bounds what is kept of a task's log, in bytes: its tail.
	MaxLog = 64 << 10
	// MaxHistory bounds the runs that are kept of a task.
	MaxHistory   = 100
	maxErrorText = 8 << 10
	maxMessage   = 200
	maxName      = 100
	maxKey       = 200
	maxDelay     = 100 * 365 * 24 * time.Hour
)

// storable makes a text that every store can keep: valid UTF-8, no NUL, at most max bytes. One NUL
// in one error message must not stop a batch of a thousand records.
func storable(s string, max int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	if len(s) <= max {
		return s
	}
	const more = " [...]"
	cut := max - len(more)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + more
}

// checkName accepts what can name a kind: letters, digits, and . _ - / in between.
func checkName(what, name string) error {
	if name == "" || len(name) > maxName {
		return invalid("%s %.120q must have 1 to %d characters", what, name, maxName)
	}
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-/", c)) {
			return invalid("%s %q may have only letters, digits and . _ - /", what, name)
		}
	}
	return nil
}
