package demo

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// archiver writes each entry as a gzip member of its own.
type archiver struct{ gz *gzip.Writer }

func newArchiver() *archiver { return &archiver{gz: gzip.NewWriter(io.Discard)} }

// errChanged is the error of a file that became shorter while it was read.
var errChanged = errors.New("became shorter while it was read")

// add writes an entry. If a file changes its size meanwhile, it starts that file again, three
// times.
func (a *archiver) add(ctx context.Context, w *part, e entry) error {
	begin := w.size
	for tries := 1; ; tries++ {
		err := a.member(ctx, w, e)
		if !errors.Is(err, errChanged) {
			return err
		}
		if tries == 3 {
			return fmt.Errorf("%s %w, %d times", e.path, err, tries)
		}
		if err := w.cut(begin); err != nil {
			return err
		}
	}
}

func (a *archiver) member(ctx context.Context, w *part, e entry) error {
	h, f, err := header(e)
	if err != nil {
		return err
	}
	if f != nil {
		defer f.Close() // only read
	}
	a.gz.Reset(w)
	tw := tar.NewWriter(a.gz)
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	if f != nil {
		if _, err := io.CopyN(tw, reader{ctx, f, e.pace}, h.Size); errors.Is(err, io.EOF) {
			return errChanged
		} else if err != nil {
			return err
		}
	}
	if err := tw.Flush(); err != nil { // not Close: the archive goes on in the next member
		return err
	}
	return a.gz.Close()
}

// header describes an entry, and opens it if it has content. Nothing in it depends on when the
// archive is written, or by whom.
func header(e entry) (*tar.Header, *os.File, error) {
	var (
		f    *os.File
		info fs.FileInfo
		link string
		err  error
	)
	switch {
	case e.mode.IsRegular():
		f, info, err = openRegular(e)
	case e.mode.IsDir():
		info, err = e.root.Lstat(e.name())
	default:
		if link, err = e.root.Readlink(e.name()); err == nil {
			info, err = e.root.Lstat(e.name())
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = errVanished
	}
	if err != nil {
		return nil, nil, err
	}
	h := &tar.Header{
		Typeflag: tar.TypeReg, Name: e.key(), Linkname: link,
		Mode: int64(info.Mode().Perm()), ModTime: info.ModTime().Truncate(time.Second),
	}
	switch {
	case f != nil:
		h.Size = info.Size()
	case e.mode.IsDir():
		h.Typeflag = tar.TypeDir
	default:
		h.Typeflag = tar.TypeSymlink
	}
	return h, f, nil
}

// archiveEnd writes the two empty blocks that end an archive.
func archiveEnd(w *part) error {
	gz := gzip.NewWriter(w)
	if err := tar.NewWriter(gz).Close(); err != nil {
		return err
	}
	return gz.Close()
}
