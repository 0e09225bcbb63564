package container

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestContainer_ThatIsStoppedFinishesItsTaskAndExitsWithZero(t *testing.T) {
	f := newFixture(t, 20)
	s := f.serve("10s")
	id := s.submit("steps")
	f.works(id)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.terminate(10)
	}()
	until(t, "it is no longer ready", func() bool { return s.probe("/readyz") == http.StatusServiceUnavailable })
	if got := s.probe("/healthz"); got != http.StatusOK {
		t.Errorf("liveness is %d during the stop: the kubelet would kill for that", got)
	}
	<-ended
	s.exits(0, "Completed")
	f.complete(id, 20, 0)
	if r := f.serve("10s").show(id); r.Status != "succeeded" || r.Runs != 1 {
		t.Errorf("the task is %s after %d runs, want succeeded in its only one", r.Status, r.Runs)
	}
}

// longGrace leaves a handler 1.5 s between the interrupt and its abandonment. A busy machine needs
// most of the half second that a grace of 5 s leaves.
const longGrace = "31s"

func TestContainer_ATaskLongerThanTheGraceIsInterruptedAndGoesOnInTheNextContainer(t *testing.T) {
	f := newFixture(t, 600)
	s := f.serve(longGrace)
	id := s.submit("steps")
	f.works(id)
	began := time.Now()
	const grace = 40
	s.terminate(grace)
	if took := time.Since(began); took > grace*time.Second {
		t.Errorf("the stop took %v, more than the grace", took)
	}
	s.exits(0, "Completed")
	f.hurry()
	r := f.serve("5s").reaches(id, "succeeded")
	reason, again := s.cut()
	if r.Runs != 2 || r.Interruptions != 1 || r.Crashes != 0 || r.Attempts != 0 || r.History[0].Reason != reason {
		t.Errorf("the task had %+v, want two runs, the first interrupted with the reason %s", r, reason)
	}
	f.complete(id, 600, again)
}

// cut returns the reason of a task that the stop of a server has interrupted, and how many steps
// may be done again. A program that did not end in time, on a busy machine, was killed: its work
// since its last checkpoint was read is lost.
func (s *server) cut() (reason string, again int) {
	log := s.text()
	reason, again = "stop", 1
	if strings.Contains(log, "the handler is unresponsive") {
		reason = "deadline"
	}
	if reason == "deadline" || strings.Contains(log, "did not end in time after SIGTERM") {
		again = 30
	}
	return reason, again
}

// abandoned is the exit code of a server that had to leave a handler behind, with nothing recorded.
const abandoned = 3

func TestContainer_AnOverlongPreStopHookLeavesTwoSeconds(t *testing.T) {
	for _, c := range []struct {
		name, grace string
		code        int32
		ended, why  string
	}{
		{"enough for a program that counts on two", "2s", 0, "Completed", "stop"},
		{"too little for one that counts on more, whose task goes on from its checkpoint", "12s", 137, "Error", "deadline"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, 600)
			s := f.serve(c.grace)
			id := s.submit("steps")
			until(t, "it has worked for more than a second, in which its checkpoint is taken",
				func() bool { return len(f.steps(id)) > 25 })
			termed, hook := s.terminate(3, "/helper", "sleep", "20s")
			if hook == nil {
				t.Error("the hook of 20 s ended within a grace of 3 s")
			}
			code, reason, why := c.code, c.ended, c.why
			// On a busy machine, if the handler did not return within half a second.
			if s.exited().ExitCode == abandoned {
				code, reason, why = abandoned, "Error", "deadline"
			}
			ended := time.Unix(0, s.exits(code, reason).FinishedAt)
			if late, _ := s.cut(); late == "deadline" { // the same, a moment earlier
				why = late
			}
			if after := ended.Sub(termed); after > (minimum+1)*time.Second ||
				c.code == 137 && after < minimum*time.Second-200*time.Millisecond {
				t.Errorf("it ended %v after SIGTERM, want at most %d s, and no less if it was killed", after, minimum)
			}
			f.hurry()
			r := f.serve("10s").reaches(id, "succeeded")
			if r.Interruptions != 1 || r.Crashes != 0 || r.Runs != 2 || r.Attempts != 0 || r.History[0].Reason != why {
				t.Errorf("the task had %+v, want one interruption with the reason %s and a second run", r, why)
			}
			f.complete(id, 600, 30) // a killed run loses its work since its last checkpoint was read
		})
	}
}

