//go:build linux

package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lastcall-go/lastcall/internal/execfile"
	"github.com/lastcall-go/lastcall/internal/proc"
	"github.com/lastcall-go/lastcall/internal/stopwatch"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/sqlitestore"
)

// workshop is a directory with a configuration, programs and a store.
type workshop struct {
	t                  *testing.T
	dir, config, store string
}

// newWorkshop creates a workshop with a kind for each shell script.
func newWorkshop(t *testing.T, scripts map[string]string, more string) *workshop {
	t.Helper()
	dir := t.TempDir()
	w := &workshop{t: t, dir: dir, config: filepath.Join(dir, "lastcall.yaml"), store: "sqlite:" + filepath.Join(dir, "tasks.db")}
	config := "version: 1\nkinds:\n"
	for name, script := range scripts {
		w.write(name+".sh", "#!/bin/sh\n"+script+"\n", 0o700)
		config += fmt.Sprintf("  %s:\n    exec: [\"./%s.sh\"]\n%s", name, name, more)
	}
	w.write("lastcall.yaml", config, 0o600)
	return w
}

func (w *workshop) write(name, text string, mode os.FileMode) {
	w.t.Helper()
	if err := execfile.Write(filepath.Join(w.dir, name), []byte(text), mode); err != nil {
		w.t.Fatal(err)
	}
}

// start runs a server of the workshop.
func (w *workshop) start(args ...string) *server {
	w.t.Helper()
	return start(w.t, w.store, append([]string{"--config", w.config}, args...)...)
}

// pid waits until a program has written its process id into a file, and returns the id that the
// process has here. In a PID namespace of its own, a process knows a different id.
func (w *workshop) pid(s *server, name string) int {
	w.t.Helper()
	var text string
	s.until(name+" written", func() bool {
		b, err := os.ReadFile(filepath.Join(w.dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			w.t.Fatal(err)
		}
		text = string(b)
		return strings.HasSuffix(text, "\n")
	})
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		w.t.Fatal(err)
	}
	below, err := proc.Descendants(s.cmd.Process.Pid)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range below {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
		if err != nil {
			continue // it has ended
		}
		_, line, _ := strings.Cut(string(status), "\nNSpid:")
		line, _, _ = strings.Cut(line, "\n")
		if numbers := strings.Fields(line); len(numbers) > 0 && numbers[len(numbers)-1] == strconv.Itoa(pid) {
			return p.PID
		}
	}
	w.t.Fatalf("process %d of %s is not below the server", pid, name)
	return 0
}

