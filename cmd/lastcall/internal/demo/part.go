package demo

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/lastcall-go/lastcall/task"
)

// part is the partial file that becomes the result.
type part struct {
	place *place
	task  string
	name  string
	f     *os.File
	buf   *bufio.Writer
	size  int64
}

// partName returns the name of the partial file of one run.
func partName(base, task string, run int64) string {
	return fmt.Sprintf(".%s.%s.%d.partial", base, task, run)
}

// isPart reports whether name is that of a partial file for a result called base.
func isPart(name, base string) bool {
	return strings.HasPrefix(name, "."+base+".") && strings.HasSuffix(name, ".partial")
}

// openPart creates this run's partial file from that of the checkpoint, and records its name in the
// cursor. If the old one is gone, the work starts from the beginning.
func openPart(p *place, r *task.Run, at *cursor) (*part, error) {
	w := &part{place: p, task: r.ID(), name: partName(p.base, r.ID(), r.FencingToken())}
	var err error
	if w.f, err = p.dir.OpenFile(w.name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil, task.Permanent(fmt.Errorf("%w: the directory of \"out\" must be writable for the server's user", err))
		}
		return nil, err
	}
	w.buf = bufio.NewWriterSize(w.f, 1<<16)
	if err := w.inherit(filepath.Base(at.Part), at); err != nil {
		return nil, errors.Join(err, w.f.Close(), p.dir.Remove(w.name))
	}
	at.Part = w.name
	return w, nil
}

// inherit copies the valid bytes of the old partial file.
func (w *part) inherit(old string, at *cursor) error {
	if at.Part == "" || at.Size == 0 {
		return nil
	}
	f, err := w.place.dir.Open(old)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		defer f.Close()
		n, err := io.CopyN(w.f, f, at.Size)
		if err == nil {
			w.size = n
			return w.f.Sync()
		}
		if !errors.Is(err, io.EOF) {
			return err
		}
	}
	*at = cursor{Total: at.Total}
	return w.cut(0)
}

// Write appends. The bytes are in the file after sync.
func (w *part) Write(p []byte) (int, error) {
	n, err := w.buf.Write(p)
	w.size += int64(n)
	return n, err
}

// cut truncates the file to a size.
func (w *part) cut(size int64) error {
	err := w.buf.Flush()
	if err == nil {
		err = w.f.Truncate(size)
	}
	if err == nil {
		_, err = w.f.Seek(size, io.SeekStart)
	}
	w.size = size
	return err
}

// sync makes what was written survive a crash of the machine.
func (w *part) sync() error {
	if err := w.buf.Flush(); err != nil {
		return err
	}
	return w.f.Sync()
}

// rename gives the file its final name.
func (w *part) rename() error {
	if err := w.f.Close(); err != nil {
		return err
	}
	return w.place.install(w.name)
}

// removeOthers removes the partial files of earlier runs of the task.
func (w *part) removeOthers() error {
	names, err := readDir(w.place.dir, ".")
	if err != nil {
		return err
	}
	for _, n := range names {
		if n.Name() == w.name || !isPart(n.Name(), w.place.base+"."+w.task) {
			continue
		}
		if err := w.place.dir.Remove(n.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// close closes the file, and removes it if no other run will continue it.
func (w *part) close(remove bool) {
	_ = w.f.Close() // after rename it is closed already
	if remove {
		_ = w.place.dir.Remove(w.name) // a file that stays is no second error
	}
}
