// Package image unpacks the image of a container for a rehearsal. An image is a file that docker
// save or podman save has written, or a layout of the Open Container Initiative, as a directory or
// in a tar. A file may be compressed with gzip or zstd.
//
// An image is not trusted:
//
//   - Nothing outside of the image's own directory is read or written, whatever names and links the
//     image has.
//   - Devices, links that lead out, and more files or bytes than an image has are refused.
//   - Each layer must have the checksum that the image's configuration gives.
package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/distribution/reference"

	"github.com/lastcall-go/lastcall/rehearse"
)

// Bounds on an image. They are larger than what people build, and keep a malicious image from
// filling a disk.
const (
	maxBytes  = 16 << 30  // of all files together, and of the file that is given
	maxFiles  = 1_000_000 // of all layers together
	maxNames  = 256 << 20 // bytes of the paths of all these files: those of a layer are remembered
	maxLayers = 512
	maxText   = 4 << 20 // of a manifest or a configuration
	maxPath   = 4096
	maxDepth  = 255 // directories below each other
)

// Image is an unpacked image, and its configuration.
type Image struct {
	// Name is that of an image that an engine has exported, with the engine; else it is empty.
	Name string
	// Root is the directory with its files.
	Root string
	// Entrypoint and Cmd are the program with its arguments. Both may be empty.
	Entrypoint, Cmd []string
	// Env is the whole environment, with a PATH and a HOME. Dir is the working directory.
	Env []string
	Dir string
	// User, Group and Groups are the user and groups that the program runs as.
	User, Group int
	Groups      []int
	// UserName is the USER of the image, as that has it.
	UserName string
	// StopSignal is the stop signal, 0 if the image names none.
	StopSignal syscall.Signal
	// Healthcheck runs the image's HEALTHCHECK, each second; nil for none. Kubernetes ignores it. Here
	// it shows when the program has started, and has no effect after that.
	Healthcheck *rehearse.Probe
	// Ports are the TCP ports of EXPOSE, the smallest first.
	Ports []int

	remover *remover
}

// Unpack unpacks the image of a file or directory, or the one that was exported, if that is not
// nil. Close removes what it has written, and so does any end of this process.
func Unpack(ctx context.Context, name string, exported *Exported) (*Image, error) {
	im, err := unpack(ctx, name, exported)
	if named, bad := reference.ParseNormalizedNamed(name); errors.Is(err, errNoImage) && exported == nil && bad == nil && reference.IsNameOnly(named) {
		err = fmt.Errorf("%w; for an image of that name in a container engine, add its tag: %s:latest", err, name)
	}
	if err != nil {
		return nil, &imageError{name, err}
	}
	if exported != nil {
		im.Name = fmt.Sprintf("%s of %s", name, exported.Engine)
	}
	return im, nil
}

// imageError is an error about an image. What the image has put into its text, such as the name of
// a file, cannot move the cursor of a terminal or begin a line.
type imageError struct {
	name string
	err  error
}

func (e *imageError) Error() string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, fmt.Sprintf("image %s: %v", e.name, e.err))
}

func (e *imageError) Unwrap() error { return e.err }

func unpack(ctx context.Context, name string, exported *Exported) (*Image, error) {
	dir, err := os.MkdirTemp(temporary(), "lastcall-image-")
	if err != nil {
		return nil, err
	}
	im := &Image{Root: filepath.Join(dir, "root")}
	if im.remover, err = startRemover(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := im.fill(ctx, name, exported, dir); err != nil {
		return nil, errors.Join(err, im.Close())
	}
	return im, nil
}

// fill unpacks the image into its root, below dir.
func (i *Image) fill(ctx context.Context, name string, exported *Exported, dir string) error {
	var files files
	var err error
	if exported != nil {
		files, err = openArchive(ctx, exported.File, dir)
	} else {
		files, err = openFiles(ctx, name, dir)
	}
	if err != nil {
		return err
	}
	defer files.Close()
	found, err := choose(files)
	if err != nil {
		return err
	}
	if err := os.Mkdir(i.Root, 0o755); err != nil { //nolint:gosec // its parent directory is closed to others
		return err
	}
	root, err := os.OpenRoot(i.Root)
	if err != nil {
		return err
	}
	defer root.Close()
	t := newTree(root)
	if err := t.apply(ctx, files, found); err != nil {
		return err
	}
	return i.configure(found.config, t)
}

// temporary returns the directory for unpacked images. It is on a disk, which /tmp need not be.
func temporary() string {
	const onDisk = "/var/tmp"
	if os.Getenv("TMPDIR") == "" && path.IsAbs(onDisk) {
		if info, err := os.Stat(onDisk); err == nil && info.IsDir() {
			return onDisk
		}
	}
	return os.TempDir()
}

// Close removes the unpacked image. It may be called on nil.
func (i *Image) Close() error {
	if i == nil {
		return nil
	}
	return i.remover.remove()
}

// Container returns the image's program as a container to rehearse. A command, if there is one, is
// executed instead of the image's. There may be neither.
func (i *Image) Container(command []string) rehearse.Container {
	if len(command) == 0 {
		command = slices.Concat(i.Entrypoint, i.Cmd)
	}
	return rehearse.Container{
		Command: command, Dir: i.Dir, StopSignal: i.StopSignal, Startup: i.Healthcheck,
		Image: &rehearse.Image{Name: i.Name, Root: i.Root, User: i.User, Group: i.Group, Groups: i.Groups, Env: i.Env},
	}
}

// removeCommand is the name under which this program executes itself again, to remove an image.
const removeCommand = "lastcall-image-remove"

// remover is a process that removes a directory on demand, or when this process is gone.
type remover struct {
	cmd  *exec.Cmd
	tell *os.File
	said strings.Builder
}

// Temporary creates a directory for files that go with an image. The function remove removes it,
// and so does the end of this process.
func Temporary() (dir string, remove func() error, err error) {
	dir, err = os.MkdirTemp("", "lastcall-rehearse-")
	if err != nil {
		return "", nil, err
	}
	r, err := startRemover(dir)
	if err != nil {
		return "", nil, errors.Join(err, os.Remove(dir))
	}
	return dir, r.remove, nil
}

func startRemover(dir string) (*remover, error) {
	told, tell, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer told.Close()
	self := "/proc/self/exe" // this file, even if it is renamed
	if runtime.GOOS != "linux" {
		if self, err = os.Executable(); err != nil {
			return nil, errors.Join(err, tell.Close())
		}
	}
	r := &remover{tell: tell}
	r.cmd = &exec.Cmd{Path: self, Args: []string{removeCommand, dir}, Dir: "/", Stdin: told, Stderr: &r.said, SysProcAttr: apart()}
	if err := r.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start what removes the image: %w", err), tell.Close())
	}
	return r, nil
}

// remove has the directory removed. It may be called again.
func (r *remover) remove() error {
	if r == nil || r.tell == nil {
		return nil
	}
	err := r.tell.Close()
	r.tell = nil
	if waited := r.cmd.Wait(); waited != nil {
		err = fmt.Errorf("remove what was unpacked: %w: %s", waited, strings.TrimSpace(r.said.String()))
	}
	return err
}