func (w *workshop) open() *sqlitestore.Store {
	w.t.Helper()
	s, err := sqlitestore.Open(w.t.Context(), sqlitestore.Config{Path: strings.TrimPrefix(w.store, "sqlite:")})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// log returns what a task has logged.
func (w *workshop) log(id string) string {
	w.t.Helper()
	s := w.open()
	defer s.Close()
	b, err := task.NewClient(s).Log(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// submitTo submits a task of any kind.
func submitTo(s *server, kind, payload string) string {
	s.t.Helper()
	return strings.TrimSpace(string(command(s.t, "submit", "--server", s.url, kind, payload)))
}

// family is a program with a daemon. Both ignore every signal that can be ignored. The first run
// saves a checkpoint and continues for ever.
const family = `
	trap '' TERM HUP INT
	if [ "$LASTCALL_RUN" != 1 ]; then cat "$LASTCALL_CHECKPOINT" > found; exit; fi
	setsid sh -c 'sh -c "trap \"\" TERM HUP; echo \$\$ > daemon.pid; while :; do sleep 1000; done" & exit' &
	echo $PPID > shim.pid; echo "$TMPDIR" > temp
	printf '{"at":1}' > "$LASTCALL_CHECKPOINT.new"; mv "$LASTCALL_CHECKPOINT.new" "$LASTCALL_CHECKPOINT"
	echo $$ > own.pid; while :; do sleep 1000; done`

func TestExec_NoDescendantOutlivesAKilledServerByMoreThanASecondAndItsCheckpointIsKept(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"family": family}, "")
	first := w.start()
	id := submitTo(first, "family", "{}")
	pids := []int{w.pid(first, "own.pid"), w.pid(first, "daemon.pid"), w.pid(first, "shim.pid")}
	atCheckpoint(first, id)

	first.signal(syscall.SIGKILL)
	watch := stopwatch.Start(t)
	first.until("without descendants", func() bool { return !alive(pids...) })
	t.Logf("the last one ended after %v", watch.AtMost(time.Second, "the end of the descendants"))
	temp, err := os.ReadFile(filepath.Join(w.dir, "temp"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(strings.TrimSpace(string(temp)))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the run's directory is left: %v", err)
	}

	second := w.start()
	if r := second.reaches(id, "succeeded"); r.Crashes != 1 || r.Runs != 2 {
		t.Errorf("%d crashes, %d runs", r.Crashes, r.Runs)
	}
	if found := read(t, filepath.Join(w.dir, "found")); string(found) != `{"at":1}` {
		t.Errorf("the second run found %q", found)
	}
	stop(second)
}

// atCheckpoint waits until the first run's checkpoint is in the store.
func atCheckpoint(s *server, id string) {
	s.t.Helper()
	s.until("at its checkpoint", func() bool {
		r, err := s.task(id)
		return err == nil && r.Checkpoint.At == 1
	})
}

func alive(pids ...int) bool {
	for _, pid := range pids {
		if proc.Alive(pid) {
			return true
		}
	}
	return false
}

// holdPipes opens the pipes of a process, except that of its output. When the process dies, they
// then do not reach their end until they are released.
func holdPipes(t *testing.T, pid int) (release func()) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrPermission) {
		t.Skipf("the server's pipes are to be opened: run as root (%v)", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	output, err := os.Readlink(filepath.Join(dir, "1"))
	if err != nil {
		t.Fatal(err)
	}
	var held []*os.File
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if to, err := os.Readlink(path); err != nil || to == output || !strings.HasPrefix(to, "pipe:") {
			continue // closed meanwhile, or not a pipe
		}
		// A pipe without a reader cannot be opened.
		if f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
			held = append(held, f)
		}
	}
	return func() {
		for _, f := range held {
			_ = f.Close() // nothing was written
		}
	}
}

// The shim kills the programs when the server's pipe ends. The test delays that end for a while,
// and meanwhile no worker may resume the task.
func TestExec_ATaskIsNotTakenUpWhileAProgramOfItsKilledServerLives(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"family": family}, "")
	first := w.start()
	id := submitTo(first, "family", "{}")
	own, daemon := w.pid(first, "own.pid"), w.pid(first, "daemon.pid")
	atCheckpoint(first, id)
	second := w.start()
	release := holdPipes(t, first.pid())
	t.Cleanup(func() { _ = syscall.Kill(-own, syscall.SIGKILL) }) // if the test failed half way
	first.signal(syscall.SIGKILL)
	first.exit()
	// Another worker that could resume the task would do so within two seconds.
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(3 * time.Second); end != nil; {
		select {
		case <-tick.C:
			if r, err := second.task(id); err != nil || r.Runs != 1 || !alive(own) || !alive(daemon) {
				t.Fatalf("%+v, %v; alive: %v, %v", r, err, alive(own), alive(daemon))
			}
		case <-end:
			end = nil
		}
	}
	release()
	second.waitLog(`msg="task running" task=` + id)
	if alive(own, daemon) {
		t.Error("taken up while programs of the first run live")
	}
	second.reaches(id, "succeeded")
	stop(second)
}

