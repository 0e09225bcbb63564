package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// files are the files that an image consists of: manifests, a configuration and layers.
type files interface {
	// open opens a file by its name, which has slashes. The error of a missing file is fs.ErrNotExist.
	open(name string) (io.ReadCloser, error)
	Close() error
}

var errNoImage = errors.New("it is neither a file of docker save or podman save nor an OCI layout")

// openFiles opens a directory, or a tar.
func openFiles(ctx context.Context, name, dir string) (files, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, errors.Unwrap(err) // the name is in the message already
	}
	if info.IsDir() {
		root, err := os.OpenRoot(name)
		return layout{root}, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNoImage
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return openArchive(ctx, f, dir)
}

// openArchive opens a tar that is open as a file, and closes it if it cannot. A compressed tar is
// unpacked into dir.
func openArchive(ctx context.Context, f *os.File, dir string) (files, error) {
	plain, packed, err := decompress(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if packed {
		unpacked, err := keep(ctx, plain, dir)
		if err = errors.Join(err, plain.Close(), f.Close()); err != nil {
			return nil, err
		}
		f = unpacked
	} else if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	a, err := readArchive(ctx, f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return a, nil
}

// maxWindow bounds the memory that a zstd stream may request.
const maxWindow = 64 << 20

// decompress decompresses r if its first bytes are those of gzip or zstd. Closing the result does
// not close r.
func decompress(r io.Reader) (plain io.ReadCloser, packed bool, err error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	magic, err := buffered.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		plain, err = gzip.NewReader(buffered)
		return plain, true, err
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		d, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, true, err
		}
		return d.IOReadCloser(), true, nil
	case bytes.HasPrefix(magic, []byte("BZh")), bytes.HasPrefix(magic, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return nil, true, errors.New("it is compressed with bzip2 or xz: unpack it first, or compress it with gzip or zstd")
	}
	return io.NopCloser(buffered), false, nil
}

// keep writes an archive to a file in dir that disappears when its last descriptor is closed.
func keep(ctx context.Context, r io.Reader, dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "lastcall-archive-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	n, err := io.Copy(f, io.LimitReader(contextReader{ctx, r}, maxBytes+1))
	if err == nil && n > maxBytes {
		err = fmt.Errorf("it has more than %d GiB", maxBytes>>30)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// contextReader reads until the context ends.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.Reader.Read(p)
}

// layout is a directory in the format of the Open Container Initiative. Links in it cannot lead
// out.
type layout struct{ *os.Root }

func (l layout) open(name string) (io.ReadCloser, error) {
	info, err := l.Stat(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a named pipe would not return
		return nil, fmt.Errorf("%s is no file", name)
	}
	return l.Open(filepath.FromSlash(name))
}

// archive is a tar with an index of where each file begins.
type archive struct {
	f  *os.File
	at map[string]member
}

type member struct {
	offset, size int64
	link         string // the name of another member
}

// maxMembers bounds an archive. It has a few files for each layer.
const maxMembers = 10_000

// readArchive indexes the files of a tar.
func readArchive(ctx context.Context, f *os.File) (*archive, error) {
	a := &archive{f: f, at: make(map[string]member)}
	for r := tar.NewReader(f); ; {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		h, err := r.Next()
		if err == io.EOF && len(a.at) > 0 {
			return a, nil
		}
		if err == io.EOF || (errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF)) && len(a.at) == 0 {
			return nil, errNoImage
		}
		if err != nil {
			return nil, fmt.Errorf("the archive is damaged: %w", err)
		}
		if len(a.at) >= maxMembers {
			return nil, fmt.Errorf("it has more than %d files, and an image has a few for each layer", maxMembers)
		}
		name := path.Clean(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			offset, err := f.Seek(0, io.SeekCurrent) // where the content begins, in the file too
			if err != nil {
				return nil, err
			}
			if h.PAXRecords["GNU.sparse.major"] != "" || h.PAXRecords["GNU.sparse.map"] != "" {
				return nil, fmt.Errorf("%q has holes: pack the archive without", h.Name)
			}
			a.at[name] = member{offset: offset, size: h.Size}
		case tar.TypeSymlink: // older versions save equal layers once, and link to them
			a.at[name] = member{link: path.Join(path.Dir(name), h.Linkname)}
		case tar.TypeLink:
			a.at[name] = member{link: path.Clean(h.Linkname)}
		}
	}
}

func (a *archive) open(name string) (io.ReadCloser, error) {
	m, ok := a.at[path.Clean(name)]
	for links := 0; ok && m.link != "" && links < 8; links++ {
		m, ok = a.at[m.link]
	}
	if !ok || m.link != "" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return io.NopCloser(io.NewSectionReader(a.f, m.offset, m.size)), nil
}

func (a *archive) Close() error { return a.f.Close() }

// text returns the content of a file of readable text, as a manifest.
func text(f files, name string) ([]byte, error) {
	r, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxText+1))
	if err == nil && len(b) > maxText {
		err = fmt.Errorf("%s has more than %d MiB", name, maxText>>20)
	}
	return b, err
}
