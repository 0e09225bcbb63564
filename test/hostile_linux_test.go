package test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/execfile"
)

// tricks are what a malicious program can do. Each trick then continues for ever. Each is bounded
// by itself, and all of them together by the limits of the server's user. The 20,000 names of
// "wide" are links to one file: names take time to remove, and new files cost far more. The path of
// "deep" is longer than a path may be, and has more levels than a server has descriptors.
func tricks(t *testing.T) map[string]string {
	deep, pause, rest := 30_000, "", ""
	if testing.Short() {
		t.Log("make test-full: 30,000 levels instead of 1,000, and programs that fork and send signals without a pause")
		deep, pause, rest = 1_000, "select(undef, undef, undef, 0.005);", "sleep 0.02;"
	}
	return map[string]string{
		"pipe":      `mkfifo "$LASTCALL_STOP_FILE" "$LASTCALL_STOP_FILE.new" "$LASTCALL_CHECKPOINT"`,
		"link":      `for at in "$LASTCALL_STOP_FILE" "$LASTCALL_STOP_FILE.new"; do ln -s "$PWD/victim" "$at"; done; ln -s /proc/self/environ "$LASTCALL_CHECKPOINT"`,
		"hardlink":  `for at in "$LASTCALL_STOP_FILE" "$LASTCALL_STOP_FILE.new" "$LASTCALL_CHECKPOINT"; do ln victim "$at"; done`,
		"device":    `for at in "$LASTCALL_STOP_FILE" "$LASTCALL_CHECKPOINT"; do ln -s /dev/zero "$at"; done`,
		"directory": `mkdir "$LASTCALL_STOP_FILE" "$LASTCALL_STOP_FILE.new" "$LASTCALL_CHECKPOINT"`,
		"terabyte":  `truncate -s 1T "$LASTCALL_CHECKPOINT"`,
		"growing":   `(for n in 1 2 3 4 5 6 7 8 9; do head -c 3000000 /dev/zero >> "$LASTCALL_CHECKPOINT"; sleep 0.2; done) &`,
		"locked":    `chmod 0 "${LASTCALL_CHECKPOINT%/*}"`,
		"moved":     `D="${LASTCALL_CHECKPOINT%/*}"; mv "$D" "$D.moved"; ln -s "$PWD/precious" "$D"`,
		"deep":      fmt.Sprintf(`perl -e 'chdir $ENV{TMPDIR}; for (1..%d) { mkdir "deeper"; chdir "deeper" }'`, deep),
		"wide":      `perl -e 'chdir $ENV{TMPDIR}; open(my $f, ">", 0); for (1..20000) { link(0, $_) or die }'`,
		"stopped":   `kill -STOP $PPID`,
		"stopping":  `(while :; do kill -STOP $PPID; ` + rest + ` done) &`,
		"crashed":   `kill -KILL $PPID`,
		"held":      `(: >/proc/$PPID/fd/4) && exec 9>/proc/$PPID/fd/4; kill -KILL $PPID`,
		"output":    `setsid sh -c 'trap "" TERM HUP INT; while :; do sleep 1000; done' &`,
		"chain":     `perl -MPOSIX -e 'while (1) { exit if fork; POSIX::setsid(); ` + pause + ` }'`,
		"chains":    `for n in 1 2 3 4 5 6 7 8; do (setsid sh -c 'f() { (sleep 0.1; f) & exit; }; f' &); done`,
	}
}

// den is a workshop of malicious programs that are visible among the server's processes: in a PID
// namespace of their own they would not get that far. The server has limits and, where the test has
// the rights, a user of its own.
type den struct {
	*workshop
	mark, program string
	names         []string
	left          int // directories that a server had no time to remove
}