func TestExec_AServerStopsInTimeThoughItsProgramIgnoresSIGTERM(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"family": family}, "    killAfter: 1h\n")
	// So that the second signal leaves the longest possible time for a stop.
	s := w.start("--grace", "5m")
	id := submitTo(s, "family", "{}")
	own, daemon := w.pid(s, "own.pid"), w.pid(s, "daemon.pid")
	atCheckpoint(s, id)
	s.signal(syscall.SIGTERM)
	s.waitLog(`phase="last call"`)
	watch := stopwatch.Start(t)
	stop(s)
	watch.AtMost(5*time.Second, "the stop, whose reserve is 5 s,")
	if alive(own, daemon) {
		t.Error("the program or its daemon is alive after the stop")
	}
	r := show(t, w.store, id)
	if r.Status != "interrupted" || r.Reason != "stop" || r.Checkpoint.At != 1 || !strings.Contains(r.Error, "did not end in time after SIGTERM, and was killed") {
		t.Errorf("%+v", r)
	}
}

func TestExec_ADescriptorThatTheServerHasInheritedIsClosedInWhatItStarts(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"list": `
		for dir in /proc/self/fd /proc/$PPID/fd; do for fd in $dir/*; do echo "$fd $(readlink "$fd")"; done; done`}, "")
	secret := filepath.Join(w.dir, "secret")
	w.write("secret", "secret", 0o600)
	// Low and high numbers, below and above those that a server opens itself.
	cmd := exec.Command("sh", append([]string{"-c", `exec 9<"$1" && shift && exec prlimit --nofile=512 -- bash -c 'exec 251<&9; exec "$@"' bash "$0" "$@"`, program(t), secret},
		serveArgs(w.store, "--config", w.config)...)...)
	s := launch(t, cmd)
	for _, fd := range []string{"9", "251"} {
		if to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", s.pid(), fd)); err != nil || to != secret {
			t.Fatalf("the server has %q as %s, %v", to, fd, err)
		}
	}
	id := submitTo(s, "list", "{}")
	s.reaches(id, "succeeded")
	stop(s)
	if log := w.log(id); !strings.Contains(log, "pipe:") || strings.Contains(log, "secret") {
		t.Errorf("program and shim have\n%s", log)
	}
}

// To remove these directories from the bottom up takes one descriptor for each level.
func TestExec_ADeepDirectoryIsRemovedByAServerThatMayOpenFewFiles(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"deep": `perl -e 'chdir $ENV{TMPDIR}; for (1..3000) { mkdir "d" and chdir "d" or die }'; echo "$TMPDIR" > temp`}, "")
	s := launch(t, exec.Command("sh", append([]string{"-c", `ulimit -n 256; exec "$0" "$@"`, program(t)}, serveArgs(w.store, "--config", w.config)...)...))
	s.reaches(submitTo(s, "deep", "{}"), "succeeded")
	temp := strings.TrimSpace(string(read(t, filepath.Join(w.dir, "temp"))))
	s.until("without the run's directory", func() bool {
		_, err := os.Stat(filepath.Dir(temp))
		return errors.Is(err, os.ErrNotExist)
	})
	stop(s)
	for line := range strings.Lines(s.text()) {
		if len(line) > 1000 {
			t.Errorf("a line of %d bytes: %.200s", len(line), line)
		}
	}
}

// A gigabyte of text, after something that is not text.
func TestExec_AFloodOfOutputAndBinaryOutputNeitherFillTheServerNorBreakTheLog(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"flood": `
		head -c 1000 /dev/urandom >&2; printf '\377\000\n' >&2
		head -c 100000 /dev/zero >&2; echo >&2
		yes 'the quick brown fox jumps over the lazy dog' | head -c 1073741824
		echo; printf 'n\344chstes: \000\n'; echo "the end"`}, "")
	s := w.start()
	before := peakMemory(t, s)
	id := submitTo(s, "flood", "{}")
	s.reaches(id, "succeeded")
	if grown := peakMemory(t, s) - before; grown > 64<<20 {
		t.Errorf("the server grew by %d MiB", grown>>20)
	} else {
		t.Logf("the server grew by %d KiB", grown>>10)
	}
	stop(s)
	log := w.log(id)
	if len(log) > task.MaxLog || len(log) < task.MaxLog/4 || !strings.HasSuffix(log, "n\uFFFDchstes: \uFFFD\nthe end\n") || !utf8.ValidString(log) {
		t.Errorf("the log has %d bytes and ends with %q, valid %v", len(log), log[max(0, len(log)-50):], utf8.ValidString(log))
	}
}

