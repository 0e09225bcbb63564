package execkind

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"unicode/utf8"

	"github.com/lastcall-go/lastcall/task"
)

// A program's checkpoint is bytes, and the next run gets the same bytes; a task stores JSON.
// Compact JSON is stored as it is, so that it is readable where tasks are shown, other text as
// {"text": "..."}, and everything else as {"base64": "..."}.
type wrapped struct {
	Text   *string `json:"text,omitempty"`
	Base64 *string `json:"base64,omitempty"`
}

// wrap returns the JSON to store for a program's checkpoint. It fails if that is too large.
func wrap(b []byte) (json.RawMessage, error) {
	kept, err := json.Marshal(json.RawMessage(b))
	if err != nil || !bytes.Equal(kept, b) || isWrapped(b) {
		w := wrapped{}
		if text := string(b); utf8.Valid(b) {
			w.Text = &text
		} else {
			text = base64.StdEncoding.EncodeToString(b)
			w.Base64 = &text
		}
		if kept, err = json.Marshal(w); err != nil {
			return nil, err
		}
	}
	if len(kept) > task.MaxCheckpoint {
		return nil, tooLarge(len(kept))
	}
	return kept, nil
}

func tooLarge(n int) error {
	return fmt.Errorf("the checkpoint has %d bytes, at most %d are kept, and less of what is no compact JSON: write a file's name and a position into it, and not the file", n, task.MaxCheckpoint)
}

// unwrap is the reverse of wrap. A checkpoint of another handler is returned as it is.
func unwrap(kept json.RawMessage) ([]byte, error) {
	if !isWrapped(kept) {
		return kept, nil
	}
	var w wrapped
	if err := json.Unmarshal(kept, &w); err != nil {
		return nil, err
	}
	if w.Text != nil {
		return []byte(*w.Text), nil
	}
	return base64.StdEncoding.DecodeString(*w.Base64)
}

// isWrapped reports whether JSON has the form that wrap makes.
func isWrapped(b []byte) bool {
	var keys map[string]json.RawMessage
	if json.Unmarshal(b, &keys) != nil || len(keys) != 1 {
		return false
	}
	value := keys["text"]
	if value == nil {
		value = keys["base64"]
	}
	var text string
	return value != nil && json.Unmarshal(value, &text) == nil
}

// ledger watches the checkpoint file of a run.
type ledger struct {
	folder *folder
	kept   []byte // what the store has, unwrapped; nil if nothing

	seen os.FileInfo // the file that was last looked at
	open *os.File    // a file that changed, kept open until no process writes to it
}

// changed returns a new checkpoint once the file has one. It is called a few times a second while
// the program runs. A file that replaced another one by a rename is complete. A file that is
// written in place is read once it has not changed between two calls.
func (l *ledger) changed() ([]byte, bool, error) {
	if l.open != nil {
		return l.settled()
	}
	info, err := l.folder.look(checkpointName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if !l.folder.plain(info) || info.Size() == 0 || l.seen != nil && sameContent(info, l.seen) {
		return nil, false, nil
	}
	f, err := l.folder.open(checkpointName)
	if err != nil {
		return nil, false, err
	}
	l.open = f
	l.seen, err = f.Stat()
	return nil, false, err
}

// settled reads the open file, if it was not written to since it was opened.
func (l *ledger) settled() ([]byte, bool, error) {
	f, before := l.open, l.seen
	l.open = nil
	defer f.Close()
	now, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	if !sameContent(now, before) { // it is being written
		l.seen = nil
		return nil, false, nil
	}
	b, err := read(f)
	if err != nil {
		return nil, false, err
	}
	if now, err = f.Stat(); err != nil || !sameContent(now, before) {
		l.seen = nil
		return nil, false, err
	}
	return b, !bytes.Equal(b, l.kept), nil
}

// last returns the content of the file if that is new. It is called when no process can write to
// the file any more. An empty or missing file is no checkpoint: the one before is kept.
func (l *ledger) last() ([]byte, bool, error) {
	if l.open != nil {
		_ = l.open.Close() // only read
		l.open = nil
	}
	f, err := l.folder.open(checkpointName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	b, err := read(f)
	return b, err == nil && len(b) > 0 && !bytes.Equal(b, l.kept), err
}

func read(f *os.File) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(f, task.MaxCheckpoint+1))
	if err == nil && len(b) > task.MaxCheckpoint {
		size := len(b)
		if info, err := f.Stat(); err == nil {
			size = int(info.Size())
		}
		err = tooLarge(size)
	}
	return b, err
}

func sameContent(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
