package test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// namespaces returns the attributes of a process with its own user and mount namespace, in which it
// may mount.
func namespaces(t *testing.T) *syscall.SysProcAttr {
	t.Helper()
	attr := &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	probe := exec.CommandContext(t.Context(), "sh", "-c", "mount -t tmpfs -o size=64k none /mnt")
	probe.SysProcAttr = attr
	if out, err := probe.CombinedOutput(); err != nil {
		t.Skipf("mount namespaces: run as root, or allow unprivileged user namespaces (%v, %s)", err, out)
	}
	return attr
}

// smallDisk is a file system of 2 MiB on which a server has its store. The test reaches it through
// the server's root.
type smallDisk struct {
	*server
	dir  string // in the server's mount namespace
	seen string // as the test reaches it
}

func onSmallDisk(t *testing.T, w *workshop) smallDisk {
	t.Helper()
	attr := namespaces(t)
	dir := filepath.Join(w.dir, "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w.store = "sqlite:" + filepath.Join(dir, "tasks.db")
	// The exec keeps the process id, by which the test knows the server.
	const script = `mount -t tmpfs -o size=2m none "$1" && shift && exec "$0" "$@"`
	cmd := exec.Command("sh", append([]string{"-c", script, program(t), dir}, serveArgs(w.store, "--config", w.config)...)...)
	cmd.SysProcAttr = attr
	s := launch(t, cmd)
	return smallDisk{server: s, dir: dir, seen: fmt.Sprintf("/proc/%d/root%s", s.pid(), dir)}
}

// fill fills the disk, and returns a function that frees it again.
func (d smallDisk) fill() (remove func()) {
	d.t.Helper()
	path := filepath.Join(d.seen, "filler")
	f, err := os.Create(path)
	if err != nil {
		d.t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if err := f.Close(); err != nil {
		d.t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			d.t.Error(err)
		}
	}
}

// A task that ends while the disk is full keeps its outcome in the server until there is room.
func TestFullDisk_OnAFullDiskSubmitsFailWithTheReasonAcceptedTasksStayAndWorkGoesOnWhenThereIsRoom(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"slow": `until [ -e go ]; do sleep 0.05; done; echo done >> effects`}, "    concurrency: 1\n")
	d := onSmallDisk(t, w)
	var accepted []string
	for range 3 {
		accepted = append(accepted, submitTo(d.server, "slow", "{}"))
	}
	d.reaches(accepted[0], "running")
	makeRoom := d.fill()

	// A small task may still find room in an existing page.
	refused := 0
	for range 40 {
		id, out, ok := try(t, "submit", "--server", d.url, "slow", `{"text": "`+strings.Repeat("x", 4000)+`"}`)
		if ok {
			accepted = append(accepted, id)
			continue
		}
		if refused++; !bytes.Contains(out, []byte("the store has no room left (the server's log says why, at request=")) {
			t.Fatalf("submit:\n%s", out)
		}
		if refused == 3 {
			break
		}
	}
	if refused < 3 {
		t.Fatal("the disk is full, and every submit was accepted")
	}
	d.waitLog("database or disk is full (13): make room on the disk; what was accepted is safe")
	if got := d.status("/v1/tasks"); got != http.StatusOK {
		t.Errorf("a list from the full disk: %d", got)
	}
	w.write("go", "", 0o600)
	d.waitLog("outcomes not recorded yet; trying again")
	if r, err := d.task(accepted[0]); err != nil || r.Status != "running" {
		t.Errorf("%+v, %v", r, err)
	}

	makeRoom()
	for _, id := range accepted {
		if r := d.reaches(id, "succeeded", "failed"); r.Status != "succeeded" || r.Runs != 1 || r.Attempts+r.Interruptions+r.Crashes != 0 {
			t.Errorf("%+v", r)
		}
	}
	id := submitTo(d.server, "slow", "{}")
	d.reaches(id, "succeeded")
	if got := bytes.Count(read(t, filepath.Join(w.dir, "effects")), []byte("done\n")); got != len(accepted)+1 {
		t.Errorf("%d tasks were done, %d accepted", got, len(accepted)+1)
	}
	stop(d.server)
}

// SQLite needs room to open a file. Without any it reports "disk I/O error".
func TestFullDisk_AServerThatStartsOnAFullDiskSaysSoAndTheTasksAreThereWhenThereIsRoom(t *testing.T) {
	t.Parallel()
	attr := namespaces(t)
	dir := t.TempDir()
	store := "sqlite:" + filepath.Join(dir, "tasks.db")
	const script = `mount -t tmpfs -o size=2m none "$1" && "$0" submit --store "$2" k '{}' || exit 10
		dd if=/dev/zero of="$1/filler" bs=4k 2>/dev/null
		for args in "serve --listen 127.0.0.1:0" "submit k {}" list doctor; do
			"$0" $args --store "$2" && exit 11
			echo "-- $args"
		done
		rm "$1/filler"; echo room; "$0" list --store "$2" || exit 12`
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script, program(t), dir, store)
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	full, room, ok := strings.Cut(string(out), "\nroom\n")
	if err != nil || !ok || !strings.Contains(room, "  queued  ") {
		t.Fatalf("%v\n%s", err, out)
	}
	for said := range strings.SplitSeq(full, "\n-- ") {
		if said != "doctor" && (!strings.Contains(said, "full") || !strings.Contains(said, "ake room on")) {
			t.Errorf("it does not tell of the full disk: %s", said)
		}
	}
}

func TestFullDisk_AStoreThatCannotBeWrittenIsRefusedWithWhatMustBeWritable(t *testing.T) {
	t.Parallel()
	attr := namespaces(t)
	dir := t.TempDir()
	store := "sqlite:" + filepath.Join(dir, "tasks.db")
	command(t, "submit", "--store", store, "k", "{}")
	const script = `mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$0" "$@"`
	for _, args := range [][]string{
		{"serve", "--store", store, "--listen", "127.0.0.1:0"},
		{"serve", "--store", store + ".new", "--listen", "127.0.0.1:0"},
		{"submit", "--store", store, "k", "{}"},
	} {
		cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", script, program(t), dir}, args...)...)
		cmd.SysProcAttr = attr
		const want = "must be writable for this user"
		if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 1 || !bytes.Contains(out, []byte(want)) {
			t.Errorf("lastcall %q: %v, want exit code 1 with %q:\n%s", args, err, want, out)
		}
	}
	if out := command(t, "list", "--store", store); bytes.Count(out, []byte("queued")) != 1 {
		t.Errorf("list:\n%s", out)
	}
}
