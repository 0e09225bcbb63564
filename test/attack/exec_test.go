//go:build linux

package attack

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// How the runs of these tests are ended. A server waits up to a second for an answer from its shim;
// without one it ends the process tree by itself.
const (
	hostileTimeout = time.Second
	hostileKill    = time.Second
	hostileGrace   = 6 * time.Second
	// From the end of a run, or of a shim's time, to the start of the next run.
	slotFree = time.Second
	runEnds  = hostileTimeout + hostileKill + time.Second
	// leftAlone is how long a worker leaves a task that was interrupted on request to other workers.
	leftAlone = 5 * time.Second
)

// secret is in the server's environment, and must not be in that of any program.
const secret = "S3CRET-OF-THE-SERVER"

// tricksOf lists the tricks of the hostile program.
func tricksOf(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), hostileProgram(t), "-list").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

func hostileProgram(t *testing.T) string { t.Helper(); return build(t, "hostile", "CGO_ENABLED=0") }

// hostileKinds writes a configuration with a kind for each trick, and one harmless kind.
func (c *cage) hostileKinds(tricks ...string) string {
	c.t.Helper()
	var config strings.Builder
	fmt.Fprintf(&config, "version: 1\nkinds:\n  harmless:\n    exec: [/bin/true]\n")
	for _, trick := range tricks {
		fmt.Fprintf(&config, "  %s:\n    exec: [%q, %q]\n    timeout: %v\n    killAfter: %v\n    retry: {maxAttempts: 1}\n    maxCrashes: 1\n"+
			"    env: {inherit: [PATH, HOME, LASTCALL_ATTACK_DIR]}\n", trick, hostileProgram(c.t), trick, hostileTimeout, hostileKill)
	}
	file := filepath.Join(c.dir, "lastcall.yaml")
	put(c.t, file, config.String(), 0o644)
	return file
}

// hostileServer starts a server with the given slots. Its descriptors 10 and 251 are a file owned
// by root.
func (c *cage) hostileServer(slots int, tricks ...string) *server {
	c.t.Helper()
	for name, text := range map[string]string{"secret": secret, "victim": "precious\n"} {
		put(c.t, filepath.Join(c.dir, name), text, 0o666)
	}
	precious := filepath.Join(c.dir, "precious")
	if err := os.MkdirAll(precious, 0o777); err != nil {
		c.t.Fatal(err)
	}
	for _, name := range []string{"payload", "checkpoint"} {
		put(c.t, filepath.Join(precious, name), "precious\n", 0o666)
	}
	roots := filepath.Join(c.rest, "root-only")
	put(c.t, roots, secret, 0o600)
	third, err := os.Open(roots)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = third.Close() }() // it was only read
	return c.launch(order{
		Args: []string{"--store", c.store(), "--config", c.hostileKinds(tricks...), "--concurrency", fmt.Sprint(slots),
			"--grace", hostileGrace.String()},
		Env:     []string{"LASTCALL_ATTACK_DIR=" + c.dir, "PGPASSWORD=" + secret, "TMPDIR=" + c.temporary()},
		Inherit: []int{10, 251},
	}, third)
}

func (c *cage) temporary() string {
	c.t.Helper()
	dir := filepath.Join(c.dir, "tmp")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Chown(dir, c.uid, c.uid); err != nil {
		c.t.Fatal(err)
	}
	return dir
}

// begins waits until a hostile task has begun.
func (s *server) begins(id string) {
	s.t.Helper()
	until(s.t, "the trick has begun", func() bool {
		_, err := os.Stat(filepath.Join(s.dir, "begun-"+id))
		return err == nil
	})
	if trouble, err := os.ReadFile(filepath.Join(s.dir, "trouble-"+id)); err == nil && string(trouble) != "done" {
		s.t.Fatalf("the trick could not be done: %s", trouble)
	}
}

// alone reports whether nothing but the server is left in its cage.
func (s *server) alone() bool {
	return !slices.ContainsFunc(s.members(), func(pid int) bool { return pid != s.cmd.Process.Pid && !zombie(pid) })
}

// describe lists the processes that are left in a cage.
func (c *cage) describe() string {
	var all strings.Builder
	for _, pid := range c.members() {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // empty if it has ended
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := strings.Cut(string(status), ") ")
		fmt.Fprintf(&all, "  %d %.1s %s\n", pid, rest, strings.ReplaceAll(string(line), "\x00", " "))
	}
	return all.String()
}

