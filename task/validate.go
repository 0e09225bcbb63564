package task

import (
	"strings"
	"unicode/utf8"
)

// storable returns a text that every store can keep: valid UTF-8, no NUL, at most max bytes. One
// NUL in one error message must not stop a batch of a thousand records.
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

// checkName accepts the name of a kind or a queue: letters, digits, and . _ - / in between. A name
// must also fit between two slashes of an address (/v1/queues/NAME/pause).
func checkName(what, name string) error {
	if name == "/" || name == "." || name == ".." {
		return invalid("%s %q cannot be in a URL: give it a letter or a digit", what, name)
	}
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

// checkMeta accepts a Meta that can be stored.
func checkMeta(meta map[string]string) error {
	if len(meta) > MaxMeta {
		return invalid("meta has %d pairs, at most %d are kept: put the rest into the payload", len(meta), MaxMeta)
	}
	for key, value := range meta {
		if err := checkName("meta key", key); err != nil {
			return err
		}
		if len(value) > MaxMetaValue {
			return invalid("meta %q has %d bytes, at most %d are kept: put it into the payload", key, len(value), MaxMetaValue)
		}
		if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
			return invalid("meta %q is %.40q, which is no text: it must be UTF-8 without NUL, encode it as base64", key, value)
		}
	}
	return nil
}

// nilID is the UUID that names nothing (RFC 9562): no task has it, so a probe may ask for it.
const nilID = "00000000-0000-0000-0000-000000000000"

// checkID accepts a UUID in its canonical lower-case form, of any version: an id is chosen by the
// client.
func checkID(id string) error {
	if id == nilID {
		return invalid("id %s is the UUID that names nothing: choose another one, or leave it out", id)
	}
	return checkIDForm(id)
}

// checkIDForm accepts a UUID in its canonical lower-case form.
func checkIDForm(id string) error {
	bad := len(id) != 36
	for i := 0; i < len(id) && !bad; i++ {
		c := id[i]
		switch i {
		case 8, 13, 18, 23:
			bad = c != '-'
		default:
			bad = !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f')
		}
	}
	if bad {
		return invalid("id %.40q is not a UUID in lower case, as 0197c0de-0000-7000-8000-000000000000", id)
	}
	return nil
}