func newDen(t *testing.T) *den {
	t.Helper()
	scripts := make(map[string]string)
	d := &den{mark: fmt.Sprintf("LASTCALL_TEST_DEN=%d-%d", os.Getpid(), time.Now().UnixNano())}
	for name, trick := range tricks(t) {
		d.names = append(d.names, name)
		script := "[ \"$LASTCALL_RUN\" = 1 ] || exit 0\ntrap '' TERM HUP INT\n" + trick + "\n" + `echo > "ready.$LASTCALL_TASK_ID"; while :; do sleep 1000; done`
		scripts[name], scripts[name+"-timed"] = script, script
	}
	slices.Sort(d.names)
	key, value, _ := strings.Cut(d.mark, "=")
	d.workshop = newWorkshop(t, scripts, fmt.Sprintf("    killAfter: 500ms\n    hostPid: true\n    retry: {maxAttempts: 1}\n    env: {set: {%s: %q}}\n", key, value))
	config := string(read(t, d.config))
	for _, name := range d.names {
		config = strings.Replace(config, "  "+name+"-timed:\n", "  "+name+"-timed:\n    timeout: 5s\n", 1)
	}
	d.write("lastcall.yaml", config, 0o600)
	d.write("victim", "victim", 0o600)
	if err := errors.Join(os.Mkdir(filepath.Join(d.dir, "precious"), 0o700), os.Mkdir(filepath.Join(d.dir, "tmp"), 0o700)); err != nil {
		t.Fatal(err)
	}
	d.write("precious/checkpoint", "precious", 0o600)
	d.program = program(t)
	t.Cleanup(func() { // if the test failed half way
		for _, pid := range d.alive() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	if os.Geteuid() == 0 {
		d.leave()
	}
	return d
}

// leave gives all files to a user that owns nothing else.
func (d *den) leave() {
	d.t.Helper()
	d.program = filepath.Join(d.dir, "lastcall")
	if err := execfile.Write(d.program, read(d.t, program(d.t)), 0o700); err != nil {
		d.t.Fatal(err)
	}
	err := filepath.WalkDir(d.dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, denUser, denUser))
	})
	// The directory of t.TempDir belongs to root alone.
	if err = errors.Join(err, os.Chmod(filepath.Dir(d.dir), 0o711)); err != nil {
		d.t.Fatal(err)
	}
}

// denUser is a user id that nobody has.
const denUser = 64_317

// start runs a server with as many slots as there are tricks. If a slot is lost, the next round has
// to wait.
func (d *den) start() *server {
	d.t.Helper()
	args := []string{"prlimit", "--nproc=1500", "--nofile=256", "--core=0", "--"}
	if os.Geteuid() == 0 {
		args = append([]string{"setpriv", fmt.Sprint("--reuid=", denUser), fmt.Sprint("--regid=", denUser), "--clear-groups", "--"}, args...)
	}
	args = append(append(args, d.program), serveArgs(d.store, "--config", d.config, "--grace", "5m", "--concurrency", strconv.Itoa(len(d.names)))...)
	cmd := exec.Command(args[0], args[1:]...)
	s := &server{process: begin(d.t, withEnv(cmd, "KUBERNETES_SERVICE_HOST=", "LASTCALL_GRACE=", "TMPDIR="+filepath.Join(d.dir, "tmp"), "SECRET_OF_THE_SERVER=secret"))}
	line := s.waitLog("lastcall serves ")
	s.url = line[strings.LastIndex(line, "http://"):]
	s.until("ready", func() bool { return s.status("/readyz") == http.StatusOK })
	return s
}

func withEnv(cmd *exec.Cmd, more ...string) *exec.Cmd {
	cmd.Env = append(os.Environ(), more...)
	return cmd
}

