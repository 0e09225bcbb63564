package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

// apply unpacks the layers, the lowest first.
func (t *tree) apply(ctx context.Context, f files, im *chosen) error {
	for n, name := range im.layers {
		if err := t.layer(ctx, f, name, im.config.RootFS.DiffIDs[n].Verifier()); err != nil {
			return fmt.Errorf("layer %d of %d: %w", n+1, len(im.layers), err)
		}
	}
	return nil
}

// verifier receives what was read, and reports at the end whether it had the right checksum.
type verifier interface {
	io.Writer
	Verified() bool
}

func (t *tree) layer(ctx context.Context, f files, name string, v verifier) error {
	packed, err := f.open(name)
	if err != nil {
		return err
	}
	defer packed.Close()
	plain, _, err := decompress(contextReader{ctx, packed})
	if err != nil {
		return err
	}
	defer plain.Close()
	r := io.TeeReader(plain, v)
	clear(t.fresh)
	t.forget()
	for entries := tar.NewReader(r); ; {
		h, err := entries.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("it is damaged: %w", err)
		}
		if err := t.entry(h, entries); err != nil {
			return err
		}
	}
	// A few zeros follow. They are part of the checksum.
	n, err := io.Copy(io.Discard, io.LimitReader(r, maxText))
	switch {
	case err != nil:
		return err
	case n == maxText:
		return errors.New("it is damaged: something follows its end")
	case !v.Verified():
		return errors.New("it is damaged: it has not the checksum that the image's configuration says")
	}
	return nil
}

// Prefixes of the names by which a layer removes files of the layers below.
const (
	whiteout       = ".wh."
	whiteoutMark   = whiteout + whiteout // names that concern the layer itself
	whiteoutOpaque = whiteoutMark + ".opq"
)

// entry unpacks one entry of a layer.
func (t *tree) entry(h *tar.Header, content io.Reader) error {
	if err := t.count(); err != nil || h.Typeflag == tar.TypeXGlobalHeader {
		return err
	}
	name, err := clean(h.Name)
	if err != nil {
		return err
	}
	if name == "." {
		if h.Typeflag != tar.TypeDir {
			return fmt.Errorf("%q is the root, and no directory", shown(h.Name))
		}
		return t.dress(".", h)
	}
	dir, err := t.resolve(path.Dir(name), true)
	if err != nil {
		return err
	}
	base := path.Base(name)
	if hidden, ok := strings.CutPrefix(base, whiteout); ok {
		return t.takeAway(dir, base, hidden)
	}
	at := path.Join(dir, base)
	if err := t.put(at, name, h, content); err != nil {
		return fmt.Errorf("%q: %w", shown(h.Name), err)
	}
	return t.remember(at)
}

// clean returns a name below the root, "." for the root itself.
func clean(name string) (string, error) {
	if len(name) > maxPath {
		return "", fmt.Errorf("a name has %d bytes: %q", len(name), shown(name))
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("%q leads out of the image", shown(name))
		}
	}
	return path.Join(".", strings.TrimLeft(path.Clean(name), "/")), nil
}

// takeAway removes files of the layers below: one file, or the whole content of an opaque
// directory.
func (t *tree) takeAway(dir, base, hidden string) error {
	t.forget()
	switch {
	case base == whiteoutOpaque:
		return t.removeOld(dir)
	case strings.HasPrefix(base, whiteoutMark):
		return nil
	case hidden == "" || hidden == "." || hidden == "..":
		return fmt.Errorf("%q in %q takes away no file", base, shown(dir))
	}
	at := path.Join(dir, hidden)
	if t.fresh[at] {
		return nil
	}
	return t.root.RemoveAll(at)
}

