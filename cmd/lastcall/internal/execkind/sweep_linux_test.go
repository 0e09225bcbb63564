package execkind

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// runFolder creates a run's directory with something in it.
func runFolder(t *testing.T, parent string) (*folder, string) {
	t.Helper()
	d, path, err := makeFolder(parent, runPrefix)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(path, "tmp", "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	return d, path
}

func TestSweep_RemovesDirectoriesOfDeadRunsAndNothingElse(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var dead, stay []string
	for _, mode := range []os.FileMode{0o700, 0o000} {
		d, path := runFolder(t, temp)
		d.close()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		dead = append(dead, path)
	}
	alive, path := runFolder(t, temp)
	defer alive.close()
	if err := os.Chmod(path, 0o500); err != nil {
		t.Fatal(err)
	}
	stay = append(stay, path)
	d, path := runFolder(t, temp) // as a shim does whose server is dead
	shim, err := openFolder(path)
	if err != nil || !shim.hold() {
		t.Fatal(err)
	}
	defer shim.close()
	d.close()
	stay = append(stay, path)
	for _, name := range []string{"lastcall-run-", "lastcall-run-notes", "lastcall-run-AAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		path := filepath.Join(temp, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		stay = append(stay, path)
	}
	elsewhere := t.TempDir()
	link := filepath.Join(temp, runPrefix+"AAAAAAAAAAAAAAAAAAAAAAAAAA")
	if err := os.Symlink(elsewhere, link); err != nil {
		t.Fatal(err)
	}
	stay = append(stay, link, elsewhere)
	r := &Runner{Logger: slog.New(slog.DiscardHandler)}
	if os.Geteuid() == 0 {
		for _, uid := range []int{54321, 54322} {
			d, path := runFolder(t, temp)
			d.close()
			if err := os.Chown(path, uid, uid); err != nil {
				t.Fatal(err)
			}
			if uid == 54321 {
				r.users = []uint32{54321} // of a kind
				dead = append(dead, path)
			} else {
				stay = append(stay, path)
			}
		}
	}
	if err := r.sweep(nil); err != nil {
		t.Error(err)
	}
	for _, path := range slices.Concat(dead, stay) {
		if _, err := os.Lstat(path); (err == nil) != slices.Contains(stay, path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if info, err := os.Stat(stay[0]); err != nil || info.Mode().Perm() != 0o500 {
		t.Errorf("that of a run that is alive is %v, %v", info.Mode(), err)
	}
}

func TestSweep_OfAnotherServerLeavesARunningProgramsDirectoryAlone(t *testing.T) {
	f := newFixture(t, `touch "$TMPDIR/mine"; echo go > ready; until [ -e done ]; do sleep 0.05; done; [ -e "$TMPDIR/mine" ] && [ -e "$LASTCALL_PAYLOAD_FILE" ]`)
	id := f.enqueue("{}")
	f.serve(time.Minute)
	f.prints("ready")
	d, path := runFolder(t, f.temp)
	d.close()
	other := &Runner{Logger: slog.New(slog.DiscardHandler)}
	if err := other.sweep(nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("that of a dead run is there")
	}
	if err := os.WriteFile(filepath.Join(f.dir, "done"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, f.ends(id), task.StatusSucceeded, "", 0, 0, 0, "")
	f.stop()
}

func TestSweep_ADirectoryThatIsSweptBeforeItIsHeldIsMadeAgain(t *testing.T) {
	temp := t.TempDir()
	path := filepath.Join(temp, "run")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	late, err := openFolder(path)
	if err != nil {
		t.Fatal(err)
	}
	defer late.close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if late.hold() {
		t.Error("a directory that is gone is held")
	}
}
