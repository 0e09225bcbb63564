package demo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lastcall-go/lastcall/task"
)

// place is the directories of a job, opened once. Nothing outside of them is read or written, even
// if they are renamed meanwhile or contain links.
type place struct {
	in, dir *os.Root
	// base is the result's name in dir.
	base string
	// fresh is set if the result must not exist yet.
	fresh bool
}

// openPlace refuses a payload that cannot work, cleans its paths, and opens their directories.
// within is the directory that confines the job; nil if there is none.
func openPlace(within *os.Root, a *Args) (p *place, err error) {
	for _, p := range []struct{ name, path string }{{"dir", a.Dir}, {"out", a.Out}} {
		if !filepath.IsAbs(p.path) {
			return nil, fmt.Errorf("%q is %q: give an absolute path, since the task may run in another process with another working directory", p.name, p.path)
		}
	}
	a.Dir, a.Out = filepath.Clean(a.Dir), filepath.Clean(a.Out)
	p = &place{base: filepath.Base(a.Out), fresh: within != nil}
	if p.in, err = enter(within, a.Dir); err != nil {
		return nil, err
	}
	if p.dir, err = enter(within, filepath.Dir(a.Out)); err != nil {
		return nil, errors.Join(err, p.in.Close())
	}
	if info, err := p.dir.Lstat(p.base); err == nil && !info.Mode().IsRegular() {
		p.close()
		return nil, fmt.Errorf("%s exists and is not a regular file: choose another \"out\"", a.Out)
	}
	return p, nil
}

// enter opens a directory.
func enter(within *os.Root, dir string) (*os.Root, error) {
	name, stat, open := dir, os.Stat, os.OpenRoot
	if within != nil {
		rel, err := filepath.Rel(within.Name(), dir)
		if err != nil || !filepath.IsLocal(rel) {
			return nil, fmt.Errorf("%s is outside of %s, and this server's demonstration kinds work only in there", dir, within.Name())
		}
		name, stat, open = rel, within.Stat, within.OpenRoot
	}
	info, err := stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the directory %s does not exist", dir)
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%s is not a directory", dir)
	}
	return open(name)
}

func (p *place) close() {
	_ = p.in.Close()  // only read
	_ = p.dir.Close() // what is written has been synced
}

// install renames a partial file to the result, in one step.
func (p *place) install(part string) error {
	if err := p.checkFresh(); err != nil {
		return err
	}
	if err := p.dir.Rename(part, p.base); err != nil {
		return err
	}
	return p.sync()
}

// checkFresh refuses a name that is taken, if the result must be a new file.
func (p *place) checkFresh() error {
	if !p.fresh {
		return nil
	}
	if _, err := p.dir.Lstat(p.base); !errors.Is(err, fs.ErrNotExist) {
		return task.Permanent(fmt.Errorf("%s exists already, and this server's demonstration kinds write over no file: choose another \"out\"", p.base))
	}
	return nil
}

// sync makes a renaming survive a crash of the machine, if directories can be synced.
func (p *place) sync() error {
	d, err := p.dir.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// alreadyRenamed ends a task whose earlier run had written everything: it completes the renaming.
func (p *place) alreadyRenamed(at cursor) (bool, error) {
	if !at.Complete {
		return false, p.checkFresh()
	}
	part := filepath.Base(at.Part)
	if _, err := p.dir.Lstat(part); !errors.Is(err, fs.ErrNotExist) {
		return true, p.install(part)
	}
	info, err := p.dir.Lstat(p.base)
	if err == nil && info.Size() == at.Size {
		return true, p.sync()
	}
	return true, fmt.Errorf("%s was written completely, and is gone: submit the task again", p.base)
}
