package demo

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// entry is a directory, a regular file or a symbolic link of the tree.
type entry struct {
	path string // relative to the root, with slashes
	root *os.Root
	mode fs.FileMode
	pace *pace
}

// name is the path with the system's separators.
func (e entry) name() string { return filepath.FromSlash(e.path) }

// key is the path by which entries are ordered. That of a directory ends with a slash, so it comes
// just before its content.
func (e entry) key() string {
	if e.mode.IsDir() {
		return e.path + "/"
	}
	return e.path
}

// tree is walked in the order of the keys' bytes. At each level only one directory's names are in
// memory.
type tree struct {
	root *os.Root
	skip func(path string) bool
	pace *pace
}

// walk visits every entry whose key is greater than after. It ends with the first error of visit,
// and with the cause of ctx once that has ended. It skips what has vanished meanwhile.
func (t *tree) walk(ctx context.Context, after string, visit func(entry) error) error {
	return t.below(ctx, "", after, visit)
}

func (t *tree) below(ctx context.Context, dir, after string, visit func(entry) error) error {
	names, err := readDir(t.root, path.Clean(dir))
	if errors.Is(err, fs.ErrNotExist) && dir != "" {
		return nil
	}
	if err != nil {
		return err
	}
	entries := make([]entry, 0, len(names))
	for _, n := range names {
		e := entry{path: dir + n.Name(), root: t.root, mode: n.Type(), pace: t.pace}
		if kept := e.mode.IsRegular() || e.mode.IsDir() || e.mode&fs.ModeSymlink != 0; kept && !t.skip(e.path) {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.key(), b.key()) })
	for _, e := range entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		key := e.key()
		if key > after {
			if err := visit(e); err != nil {
				return err
			}
		} else if !strings.HasPrefix(after, key) {
			continue // the directory and everything below it come before
		}
		if e.mode.IsDir() {
			if err := t.below(ctx, key, after, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// readDir lists a directory.
func readDir(root *os.Root, dir string) ([]fs.DirEntry, error) {
	f, err := root.Open(filepath.FromSlash(dir))
	if err != nil {
		return nil, err
	}
	names, err := f.ReadDir(-1)
	return names, errors.Join(err, f.Close())
}

// reader reads at a pace. When its context has ended, it returns the cause.
type reader struct {
	ctx  context.Context
	f    *os.File
	pace *pace
}

func (r reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	n, err := r.f.Read(p)
	if waitErr := r.pace.wait(r.ctx, n); waitErr != nil {
		return n, waitErr
	}
	return n, err
}

// openRegular opens a file that was regular when its directory was read.
func openRegular(e entry) (*os.File, fs.FileInfo, error) {
	f, err := e.root.Open(e.name())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, errVanished
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errVanished
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}
