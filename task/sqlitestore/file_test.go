package sqlitestore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

func TestStore_RefusesToGoOnWhenItsFileIsRemovedOrReplaced(t *testing.T) {
	s, path := fresh(t)
	aside := path + ".aside"
	add := func(n int) error {
		_, err := s.Add(t.Context(), []task.NewTask{{ID: id(n), Kind: "k"}})
		return err
	}
	refused := func(want string) {
		t.Helper()
		_, err := s.Find(t.Context(), task.Query{})
		for what, err := range map[string]error{"Add": add(9), "Find": err} {
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "stop all servers") {
				t.Errorf("%s: %v, want %q", what, err, want)
			}
		}
	}
	if err := add(1); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, aside); err != nil {
		t.Fatal(err)
	}
	refused("removed")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused("replaced")
	if err := os.Rename(aside, path); err != nil {
		t.Fatal(err)
	}
	if err := add(2); err != nil {
		t.Errorf("the right file is there again: %v", err)
	}
	if found, err := s.Find(t.Context(), task.Query{}); err != nil || len(found) != 2 {
		t.Errorf("%d tasks, %v", len(found), err)
	}
}

// moveAll renames a database with the files next to it.
func moveAll(t *testing.T, from, to string) {
	t.Helper()
	for _, more := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(from+more, to+more); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStore_RefusesToGoOnWhateverTakesItsFilesAway(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(t *testing.T, dir, path string)
		want string
	}{
		"the log is removed":        {func(t *testing.T, _, path string) { rename(t, path+"-wal", path+".aside") }, "its log, with -wal after the name, was removed"},
		"the index is removed":      {func(t *testing.T, _, path string) { rename(t, path+"-shm", path+".aside") }, "-shm after the name, was removed"},
		"another log":               {func(t *testing.T, _, path string) { rename(t, path+"-wal", path+".aside"); write(t, path+"-wal") }, "-wal after the name, was replaced"},
		"a parent directory's name": {func(t *testing.T, dir, _ string) { rename(t, dir, dir+"2") }, "the file was removed"},
		"a backup in its place":     {func(t *testing.T, _, path string) { write(t, path+".new"); rename(t, path+".new", path) }, "the file was replaced"},
		"a parent directory's content": {func(t *testing.T, dir, path string) {
			rename(t, dir, dir+"2")
			mkdir(t, filepath.Dir(path))
			write(t, path)
		}, "the file was replaced"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "parent", "data")
			mkdir(t, dir)
			path := filepath.Join(dir, "tasks.db")
			s := openAt(t, path)
			c.do(t, filepath.Dir(dir), path)
			_, err := s.Add(t.Context(), []task.NewTask{{ID: id(1), Kind: "k"}})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Count(err.Error(), "sqlitestore") != 1 {
				t.Errorf("Add: %v, want %q", err, c.want)
			}
			if _, err := s.Count(t.Context(), task.CountQuery{}); err == nil {
				t.Error("Count goes on")
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestStore_RefusesToGoOnWhenALinkLeadsElsewhere(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "current")
	for _, version := range []string{"one", "two"} {
		mkdir(t, filepath.Join(dir, version))
		write(t, filepath.Join(dir, version, "tasks.db"))
	}
	if err := os.Symlink("one", link); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	s := openAt(t, filepath.Join(link, "tasks.db"))
	if err := errors.Join(os.Symlink("two", link+"2"), os.Rename(link+"2", link)); err != nil {
		t.Fatal(err)
	}
	_, err := s.Add(t.Context(), []task.NewTask{{ID: id(1), Kind: "k"}})
	if err == nil || !strings.Contains(err.Error(), "the file "+filepath.Join(link, "tasks.db")+" was replaced") {
		t.Errorf("Add: %v", err)
	}
}

// A write during which the file is removed is not reported as kept.
func TestWriter_AnswersNothingAsKeptThatWentIntoARemovedFile(t *testing.T) {
	s, path := fresh(t)
	err := s.inTx(t.Context(), func(*txn) error {
		rename(t, path, path+".aside")
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "the file was removed") || strings.Count(err.Error(), "sqlitestore") != 1 {
		t.Errorf("%v", err)
	}
}

func TestClose_OfAReplacedFileLeavesTheLogOfTheNewOneAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tasks.db")
	former := openAt(t, path)
	moveAll(t, path, path+".aside")
	s := openAt(t, path)
	add := func(n int) {
		t.Helper()
		if _, err := s.Add(t.Context(), []task.NewTask{{ID: id(n), Kind: "k"}}); err != nil {
			t.Fatal(err)
		}
	}
	add(1)
	if err := former.Close(); err != nil {
		t.Error(err)
	}
	add(2)
	again := openAt(t, path)
	if found, err := again.Find(t.Context(), task.Query{}); err != nil || len(found) != 2 {
		t.Errorf("%d tasks, %v", len(found), err)
	}
}

func TestOpen_MakesNoNewFileBesideAProcessThatHasTheFormerOneOpen(t *testing.T) {
	if !canLock {
		t.Skip("files cannot be locked on this system")
	}
	path := filepath.Join(t.TempDir(), "tasks.db")
	s := openAt(t, path)
	if _, err := s.Heartbeat(t.Context(), task.Beat{Worker: "w", Seq: 1, State: task.WorkerRunning, Lease: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if err := s.CheckProcesses(t.Context()); err != nil {
		t.Errorf("its own worker: %v", err)
	}
	moveAll(t, path, path+".aside")
	for _, must := range []bool{false, true} {
		_, err := Open(t.Context(), Config{Path: path, MustExist: must})
		if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "Stop it first") || !strings.Contains(err.Error(), "worker w") {
			t.Errorf("Open: %v", err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file is there: %v", err)
	}
	write(t, path) // a backup, say
	other := openAt(t, path)
	if err := other.CheckProcesses(t.Context()); err == nil || !strings.Contains(err.Error(), "which the file does not know") {
		t.Errorf("CheckProcesses: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := other.CheckProcesses(t.Context()); err != nil {
		t.Errorf("the process has ended: %v", err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestOpen_FollowsSymbolicLinksSoThatAFileHasOneLockDirectory(t *testing.T) {
	real := filepath.Join(t.TempDir(), "real")
	linked := filepath.Join(t.TempDir(), "linked")
	if err := os.Mkdir(real, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, link := range []struct{ target, name string }{
		{real, linked}, // the directory
		{"tasks.db", filepath.Join(real, "again.db")}, // the file, which does not exist yet
		{filepath.Join(linked, "again.db"), filepath.Join(real, "twice.db")},
	} {
		if err := os.Symlink(link.target, link.name); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
	}
	resolved, err := filepath.EvalSymlinks(real)
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range []string{filepath.Join(real, "twice.db"), filepath.Join(linked, "tasks.db"), filepath.Join(linked, "again.db")} {
		s := openAt(t, path)
		if want := filepath.Join(resolved, "tasks.db"); s.path != want || canLock && s.locks.dir != want+"-workers" {
			t.Errorf("%s: %s and %s, want %s", path, s.path, s.locks.dir, want)
		}
		if _, err := s.Add(t.Context(), []task.NewTask{{ID: id(i), Kind: "k"}}); err != nil {
			t.Error(err)
		}
		if found, err := s.Find(t.Context(), task.Query{}); err != nil || len(found) != i+1 {
			t.Errorf("%s: %d tasks, %v", path, len(found), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	loop := filepath.Join(real, "loop.db")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Path: loop}); err == nil {
		t.Error("a link to itself was opened")
	}
}
