package demo

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

// confined returns a directory for tasks of others, and next to it one that they must not touch.
func confined(t *testing.T) (within *os.Root, inside, outside string) {
	t.Helper()
	dir := t.TempDir()
	inside, outside = filepath.Join(dir, "inside"), filepath.Join(dir, "outside")
	err := errors.Join(os.MkdirAll(filepath.Join(inside, "tree"), 0o700), os.Mkdir(outside, 0o700),
		os.WriteFile(filepath.Join(inside, "tree", "file"), []byte("theirs"), 0o600),
		os.WriteFile(filepath.Join(inside, "taken"), []byte("somebody's"), 0o600),
		os.WriteFile(filepath.Join(outside, "secret"), []byte("ours"), 0o600),
		os.Symlink(outside, filepath.Join(inside, "door")),
		os.Symlink(filepath.Join(outside, "secret"), filepath.Join(inside, "tree", "link")))
	if err != nil {
		t.Fatal(err)
	}
	return openRoot(t, inside), inside, outside
}

func TestPlace_NothingIsReadOrWrittenOutsideOfTheDirectoryThatBoundsIt(t *testing.T) {
	within, inside, outside := confined(t)
	in := func(name string) string { return filepath.Join(inside, name) }
	for name, c := range map[string]struct {
		a    Args
		want string
	}{
		"reads outside":            {Args{Dir: outside, Out: in("out")}, "is outside of " + inside},
		"writes outside":           {Args{Dir: in("tree"), Out: filepath.Join(outside, "out")}, "is outside of " + inside},
		"reads above":              {Args{Dir: filepath.Dir(inside), Out: in("out")}, "is outside of " + inside},
		"goes up":                  {Args{Dir: in("tree/../../outside"), Out: in("out")}, "is outside of " + inside},
		"a name that begins alike": {Args{Dir: inside + "2", Out: in("out")}, "is outside of " + inside},
		"reads through a link":     {Args{Dir: in("door"), Out: in("out")}, "escapes"},
		"writes through a link":    {Args{Dir: in("tree"), Out: in("door/out")}, "escapes"},
		"over a file":              {Args{Dir: in("tree"), Out: in("taken")}, "exists already"},
		"over a link":              {Args{Dir: in("tree"), Out: in("tree/link")}, "is not a regular file"},
	} {
		for kind, make := range jobs() {
			inBubble(t, func(f *fixture) {
				j := make()
				j.within = within
				got := f.run(j, c.a)
				if got.Status != task.StatusFailed || !strings.Contains(got.Error, c.want) {
					t.Errorf("%s, %s: %s, %q; want %q", kind, name, got.Status, got.Error, c.want)
				}
			})
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 1 || string(read(t, filepath.Join(outside, "secret"))) != "ours" {
		t.Errorf("outside: %v, %v", left, err)
	}
	if string(read(t, in("taken"))) != "somebody's" {
		t.Error("a file was written over")
	}
}

func TestPlace_InTheDirectoryThatBoundsItATaskIsDoneOnceAndItsResultIsPrivate(t *testing.T) {
	within, inside, _ := confined(t)
	for kind, make := range jobs() {
		out := filepath.Join(inside, kind)
		want := result(t, make(), filepath.Join(inside, "tree"))
		// The second time the result exists.
		for _, status := range []task.Status{task.StatusSucceeded, task.StatusFailed} {
			inBubble(t, func(f *fixture) {
				j := make()
				j.within = within
				if got := f.run(j, Args{Dir: filepath.Join(inside, "tree"), Out: out}); got.Status != status {
					t.Errorf("%s: %s: %s, want %s", kind, got.Status, got.Error, status)
				}
			})
		}
		if string(read(t, out)) != string(want) {
			t.Errorf("%s: the result differs", kind)
		}
	}
}

func TestPlace_AResultIsItsOwnersAlone(t *testing.T) {
	dir := plant(t)
	for kind, make := range jobs() {
		out := filepath.Join(t.TempDir(), kind)
		inBubble(t, func(f *fixture) {
			if got := f.run(make(), Args{Dir: dir, Out: out}); got.Status != task.StatusSucceeded {
				t.Fatalf("%s: %s", got.Status, got.Error)
			}
		})
		if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", kind, info.Mode(), err)
		}
	}
}

// A run died between its last checkpoint and the renaming. The next must take neither the task's
// own result for a foreign file, nor a foreign file for its own.
func TestPlace_ACompleteResultTakesItsNameOnlyIfThatIsFree(t *testing.T) {
	for name, c := range map[string]struct {
		files []string
		want  string
	}{
		"before the renaming": {[]string{"part"}, ""},
		"after it":            {[]string{"out"}, ""},
		"the name is taken":   {[]string{"part", "out"}, "exists already"},
	} {
		within, inside, _ := confined(t)
		for _, file := range c.files {
			if err := os.WriteFile(filepath.Join(inside, file), []byte("bytes"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p, err := openPlace(within, &Args{Dir: inside, Out: filepath.Join(inside, "out")})
		if err != nil {
			t.Fatal(err)
		}
		done, err := p.alreadyRenamed(cursor{Part: "part", Size: 5, Complete: true})
		if !done || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v", name, done, err)
		}
		p.close()
	}
}
