//go:build linux

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// The kinds of faults of a File.
const (
	FileLocked             = "sqlite-locked"
	FileDiskFull           = "sqlite-disk-full"
	FileKilledInCheckpoint = "sqlite-killed-in-checkpoint"
)

// File is the place of a run's SQLite store.
type File struct {
	stage
	dir  string
	disk bool
}

// NewFile creates the directory of the store in that of the run, on a small disk if a fault may
// fill it. Room is how many MiB the tasks of the run need.
func NewFile(dir string, faults []string, room int) (*File, error) {
	f := &File{dir: filepath.Join(dir, "sqlite"), disk: slices.Contains(faults, FileDiskFull)}
	if !f.disk {
		return f, os.Mkdir(f.dir, 0o755)
	}
	if err := canMount(); err != nil {
		return nil, err
	}
	return f, mount(f.dir, 64+room)
}

// Path returns the path of the store's file.
func (f *File) Path() string { return filepath.Join(f.dir, "tasks.db") }

// FileFaults are the faults of a File.
func FileFaults() []Fault { return list(fileActs()) }

// fileActs is the table of the faults of a File.
func fileActs() []act[*File] {
	return []act[*File]{
		{Fault{FileLocked, "Another process holds the lock for writing.", time.Minute, "", nil, true}, (*File).lock},
		{Fault{FileDiskFull, "The disk is full.", time.Minute, "", canMount, false}, (*File).fill},
		{Fault{FileKilledInCheckpoint, "A process that checkpoints the log is killed in the middle of a checkpoint; then the fault is over.", time.Minute, "", nil, false}, (*File).killInCheckpoint},
	}
}

// Begin begins a fault. The End that it returns ends it.
func (f *File) Begin(ctx context.Context, kind string) (End, error) {
	return perform(ctx, &f.stage, fileActs(), kind, f)
}

// Close ends all faults and removes the directory.
func (f *File) Close() error { return errors.Join(f.stage.close(), Remove(f.dir)) }

// helper starts this program again as a process that does something to the store's file. Its output
// is readable from says until it is killed.
func (f *File) helper(job string) (says io.ReadCloser, kill func() error, err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	says, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(context.Background(), program)
	cmd.Env, cmd.Stdout = append(os.Environ(), envJob+"="+job, envFile+"="+f.Path()), w
	kill, err = launch(cmd)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, nil, errors.Join(err, says.Close())
	}
	return says, kill, nil
}

// lock makes another process hold the lock for writing.
func (f *File) lock(context.Context) (ending, error) {
	says, kill, err := f.helper(jobLock)
	if err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(says, make([]byte, 1)); err != nil {
		return nil, errors.Join(fmt.Errorf("the process did not get the lock: %w", err), kill(), says.Close())
	}
	return func(context.Context) (string, error) { return "", errors.Join(kill(), says.Close()) }, nil
}

func (f *File) fill(context.Context) (ending, error) {
	if !f.disk {
		return nil, errors.New("the file is not on a small disk: the fault was not asked for when it was made")
	}
	empty, err := fill(f.dir)
	if err != nil {
		return nil, err
	}
	return func(context.Context) (string, error) { return "", empty() }, nil
}

// killInCheckpoint kills a process during a checkpoint that has work to do, and repeats that until
// it succeeds.
func (f *File) killInCheckpoint(ctx context.Context) (ending, error) {
	for try := 1; ; try++ {
		says, kill, err := f.helper(jobCheckpoint)
		if err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(says, make([]byte, 1)); err != nil {
			return nil, errors.Join(fmt.Errorf("the process made no checkpoint: %w", err), kill(), says.Close())
		}
		pause(ctx, rand.N(5*time.Millisecond))
		err = kill()
		said, e := io.ReadAll(says)
		if err = errors.Join(err, e, says.Close(), ctx.Err()); err != nil {
			return nil, err
		}
		if said = append([]byte{saysBegin}, said...); said[len(said)-1] == saysBegin {
			return func(context.Context) (string, error) {
				return fmt.Sprintf("in checkpoint %d of the process, at the %d. try", len(said)/2+1, try), nil
			}, nil
		}
	}
}