// peakMemory returns the peak memory of a process.
func peakMemory(t *testing.T, s *server) int {
	t.Helper()
	for line := range bytes.Lines(read(t, fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(string(rest)), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("no VmHWM in /proc")
	return 0
}

func TestExec_AProgramThatCannotBeStartedIsToldAtTheStartWithKindAndLine(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		"  thumb:\n    queue: q\n    exec: [./missing.sh]\n": ":5: kind thumb: exec: DIR/missing.sh does not exist",
		"  thumb:\n    exec: [./plain.sh]\n":                 ":4: kind thumb: exec: DIR/plain.sh cannot be executed: chmod +x it",
		"  thumb:\n    exec: [no-such-program]\n":            ":4: kind thumb: exec: no program no-such-program in the PATH",
	} {
		w := newWorkshop(t, nil, "")
		w.write("plain.sh", "#!/bin/sh\n", 0o600)
		w.write("lastcall.yaml", "version: 1\nkinds:\n"+config, 0o600)
		want = w.config + strings.ReplaceAll(want, "DIR", w.dir)
		for _, args := range [][]string{{"serve", "--config", w.config, "--store", w.store, "--listen", "127.0.0.1:0"}, {"config", "check", w.config}} {
			if code, out := fails(t, args...); code != 1 || !bytes.Contains(out, []byte(want)) {
				t.Errorf("lastcall %q: exit code %d, want 1 with %q:\n%s", args, code, want, out)
			}
		}
	}
	if code, out := fails(t, "config", "check", "a", "b"); code != 2 {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestExec_ATaskOfAKindWithAQueueWaitsThere(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"hello": "exit 0"}, "    queue: images\n")
	s := w.start()
	id := submitTo(s, "hello", "{}")
	s.reaches(id, "succeeded")
	stop(s)
	store := w.open()
	defer store.Close()
	if got, err := task.NewClient(store).Get(t.Context(), id); err != nil || got.Queue != "images" {
		t.Errorf("queue %q, %v", got.Queue, err)
	}
}

func TestExec_AsPID1TheServerReapsOrphansAndLosesNoExitCode(t *testing.T) {
	t.Parallel()
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
	}
	const mount = "mount --make-rprivate / && mount -t proc proc /proc"
	probe := exec.CommandContext(t.Context(), "sh", "-c", mount)
	probe.SysProcAttr = attr
	if out, err := probe.CombinedOutput(); err != nil {
		t.Skipf("PID namespaces: run as root, or allow unprivileged user namespaces (%v, %s)", err, out)
	}
	w := newWorkshop(t, map[string]string{"code": `exit "$(tr -dc 0-9)"`}, "    retry: {maxAttempts: 1}\n")
	// The shell becomes the server, and what it has started keeps creating orphans for PID 1.
	cmd := exec.Command("sh", append([]string{"-c", mount + ` && { (while :; do (sh -c "exit 9" &); sleep 0.01; done) & } && exec "$0" "$@"`, program(t)},
		serveArgs(w.store, "--config", w.config)...)...)
	cmd.SysProcAttr = attr
	s := launch(t, cmd)
	for code := 1; code <= 20; code++ {
		id := submitTo(s, "code", strconv.Itoa(code))
		if r := s.reaches(id, "failed", "succeeded"); r.Error != fmt.Sprintf("exit code %d", code) || r.Attempts != 1 || r.Crashes != 0 {
			t.Errorf("exit code %d: %+v", code, r)
		}
	}
	s.until("without zombies", func() bool {
		children, err := proc.Children(s.cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		zombies := 0
		for _, c := range children {
			if c.Zombie() {
				zombies++
			}
		}
		return zombies < 30 // a new one arrives every hundredth of a second
	})
	stop(s)
}