// alive returns the living programs of the den, with everything that they have started.
func (d *den) alive() (pids []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		d.t.Fatal(err)
	}
	for _, e := range entries {
		env, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err == nil && bytes.Contains(env, []byte(d.mark)) { // otherwise gone, or a stranger
			if pid, err := strconv.Atoi(e.Name()); err == nil && alive(pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// submit starts every trick, and waits until it has been carried out.
func (d *den) submit(s *server, suffix string) map[string]string {
	d.t.Helper()
	ids := make(map[string]string)
	for _, name := range d.names {
		ids[name] = submitTo(s, name+suffix, "{}")
	}
	if suffix != "" {
		return ids
	}
	for name, id := range ids {
		s.until(name+" played", func() bool {
			_, err := os.Stat(filepath.Join(d.dir, "ready."+id))
			r, taskErr := s.task(id)
			// The shim's death is the program's.
			return err == nil || taskErr == nil && (r.Crashes > 0 || r.Runs > 1)
		})
	}
	return ids
}

// clean checks that no process is alive, that no file is left, and that other files are unchanged.
func (d *den) clean(s *server, after string) {
	d.t.Helper()
	s.until("without programs after "+after, func() bool { return len(d.alive()) == 0 })
	s.until("without directories after "+after, func() bool {
		left, err := os.ReadDir(filepath.Join(d.dir, "tmp"))
		return err == nil && len(left) <= d.left
	})
	if got := read(d.t, filepath.Join(d.dir, "victim")); string(got) != "victim" {
		d.t.Errorf("after %s another file has %q", after, got)
	}
}

// all returns the ids of a round.
func all(ids map[string]string) []string { return slices.Collect(maps.Values(ids)) }

// This test runs alone: what these programs do to the machine would distort the times of other
// tests.
func TestHostile_NoProgramEscapesATimeoutACancelAnInterruptOrAStop(t *testing.T) {
	d := newDen(t)
	s := d.start()

	timed := d.submit(s, "-timed")
	for name, id := range timed {
		r := s.reaches(id, "failed", "succeeded")
		if name != "crashed" && name != "held" && (r.Status != "failed" || !strings.HasPrefix(r.Error, "task: timeout of the kind exceeded (5s)")) {
			t.Errorf("%s at its timeout: %+v", name, r)
		}
		if out := command(t, "show", "--json", "--server", s.url, id); bytes.Contains(out, []byte("SECRET_OF_THE_SERVER")) || bytes.Contains(out, []byte("precious")) {
			t.Errorf("%s has read what is not its own: %s", name, out)
		}
	}
	d.clean(s, "the timeout")

	ids := d.submit(s, "")
	began := time.Now()
	command(t, append([]string{"cancel", "--server", s.url}, running(s, ids)...)...)
	for _, id := range ids {
		s.reaches(id, "cancelled", "succeeded") // a task that has lost its shim has run again, and ended
	}
	t.Logf("cancelled in %v", time.Since(began))
	d.clean(s, "the cancel")

	ids = d.submit(s, "")
	command(t, append([]string{"interrupt", "--server", s.url}, running(s, ids)...)...)
	for name, id := range ids {
		if r := s.reaches(id, "succeeded", "failed"); r.Status != "succeeded" || r.Runs != 2 {
			t.Errorf("%s after an interrupt: %+v", name, r)
		}
	}
	d.clean(s, "the interrupt")

	ids = d.submit(s, "")
	s.signal(syscall.SIGTERM)
	s.waitLog(`phase="last call"`)
	began = time.Now()
	s.signal(syscall.SIGTERM)
	code := s.exit().ExitCode()
	t.Logf("stopped in %v, with code %d", time.Since(began), code)
	d.stopped(s, code)
	next := d.start()
	for name, id := range ids {
		if r := next.reaches(id, "succeeded", "failed"); r.Status != "succeeded" || r.Runs != 2 {
			t.Errorf("%s after a stop: %+v", name, r)
		}
	}
	d.clean(next, "the stop")
	stop(next)
}

// stopped checks the end of a server. All programs end at once, within two and a half seconds. A
// machine with other work may need more; then the server reports that, and still ends in time.
func (d *den) stopped(s *server, code int) {
	d.t.Helper()
	if code != 0 && len(s.lines("phase=abandon")) == 0 {
		d.t.Errorf("exit code %d:\n%s", code, s.text())
	}
	if !poll(func() bool { return len(d.alive()) == 0 }) {
		d.t.Errorf("after the server's stop %v live", d.alive())
	}
	if lines := s.lines("directories of runs are left behind"); len(lines) > 0 {
		_, n, _ := strings.Cut(lines[0], " n=")
		if _, err := fmt.Sscan(n, &d.left); err != nil {
			d.t.Error(err)
		}
	}
	if code != 0 {
		d.left = len(d.names) // what was being removed does not count
	}
}

// running returns the running tasks of a round.
func running(s *server, ids map[string]string) []string {
	var some []string
	for _, id := range all(ids) {
		if r, err := s.task(id); err == nil && r.Status == "running" {
			some = append(some, id)
		}
	}
	return some
}

func TestHostile_NoProgramOutlivesAKilledServerThoughItHasStoppedItsShim(t *testing.T) {
	d := newDen(t)
	// A program that stops its shim again and again may outlive it: see docs/exec.md.
	d.names = slices.DeleteFunc(d.names, func(name string) bool { return name == "stopping" })
	s := d.start()
	ids := d.submit(s, "")
	s.signal(syscall.SIGKILL)
	s.exit()
	next := d.start()
	next.until("without programs after the server was killed", func() bool { return len(d.alive()) == 0 })
	for name, id := range ids {
		if r := next.reaches(id, "succeeded", "failed"); r.Status != "succeeded" {
			t.Errorf("%s after the kill: %+v", name, r)
		}
	}
	d.clean(next, "the kill")
	stop(next)
}
