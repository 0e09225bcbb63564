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
	out  string
	task string
	path string
	f    *os.File
	buf  *bufio.Writer
	size int64
}

// partName names the partial file of one run.
func partName(base, task string, run int64) string {
	return fmt.Sprintf(".%s.%s.%d.partial", base, task, run)
}

// isPart reports whether name is that of a partial file for a result called base.
func isPart(name, base string) bool {
	return strings.HasPrefix(name, "."+base+".") && strings.HasSuffix(name, ".partial")
}

// openPart makes this run's partial file out of the checkpoint's, and lets the cursor name it. If
// the old one is gone the work begins anew.
func openPart(a Args, r *task.Run, at *cursor) (*part, error) {
	dir, base := filepath.Split(a.Out)
	name := partName(base, r.ID(), r.FencingToken())
	w := &part{out: a.Out, task: r.ID(), path: filepath.Join(dir, name)}
	var err error
	if w.f, err = os.OpenFile(w.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil, task.Permanent(fmt.Errorf("%w: the directory of \"out\" must be writable for the server's user", err))
		}
		return nil, err
	}
	w.buf = bufio.NewWriterSize(w.f, 1<<16)
	if err := w.inherit(filepath.Join(dir, filepath.Base(at.Part)), at); err != nil {
		return nil, errors.Join(err, w.f.Close(), os.Remove(w.path))
	}
	at.Part = name
	return w, nil
}

// inherit copies what counts of the old partial file.
func (w *part) inherit(old string, at *cursor) error {
	if at.Part == "" || at.Size == 0 {
		return nil
	}
	f, err := os.Open(old)
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

// cut takes back everything beyond size.
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

// sync makes what was written survive the machine.
func (w *part) sync() error {
	if err := w.buf.Flush(); err != nil {
		return err
	}
	return w.f.Sync()
}

// rename gives the file its final name, in one step.
func (w *part) rename() error {
	if err := w.f.Close(); err != nil {
		return err
	}
	return install(w.path, w.out)
}

func install(path, out string) error {
	if err := os.Rename(path, out); err != nil {
		return err
	}
	return syncDir(filepath.Dir(out))
}

// syncDir makes a renaming survive the machine, where directories can be synced.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// removeOthers removes the partial files that earlier runs of the task left.
func (w *part) removeOthers() error {
	dir, base := filepath.Split(w.out)
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if n.Name() == filepath.Base(w.path) || !isPart(n.Name(), base+"."+w.task) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, n.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// close closes the file, and removes it if no other run will go on with it.
func (w *part) close(remove bool) {
	_ = w.f.Close() // after rename it is closed already
	if remove {
		_ = os.Remove(w.path) // a leftover is no second error
	}
}

// alreadyRenamed ends a task whose earlier run had written everything: it does what was left of the
// renaming.
func alreadyRenamed(a Args, at cursor) (bool, error) {
	if !at.Complete {
		return false, nil
	}
	path := filepath.Join(filepath.Dir(a.Out), filepath.Base(at.Part))
	err := install(path, a.Out)
	if !errors.Is(err, fs.ErrNotExist) {
		return true, err
	}
	info, err := os.Stat(a.Out)
	if err == nil && info.Size() == at.Size {
		return true, syncDir(filepath.Dir(a.Out))
	}
	return true, fmt.Errorf("%s was written completely, and is gone: submit the task again", a.Out)
}
