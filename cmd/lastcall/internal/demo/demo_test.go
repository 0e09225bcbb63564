package demo

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// plant creates a tree of files, with names that are hard to sort, to print and to store.
func plant(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{
		"a/b": "1", "a.txt": "2", "a-b": "3", "a0": "4", "a/c/d/e": "5", "-n": "6", "with space": "7",
		"new\nline": "8", `back\slash`: "9", "carriage\rreturn": "10", "bytes\xff\xfe": "11", "empty": "",
		"zz": strings.Repeat("large ", 100_000),
	} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(content), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(os.Mkdir(filepath.Join(root, "hollow"), 0o700),
		os.Symlink("a/b", filepath.Join(root, "link")), os.Symlink("nowhere", filepath.Join(root, "dangling")))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// fixture runs jobs on a memory store.
type fixture struct {
	t     *testing.T
	store *memstore.Store
	id    string
	group *lastcall.Group // the one that runs now
}

// run runs a job to its end, in as many groups as it needs.
func (f *fixture) run(j job, a Args) task.Task {
	f.t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	kind := task.Kind[Args]{Name: "k", OnStop: task.InterruptOnStop, MaxAttempts: 1}
	client := task.NewClient(f.store)
	if f.id == "" {
		e, err := kind.Enqueue(f.t.Context(), client, a, nil)
		if err != nil {
			f.t.Fatal(err)
		}
		f.id = e.ID
	}
	for {
		var mux task.Mux
		task.Handle(&mux, kind, func(ctx context.Context, r *task.Run, a Args) error { return j.run(ctx, r, a) })
		w, err := task.NewWorker(task.WorkerConfig{Store: f.store, Mux: &mux, Logger: quiet})
		if err != nil {
			f.t.Fatal(err)
		}
		if f.group, err = lastcall.New(f.t.Context(), lastcall.Config{Logger: quiet}); err != nil {
			f.t.Fatal(err)
		}
		if err := f.group.Go("worker", w.Serve); err != nil {
			f.t.Fatal(err)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		f.group.Stop(nil)
		if code := f.group.Wait().ExitCode(); code != 0 {
			f.t.Fatalf("exit code %d", code)
		}
		got, err := client.Get(f.t.Context(), f.id)
		if err != nil {
			f.t.Fatal(err)
		}
		if got.Status.Ended() {
			return got
		}
		if got.Status != task.StatusInterrupted {
			f.t.Fatalf("task is %s: %s", got.Status, got.Error)
		}
	}
}

func inBubble(t *testing.T, fn func(f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { fn(&fixture{t: t, store: memstore.New()}) })
}

// result runs a job without interruptions and returns what it wrote.
func result(t *testing.T, j job, dir string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	inBubble(t, func(f *fixture) {
		if got := f.run(j, Args{Dir: dir, Out: out}); got.Status != task.StatusSucceeded {
			t.Fatalf("%s: %s", got.Status, got.Error)
		}
	})
	return read(t, out)
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func jobs() map[string]func() job {
	return map[string]func() job{
		"hash-tree": func() job { return job{add: hashEntry} },
		"gzip-tree": func() job { return job{add: newArchiver().add, finish: archiveEnd} },
	}
}

func TestDemo_InterruptedAtEveryEntryTheResultIsTheSameAndEachEntryIsDoneOnce(t *testing.T) {
	for name, make := range jobs() {
		t.Run(name, func(t *testing.T) {
			dir := plant(t)
			want := result(t, make(), dir)
			outDir := t.TempDir()
			inBubble(t, func(f *fixture) {
				j := make()
				add := j.add
				met, done := map[string]int{}, map[string]int{}
				j.add = func(ctx context.Context, w *part, e entry) error {
					if met[e.key()]++; met[e.key()] == 1 { // stop here, in the middle of the entry
						if _, err := io.WriteString(w, "half an entry"); err != nil {
							return err
						}
						go f.group.Stop(nil)
						<-ctx.Done()
						return context.Cause(ctx)
					}
					err := add(ctx, w, e)
					if err == nil {
						done[e.key()]++
					}
					return err
				}
				got := f.run(j, Args{Dir: dir, Out: filepath.Join(outDir, "out")})
				if got.Status != task.StatusSucceeded || got.Interruptions != len(met) || got.Attempts != 0 {
					t.Errorf("%s with %+v after %d entries: %s", got.Status, got.Counters, len(met), got.Error)
				}
				for key, n := range done {
					if n != 1 {
						t.Errorf("%q was done %d times", key, n)
					}
				}
			})
			if string(read(t, filepath.Join(outDir, "out"))) != string(want) {
				t.Error("the result differs")
			}
			if names, err := os.ReadDir(outDir); err != nil || len(names) != 1 {
				t.Errorf("left over: %v, %v", names, err)
			}
		})
	}
}

func TestDemo_TheResultMayLieInTheTree(t *testing.T) {
	for name, make := range jobs() {
		t.Run(name, func(t *testing.T) {
			dir := plant(t)
			want := result(t, make(), dir)
			out := filepath.Join(dir, "a", "out")
			for range 2 { // the second time over the first result
				inBubble(t, func(f *fixture) {
					if got := f.run(make(), Args{Dir: dir, Out: out}); got.Status != task.StatusSucceeded {
						t.Fatalf("%s: %s", got.Status, got.Error)
					}
				})
				if name == "hash-tree" && string(read(t, out)) != string(want) {
					t.Error("the result is not that without itself")
				}
			}
		})
	}
}

func TestDemo_WhatVanishesIsLeftOutAndWhatCannotBeReadFailsTheTask(t *testing.T) {
	dir := plant(t)
	out := filepath.Join(t.TempDir(), "out")
	inBubble(t, func(f *fixture) {
		j := job{add: func(ctx context.Context, w *part, e entry) error {
			if e.path == "a0" {
				if err := e.root.Remove(e.name()); err != nil {
					return err
				}
			}
			return hashEntry(ctx, w, e)
		}}
		got := f.run(j, Args{Dir: dir, Out: out})
		if got.Status != task.StatusSucceeded || strings.Contains(string(read(t, out)), "  a0\n") {
			t.Errorf("%s: %s", got.Status, got.Error)
		}
	})
	inBubble(t, func(f *fixture) {
		j := job{add: func(_ context.Context, _ *part, e entry) error {
			return &fs.PathError{Op: "open", Path: e.path, Err: fs.ErrPermission}
		}}
		got := f.run(j, Args{Dir: dir, Out: out})
		if got.Status != task.StatusFailed || !strings.Contains(got.Error, "make it readable") {
			t.Errorf("%s: %s", got.Status, got.Error)
		}
		if left, err := filepath.Glob(filepath.Join(filepath.Dir(out), ".*.partial")); err != nil || len(left) > 0 {
			t.Errorf("left over: %v, %v", left, err)
		}
	})
}

func TestDemo_ARunThatDiedBeforeOrAfterTheRenamingIsCompleted(t *testing.T) {
	for name, c := range map[string]struct {
		file string // where the complete bytes are
		want string
	}{
		"before": {"part", ""},
		"after":  {"out", ""},
		"lost":   {"elsewhere", "submit the task again"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, c.file), []byte("bytes"), 0o600); err != nil {
				t.Fatal(err)
			}
			p, err := openPlace(nil, &Args{Dir: dir, Out: filepath.Join(dir, "out")})
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			done, err := p.alreadyRenamed(cursor{Part: "part", Size: 5, Complete: true})
			if !done {
				t.Error("the work would begin anew")
			}
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil || string(read(t, filepath.Join(dir, "out"))) != "bytes" {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestDemo_APartialFileThatIsGoneOrTooShortIsBegunAnew(t *testing.T) {
	dir := plant(t)
	want := result(t, job{add: hashEntry}, dir)
	out := filepath.Join(t.TempDir(), "out")
	for name, damage := range map[string]func(path string) error{
		"gone":      os.Remove,
		"too short": func(path string) error { return os.Truncate(path, 3) },
	} {
		inBubble(t, func(f *fixture) {
			damaged := false
			j := job{}
			j.add = func(ctx context.Context, w *part, e entry) error {
				if e.path == "empty" && !damaged {
					damaged = true
					go f.group.Stop(nil)
					<-ctx.Done()
					return errors.Join(context.Cause(ctx), w.sync(), damage(filepath.Join(filepath.Dir(out), w.name)))
				}
				return hashEntry(ctx, w, e)
			}
			got := f.run(j, Args{Dir: dir, Out: out})
			if got.Status != task.StatusSucceeded || string(read(t, out)) != string(want) {
				t.Errorf("%s: %s, %s", name, got.Status, got.Error)
			}
		})
	}
}

func TestDemo_WhatCannotWorkIsRefusedForGood(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, a := range map[string]Args{
		`"dir" is "src": give an absolute path`: {Dir: "src", Out: file},
		`"out" is "": give an absolute path`:    {Dir: dir},
		"does not exist":                        {Dir: filepath.Join(dir, "none"), Out: file},
		"is not a directory":                    {Dir: file, Out: filepath.Join(dir, "out")},
		"is not a regular file":                 {Dir: dir, Out: dir},
	} {
		inBubble(t, func(f *fixture) {
			got := f.run(job{add: hashEntry}, a)
			if got.Status != task.StatusFailed || !strings.Contains(got.Error, want) {
				t.Errorf("%+v: %s, %q; want %q", a, got.Status, got.Error, want)
			}
		})
	}
}

func TestDemo_TheCheckpointKeepsNamesThatAreNotUTF8(t *testing.T) {
	b, err := json.Marshal(cursor{After: []byte("\xff\n")})
	if err != nil {
		t.Fatal(err)
	}
	var got cursor
	if err := json.Unmarshal(b, &got); err != nil || string(got.After) != "\xff\n" {
		t.Errorf("%q, %v", got.After, err)
	}
}