func TestContainer_AWorkerThatIsKilledForItsMemoryLosesItsTaskToTheOtherWithinThreeSeconds(t *testing.T) {
	f := newPostgresGround(t, 1)
	small := f.pod
	small.memory = 64 << 20
	first := f.serveAs(small, "10s")
	id := first.submit("hog")
	until(t, "the task has begun", func() bool {
		_, err := os.Stat(filepath.Join(f.dir, "started"))
		return err == nil
	})
	second := f.serveAs(small, "10s")
	// The kernel must kill the server, not the program that allocates the memory. That program was
	// started before this.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", first.pid()), []byte("1000"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.dir, "hog"), nil, 0o644); err != nil { //nolint:gosec // for another user
		t.Fatal(err)
	}
	killed := time.Unix(0, first.exits(137, "OOMKilled").FinishedAt)
	r := second.reaches(id, "succeeded")
	if r.Runs != 2 || r.Crashes != 1 || !r.History[0].Crashed {
		t.Fatalf("the task had %+v, want a crash and a second run", r)
	}
	// A worker that connects slowly, as on a busy machine, must have been gone for longer: for 1.75 s
	// in place of 0.4 s at most.
	const most = 3*time.Second + 1350*time.Millisecond
	if gap := r.History[1].StartedAt.Sub(killed); gap > most {
		t.Errorf("the other worker took the task up %v after the kill, want %v at most", gap, most)
	} else {
		t.Logf("taken up %v after the kill", gap)
	}
}

func TestContainer_ARolloutHandsTasksOverFromContainerToContainerOnOnePostgres(t *testing.T) {
	f := newPostgresGround(t, 600)
	old := f.serve(longGrace)
	var ids []string
	for range 4 {
		ids = append(ids, old.submit("steps"))
	}
	for _, id := range ids {
		f.works(id)
	}
	// maxSurge 1, maxUnavailable 0: the old one is stopped when the new one is ready.
	next := f.serve("5s")
	old.terminate(40)
	ended := time.Unix(0, old.exits(0, "Completed").FinishedAt)
	_, again := old.cut()
	f.hurry()
	for _, id := range ids {
		r := next.reaches(id, "succeeded")
		if r.Runs != 2 || r.Interruptions != 1 || r.Crashes != 0 || r.Attempts != 0 {
			t.Errorf("task %s had %+v, want one interruption and a second run", id, r)
			continue
		}
		if r.History[1].StartedAt.After(ended.Add(3 * time.Second)) {
			t.Errorf("task %s was taken up at %v, later than 3 s after the old container's end at %v", id,
				r.History[1].StartedAt, ended)
		}
		f.complete(id, 600, again)
	}
}

func TestContainer_TheExitCodesOfTheProgramAsPID1(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		code int32
	}{
		{"a command line that is not understood", []string{"serve", "--no-such-flag"}, 2},
		{"a store that cannot be opened", []string{"serve", "--store", "sqlite:/read-only.db"}, 1},
		{"no server to be healthy", []string{"show", "--server", "http://127.0.0.1:1", "x"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := containerd(t).run(t, pod{args: c.args})
			p.exits(c.code, "Error")
		})
	}
	t.Run("a second signal", func(t *testing.T) {
		f := newFixture(t, 3000)
		s := f.serve("120s")
		f.works(s.submit("steps"))
		pid := s.pid()
		s.signal(pid)
		s.says("last call") // two pending signals would become one
		s.signal(pid)
		s.says("second signal: interrupting now")
		s.exits(0, "Completed")
	})
	t.Run("a third signal", func(t *testing.T) {
		f := newFixture(t, 1)
		s := f.serve("120s")
		id := s.submit("unresponsive")
		until(t, "the task has begun", func() bool {
			_, err := os.Stat(filepath.Join(f.dir, "started"))
			return err == nil
		})
		pid := s.pid()
		s.signal(pid)
		s.says("last call")
		s.signal(pid)
		s.says("second signal: interrupting now")
		s.says("stop announced to the store") // before that, the end of the process is a crash
		// While the server waits for the program, for half of the reserve of 5 s.
		s.signal(pid)
		s.exits(143, "Error")
		r := f.serve("10s").reaches(id, "succeeded")
		if r.Runs != 2 || r.Interruptions != 1 || r.Crashes != 0 || r.Attempts != 0 || r.History[0].Reason != "deadline" {
			t.Errorf("the task had %+v, want one interruption by the deadline, since it had had its last call, and a second run", r)
		}
	})
}
