//go:build linux

package attack

import (
	"cmp"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHostile_ runs all tricks at random on one server for a while, with cancels and interrupts:
// `make attack HOSTILE=10m`.
func TestHostile_NoMixtureOfTricksTakesASlotOrOutlivesItsRunOrHoldsUpTheStop(t *testing.T) {
	d := 10 * time.Second
	if testing.Short() {
		t.Log("make test-full: ten seconds of mixed tricks instead of three")
		d = 3 * time.Second
	}
	d = cmp.Or(*hostileTime, d)
	rng := seed(t)
	const slots = 4
	tricks := tricksOf(t)
	s := newCage(t).hostileServer(slots, tricks...)
	n := 0
	for began := time.Now(); time.Since(began) < d; n++ {
		var round []string
		for range slots {
			id := s.submit(tricks[rng.IntN(len(tricks))], "{}", "")
			round = append(round, id)
			switch rng.IntN(4) {
			case 0:
				s.ask(http.MethodPost, "/v1/tasks/"+id+"/cancel", "", "")
			case 1:
				s.ask(http.MethodPost, "/v1/tasks/"+id+"/interrupt", "", "")
			}
		}
		next := s.submit("harmless", "{}", "")
		by := within(leftAlone + 2*(runEnds+slotFree)) // an interrupted task runs once more
		if !poll(by, func() bool { return s.status(next) == "succeeded" }) {
			t.Fatalf("round %d: no slot is free", n)
		}
		for _, id := range round {
			if !poll(by, func() bool { now := s.status(id); return now != "running" && now != "queued" && now != "interrupted" }) {
				_, answer := s.ask(http.MethodGet, "/v1/tasks/"+id, "", "")
				t.Fatalf("round %d: a task does not end: %s", n, answer)
			}
			s.unharmed(id)
		}
		if !poll(within(slotFree), s.alone) {
			t.Fatalf("round %d: of the programs is left:\n%s", n, s.describe())
		}
	}
	t.Logf("%d rounds of %d tricks", n, slots)
	for range slots {
		s.begins(s.submit(tricks[rng.IntN(len(tricks))], "{}", ""))
	}
	if code := s.stop(hostileGrace); code != 0 {
		t.Errorf("the stop's exit code is %d (-1: not within the grace)", code)
	}
	if !poll(within(slotFree), s.alone) {
		t.Errorf("after the server is left:\n%s", s.describe())
	}
}

// doomedVariable makes a run of these tests leave as much behind as it can.
const doomedVariable = "LASTCALL_ATTACK_DOOMED"

func TestSupervisor_LeavesNothingBehindWhenTheTestsAreKilled(t *testing.T) {
	if file := os.Getenv(doomedVariable); file != "" {
		c := newCage(t)
		s := c.hostileServer(4, "leave-a-daemon", "stop-shim", "respawn", "deep-directory")
		for _, trick := range []string{"stop-shim", "respawn", "deep-directory"} {
			s.begins(s.submit(trick, "{}", ""))
		}
		put(t, file, scratch()+" "+strconv.Itoa(os.Getpid()), 0o600)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	newCage(t) // it skips with a reason where there can be none
	file := filepath.Join(t.TempDir(), "doomed")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.timeout", "2m")
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, scratchVariable+"=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, doomedVariable+"="+file)
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("a run that was killed has succeeded: %s", out)
	}
	dir, _, found := strings.Cut(read(t, file), " ")
	if !found {
		t.Fatalf("the run did not come so far: %s", out)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", dir, err)
	}
	for _, g := range cgroups(dir) {
		if _, err := os.Stat(g.dir); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", g.dir, err)
		}
	}
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, environ := range all {
		if text, _ := os.ReadFile(environ); strings.Contains(string(text), dir+"/") {
			t.Errorf("%s is a process that is left", filepath.Dir(environ))
		}
	}
}
