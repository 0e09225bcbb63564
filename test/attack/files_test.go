//go:build linux

package attack

import (
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // another program's database
)

func TestFiles_AnotherUserReadsNothingOfTheStore(t *testing.T) {
	t.Parallel()
	victim, attacker := newCage(t), newCage(t)
	s := victim.serve("--demo-kinds")
	s.submit("no-such-kind", `{"card":"4111 1111"}`, "")
	code, out := attacker.sh(fmt.Sprintf("cat %[1]s/tasks.db* %[1]s/tasks.db*/* 2>/dev/null | grep -ac 4111", victim.dir))
	if strings.TrimSpace(out) != "0" {
		t.Errorf("another user finds the payload: grep ended with %d and counts %s", code, out)
	}
	_, out = attacker.sh(fmt.Sprintf(`for f in %[1]s/tasks.db* %[1]s/tasks.db*/*; do head -c 0 "$f" 2>/dev/null && echo "$f"; done`, victim.dir))
	for opened := range strings.FieldsSeq(out) {
		if info, err := os.Stat(opened); err == nil && !info.IsDir() {
			t.Errorf("another user can open %s (%v)", opened, info.Mode())
		}
	}
}

func TestFiles_AnotherUserHoldsUpNoWrite(t *testing.T) {
	t.Parallel()
	victim, attacker := newCage(t), newCage(t)
	s := victim.serve("--demo-kinds")
	// Read locks on every byte of the index and on every lock file, through read-only descriptors.
	hold := attacker.command(nil, "/usr/bin/python3", "-c", `
import fcntl, glob, os, sys, time
for name in glob.glob(sys.argv[1] + "/tasks.db*") + glob.glob(sys.argv[1] + "/tasks.db*/*"):
    try:
        fd = os.open(name, os.O_RDONLY)
        fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        print("locked", name, flush=True)
    except OSError:
        pass
print("ready", flush=True)
time.sleep(30)
`, victim.dir)
	out := filepath.Join(attacker.rest, "out")
	file, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // the attacker's
	hold.Stdout, hold.Stderr = file, file
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = hold.Process.Kill()
		_ = hold.Wait()
	}()
	until(t, "the attacker is ready", func() bool { return strings.Contains(read(t, out), "ready") })
	by := within(3 * time.Second)
	status, answer := s.ask(http.MethodPost, "/v1/tasks", "", `{"kind": "k", "payload": {}}`)
	if status != http.StatusCreated || time.Now().After(by) {
		t.Errorf("a submit is answered %d %s\nthe attacker has:\n%s", status, answer, read(t, out))
	}
}

func TestFiles_AStoreThatIsPlantedForTheDemonstrationIsNotExecuted(t *testing.T) {
	t.Parallel()
	victim, attacker := newCage(t), newCage(t)
	shared := filepath.Join(scratch(), filepath.Base(victim.dir)+"-tmp")
	if err := os.Mkdir(shared, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(shared, os.ModeSticky|0o777); err != nil { //nolint:gosec // as /tmp
		t.Fatal(err)
	}
	private, tree := filepath.Join(victim.dir, "private"), filepath.Join(victim.dir, "tree")
	for _, dir := range []string{private, filepath.Join(tree, "a"), filepath.Join(tree, "b")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, "f"), secret, 0o644)
	}
	if err := os.Chmod(private, 0o700); err != nil { //nolint:gosec // a directory
		t.Fatal(err)
	}
	victim.own(private)
	planted, loot := filepath.Join(shared, fmt.Sprintf("lastcall-demo-%d", victim.uid)), filepath.Join(shared, "loot.tgz")
	if code, out := attacker.sh("umask 0; mkdir -p " + planted + "/results"); code != 0 {
		t.Fatal(out)
	}
	code, out := attacker.run(nil, "submit", "--store", "sqlite:"+filepath.Join(planted, "tasks.db"), "gzip-tree", fmt.Sprintf(`{"dir":%q,"out":%q}`, private, loot))
	if code != 0 {
		t.Fatalf("the attacker's own submit: %d %s", code, out)
	}
	if code, out := attacker.sh("chmod -R a+rwX " + planted); code != 0 {
		t.Fatal(out)
	}
	// The command may refuse or not, but it must not use the attacker's task.
	_, out = victim.output(victim.command([]string{"TMPDIR=" + shared}, "/usr/bin/timeout", "30", lastcall(t), "demo", "--at-least", "1ms", "--tree", tree))
	if info, err := os.Stat(loot); err == nil {
		t.Errorf("the victim's demonstration made %s (%v) of its private directory:\n%s", loot, info.Mode(), out)
	}
}

// own gives a directory and its content to the cage's user.
func (c *cage) own(dir string) {
	c.t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, c.uid, c.uid))
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

func TestFiles_CommandsChangeNothingOfAnotherProgramsDatabase(t *testing.T) {
	t.Parallel()
	c := newCage(t)
	file := filepath.Join(c.dir, "foreign.db")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{"create table accounts (id integer primary key, name text)", "insert into accounts values (1, 'a')"} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, c.uid, c.uid); err != nil {
		t.Fatal(err)
	}
	before := sha256.Sum256([]byte(read(t, file)))
	for _, args := range [][]string{{"list"}, {"doctor"}, {"show", "01a228e1-1632-700f-a8fc-4d4c486a6426"}, {"workers"}, {"pause", "q"}, {"submit", "k", "{}"}, {"serve", "--listen", "127.0.0.1:0", "--demo-kinds"}} {
		code, out := c.run(nil, append(args[:1:1], append([]string{"--store", "sqlite:" + file}, args[1:]...)...)...)
		if code == 0 {
			t.Errorf("%s takes another program's database: %s", args[0], out)
		}
		if after := sha256.Sum256([]byte(read(t, file))); after != before {
			t.Errorf("%s has changed another program's database: %s", args[0], out)
			before = after
		}
	}
	left, err := filepath.Glob(file + "?*")
	if err != nil || len(left) > 0 {
		t.Errorf("left next to another program's database: %q (%v)", left, err)
	}
}

func TestFiles_ASecretThatOthersCanReadIsNotTakenSilently(t *testing.T) {
	t.Parallel()
	c := newCage(t)
	s := c.serve("--demo-kinds")
	address := filepath.Join(c.dir, "store")
	put(t, address, c.store()+"\n", 0o666)
	token := filepath.Join(c.dir, "token")
	put(t, token, strings.Repeat("t", 30)+"\n", 0o666)
	for _, args := range [][]string{{"list", "--store-file", address}, {"list", "--server", s.url, "--token-file", token}} {
		if _, out := c.run(nil, args...); !strings.Contains(out, "chmod") && !strings.Contains(out, "others can") {
			t.Errorf("%s says nothing of a file that others can write: %s", args[len(args)-2], out)
		}
	}
}

func TestFiles_ALinkToAStoreIsTheSameStore(t *testing.T) {
	t.Parallel()
	c := newCage(t)
	c.serve("--demo-kinds")
	links := filepath.Join(c.dir, "links")
	if err := os.Mkdir(links, 0o755); err != nil {
		t.Fatal(err)
	}
	c.own(links)
	link := filepath.Join(links, "link.db")
	if err := os.Symlink(filepath.Join(c.dir, "tasks.db"), link); err != nil {
		t.Fatal(err)
	}
	c.launch(order{Args: []string{"--store", "sqlite:" + link, "--demo-kinds"}}, nil)
	entries, err := os.ReadDir(links)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("locks of its own are next to the link: %v", entries)
	}
}
