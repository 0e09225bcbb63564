package execkind

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

func TestCheckpoint_IsKeptReadableWhereItCanBe(t *testing.T) {
	for written, kept := range map[string]string{
		`{"at":5}`:       `{"at":5}`,
		`5`:              `5`,
		"5\n":            `{"text":"5\n"}`,
		`{"at": 5}`:      `{"text":"{\"at\": 5}"}`,
		"line 7":         `{"text":"line 7"}`,
		"\xff\x00":       `{"base64":"/wA="}`,
		`{"text":"x"}`:   `{"text":"{\"text\":\"x\"}"}`,
		`{"base64":"x"}`: `{"text":"{\"base64\":\"x\"}"}`,
		`{"text":5}`:     `{"text":5}`,
	} {
		got, err := wrap([]byte(written))
		if err != nil || string(got) != kept {
			t.Errorf("%q is kept as %s, %v; want %s", written, got, err, kept)
		}
	}
	if _, err := wrap(bytes.Repeat([]byte{0xff}, task.MaxCheckpoint*4/5)); err == nil || !strings.Contains(err.Error(), "at most 1048576") {
		t.Errorf("too large as base64: %v", err)
	}
}

func FuzzCheckpoint_IsGivenBackByteForByte(f *testing.F) {
	for _, seed := range []string{"", "5", "5\n", `{"a":1}`, `{"text":"x"}`, `{"base64":"!"}`, `{"text":"a","text":"b"}`, "\xff", "null", `{"TEXT":"x"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, written []byte) {
		kept, err := wrap(written)
		if err != nil || !json.Valid(kept) {
			t.Fatalf("%q: %s, %v", written, kept, err)
		}
		if back, err := unwrap(kept); err != nil || !bytes.Equal(back, written) {
			t.Errorf("%q is given back as %q, %v", written, back, err)
		}
	})
}

// newLedger is a ledger in a directory of its own.
func newLedger(t *testing.T) (l *ledger, dir string) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	s, err := newScratch(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.folder.close)
	return &ledger{folder: s.folder}, s.dir
}

// looks calls changed until it returns a checkpoint, at most twice.
func looks(t *testing.T, l *ledger) (string, bool) {
	t.Helper()
	for range 2 {
		b, isNew, err := l.changed()
		if err != nil {
			t.Fatal(err)
		}
		if isNew {
			l.kept = b
			return string(b), true
		}
	}
	return "", false
}

func TestCheckpoint_FileIsReadWhenItIsNewAndNobodyWritesToIt(t *testing.T) {
	l, dir := newLedger(t)
	path := filepath.Join(dir, checkpointName)
	write := func(flag int, text string) {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|flag, 0o600)
		if err == nil {
			_, err = f.WriteString(text)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if _, isNew := looks(t, l); isNew {
		t.Error("no file, but a checkpoint")
	}
	write(0, "one")
	if got, _ := looks(t, l); got != "one" {
		t.Errorf("got %q", got)
	}
	if _, isNew := looks(t, l); isNew {
		t.Error("told twice")
	}
	write(os.O_TRUNC, "")
	if _, isNew := looks(t, l); isNew {
		t.Error("an empty file is no checkpoint")
	}
	// A file that is written to between two calls is not read yet.
	write(0, "tw")
	if _, isNew, err := l.changed(); isNew || err != nil {
		t.Errorf("at the first look: %v, %v", isNew, err)
	}
	write(os.O_APPEND, "o")
	if b, isNew, err := l.changed(); isNew || err != nil {
		t.Errorf("read while it was written: %q, %v", b, err)
	}
	if got, _ := looks(t, l); got != "two" {
		t.Errorf("got %q", got)
	}
	// A file that replaced the first one is another file.
	if err := errors.Join(os.WriteFile(path+".new", []byte("three"), 0o600), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
	if _, isNew, err := l.changed(); isNew || err != nil {
		t.Errorf("at the first look: %v, %v", isNew, err)
	}
	if err := errors.Join(os.WriteFile(path+".new", []byte("four"), 0o600), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
	if b, isNew, err := l.changed(); !isNew || err != nil || string(b) != "three" {
		t.Errorf("a file that was replaced is whole: %q, %v, %v", b, isNew, err)
	}
	l.kept = []byte("three")
	if got, _ := looks(t, l); got != "four" {
		t.Errorf("got %q", got)
	}
	write(os.O_TRUNC, "five")
	if b, isNew, err := l.last(); !isNew || err != nil || string(b) != "five" {
		t.Errorf("at the end: %q, %v, %v", b, isNew, err)
	}
}
