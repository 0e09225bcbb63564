package sqlitestore

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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

func TestOpen_FollowsSymbolicLinksSoThatAFileHasOneLockDirectory(t *testing.T) {
	real := filepath.Join(t.TempDir(), "real")
	linked := filepath.Join(t.TempDir(), "linked")
	if err := os.Mkdir(real, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, link := range []struct{ target, name string }{
		{real, linked}, // the directory
		{"tasks.db", filepath.Join(real, "again.db")}, // the file, which is not there yet
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