// removeOld removes from a directory what the present layer has not put there.
func (t *tree) removeOld(dir string) error {
	f, err := t.root.Open(dir)
	if err != nil {
		return err
	}
	entries, err := f.ReadDir(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	for _, e := range entries {
		at := path.Join(dir, e.Name())
		if !t.fresh[at] {
			err = t.root.RemoveAll(at)
		} else if e.IsDir() {
			err = t.removeOld(at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// put puts one file into its place, and removes what was there.
func (t *tree) put(at, name string, h *tar.Header, content io.Reader) error {
	there, err := t.root.Lstat(at)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && !(there.IsDir() && h.Typeflag == tar.TypeDir) {
		t.forget()
		if err := t.root.RemoveAll(at); err != nil {
			return err
		}
		there = nil
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if there == nil {
			t.forget()
			if err := t.root.Mkdir(at, 0o700); err != nil {
				return err
			}
		}
		return t.dress(at, h)
	case tar.TypeReg, tar.TypeGNUSparse:
		return t.write(at, h, content)
	case tar.TypeSymlink:
		if !path.IsAbs(h.Linkname) && strings.HasPrefix(path.Join(path.Dir(name), h.Linkname)+"/", "../") {
			return fmt.Errorf("its link to %q leads out of the image", shown(h.Linkname))
		}
		t.forget()
		if err := t.root.Symlink(h.Linkname, at); err != nil {
			return err
		}
		return t.own(at, h.Uid, h.Gid)
	case tar.TypeLink:
		return t.link(at, h)
	case tar.TypeChar, tar.TypeBlock:
		return errors.New("it is a device, which no image of a program has")
	case tar.TypeFifo:
		return errors.New("it is a named pipe, which no image of a program has")
	}
	return fmt.Errorf("it is of the kind %q, which no image has", h.Typeflag)
}

// link creates another name for a file of the image.
func (t *tree) link(at string, h *tar.Header) error {
	name, err := clean(h.Linkname)
	if err != nil {
		return err
	}
	dir, err := t.resolve(path.Dir(name), false)
	if err != nil {
		return err
	}
	to := path.Join(dir, path.Base(name))
	info, err := t.root.Lstat(to)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("it is another name of the directory %q", shown(h.Linkname))
	}
	return t.root.Link(to, at)
}

// write writes a file's content.
func (t *tree) write(at string, h *tar.Header, content io.Reader) (err error) {
	if t.bytes -= h.Size; h.Size < 0 || t.bytes < 0 {
		return fmt.Errorf("the image has more than %d GiB", maxBytes>>30)
	}
	f, err := t.root.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = t.copyWithHoles(f, content, h.Size)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := t.dress(at, h); err != nil {
		return err
	}
	if h.ModTime.Before(time.Unix(0, 0)) || h.ModTime.After(latest) {
		return nil
	}
	return t.root.Chtimes(at, h.ModTime, h.ModTime)
}

// copyWithHoles writes a file's content, and leaves holes for blocks of zeros: an archive of a few
// bytes can have a sparse file that is as large as the whole image may be, and it takes no place on
// the disk.
func (t *tree) copyWithHoles(f *os.File, content io.Reader, size int64) error {
	for at := int64(0); at < size; {
		block := t.block[:min(int64(len(t.block)), size-at)]
		if _, err := io.ReadFull(content, block); err != nil {
			return err
		}
		if !bytes.Equal(block, t.zeros[:len(block)]) {
			if _, err := f.WriteAt(block, at); err != nil {
				return err
			}
		}
		at += int64(len(block))
	}
	return f.Truncate(size)
}

// latest is later than the times that some file systems can store.
var latest = time.Date(2400, 1, 1, 0, 0, 0, 0, time.UTC)

// dress sets the owner and the permissions of a file or directory, without the bits for setuid and
// setgid. A rehearsed program gains no rights by what it executes, so those bits would help only
// others.
func (t *tree) dress(at string, h *tar.Header) error {
	if err := t.own(at, h.Uid, h.Gid); err != nil {
		return err
	}
	mode := h.FileInfo().Mode() & (fs.ModePerm | fs.ModeSticky)
	if h.Typeflag == tar.TypeDir {
		mode |= 0o700 // otherwise only root could write into it, or remove it
	} else {
		mode &= fs.ModePerm
	}
	return t.root.Chmod(at, mode)
}
