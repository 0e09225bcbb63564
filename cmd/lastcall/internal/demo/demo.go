// Package demo has two kinds of task that work on real files: hash-tree and gzip-tree.
//
// Both go through a directory in the order of the paths' bytes and write one file. The file is the
// same, byte for byte, however often the task was interrupted or its process killed, as long as the
// directory did not change meanwhile.
//
// How that works:
//
//   - The output goes to a partial file next to the result.
//   - A checkpoint has the last path that was written, and the length of the partial file up to
//     there. The file is synced before each checkpoint.
//   - A new run copies that length into a partial file of its own, named with the run's number. So
//     a run that was taken for dead but goes on writes into a file that nobody reads.
//   - At the end the partial file is renamed to the result, in one step.
//
// At an interrupt the checkpoint is that of the last whole entry. Before, a checkpoint is saved
// every 100 ms, not after each file: for thousands of small files the syncing would take longer
// than the work (measured: see docs/tasks.md).
package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// Args is the payload of both kinds. Both paths must be absolute: the task may run in another
// process, which has another working directory. If Out is inside Dir, the result and the partial
// files next to it are not part of the work.
type Args struct {
	Dir string `json:"dir"`
	Out string `json:"out"`
	// BytesPerSecond bounds how fast the files are read, so that on a fast machine too a stop finds
	// tasks that still run. 0 is no bound.
	BytesPerSecond int64 `json:"bytesPerSecond,omitempty"`
}

// HashTree writes the lines of sha256sum for all regular files below Dir, with paths relative to
// it: what
//
//	find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum
//
// prints there. It does not follow symbolic links, and skips other special files.
var HashTree = task.Kind[Args]{Name: "hash-tree"}

// GzipTree writes a compressed tar archive of the directories, regular files and symbolic links
// below Dir. Each entry is a gzip member of its own, so a run can resume between any two. The
// archive has the modes and modification times, but not the owners.
var GzipTree = task.Kind[Args]{Name: "gzip-tree"}

// Register adds both kinds to a mux. within is for servers that accept tasks from others. With it
// the tasks read and write only below that directory, whatever a payload names and wherever links
// lead, and overwrite no file. The directory's name must be absolute. If within is nil, only the
// rights of the process limit the tasks.
func Register(m *task.Mux, within *os.Root) {
	task.Handle(m, HashTree, func(ctx context.Context, r *task.Run, a Args) error {
		return job{within: within, add: hashEntry}.run(ctx, r, a)
	})
	task.Handle(m, GzipTree, func(ctx context.Context, r *task.Run, a Args) error {
		return job{within: within, add: newArchiver().add, finish: archiveEnd}.run(ctx, r, a)
	})
}

// saveEvery is the time between two checkpoints of an undisturbed run.
const saveEvery = 100 * time.Millisecond

// errVanished is the error of a file that was gone when its turn came. It is treated as if it had
// never existed.
var errVanished = errors.New("vanished")

// cursor is the checkpoint.
type cursor struct {
	// Part is the partial file's name, Size how many of its bytes are valid.
	Part string `json:"part"`
	Size int64  `json:"size"`
	// After is the path of the last entry in it. It is bytes, since a name need not be UTF-8.
	After []byte `json:"after"`
	// Entries of Total are done. Total was counted once, and serves only to show the progress.
	Entries int `json:"entries"`
	Total   int `json:"total"`
	// Complete is set when only the renaming is left.
	Complete bool `json:"complete"`
}

// job is what differs between the two kinds.
type job struct {
	// within is the directory that confines the job; nil is no bound.
	within *os.Root
	// add writes one entry. After an error the partial entry is cut off.
	add func(ctx context.Context, w *part, e entry) error
	// finish writes what follows the last entry; nil is nothing.
	finish func(w *part) error
}

func (j job) run(ctx context.Context, r *task.Run, a Args) (err error) {
	p, err := openPlace(j.within, &a)
	if err != nil {
		return task.Permanent(err)
	}
	defer p.close()
	var at cursor
	if _, err := r.Load(&at); err != nil {
		return err
	}
	if done, err := p.alreadyRenamed(at); done || err != nil {
		return err
	}
	t := &tree{root: p.in, skip: skipper(a), pace: newPace(a.BytesPerSecond)}
	if at.Total == 0 {
		err := t.walk(ctx, "", func(entry) error { at.Total++; return nil })
		if err != nil {
			return cut(ctx, r, at, err)
		}
	}
	w, err := openPart(p, r, &at)
	if err != nil {
		return err
	}
	defer func() { w.close(task.IsPermanent(err)) }()
	if err := j.entries(ctx, r, t, w, &at); err != nil {
		return cut(ctx, r, at, errors.Join(err, w.sync()))
	}
	if j.finish != nil {
		if err := j.finish(w); err != nil {
			return err
		}
	}
	if err := w.sync(); err != nil {
		return err
	}
	at.Size, at.Complete = w.size, true
	if err := r.Save(ctx, at); err != nil {
		return err
	}
	r.SetProgress(1, fmt.Sprintf("%d entries, %d bytes", at.Entries, at.Size))
	return w.rename()
}

// entries writes the rest of the tree and advances the cursor.
func (j job) entries(ctx context.Context, r *task.Run, t *tree, w *part, at *cursor) error {
	saved := time.Now()
	if err := r.Save(ctx, *at); err != nil { // from here on this run's partial file is the valid one
		return err
	}
	if err := w.removeOthers(); err != nil {
		return err
	}
	return t.walk(ctx, string(at.After), func(e entry) error {
		err := j.add(ctx, w, e)
		if errors.Is(err, errVanished) {
			return w.cut(at.Size)
		}
		if err != nil {
			return err
		}
		at.After, at.Size = []byte(e.key()), w.size
		at.Entries++
		if time.Since(saved) < saveEvery {
			return nil
		}
		if err := w.sync(); err != nil {
			return err
		}
		r.SetProgress(float64(at.Entries)/float64(max(at.Total, at.Entries)), e.path)
		err = r.Save(ctx, *at)
		saved = time.Now()
		return err
	})
}

// cut ends a run early: by handing over if its context has ended, or else with the error and what
// to do about it.
func cut(ctx context.Context, r *task.Run, at cursor, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return r.HandOver(at)
	}
	if errors.Is(err, fs.ErrPermission) {
		return task.Permanent(fmt.Errorf("%w: make it readable for the server's user, or leave it out of the tree, and submit again", err))
	}
	return err
}

// skipper returns a function that reports whether a path below the directory is the task's own
// file.
func skipper(a Args) func(path string) bool {
	dir, err1 := filepath.EvalSymlinks(a.Dir)
	outDir, err2 := filepath.EvalSymlinks(filepath.Dir(a.Out))
	rel, err3 := filepath.Rel(dir, outDir)
	if err := errors.Join(err1, err2, err3); err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return func(string) bool { return false }
	}
	prefix := filepath.ToSlash(rel) + "/"
	if rel == "." {
		prefix = ""
	}
	base := filepath.Base(a.Out)
	return func(path string) bool {
		name, ok := strings.CutPrefix(path, prefix)
		return ok && (name == base || isPart(name, base))
	}
}