func TestExec_NoTrickKeepsASlotOrOutlivesItsRunOrHoldsUpTheStop(t *testing.T) {
	for _, trick := range tricksOf(t) {
		t.Run(trick, func(t *testing.T) {
			t.Parallel()
			s := newCage(t).hostileServer(1, trick)
			id := s.submit(trick, "{}", "")
			s.begins(id)
			next := s.submit("harmless", "{}", "")
			if !poll(within(runEnds+slotFree), func() bool { return s.status(next) == "succeeded" }) {
				t.Errorf("the slot is not free: the hostile task is %q and the next one %q", s.status(id), s.status(next))
			}
			if now := s.status(id); now == "running" {
				t.Errorf("the hostile task is still running")
			}
			if !poll(within(slotFree), s.alone) {
				t.Errorf("of the program is left:\n%s", s.describe())
			}
			s.unharmed(id)
			if trick != "other-directory" { // a program can put files of its own wherever it may write
				s.tidied()
			}

			again := s.submit(trick, "{}", "")
			if t.Failed() { // the server may have no slot for it
				return
			}
			s.begins(again)
			if code := s.stop(hostileGrace); code != 0 {
				t.Errorf("the stop's exit code is %d (-1: not within the grace)", code)
			}
			if !poll(within(slotFree), func() bool { return s.alone() }) {
				t.Errorf("after the server is left:\n%s", s.describe())
			}
			s.unharmed(again)
		})
	}
}

// tidied checks that no run has left a directory behind.
func (s *server) tidied() {
	s.t.Helper()
	var left []os.DirEntry
	if !poll(within(5*time.Second), func() bool {
		var err error
		if left, err = os.ReadDir(filepath.Join(s.dir, "tmp")); err != nil {
			s.t.Fatal(err)
		}
		return len(left) == 0
	}) {
		s.t.Errorf("in the temporary directory is left: %v", left)
	}
	for line := range strings.Lines(s.said()) {
		if len(line) > 10_000 {
			s.t.Errorf("a line of the log has %d bytes: %.200s", len(line), line)
		}
	}
}

// unharmed checks that a hostile task did not read or write what it must not.
func (s *server) unharmed(id string) {
	s.t.Helper()
	if text := read(s.t, filepath.Join(s.dir, "victim")); text != "precious\n" {
		s.t.Errorf("a file next to the run's directory was written: %q", text)
	}
	for _, name := range []string{"payload", "checkpoint"} {
		if text := read(s.t, filepath.Join(s.dir, "precious", name)); text != "precious\n" {
			s.t.Errorf("%s in another directory was written: %q", name, text)
		}
	}
	for _, name := range []string{"read-", "descriptors-"} {
		text, err := os.ReadFile(filepath.Join(s.dir, name+id))
		if err == nil && (strings.Contains(string(text), secret) || strings.Contains(string(text), "root-only") || strings.Contains(string(text), "tasks.db")) {
			s.t.Errorf("the program has seen:\n%s", strings.ReplaceAll(string(text), "\x00", "\n"))
		}
	}
	if ended(s.done) {
		return
	}
	if status, answer := s.ask(http.MethodGet, "/v1/tasks/"+id, "", ""); strings.Contains(answer, secret) || strings.Contains(answer, "precious") {
		s.t.Errorf("the task shows what the program could not have saved: %d %s", status, answer)
	}
}

func TestExec_ASlotIsFreeAlsoWhenAHostileTaskIsCancelled(t *testing.T) {
	for _, trick := range []string{"fifo-as-stop-file", "stop-shim", "keep-shim-stopped", "limit-shim", "stop-oneself"} {
		t.Run(trick, func(t *testing.T) {
			t.Parallel()
			c := newCage(t)
			s := c.hostileServer(1, trick)
			id := s.submit(trick, "{}", "")
			s.begins(id)
			if status, answer := s.ask(http.MethodPost, "/v1/tasks/"+id+"/cancel", "", ""); status != http.StatusNoContent {
				t.Fatalf("cancel: %d %s", status, answer)
			}
			next := s.submit("harmless", "{}", "")
			if !poll(within(runEnds+slotFree), func() bool { return s.status(next) == "succeeded" }) {
				t.Errorf("the slot is not free: the cancelled task is %q", s.status(id))
			}
		})
	}
}

func TestExec_NothingOutlivesAKilledServer(t *testing.T) {
	for _, trick := range []string{"stop-shim", "keep-shim-stopped", "leave-a-daemon", "respawn", "trace-shim", "stop-oneself"} {
		t.Run(trick, func(t *testing.T) {
			t.Parallel()
			c := newCage(t)
			s := c.hostileServer(1, trick)
			id := s.submit(trick, "{}", "")
			s.begins(id)
			if err := s.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-s.done
			if !poll(within(2*time.Second), s.alone) {
				t.Errorf("after the server is left:\n%s", s.describe())
			}
		})
	}
}
