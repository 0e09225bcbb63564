//go:build linux || darwin

package sqlitestore

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

// underUmask sets the umask of this process until the test ends.
func underUmask(t *testing.T, mask int) {
	t.Helper()
	before := syscall.Umask(mask)
	t.Cleanup(func() { syscall.Umask(before) })
}

// public returns a directory that every user can enter.
func public(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil { //nolint:gosec // see above
			t.Fatal(err)
		}
	}
	return dir
}

// atWork opens a store with all the files that it can have.
func atWork(t *testing.T, path string) *Store {
	t.Helper()
	s := openAt(t, path)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.Add(t.Context(), []task.NewTask{{ID: id(1), Kind: "k"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Heartbeat(t.Context(), beat("w", 1, task.WorkerRunning)); err != nil {
		t.Fatal(err)
	}
	return s
}

// wantModes checks the mode of every file of a store, and that of the directory of locks.
func wantModes(t *testing.T, path string, file, dir fs.FileMode) {
	t.Helper()
	want := map[string]fs.FileMode{path: file, path + "-wal": file, path + "-shm": file}
	if canLock {
		want[path+"-workers"] = dir
		want[filepath.Join(path+"-workers", "w.lock")], want[filepath.Join(path+"-workers", notifyFile)] = file, file
	}
	for name, mode := range want {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, mode)
		}
	}
}

func TestOpen_TheFilesOfANewDatabaseAreItsOwnersAloneWhateverTheUmask(t *testing.T) {
	for _, mask := range []int{0, 0o022, 0o077, 0o477} {
		underUmask(t, mask)
		path := filepath.Join(public(t), "tasks.db")
		s := atWork(t, path)
		wantModes(t, path, 0o600, 0o700)
		if err := s.CheckPermissions(); err != nil {
			t.Errorf("umask %#o: %v", mask, err)
		}
	}
}

func TestOpen_ADatabaseKeepsItsModeAndTheFilesBesideItFollow(t *testing.T) {
	underUmask(t, 0o022)
	path := filepath.Join(t.TempDir(), "tasks.db")
	for file, dir := range map[fs.FileMode]fs.FileMode{0o660: 0o770, 0o640: 0o750, 0o644: 0o755, 0o600: 0o700} {
		if err := openAt(t, path).Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, file); err != nil {
			t.Fatal(err)
		}
		s := atWork(t, path)
		wantModes(t, path, file, dir)
		if err := os.Remove(s.locks.path("w")); err != nil { // the next store creates a new one
			t.Fatal(err)
		}
	}
	// An empty file is not a database yet, but its mode is the choice of its operator.
	shared := filepath.Join(t.TempDir(), "shared.db")
	if err := os.WriteFile(shared, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(shared, 0o660); err != nil { //nolint:gosec // shared with a group
		t.Fatal(err)
	}
	atWork(t, shared)
	wantModes(t, shared, 0o660, 0o770)
}

func TestCheckPermissions_TellsOfFilesThatOthersCanReadIfTheyGetThatFar(t *testing.T) {
	dir := public(t)
	path := filepath.Join(dir, "tasks.db")
	s := atWork(t, path)
	set := func(name string, mode fs.FileMode) {
		t.Helper()
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{path, path + "-wal", path + "-shm", path + "-workers"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		set(name, info.Mode()|0o004)
		set(dir, 0o755)
		if err := s.CheckPermissions(); err == nil || !strings.Contains(err.Error(), name+" has the mode") ||
			!strings.Contains(err.Error(), "chmod -R o= "+path+" "+path+"-*") {
			t.Errorf("%s: %v", name, err)
		}
		set(dir, 0o700)
		if err := s.CheckPermissions(); err != nil {
			t.Errorf("nobody else can enter the directory: %v", err)
		}
		set(name, info.Mode())
		set(dir, 0o755)
		if err := s.CheckPermissions(); err != nil {
			t.Errorf("%s is private again: %v", name, err)
		}
	}
}

func TestOpen_RefusesSomethingElseInPlaceOfTheDirectoryOfLocks(t *testing.T) {
	if !canLock {
		t.Skip("there are no locks on this system")
	}
	path, elsewhere := filepath.Join(t.TempDir(), "tasks.db"), t.TempDir()
	if err := os.Symlink(elsewhere, path+"-workers"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Path: path}); err == nil || !strings.Contains(err.Error(), "-workers is no directory") {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(elsewhere); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestOpen_RootLeavesNothingThatTheOwnerOfTheDatabaseCannotUse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make files of other users")
	}
	path := filepath.Join(t.TempDir(), "tasks.db")
	if err := openAt(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	if err := os.Chown(path, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(path + "-workers"); err != nil {
		t.Fatal(err)
	}
	atWork(t, path)
	for _, name := range []string{"-wal", "-shm", "-workers", "-workers/w.lock", "-workers/" + notifyFile} {
		info, err := os.Stat(path + name)
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != nobody || st.Gid != nobody {
			t.Errorf("%s belongs to %d:%d", name, st.Uid, st.Gid)
		}
	}
}
